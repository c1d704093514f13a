//! What the hooks do while there is a census: what those of default_handlers.rs do, and besides each notes what its descriptors become, before the ledger's
//! own or after it. They are armed for it, so that without a census nothing asks.

use epollshim_format::census::Kind;
use epollshim_format::function::Function;
use libc::{c_int, c_uint};

use super::default_handlers::{after_close, after_fcntl, before_close, before_close_range};
use super::entry::{After, Before, Frame, Handlers};
use super::{creators, descriptors, epoll};
use crate::census::{self, Birth};
use crate::{stacks, sys};

/// None: a function that neither makes nor closes any descriptor.
pub fn census_handlers(function: Function) -> Option<Handlers> {
    let (before, after): (Before, After) = match function {
        Function::EpollCreate => (epoll::before_create, after_create),
        Function::EpollCreate1 => (epoll::before_create1, after_create1),
        Function::Close => (before_close_with_census, after_close_with_census),
        Function::Dup => (descriptors::before_dup, after_dup),
        Function::Dup2 => (descriptors::before_dup2, after_dup2),
        Function::Dup3 => (descriptors::before_dup3, after_dup3),
        Function::Fcntl => (descriptors::before_fcntl, after_fcntl_with_census),
        Function::CloseRange => (before_close_range_with_census, after_close),
        _ => return creators::handlers(function),
    };
    Some(Handlers { before, after })
}

extern "C-unwind" fn after_create(frame: &mut Frame, fd: isize) -> isize {
    note_instance(frame, fd, false);
    epoll::after_create(frame, fd)
}

extern "C-unwind" fn after_create1(frame: &mut Frame, fd: isize) -> isize {
    note_instance(frame, fd, frame.int(0) & libc::EPOLL_CLOEXEC != 0);
    epoll::after_create1(frame, fd)
}

fn note_instance(frame: &Frame, fd: isize, is_cloexec: bool) {
    if fd < 0 {
        return census::failed();
    }
    let birth = Birth { kind: Kind::Epoll, site: stacks::site(frame.caller), is_cloexec, is_placed: false };
    census::born(fd as c_int, birth);
}

extern "C-unwind" fn before_close_with_census(frame: &mut Frame) -> usize {
    let state = census::closing(frame.int(0), frame.caller);
    let address = before_close(frame);
    frame.state = state;
    address
}

extern "C-unwind" fn after_close_with_census(frame: &mut Frame, result: isize) -> isize {
    let result = after_close(frame, result);
    if result < 0 {
        census::close_failed(frame.int(0), frame.caller, frame.state, sys::errno());
    }
    result
}

extern "C-unwind" fn before_close_range_with_census(frame: &mut Frame) -> usize {
    let (first, last, flags) = (frame.word(0) as c_uint, frame.word(1) as c_uint, frame.int(2));
    if descriptors::closes(first, last, flags) {
        census::closing_range(first, last, frame.caller);
    }
    before_close_range(frame)
}

/// Of `old`, by a call that returned `new`.
fn note_duplicate(frame: &Frame, new: isize, is_cloexec: bool, is_placed: bool) {
    if new < 0 {
        return census::failed();
    }
    let birth = Birth { kind: Kind::Other, site: stacks::site(frame.caller), is_cloexec, is_placed };
    census::duplicated(frame.int(0), new as c_int, birth);
}

extern "C-unwind" fn after_dup(frame: &mut Frame, new: isize) -> isize {
    note_duplicate(frame, new, false, false);
    descriptors::after_dup(frame, new)
}

extern "C-unwind" fn after_dup2(frame: &mut Frame, new: isize) -> isize {
    note_duplicate(frame, new, false, true);
    descriptors::after_dup(frame, new)
}

extern "C-unwind" fn after_dup3(frame: &mut Frame, new: isize) -> isize {
    note_duplicate(frame, new, frame.int(2) & libc::O_CLOEXEC != 0, true);
    descriptors::after_dup(frame, new)
}

extern "C-unwind" fn after_fcntl_with_census(frame: &mut Frame, result: isize) -> isize {
    match frame.int(1) {
        libc::F_DUPFD => note_duplicate(frame, result, false, false),
        libc::F_DUPFD_CLOEXEC => note_duplicate(frame, result, true, false),
        libc::F_SETFD if result == 0 => census::set_flags(frame.int(0), frame.int(2)),
        _ => {}
    }
    after_fcntl(frame, result)
}
