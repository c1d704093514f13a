//! Copies the arena of call stacks into the file, part by part. Sites in the file's tables are
//! addresses in it.

use crate::sync::{AtomicU64, Ordering, fence};

use epollshim_format::recording::{kind, stacks::PART};

use super::file::{State, word};
use super::{known, modules};
use crate::stacks;

/// The segment is being created, or there was no space for it.
const fn taken() -> *mut u8 {
    core::ptr::without_provenance_mut(1)
}

/// Copies a stack that was written into a part of the arena.
pub fn wrote_stack(stack: &[AtomicU64], number: usize) {
    let Some(state) = State::of_this_process().filter(|state| state.is_on()) else { return };
    let Some(start) = state.stacks.get(number).map(|start| start.load(Ordering::Acquire)) else { return };
    if start.is_null() {
        make(state, number);
    } else if start != taken() {
        let Some(part) = stacks::part(number) else { return };
        copy(stack, stack.as_ptr() as usize - part.as_ptr() as usize, start);
    }
    stack.iter().skip(1).for_each(|frame| known::meet(frame.load(Ordering::Relaxed) as usize));
    if known::lacks_one() {
        modules::write_if_new();
    }
}

/// Copies the stacks that were kept before the recording began.
pub fn mirror_stacks() {
    let Some(state) = State::of_this_process().filter(|state| state.is_on()) else { return };
    for (number, _) in stacks::parts() {
        make(state, number);
    }
}

#[cold]
fn make(state: &State, number: usize) {
    let (Some(place), Some(part)) = (state.stacks.get(number), stacks::part(number)) else { return };
    if place.compare_exchange(core::ptr::null_mut(), taken(), Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return;
    }
    if let Some(start) = state.segment(kind::STACKS, PART, part.as_ptr() as u64, None, |_| ()) {
        place.store(start, Ordering::Release);
        // After the store: `wrote_stack` copies each stack that is written after this fence, since
        // it then finds `start`.
        fence(Ordering::SeqCst);
        copy(part, 0, start);
    }
}

/// Copies words of a part to their place in the segment.
fn copy(words: &[AtomicU64], at: usize, start: *mut u8) {
    for (index, value) in words.iter().enumerate() {
        let value = value.load(Ordering::Relaxed);
        if value != 0 {
            // SAFETY: an aligned word of a segment that is as long as the part, and is never
            // unmapped.
            unsafe { word(start, at + index * 8).store(value, Ordering::Relaxed) };
        }
    }
}
