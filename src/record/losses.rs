//! What a recording has lost, for the reports at the end: of this process, and of its forked
//! children. A child that has changed its user and may not write into the directory has no file
//! that could contain this, so its nearest ancestor's file does.

use crate::sync::{AtomicPtr, Ordering};
use core::fmt::Write;

use epollshim_format::errno;
use epollshim_format::recording::header;

use super::file::{State, word};
use crate::{config, output, place, process};

/// The header of this process's file. In the child of a fork that has no file of its own, it is the
/// header of the nearest ancestor that has one. That stays mapped in the child, for good. Stored
/// with Release when the header is complete, and loaded with Acquire by threads that count in it.
static NEAREST: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

/// Notes that this process has a file.
pub fn has_file(start: *mut u8) {
    NEAREST.store(start, Ordering::Release);
}

/// Notes that this process has no file, in the file of the nearest ancestor.
pub fn has_no_file(error: i32) {
    let start = NEAREST.load(Ordering::Acquire);
    if start.is_null() {
        return;
    }
    // SAFETY: the offsets of the header are aligned, and the header is never unmapped, in children
    // either.
    let word = |place| unsafe { word(start, place) };
    word(header::CHILDREN_LOST).fetch_add(1, Ordering::Relaxed);
    let trouble = word(header::CHILDREN_TROUBLE);
    let _ = trouble.compare_exchange(0, error as u64, Ordering::Relaxed, Ordering::Relaxed);
}

/// Whether this process or an ancestor of it has a file.
pub fn is_near() -> bool {
    !NEAREST.load(Ordering::Relaxed).is_null()
}

/// Notes that a program was started whose calls the library will not see (`why`: bits of
/// `epollshim_format::recording::unseen`).
pub fn started_unseen(path: &[u8], why: u64) {
    let start = NEAREST.load(Ordering::Acquire);
    if start.is_null() {
        return;
    }
    // SAFETY: the offsets of the header are aligned, and the header is never unmapped, in children
    // either.
    let word = |place| unsafe { word(start, place) };
    word(header::UNSEEN_WHY).fetch_or(why, Ordering::Relaxed);
    if word(header::UNSEEN).fetch_add(1, Ordering::Relaxed) != 0 {
        return;
    }
    let length = path.len().min(header::UNSEEN_BYTES);
    // SAFETY: the header has UNSEEN_BYTES bytes there, and is never unmapped. Only the thread that
    // counted first, in all processes that share the header, writes them.
    unsafe { start.add(header::UNSEEN_PATH).copy_from_nonoverlapping(path.as_ptr(), length) };
    // Release: pairs with the reader's Acquire. A reader that sees the length sees the path.
    word(header::UNSEEN_LENGTH).store(length as u64, Ordering::Release);
}

/// What this process's recording has lost.
pub struct Losses {
    pub has_file: bool,
    /// The errno of the first failure. 0: nothing failed.
    pub trouble: i32,
    /// How many children of forks could create no file, and the errno of the first.
    pub children: u64,
    pub children_trouble: i32,
}

/// None: no recording was asked for, or there was nothing to record.
#[inline(never)] // for size
pub fn losses() -> Option<Losses> {
    State::of_this_process()?.losses()
}

/// Prints on stderr that there is no recording. For processes whose report does not contain this.
pub fn complain() {
    let Some(Losses { has_file: false, trouble, .. }) = losses() else { return };
    let Some(directory) = config::get().and_then(|config| config.record) else { return };
    output::tell(|line| {
        let _ = writeln!(
            line,
            "epollshim: EPOLLSHIM_RECORD: cannot write in '{}': {}{}; the recording of process {} is lost",
            directory.to_bytes().escape_ascii(),
            errno::name(trouble as u32).unwrap_or("?"),
            place::hint(trouble),
            process::pid(),
        );
    });
}
