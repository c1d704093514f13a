//! epoll_create(size), epoll_create1(flags).

use epollshim_format::call::Call;
use libc::c_int;

use crate::counters::OwnCounter;
use crate::hooks::entry::Frame;
use crate::ledger::core::Creation;
use crate::ledger::records::Origin;
use crate::thread::Block;
use crate::{census, findings, ledger, stacks, sys, thread};

// Frames are read with the same types that libc gives to glibc's functions.
const _: crate::real::EpollCreate = libc::epoll_create;
const _: crate::real::EpollCreate = libc::epoll_create1;

#[unsafe(link_section = ".text.hot.epollshim.more")]
pub extern "C-unwind" fn after_create(frame: &mut Frame, fd: isize) -> isize {
    note_creation(Call::Create, Origin::Create, frame, fd as c_int);
    fd
}

#[unsafe(link_section = ".text.hot.epollshim.more")]
pub extern "C-unwind" fn after_create1(frame: &mut Frame, fd: isize) -> isize {
    note_creation(Call::Create1, Origin::Create1, frame, fd as c_int);
    fd
}

#[unsafe(link_section = ".text.hot.epollshim.more")]
fn note_creation(call: Call, origin: Origin, frame: &Frame, fd: c_int) {
    let Some(block) = thread::block() else { return };
    if fd < 0 {
        return note_failure(block, call, origin, frame);
    }
    block.counters.calls(call).bump();
    ledger::created(block, fd, Creation { origin, argument: frame.int(0), site: stacks::site(frame.caller) });
}

#[cold]
#[inline(never)]
fn note_failure(block: &Block, call: Call, origin: Origin, frame: &Frame) {
    let error = sys::errno();
    if origin == Origin::Create {
        findings::errors::create_failed(frame.int(0), error, frame.caller);
    }
    findings::limits::creation_refused(error, frame.caller);
    census::exhausted::met(error, frame.caller);
    block.counters.failed(call, error);
}
