//! What the hooks do while there is a census: they do what default_handlers.rs says, and note what
//! happens to descriptors, before or after that. The functions are armed for it, so without a
//! census nothing tests whether there is one.

use epollshim_format::census::Kind;
use epollshim_format::findings::use_after_close;
use epollshim_format::for_each_function;
use epollshim_format::function::Function;
use libc::{c_int, c_uint};

use super::default_handlers::{
    after_close, after_fcntl, before_close, before_close_range, nothing_after, nothing_before,
};
use super::entry::{Frame, Handlers};
use super::{creators, descriptors, epoll, starters, streams};
use crate::census::{self, Birth};
use crate::{stacks, sys};

/// None: the function neither creates nor closes descriptors.
pub fn census_handlers(function: Function) -> Option<Handlers> {
    CENSUS_HANDLERS.get(function as usize).copied().flatten()
}

/// The handlers, by what the function's row says that the census notes.
macro_rules! handlers {
    ($name:ident nothing) => {
        None
    };
    ($name:ident close) => {
        Some(Handlers { before: before_close_with_census, after: after_close_with_census })
    };
    ($name:ident range) => {
        Some(Handlers { before: before_close_range_with_census, after: after_close })
    };
    ($name:ident command) => {
        Some(Handlers { before: nothing_before, after: after_fcntl_with_census })
    };
    ($name:ident stream) => {
        Some(Handlers { before: streams::before::$name, after: streams::after::$name })
    };
    ($name:ident start) => {
        Some(Handlers { before: starters::before::$name, after: nothing_after })
    };
    ($name:ident instance $($rest:tt)*) => {
        Some(Handlers { before: nothing_before, after: after::$name })
    };
    ($name:ident copy $($rest:tt)*) => {
        Some(Handlers { before: nothing_before, after: after::$name })
    };
    ($name:ident $($creation:tt)*) => {
        Some(Handlers { before: nothing_before, after: creators::after::$name })
    };
}

macro_rules! census_handlers {
    ($($variant:ident $name:ident ($($alias:ident)*) $number:literal $system_call:literal $role:ident ($($class:ident)*)
       $cancellation:ident $descriptor:ident [$($note:tt)*] $from:ident $arguments:literal [$($error:ident)*];)*) => {
        /// By the functions' numbers.
        static CENSUS_HANDLERS: [Option<Handlers>; Function::COUNT] = [$(handlers!($name $($note)*)),*];

        /// What runs after the functions that create an instance or a duplicate, by their names.
        mod after {
            use super::{Frame, descriptors, epoll};

            $(after!($name $($note)*);)*
        }
    };
}

/// Notes the new descriptor, then runs the default handler.
macro_rules! after {
    ($name:ident instance $($flags:literal)?) => {
        pub extern "C-unwind" fn $name(frame: &mut Frame, fd: isize) -> isize {
            let flags: libc::c_int = 0 $(+ frame.int($flags))?;
            super::note_instance(frame, fd, flags & libc::EPOLL_CLOEXEC != 0);
            epoll::after::$name(frame, fd)
        }
    };
    ($name:ident copy $($flags:literal)?) => {
        after!($name of_copy false $($flags)?);
    };
    ($name:ident copy placed $($flags:literal)?) => {
        after!($name of_copy true $($flags)?);
    };
    ($name:ident of_copy $is_placed:literal $($flags:literal)?) => {
        pub extern "C-unwind" fn $name(frame: &mut Frame, new: isize) -> isize {
            let flags: libc::c_int = 0 $(+ frame.int($flags))?;
            super::note_duplicate(frame, new, flags & libc::O_CLOEXEC != 0, $is_placed);
            descriptors::after_dup(frame, new)
        }
    };
    ($name:ident $($other:tt)*) => {};
}
for_each_function!(census_handlers);

fn note_instance(frame: &Frame, fd: isize, is_cloexec: bool) {
    if fd < 0 {
        return census::failed();
    }
    let birth = Birth { kind: Kind::Epoll, site: stacks::site(frame.caller), is_cloexec, is_placed: false };
    census::born(fd as c_int, birth);
}

pub extern "C-unwind" fn before_close_with_census(frame: &mut Frame) -> usize {
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

/// Notes a call that duplicates its first argument and has returned `new`.
fn note_duplicate(frame: &Frame, new: isize, is_cloexec: bool, is_placed: bool) {
    if new < 0 {
        used(frame, use_after_close::DUP);
        return census::failed();
    }
    let birth = Birth { kind: Kind::Other, site: stacks::site(frame.caller), is_cloexec, is_placed };
    census::duplicated(frame.int(0), new as c_int, birth);
}

extern "C-unwind" fn after_fcntl_with_census(frame: &mut Frame, result: isize) -> isize {
    match frame.int(1) {
        libc::F_DUPFD => note_duplicate(frame, result, false, false),
        libc::F_DUPFD_CLOEXEC => note_duplicate(frame, result, true, false),
        libc::F_SETFD if result == 0 => census::set_flags(frame.int(0), frame.int(2)),
        libc::F_GETFD | libc::F_GETFL if result < 0 => used(frame, use_after_close::PROBE),
        _ if result < 0 => used(frame, use_after_close::FCNTL),
        _ => {}
    }
    after_fcntl(frame, result)
}

/// Notes that the call has failed with EBADF on its first argument.
fn used(frame: &Frame, call: u8) {
    if sys::errno() == libc::EBADF {
        census::used(frame.int(0), call, frame.caller);
    }
}
