//! Where the descriptors of instances were closed last, by number. A finding about a call that
//! fails because its epoll descriptor is closed names that place.
//!
//! One entry serves all numbers that are equal modulo 64: a close of another such number overwrites
//! it. The holder of the ledger's lock writes, and any thread reads. Relaxed: a word is complete in
//! itself.

use crate::sync::{AtomicU64, Ordering};

const ENTRIES: usize = 64;
/// An address has 48 bits. The upper 16 bits are one more than the number divided by 64. A word of
/// 0 is an empty entry.
const ADDRESS: u64 = (1 << 48) - 1;

/// All zero: nothing was closed.
pub struct InstanceCloses([AtomicU64; ENTRIES]);

#[inline(always)]
const fn mark(fd: i32) -> u64 {
    ((fd as u64 >> 6) + 1) << 48
}

impl InstanceCloses {
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> InstanceCloses {
        InstanceCloses([const { AtomicU64::new(0) }; ENTRIES])
    }

    /// A descriptor of an instance was closed at this return address, which has 48 bits; 0: the
    /// place is not known.
    #[inline(always)]
    pub fn note(&self, fd: i32, at: u64) {
        if let Some(entry) = self.0.get(fd as usize % ENTRIES) {
            entry.store(mark(fd) | at, Ordering::Relaxed);
        }
    }

    /// Where a number was closed that was an instance's; 0: the place is not known. None: no close
    /// of it is known.
    #[must_use]
    pub fn last(&self, fd: i32) -> Option<u64> {
        let word = self.0.get(fd as usize % ENTRIES)?.load(Ordering::Relaxed);
        (fd >= 0 && word & !ADDRESS == mark(fd)).then_some(word & ADDRESS)
    }
}

#[cfg(test)]
mod tests {
    use super::InstanceCloses;

    #[test]
    fn a_number_has_its_own_place_or_none() {
        let closes = InstanceCloses::new();
        assert_eq!((closes.last(5), closes.last(-1)), (None, None));
        closes.note(5, 0x1000);
        assert_eq!((closes.last(5), closes.last(69)), (Some(0x1000), None));
        closes.note(69, 0);
        assert_eq!((closes.last(5), closes.last(69)), (None, Some(0)));
    }
}
