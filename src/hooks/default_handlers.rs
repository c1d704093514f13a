//! What each hook does before and after the real call where nothing is armed, by function. For entries that are told the function as
//! they go: those in plain Rust (portable.rs), of `syscall` (raw.rs), and of what is armed (armed.rs).

use epollshim_format::function::Function;
use libc::c_uint;

use super::census_handlers::census_handlers;
use super::entry::{After, Before, Frame, Handlers};
use super::{creators, descriptors, epoll};
use crate::{census, ledger, real};

/// Of `epoll_ctl`, by its operation.
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
    let of_ctl = of_ctl(operation);
    if function == Function::EpollCtl {
        of_ctl
    } else {
        DEFAULT_HANDLERS.get(function as usize).copied().unwrap_or(of_ctl)
    }
}

fn of_ctl(operation: usize) -> Handlers {
    let (before, after): (Before, After) = match operation as i32 {
        libc::EPOLL_CTL_ADD => (epoll::before_add, epoll::after_add),
        libc::EPOLL_CTL_DEL => (epoll::before_other, epoll::after_del),
        libc::EPOLL_CTL_MOD => (epoll::before_other, epoll::after_mod),
        _ => (epoll::before_other, epoll::after_other),
    };
    Handlers { before, after }
}

/// By the function's number. Of `epoll_ctl` see [`of_ctl`].
#[allow(clippy::indexing_slicing)] // at compile time: an index too large does not build
static DEFAULT_HANDLERS: [Handlers; Function::COUNT] = {
    let mut handlers = [Handlers { before: epoll::before_other, after: epoll::after_other }; Function::COUNT];
    let mut at = 0;
    while at < handlers.len() {
        let (before, after): (Before, After) = match Function::ALL[at] {
            Function::EpollCreate => (epoll::before_create, epoll::after_create),
            Function::EpollCreate1 => (epoll::before_create1, epoll::after_create1),
            Function::EpollCtl => (epoll::before_other, epoll::after_other),
            Function::EpollWait => (epoll::before_wait, epoll::after_wait),
            Function::EpollPwait => (epoll::before_pwait, epoll::after_pwait),
            Function::EpollPwait2 => (epoll::before_pwait2, epoll::after_pwait2),
            Function::Close => (before_close, after_close),
            Function::Dup => (descriptors::before_dup, descriptors::after_dup),
            Function::Dup2 => (descriptors::before_dup2, descriptors::after_dup),
            Function::Dup3 => (descriptors::before_dup3, descriptors::after_dup),
            Function::Fcntl => (descriptors::before_fcntl, after_fcntl),
            Function::CloseRange => (before_close_range, after_close),
            _ => (creators::THE_OWN.before, creators::THE_OWN.after),
        };
        handlers[at] = Handlers { before, after };
        at += 1;
    }
    handlers
};

pub extern "C-unwind" fn before_close(frame: &mut Frame) -> usize {
    ledger::closing_for_now(frame.int(0), frame.caller);
    real::CLOSE.address()
}

pub extern "C-unwind" fn before_close_range(frame: &mut Frame) -> usize {
    descriptors::note_range(frame.word(0) as c_uint, frame.word(1) as c_uint, frame.int(2), true, frame.caller);
    real::CLOSE_RANGE.address()
}

pub extern "C-unwind" fn after_close(_: &mut Frame, result: isize) -> isize {
    ledger::closed();
    result
}

pub extern "C-unwind" fn after_fcntl(frame: &mut Frame, result: isize) -> isize {
    if descriptors::gives_a_number(frame.int(1)) { descriptors::after_dup(frame, result) } else { result }
}
