//! How many instances each place in the program has created, for findings about their number.
//! Written under the lock.

use crate::records::Long;

/// How many places are distinguished: programs create their instances in one or two. Others are not
/// counted.
const SITES: usize = 64;

struct Site {
    /// The return address of the creating call; 0: free.
    address: Long,
    instances: Long,
}

pub struct CreationSites([Site; SITES]);

impl CreationSites {
    pub const fn new() -> CreationSites {
        CreationSites([const { Site { address: Long::new(), instances: Long::new() } }; SITES])
    }

    /// An instance was created there.
    pub fn note(&self, site: usize) {
        let site = site as u64;
        if site == 0 {
            return;
        }
        if let Some(place) = self.0.iter().find(|place| place.address.get() == site || place.address.get() == 0) {
            place.address.set(site);
            place.instances.add(1);
        }
    }

    /// The place's number, and how many were created there; None: not known.
    pub fn at(&self, site: usize) -> Option<(usize, u64)> {
        let place = self.0.iter().position(|place| site != 0 && place.address.get() == site as u64)?;
        self.0.get(place).map(|of| (place, of.instances.get()))
    }

    /// Each place, and how many were created there.
    pub fn all(&self) -> impl Iterator<Item = (u64, u64)> {
        let known = self.0.iter().take_while(|place| place.address.get() != 0);
        known.map(|place| (place.address.get(), place.instances.get()))
    }

    /// In the child of a fork, which has created none.
    pub fn forget(&self) {
        for place in &self.0 {
            place.address.set(0);
            place.instances.set(0);
        }
    }
}
