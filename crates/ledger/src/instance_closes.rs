//! Where the descriptors of instances were closed last, by number: what is said of a call that
//! fails because its epoll descriptor is closed.
//!
//! One entry for 64 numbers: a later close of another number with the same entry overwrites it. The
//! holder of the ledger's lock writes, and any thread reads. Relaxed: a word is complete in itself.

use crate::sync::{AtomicU64, Ordering};

const ENTRIES: usize = 64;
/// An address has 48 bits; above it is one more than the number's upper bits (number / 64), cut to
/// 16 bits. 0: nothing.
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

    /// A descriptor of an instance was closed at this return address, which has 48 bits; 0: not
    /// known.
    #[inline(always)]
    pub fn note(&self, fd: i32, at: u64) {
        if let Some(entry) = self.0.get(fd as usize % ENTRIES) {
            entry.store(mark(fd) | at, Ordering::Relaxed);
        }
    }

    /// Where a number was closed that was an instance's; 0: it is not known where. None: no such
    /// close is known.
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
