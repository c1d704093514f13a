//! How many instances each place in the program has made, for what is told of their number. Written under the gate.

use ::core::sync::atomic::{AtomicU64, Ordering};

/// Places that are told apart: programs make their instances in one or two. What more there are is not counted.
const SITES: usize = 64;

struct Births {
    /// The return address of the creating call; 0: free.
    sites: [AtomicU64; SITES],
    counts: [AtomicU64; SITES],
}

static BIRTHS: Births =
    Births { sites: [const { AtomicU64::new(0) }; SITES], counts: [const { AtomicU64::new(0) }; SITES] };

fn counts() -> impl Iterator<Item = (&'static AtomicU64, &'static AtomicU64)> {
    BIRTHS.sites.iter().zip(&BIRTHS.counts)
}

/// An instance was made there.
pub fn note(site: usize) {
    if site == 0 {
        return;
    }
    let place =
        counts().find(|(at, _)| matches!(at.load(Ordering::Relaxed), 0) || at.load(Ordering::Relaxed) == site as u64);
    if let Some((at, count)) = place {
        at.store(site as u64, Ordering::Relaxed);
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }
}

/// How many were made there; None: not known.
pub fn at(site: usize) -> Option<u64> {
    counts()
        .find(|(at, _)| at.load(Ordering::Relaxed) == site as u64 && site != 0)
        .map(|(_, count)| count.load(Ordering::Relaxed))
}

/// In the child of a fork: it has made none.
pub fn forget() {
    for (at, count) in counts() {
        at.store(0, Ordering::Relaxed);
        count.store(0, Ordering::Relaxed);
    }
}
