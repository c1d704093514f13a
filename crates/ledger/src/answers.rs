//! What the kernel said of duplicates before the lock was taken: under the lock it is not asked.

use crate::records::{Long, Word};

/// Of two numbers, each with the longest ring of aliases.
const MOST: usize = 2 * crate::descriptors::RING;

/// Which pairs of descriptors refer to one open file description.
pub struct Answers {
    words: [u64; MOST],
    count: usize,
}

/// A pair, which is not numbered in more than 31 bits each, and whether it is one description.
fn word(fd: i32, alias: i32, is_same: bool) -> u64 {
    u64::from(fd as u32) << 33 | u64::from(alias as u32 & 0x7fff_ffff) << 1 | u64::from(is_same)
}

impl Answers {
    pub const NONE: Answers = Answers { words: [0; MOST], count: 0 };

    /// Keeps an answer; None: the kernel did not say.
    pub fn keep(&mut self, fd: i32, alias: i32, is_same: Option<bool>) {
        if let (Some(is_same), Some(place)) = (is_same, self.words.get_mut(self.count)) {
            *place = word(fd, alias, is_same);
            self.count += 1;
        }
    }
}

/// The answers that the change which is being made has brought. Atomics, as all that the holder of the lock writes.
pub struct Lent {
    words: [Long; MOST],
    count: Word,
}

impl Lent {
    pub const fn new() -> Lent {
        Lent { words: [const { Long::new() }; MOST], count: Word::new() }
    }

    /// By the holder of the lock, here and below.
    #[cold]
    #[inline(never)]
    pub fn lend(&self, answers: &Answers) {
        for (place, word) in self.words.iter().zip(answers.words).take(answers.count) {
            place.set(word);
        }
        self.count.set(answers.count as u32);
    }

    pub fn forget(&self) {
        self.count.set(0);
    }

    /// Whether two descriptors refer to one description; None: nobody has asked, or the kernel did not say.
    pub fn find(&self, fd: i32, alias: i32) -> Option<bool> {
        let words = self.words.iter().take(self.count.get() as usize).map(Long::get);
        let (yes, no) = (word(fd, alias, true), word(fd, alias, false));
        words.filter(|word| *word == yes || *word == no).map(|word| word == yes).next()
    }
}

#[cfg(test)]
mod tests {
    use super::{Answers, Lent};

    #[test]
    fn what_was_asked_is_found_and_nothing_else() {
        let mut answers = Answers::NONE;
        answers.keep(3, 4, Some(true));
        answers.keep(3, 1 << 30, Some(false));
        answers.keep(3, 5, None);
        let lent = Lent::new();
        lent.lend(&answers);
        assert_eq!([4, 1 << 30, 5, 6].map(|alias| lent.find(3, alias)), [Some(true), Some(false), None, None]);
        assert_eq!(lent.find(4, 3), None);
        lent.forget();
        assert_eq!(lent.find(3, 4), None);
    }
}
