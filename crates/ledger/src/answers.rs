//! What the kernel answered about duplicates before the lock was taken. Under the lock it is not
//! asked.

use crate::descriptors::RING;
use crate::records::{Long, Word};

/// The kernel's answers about the numbers in one ring of aliases, by their places in it.
#[derive(Clone, Copy)]
pub struct Ring {
    fd: i32,
    places: u32,
    /// A digest of the numbers in the ring, in order. It shows whether the ring has changed since.
    digest: u64,
    /// One bit for each number that refers to what `fd` refers to, and in `other` for each that
    /// does not.
    same: u64,
    other: u64,
}

const _: () = assert!(RING <= u64::BITS as usize);

impl Ring {
    pub const fn of(fd: i32) -> Ring {
        Ring { fd, places: 0, digest: 0, same: 0, other: 0 }
    }

    /// Appends the next number of the ring. `is_same` is the kernel's answer; None: it does not
    /// say.
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

    /// The answer about the number at a place.
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

/// Answers about a few numbers. Small, because hooks run on stacks of any size.
pub struct Answers<const NUMBERS: usize> {
    rings: [Ring; NUMBERS],
    count: usize,
}

impl<const NUMBERS: usize> Answers<NUMBERS> {
    pub const NONE: Self = Answers { rings: [Ring::of(-1); NUMBERS], count: 0 };

    pub fn rings(&self) -> &[Ring] {
        self.rings.get(..self.count).unwrap_or(&[])
    }

    /// Answers for which there is no room are dropped.
    pub fn keep(&mut self, ring: Ring) {
        if let Some(place) = self.rings.get_mut(self.count) {
            *place = ring;
            self.count += 1;
        }
    }
}

/// The most rings that are lent.
pub const MOST: usize = 16;

/// The answers that came with the change that is being made. They are atomics, like everything that
/// the holder of the lock writes.
pub struct Lent {
    rings: [[Long; 4]; MOST],
    count: Word,
}

impl Lent {
    pub const fn new() -> Lent {
        Lent { rings: [const { [const { Long::new() }; 4] }; MOST], count: Word::new() }
    }

    /// Only the holder of the lock calls this function and those below.
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

    /// The answers about a ring, if it has not changed since.
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
    fn answers_about_a_ring_are_found_while_the_ring_is_unchanged() {
        let asked = ring([(4, Some(true)), (1 << 30, Some(false)), (5, None)]);
        let mut answers = Answers::<1>::NONE;
        answers.keep(asked);
        // There is no room for this one.
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
