//! Where the descriptors of instances were closed last, and where the instances were created, by number: what is said of a call
//! that fails because its epoll descriptor is closed.
//!
//! One entry for 64 numbers: a later close of another number with the same entry overwrites it. The holder of the ledger's lock
//! writes, and any thread reads. Relaxed: each word names its number, so a reader takes two words of different closes for none.

use crate::sync::{AtomicU64, Ordering};

const ENTRIES: usize = 64;
/// An address has 48 bits; above it is one more than the number's upper bits (number / 64). 0: nothing.
const ADDRESS: u64 = (1 << 48) - 1;

struct Entry {
    closed_at: AtomicU64,
    created_at: AtomicU64,
}

/// All zero: nothing was closed.
pub struct InstanceCloses([Entry; ENTRIES]);

/// The entry of a number, and its mark. None: the number is too high to be kept.
fn place(fd: i32) -> Option<(usize, u64)> {
    let fd = u64::try_from(fd).ok()?;
    let mark = fd / ENTRIES as u64 + 1;
    (mark < 1 << 16).then_some((fd as usize % ENTRIES, mark << 48))
}

impl InstanceCloses {
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> InstanceCloses {
        InstanceCloses([const { Entry { closed_at: AtomicU64::new(0), created_at: AtomicU64::new(0) } }; ENTRIES])
    }

    /// A descriptor of an instance was closed. Both are return addresses; 0: not known.
    pub fn note(&self, fd: i32, closed_at: u64, created_at: u64) {
        if let Some((index, mark)) = place(fd)
            && let Some(entry) = self.0.get(index)
        {
            entry.closed_at.store(mark | closed_at & ADDRESS, Ordering::Relaxed);
            entry.created_at.store(mark | created_at & ADDRESS, Ordering::Relaxed);
        }
    }

    /// Where a number was closed that was an instance's, and where the instance was created; 0: not known.
    #[must_use]
    pub fn last(&self, fd: i32) -> (u64, u64) {
        let Some((index, mark)) = place(fd) else { return (0, 0) };
        let Some(entry) = self.0.get(index) else { return (0, 0) };
        let of = |word: &AtomicU64| Some(word.load(Ordering::Relaxed)).filter(|word| word & !ADDRESS == mark);
        let address = |word: &AtomicU64| of(word).unwrap_or(0) & ADDRESS;
        (address(&entry.closed_at), address(&entry.created_at))
    }
}

#[cfg(test)]
mod tests {
    use super::InstanceCloses;

    #[test]
    fn a_number_has_its_own_places_or_none() {
        let closes = InstanceCloses::new();
        closes.note(5, 0x1000, 0x2000);
        assert_eq!(closes.last(5), (0x1000, 0x2000));
        assert_eq!(closes.last(69), (0, 0));
        closes.note(69, 0x3000, 0);
        assert_eq!((closes.last(5), closes.last(69)), ((0, 0), (0x3000, 0)));
        closes.note(i32::MAX, 1, 1);
        assert_eq!((closes.last(i32::MAX), closes.last(-1)), ((0, 0), (0, 0)));
    }
}
