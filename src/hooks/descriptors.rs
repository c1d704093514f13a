//! close, dup, dup2, dup3, fcntl, close_range, closefrom, and glibc's aliases of them.
//!
//! What takes a number away is noted before the real call, what gives one after it: whoever gets the number
//! next must find the ledger ready. dup2 replaces a number in one step, and is noted after.
//!
//! close and fcntl are cancellation points: `extern "C-unwind"`, and they end in a jump to the real function.
//! close_range is redhook's `hook!`. The dups are not, though they have its fixed arity: what comes after the
//! real function in a plain wrapper costs 6 ns (entry.rs), twice what a dup may cost. redhook's `real!` is
//! used nowhere: std's Once inside would deadlock in a signal handler, and panics where a symbol is missing.

use libc::{c_int, c_uint};

use super::entry::Frame;
use crate::{census, ledger, sys};

#[cfg(not(test))]
mod closefrom {
    use epollshim_format::function::Function;
    use libc::{c_int, c_uint};

    use crate::policy;

    /// `closefrom(3)`: descriptors below zero are no descriptors.
    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn closefrom(first: c_int) {
        let for_now = policy::is_armed_for(Function::CloseRange);
        // It is called once in a process's life: which of its callers' frames this is in is not known here.
        crate::census::closing_range(first.max(0) as c_uint, c_uint::MAX, 0);
        super::note_range(first.max(0) as c_uint, c_uint::MAX, 0, for_now, 0);
        // SAFETY: the program's own call.
        unsafe { crate::real::closefrom()(first) };
        if for_now {
            crate::ledger::closed();
        }
    }
}

/// dup(old), dup2(old, new), dup3(old, new, flags), fcntl(old, F_DUPFD, least).
#[unsafe(link_section = ".text.hot.epollshim.more")]
pub extern "C-unwind" fn after_dup(frame: &mut Frame, new: isize) -> isize {
    // The common case by itself: it keeps no register.
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

/// Notes that a range is about to be closed, where the kernel will do so (Linux v6.1 fs/open.c, fs/file.c):
/// a range that ends before it begins, or an unknown flag, is EINVAL; CLOSE_RANGE_CLOEXEC closes nothing.
///
/// `for_now`: `ledger::closed` will be told when it is done. `caller` is 0 where it is not known.
pub extern "C-unwind" fn note_range(first: c_uint, last: c_uint, flags: c_int, for_now: bool, caller: usize) {
    if closes(first, last, flags) {
        ledger::closing_range(first, last, for_now, caller);
    }
}

/// Whether close_range with these arguments closes anything.
pub fn closes(first: c_uint, last: c_uint, flags: c_int) -> bool {
    first <= last && flags as c_uint & !libc::CLOSE_RANGE_UNSHARE == 0
}
