//! The parts of the file in which the census is mirrored (src/census/mirror.rs).

use epollshim_format::recording::header;

use super::file::State;
use crate::census::mirror;
use crate::sigsafe::on_own_stack;
use crate::sync::AtomicPtr;

/// See `census::mirror::Above`.
pub fn part(kind: u64, bytes: usize, first: u64, place: &AtomicPtr<u8>) -> Result<bool, i32> {
    let state = State::of_this_process().ok_or(libc::ENOENT)?;
    let made = state.part(kind, bytes, first, place, &|| ());
    if made.is_err() {
        state.add(header::ENTRIES_DROPPED, 1);
    }
    made
}

/// Compares the census with the kernel once more as the process ends, and mirrors it. The report
/// does the same, but only after this.
pub fn at_end() {
    if crate::census::is_on() {
        on_own_stack(|| {
            crate::census::reconcile();
            mirror::refresh();
        });
    }
}
