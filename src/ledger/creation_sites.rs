//! How many instances each place in the program has made, for what is told of their number. Written under the lock.

use super::records::Long;

/// Places that are told apart: programs make their instances in one or two. What more there are is not counted.
const SITES: usize = 64;

struct Births {
    /// The return address of the creating call; 0: free.
    site: Long,
    count: Long,
}

static BIRTHS: [Births; SITES] = [const { Births { site: Long::new(), count: Long::new() } }; SITES];

/// An instance was made there.
pub fn note(site: usize) {
    let site = site as u64;
    if site == 0 {
        return;
    }
    if let Some(births) = BIRTHS.iter().find(|births| births.site.get() == site || births.site.get() == 0) {
        births.site.set(site);
        births.count.add(1);
    }
}

/// How many were made there; None: not known.
pub fn at(site: usize) -> Option<u64> {
    BIRTHS.iter().find(|births| site != 0 && births.site.get() == site as u64).map(|births| births.count.get())
}

/// In the child of a fork: it has made none.
pub fn forget() {
    for births in &BIRTHS {
        births.site.set(0);
        births.count.set(0);
    }
}
