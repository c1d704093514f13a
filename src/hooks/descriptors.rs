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
use crate::{ledger, real};

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

#[cfg(not(any(test, portable)))]
mod exports {
    use epollshim_format::function::Function;
    use libc::{c_int, c_uint};

    use crate::hooks::armed::exports as armed;
    use crate::hooks::entry::parts;
    use crate::policy;

    /// An entry in assembly, by a type that says nothing of its arguments.
    type Entry = unsafe extern "C-unwind" fn() -> isize;

    redhook::hook! {
        unsafe fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int => noted_close_range {
            if policy::is_armed_for(Function::CloseRange) {
                // SAFETY: it passes its registers on to the real close_range, and returns what that returns.
                let armed: crate::real::CloseRange = unsafe { core::mem::transmute(armed::close_range as Entry) };
                // SAFETY: the program's own call.
                return unsafe { armed(first, last, flags) };
            }
            type Unwinding = extern "C-unwind" fn(c_uint, c_uint, c_int, bool, usize);
            type Quiet = extern "C" fn(c_uint, c_uint, c_int, bool, usize);
            // SAFETY: the types differ in what may unwind, and nothing does. (rustc would not be sure of it, and would leave `hook!`'s
            // `catch_unwind` standing around the real call, and with it all of std's panicking in the library.)
            let note_range = unsafe { core::mem::transmute::<Unwinding, Quiet>(super::note_range) };
            note_range(first, last, flags, false, 0);
            // SAFETY: the program's own call.
            unsafe { crate::real::close_range()(first, last, flags) }
        }
    }

    // `close` jumps here, so that the program's return address lies where it lay.
    crate::arch::x86_64::entries::passing! {
        one:
        close_noted: super::before_close;
        close_alias_noted: super::before_alias_of_close;
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn close(fd: c_int) -> c_int {
        let address = if policy::is_armed_for(Function::Close) {
            armed::close as Entry as usize
        } else if crate::ledger::may_concern(fd) {
            close_noted as Entry as usize
        } else {
            crate::real::CLOSE.resolved()
        };
        // SAFETY: the program's own call, of the real function or of what passes the register on to it and returns what that returns.
        unsafe { core::mem::transmute::<usize, crate::real::Close>(address)(fd) }
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn __close(fd: c_int) -> c_int {
        let address = if policy::is_armed_for(Function::Close) {
            armed::close as Entry as usize
        } else if crate::ledger::may_concern(fd) {
            close_alias_noted as Entry as usize
        } else {
            crate::real::CLOSE_ALIAS.resolved()
        };
        // SAFETY: the program's own call, of the real function or of what passes the register on to it and returns what that returns.
        unsafe { core::mem::transmute::<usize, crate::real::Close>(address)(fd) }
    }

    crate::arch::x86_64::entries::behind! {
        #[unsafe(no_mangle)]
        dup(1) or dup: crate::real::DUP, super::after_dup;
        #[unsafe(no_mangle)]
        dup2(1) or dup2: crate::real::DUP2, super::after_dup;
        #[unsafe(no_mangle)]
        __dup2(1) or dup2: crate::real::DUP2_ALIAS, super::after_dup;
        #[unsafe(no_mangle)]
        dup3(1) or dup3: crate::real::DUP3, super::after_dup;
        duplicate(1): crate::real::FCNTL, super::after_dup;
    }

    // Only two commands of fcntl give a new number; every other is a jump to the real function.
    crate::arch::x86_64::entries::choosing! {
        #[unsafe(no_mangle)]
        fcntl or fcntl by command duplicate, else crate::real::FCNTL;
    }
    crate::arch::x86_64::entries::choosing! {
        #[unsafe(no_mangle)]
        fcntl64 or fcntl by command duplicate, else crate::real::FCNTL64;
    }
    crate::arch::x86_64::entries::choosing! {
        #[unsafe(no_mangle)]
        __fcntl or fcntl by command duplicate, else crate::real::FCNTL_ALIAS;
    }
}

/// Returns the function that closes.
#[unsafe(link_section = ".text.hot.epollshim.more")]
extern "C-unwind" fn before_close(fd: c_int, caller: usize) -> usize {
    ledger::closing(fd, caller);
    real::CLOSE.address()
}

extern "C-unwind" fn before_alias_of_close(fd: c_int, caller: usize) -> usize {
    ledger::closing(fd, caller);
    real::CLOSE_ALIAS.address()
}

pub extern "C-unwind" fn before_dup(_: &mut Frame) -> usize {
    real::DUP.address()
}

pub extern "C-unwind" fn before_dup2(_: &mut Frame) -> usize {
    real::DUP2.address()
}

pub extern "C-unwind" fn before_dup3(_: &mut Frame) -> usize {
    real::DUP3.address()
}

pub extern "C-unwind" fn before_fcntl(_: &mut Frame) -> usize {
    real::FCNTL.address()
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
