//! close, dup, dup2, dup3, fcntl, close_range, closefrom, and glibc's aliases of them.
//!
//! What takes a number away is noted before the real call, what gives one after it: whoever gets the number next must find
//! the ledger ready. dup2 replaces a number in one step, and is noted after.
//!
//! dup, dup2, dup3 and close_range are redhook's `hook!`: fixed arity, no cancellation point, and a real
//! function whose look-up cannot unwind, so that the macro's catch_unwind compiles to nothing. Its `real!` is
//! not used: std's Once inside would deadlock in a signal handler, and panics where a symbol is missing.
//! close and fcntl are cancellation points, so they are written out, `extern "C-unwind"`.

use libc::{c_int, c_uint};

use crate::ledger;

#[cfg(not(test))]
mod exports {
    use libc::{c_int, c_uint};

    redhook::hook! {
        unsafe fn dup(old: c_int) -> c_int => noted_dup {
            // SAFETY: the program's own call.
            super::note_duplicate(old, unsafe { crate::real::dup()(old) })
        }
    }

    redhook::hook! {
        unsafe fn dup2(old: c_int, new: c_int) -> c_int => noted_dup2 {
            // SAFETY: the program's own call.
            super::note_duplicate(old, unsafe { crate::real::dup2()(old, new) })
        }
    }

    redhook::hook! {
        unsafe fn __dup2(old: c_int, new: c_int) -> c_int => noted_alias_of_dup2 {
            // SAFETY: the program's own call.
            super::note_duplicate(old, unsafe { crate::real::__dup2()(old, new) })
        }
    }

    redhook::hook! {
        unsafe fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int => noted_dup3 {
            // SAFETY: the program's own call.
            super::note_duplicate(old, unsafe { crate::real::dup3()(old, new, flags) })
        }
    }

    redhook::hook! {
        unsafe fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int => noted_close_range {
            super::note_range(first, last, flags);
            // SAFETY: the program's own call.
            unsafe { crate::real::close_range()(first, last, flags) }
        }
    }

    /// `closefrom(3)`: descriptors below zero are no descriptors.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn closefrom(first: c_int) {
        super::note_range(first.max(0) as c_uint, c_uint::MAX, 0);
        // SAFETY: the program's own call.
        unsafe { crate::real::closefrom()(first) };
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn close(fd: c_int) -> c_int {
        crate::ledger::closing(fd);
        // SAFETY: the program's own call.
        unsafe { crate::real::close()(fd) }
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn __close(fd: c_int) -> c_int {
        crate::ledger::closing(fd);
        // SAFETY: the program's own call.
        unsafe { crate::real::__close()(fd) }
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
        // SAFETY: the program's own call.
        super::note_fcntl(fd, command, unsafe { crate::real::fcntl()(fd, command, argument) })
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
        // SAFETY: the program's own call.
        super::note_fcntl(fd, command, unsafe { crate::real::fcntl64()(fd, command, argument) })
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn __fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
        // SAFETY: the program's own call.
        super::note_fcntl(fd, command, unsafe { crate::real::__fcntl()(fd, command, argument) })
    }
}

/// Notes what a dup, dup2 or dup3 of `old` returned, and returns it.
#[inline(always)]
pub fn note_duplicate(old: c_int, new: c_int) -> c_int {
    if new >= 0 && new != old {
        ledger::duplicated(old, new);
    }
    new
}

/// Notes what an fcntl returned, and returns it.
#[inline(always)]
pub fn note_fcntl(fd: c_int, command: c_int, result: c_int) -> c_int {
    if command == libc::F_DUPFD || command == libc::F_DUPFD_CLOEXEC {
        note_duplicate(fd, result)
    } else {
        result
    }
}

/// Notes that a range is about to be closed, where the kernel will do so (Linux v6.1 fs/open.c, fs/file.c):
/// a range that ends before it begins, or an unknown flag, is EINVAL; CLOSE_RANGE_CLOEXEC closes nothing.
pub fn note_range(first: c_uint, last: c_uint, flags: c_int) {
    let flags = flags as c_uint;
    if first <= last && flags & !libc::CLOSE_RANGE_UNSHARE == 0 {
        ledger::closing_range(first, last);
    }
}

