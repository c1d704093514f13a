//! What each hook does before and after the real call when nothing is armed, by function. This
//! table is for entries that learn the function at run time: those in plain Rust (portable.rs),
//! `syscall` (raw.rs), and armed ones (armed.rs).

use epollshim_format::for_each_function;
use epollshim_format::function::Function;
use libc::c_uint;

use super::census_handlers::census_handlers;
use super::entry::{After, Before, Frame, Handlers};
use super::{creators, descriptors, epoll};
use crate::{census, ledger, real};

/// The handlers of a function. `operation` is the second argument of `epoll_ctl`; other functions
/// ignore it.
#[inline(always)]
pub fn default_handlers(function: Function, operation: usize) -> Handlers {
    if census::is_on() {
        return default_or_census(function, operation);
    }
    without_census(function, operation)
}

#[cold]
#[inline(never)]
fn default_or_census(function: Function, operation: usize) -> Handlers {
    census_handlers(function).unwrap_or(without_census(function, operation))
}

#[inline(always)]
fn without_census(function: Function, operation: usize) -> Handlers {
    if function == Function::EpollCtl {
        of_ctl(operation)
    } else {
        DEFAULT_HANDLERS.get(function as usize).copied().unwrap_or(NOTHING)
    }
}

fn of_ctl(operation: usize) -> Handlers {
    let (before, after): (Before, After) = match operation as i32 {
        libc::EPOLL_CTL_ADD => (epoll::before_add, epoll::after_add),
        libc::EPOLL_CTL_DEL => (nothing_before, epoll::after_del),
        libc::EPOLL_CTL_MOD => (nothing_before, epoll::after_mod),
        _ => (nothing_before, epoll::after_other),
    };
    Handlers { before, after }
}

/// The handlers of a function, by its role and name. Those of `epoll_ctl` come from [`of_ctl`].
macro_rules! handlers {
    (Instance $name:ident) => {
        Handlers { before: nothing_before, after: epoll::after::$name }
    };
    (Ctl $name:ident) => {
        Handlers { before: nothing_before, after: epoll::after_other }
    };
    (Wait $name:ident) => {
        Handlers { before: epoll::before::$name, after: epoll::after::$name }
    };
    (Close close) => {
        Handlers { before: before_close, after: after_close }
    };
    (Close close_range) => {
        Handlers { before: before_close_range, after: after_close }
    };
    (Duplicate fcntl) => {
        Handlers { before: nothing_before, after: after_fcntl }
    };
    (Duplicate $name:ident) => {
        Handlers { before: nothing_before, after: descriptors::after_dup }
    };
    // The ledger does not record functions that only create descriptors.
    ($role:ident $name:ident) => {
        NOTHING
    };
}

macro_rules! default_handlers {
    ($($variant:ident $name:ident ($($alias:ident)*) $number:literal $system_call:literal $role:ident ($($class:ident)*)
       $cancellation:ident $descriptor:ident [$($note:tt)*] $from:ident $arguments:literal [$($error:ident)*];)*) => {
        /// By the functions' numbers. It ends before the first function that the ledger does not
        /// record.
        static DEFAULT_HANDLERS: [Handlers; creators::FIRST as usize] = ledger_rows([$(handlers!($role $name)),*]);
    };
}
for_each_function!(default_handlers);

#[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const fn ledger_rows(all: [Handlers; Function::COUNT]) -> [Handlers; creators::FIRST as usize] {
    let mut handlers = [NOTHING; creators::FIRST as usize];
    let mut at = 0;
    while at < handlers.len() {
        handlers[at] = all[at];
        at += 1;
    }
    handlers
}

const NOTHING: Handlers = Handlers { before: nothing_before, after: nothing_after };

/// Returns 0, for "no function chosen": the entry knows under which alias it was called.
pub extern "C-unwind" fn nothing_before(_: &mut Frame) -> usize {
    0
}

pub extern "C-unwind" fn nothing_after(_: &mut Frame, result: isize) -> isize {
    result
}

pub extern "C-unwind" fn before_close(frame: &mut Frame) -> usize {
    ledger::closing_deferred(frame.int(0), frame.caller);
    real::function::close.address()
}

pub extern "C-unwind" fn before_close_range(frame: &mut Frame) -> usize {
    descriptors::note_range(frame.word(0) as c_uint, frame.word(1) as c_uint, frame.int(2), true, frame.caller);
    real::function::close_range.address()
}

pub extern "C-unwind" fn after_close(_: &mut Frame, result: isize) -> isize {
    ledger::closed();
    result
}

pub extern "C-unwind" fn after_fcntl(frame: &mut Frame, result: isize) -> isize {
    if descriptors::gives_a_number(frame.int(1)) { descriptors::after_dup(frame, result) } else { result }
}
