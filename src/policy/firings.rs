//! The faults that fired last. They are kept in the process, and in its recording as soon as there
//! is one (`epollshim_format::recording::policy`), before the call goes on.

use crate::sync::{AtomicU64, Ordering};

use epollshim_format::recording::policy as layout;

const WORDS: usize = layout::FIRING / size_of::<u64>();

/// Lies in the page that the kernel wipes at fork. All-zero is valid: no fault has fired.
#[repr(C)]
pub struct Firings {
    begun: AtomicU64,
    ring: [[AtomicU64; WORDS]; layout::FIRINGS],
}

/// Finds a word of the recording's part by its offset.
pub type Word<'a> = &'a dyn Fn(usize) -> &'a AtomicU64;

impl Firings {
    /// Keeps a firing in place of the oldest. `words` are those after its number. It is also copied
    /// into the recording, if there is one.
    #[inline(never)]
    pub fn keep(&self, words: [u64; WORDS - 1], recorded: Option<Word>) {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let place = number as usize % layout::FIRINGS;
        let Some([first, others @ ..]) = self.ring.get(place) else { return };
        first.store(0, Ordering::Relaxed);
        others.iter().zip(words).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
        // Release: pairs with the Acquire in `copy`.
        first.store(number + 1, Ordering::Release);
        if let Some(word) = recorded {
            self.copy(place, word);
        }
    }

    /// Copies a firing into the recording. Its number comes last, so that a process that is killed
    /// in between leaves no partial firing.
    fn copy(&self, place: usize, word: Word) {
        let Some([first, others @ ..]) = self.ring.get(place) else { return };
        let at = layout::LAST + place * layout::FIRING;
        // Acquire: pairs with the Release store in `keep`. The words are those of this number, or
        // newer ones.
        let number = first.load(Ordering::Acquire);
        word(at).store(0, Ordering::Relaxed);
        for (index, value) in others.iter().enumerate() {
            word(at + (index + 1) * 8).store(value.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        word(at).store(number, Ordering::Release);
    }

    /// Copies all firings into a recording that begins.
    pub fn copy_all(&self, word: Word) {
        (0..layout::FIRINGS).for_each(|place| self.copy(place, word));
    }
}
