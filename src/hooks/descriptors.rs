//! close, dup, dup2, dup3, fcntl, close_range, closefrom, and glibc's aliases of them.
//!
//! A call that frees a number is noted before the real call, and a call that returns one is noted
//! after it: a thread that gets the number next must find it free in the ledger. dup2 replaces a
//! number in one step, and is noted after.
//!
//! close and fcntl are cancellation points: they are `extern "C-unwind"`, and end in a jump to the
//! real function. close_range uses redhook's `hook!`. The dups could use it too, but a plain
//! wrapper around the real function costs twice what a dup may cost (docs/performance.md).
//! redhook's `real!` is not used anywhere: std's Once inside it would deadlock in a signal handler,
//! and it panics if a symbol is missing.

use libc::{c_int, c_uint};

use super::entry::Frame;
use crate::{census, ledger, sys};

#[cfg(not(test))]
mod closefrom {
    use epollshim_format::function::Function;
    use libc::{c_int, c_uint};

    use crate::policy;

    /// `closefrom(3)`. There are no descriptors below zero.
    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn closefrom(first: c_int) {
        let is_deferred = policy::is_armed_for(Function::CloseRange);
        // Programs call this once at most, and the return address is not known here.
        crate::census::closing_range(first.max(0) as c_uint, c_uint::MAX, 0);
        super::note_range(first.max(0) as c_uint, c_uint::MAX, 0, is_deferred, 0);
        // SAFETY: the argument is the one that the program passed to closefrom.
        unsafe { crate::real::closefrom()(first) };
        if is_deferred {
            crate::ledger::closed();
        }
    }
}

/// dup(old), dup2(old, new), dup3(old, new, flags), fcntl(old, F_DUPFD, least).
#[unsafe(link_section = ".text.hot.epollshim.more")]
pub extern "C-unwind" fn after_dup(frame: &mut Frame, new: isize) -> isize {
    // The fast path, separate so that it saves no register.
    if !ledger::are_joined(frame.int(0), new as c_int) {
        return after_new_dup(frame, new);
    }
    new
}

#[cold]
#[inline(never)]
extern "C-unwind" fn after_new_dup(frame: &mut Frame, new: isize) -> isize {
    if new < 0 {
        census::exhausted::met(sys::errno(), frame.caller);
    }
    note_duplicate(frame.int(0), new as c_int, &frame.caller);
    new
}

/// Notes what a dup of `old` returned.
#[inline(always)]
pub fn note_duplicate(old: c_int, new: c_int, caller: &usize) {
    if new >= 0 && new != old {
        ledger::duplicated(old, new, caller);
    }
}

/// Whether a command of fcntl returns a new descriptor.
#[inline(always)]
pub fn gives_a_number(command: c_int) -> bool {
    command == libc::F_DUPFD || command == libc::F_DUPFD_CLOEXEC
}

/// Notes that a range is about to be closed, if the kernel will close it (Linux v6.1 fs/open.c,
/// fs/file.c). A range that ends before it begins, and an unknown flag, is EINVAL.
/// CLOSE_RANGE_CLOEXEC closes nothing.
///
/// `is_deferred`: the caller will call `ledger::closed` after the close. `caller` is 0 if it is not
/// known.
pub extern "C-unwind" fn note_range(first: c_uint, last: c_uint, flags: c_int, is_deferred: bool, caller: usize) {
    if closes(first, last, flags) {
        ledger::closing_range(first, last, is_deferred, caller);
    }
}

/// Whether close_range with these arguments closes anything.
pub fn closes(first: c_uint, last: c_uint, flags: c_int) -> bool {
    first <= last && flags as c_uint & !libc::CLOSE_RANGE_UNSHARE == 0
}
