//! The faults that fired last: kept in the process, and in its recording as soon as there is one
//! (`epollshim_format::recording::policy`). They are there before the call goes on.

use crate::sync::{AtomicU64, Ordering};

use epollshim_format::recording::policy as layout;

use super::{recorded, tally, word};

const WORDS: usize = layout::FIRING / size_of::<u64>();

/// In the page that the kernel wipes at fork. All-zero is valid: none has fired.
#[repr(C)]
pub struct Firings {
    begun: AtomicU64,
    ring: [[AtomicU64; WORDS]; layout::FIRINGS],
}

/// Keeps one, in the place of the oldest: the words behind its number.
#[inline(never)]
pub fn keep(words: [u64; WORDS - 1]) {
    let Some(firings) = tally().map(|tally| &tally.firings) else { return };
    let number = firings.begun.fetch_add(1, Ordering::Relaxed);
    let place = number as usize % layout::FIRINGS;
    let Some([first, others @ ..]) = firings.ring.get(place) else { return };
    first.store(0, Ordering::Relaxed);
    others.iter().zip(words).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
    // Release: whoever finds the number finds what it is of.
    first.store(number + 1, Ordering::Release);
    copy(firings, place);
}

/// Copies one into the recording, its number last: who is killed amid it leaves none.
fn copy(firings: &Firings, place: usize) {
    let (Some(start), Some([first, others @ ..])) = (recorded(), firings.ring.get(place)) else { return };
    let at = layout::LAST + place * layout::FIRING;
    let number = first.load(Ordering::Acquire);
    word(start, at).store(0, Ordering::Relaxed);
    for (index, value) in others.iter().enumerate() {
        word(start, at + (index + 1) * 8).store(value.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    word(start, at).store(number, Ordering::Release);
}

/// Copies all into a recording that begins.
pub fn copy_all() {
    if let Some(tally) = tally() {
        (0..layout::FIRINGS).for_each(|place| copy(&tally.firings, place));
    }
}
