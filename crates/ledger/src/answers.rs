//! What the kernel said of duplicates before the lock was taken: under the lock it is not asked.

use crate::descriptors::RING;
use crate::records::{Long, Word};

/// What the kernel said of the numbers in one ring of aliases, by their places in it.
#[derive(Clone, Copy)]
pub struct Ring {
    fd: i32,
    places: u32,
    /// Of the numbers in the ring, in order: it tells a ring that has changed since.
    digest: u64,
    /// Bits of those that refer to what `fd` refers to, and of those that do not.
    same: u64,
    other: u64,
}

const _: () = assert!(RING <= u64::BITS as usize);

impl Ring {
    pub const fn of(fd: i32) -> Ring {
        Ring { fd, places: 0, digest: 0, same: 0, other: 0 }
    }

    /// The next number of the ring; None: the kernel does not say.
    #[inline(never)]
    pub fn push(&mut self, alias: i32, is_same: Option<bool>) {
        let bit = 1_u64.checked_shl(self.places).unwrap_or(0);
        self.places += 1;
        self.digest = self.digest.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(alias as u64 + 1);
        match is_same {
            Some(true) => self.same |= bit,
            Some(false) => self.other |= bit,
            None => {}
        }
    }

    /// What was said of the number at a place.
    pub fn answer(&self, place: u32) -> Option<bool> {
        let bit = 1_u64.checked_shl(place).unwrap_or(0);
        if self.same & bit != 0 {
            Some(true)
        } else if self.other & bit != 0 {
            Some(false)
        } else {
            None
        }
    }
}

/// What was said of a few numbers. Small: hooks run on stacks of any size.
pub struct Answers<const NUMBERS: usize> {
    rings: [Ring; NUMBERS],
    count: usize,
}

impl<const NUMBERS: usize> Answers<NUMBERS> {
    pub const NONE: Self = Answers { rings: [Ring::of(-1); NUMBERS], count: 0 };

    pub fn rings(&self) -> &[Ring] {
        self.rings.get(..self.count).unwrap_or(&[])
    }

    /// Of more numbers than there is room for nothing is known.
    pub fn keep(&mut self, ring: Ring) {
        if let Some(place) = self.rings.get_mut(self.count) {
            *place = ring;
            self.count += 1;
        }
    }
}

/// So many rings are lent at most.
pub const MOST: usize = 16;

/// The answers that the change which is being made has brought. Atomics, as all that the holder of
/// the lock writes.
pub struct Lent {
    rings: [[Long; 4]; MOST],
    count: Word,
}

impl Lent {
    pub const fn new() -> Lent {
        Lent { rings: [const { [const { Long::new() }; 4] }; MOST], count: Word::new() }
    }

    /// By the holder of the lock, here and below.
    #[cold]
    #[inline(never)]
    pub fn lend(&self, rings: &[Ring]) {
        let mut count = 0;
        for (place, ring) in self.rings.iter().zip(rings) {
            let [fd, digest, same, other] = place;
            fd.set(u64::from(ring.fd as u32) << 32 | u64::from(ring.places));
            digest.set(ring.digest);
            same.set(ring.same);
            other.set(ring.other);
            count += 1;
        }
        self.count.set(count);
    }

    pub fn forget(&self) {
        self.count.set(0);
    }

    /// What was said of a ring that is the same still.
    #[inline(never)]
    pub fn find(&self, ring: &Ring) -> Option<Ring> {
        let key = u64::from(ring.fd as u32) << 32 | u64::from(ring.places);
        let mut lent = self.rings.iter().take(self.count.get() as usize);
        let [_, _, same, other] = lent.find(|[fd, digest, ..]| fd.get() == key && digest.get() == ring.digest)?;
        Some(Ring { same: same.get(), other: other.get(), ..*ring })
    }
}

#[cfg(test)]
mod tests {
    use super::{Answers, Lent, Ring};

    fn ring(answers: [(i32, Option<bool>); 3]) -> Ring {
        let mut ring = Ring::of(3);
        for (alias, is_same) in answers {
            ring.push(alias, is_same);
        }
        ring
    }

    #[test]
    fn what_was_asked_of_a_ring_is_found_while_the_ring_is_the_same() {
        let asked = ring([(4, Some(true)), (1 << 30, Some(false)), (5, None)]);
        let mut answers = Answers::<1>::NONE;
        answers.keep(asked);
        // There is no room for it.
        answers.keep(Ring::of(9));
        let lent = Lent::new();
        lent.lend(answers.rings());
        let found = lent.find(&ring([(4, None), (1 << 30, None), (5, None)])).unwrap();
        assert_eq!([0, 1, 2, 3, 64].map(|place| found.answer(place)), [Some(true), Some(false), None, None, None]);
        assert!(lent.find(&ring([(4, None), (5, None), (1 << 30, None)])).is_none(), "another ring");
        assert!(lent.find(&Ring::of(9)).is_none());
        lent.forget();
        assert!(lent.find(&asked).is_none());
    }
}
