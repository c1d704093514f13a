//! What a wait returned: counts its events, and notes them for the ledger and for findings.

use epollshim_format::call::Call;
use epollshim_format::findings::use_after_close;
use libc::{c_int, epoll_event};

use crate::counters::{self, Counter, OwnCounter, WaitEnd};
use crate::findings::errors::FailedWait;
use crate::findings::watch::Watch;
use crate::hooks::entry::{Frame, opaque};
use crate::thread::Block;
use crate::{census, findings, ledger, sys};

/// Counts the result of a wait that began at `start` (0: not timed). `empty` is the counter for no
/// events. The slow paths, and everything that calls a function, are separate functions, as after
/// an `epoll_ctl`.
#[inline(always)]
pub(super) fn note_wait(
    block: &'static Block,
    call: Call,
    frame: &mut Frame,
    start: u64,
    count: isize,
    empty: &Counter,
) -> isize {
    if count == 0 {
        empty.bump();
        if !ledger::waited_alone(frame.int(0), WaitEnd::Empty, block) {
            return note_rare_wait(block, frame, count);
        }
        return count;
    }
    let batch = block.counters.batch();
    // A failure, as an unsigned number, is not small.
    if !batch.has_reached_small(count as u64) || batch.sum().wrapping_add(count as u64) >= block.part::<Watch>().due() {
        return note_other_wait(block, call, frame, start, count);
    }
    block.counters.record_batch(count as u64);
    let full = is_full(frame, count);
    block.counters.add_full(u64::from(full));
    if !are_plain(frame, count) {
        return note_mixed_wait(block, frame, count);
    }
    block.counters.delivered_plain(count as u64);
    let end = WaitEnd::Events { count: count as u64, full, first: core::ptr::null() };
    if !ledger::waited_alone(frame.int(0), end, block) {
        return note_rare_wait(block, frame, count);
    }
    count
}

#[inline(always)]
fn is_full(frame: &Frame, count: isize) -> bool {
    count as c_int == frame.int(2)
}

/// The event masks that a wait returned.
fn masks(frame: &Frame, count: isize) -> impl Iterator<Item = u32> {
    let events = frame.word(1) as *const epoll_event;
    // SAFETY: the wait returned `count`, so the kernel has written that many events to the
    // program's buffer.
    (0..count as usize).map(move |index| unsafe { (&raw const (*events.wrapping_add(index)).events).read_unaligned() })
}

#[inline(always)]
fn are_plain(frame: &Frame, count: isize) -> bool {
    // SAFETY: the wait returned `count`, so the kernel has written that many events to the
    // program's buffer.
    unsafe { counters::are_plain(frame.word(1) as *const epoll_event, count as usize) }
}

fn end_of(frame: &Frame, count: isize) -> WaitEnd {
    match count {
        0 => WaitEnd::Empty,
        _ => WaitEnd::Events {
            count: count as u64,
            full: is_full(frame, count),
            first: frame.word(1) as *const epoll_event,
        },
    }
}

/// Slow path: several threads wait on this instance, or this is its first wait.
#[cold]
#[inline(never)]
fn note_rare_wait(block: &'static Block, frame: &Frame, count: isize) -> isize {
    ledger::waited(frame.int(0), end_of(frame, count), block, &frame.caller);
    opaque(count)
}

/// Slow path: some events are of other kinds than the plain ones.
#[inline(never)]
fn note_mixed_wait(block: &'static Block, frame: &Frame, count: isize) -> isize {
    block.counters.delivered(masks(frame, count));
    ledger::waited(frame.int(0), end_of(frame, count), block, &frame.caller);
    opaque(count)
}

/// Slow path: the wait failed; or it returned more events than any before, or many; or the batch
/// detector is due.
#[cold]
#[inline(never)]
fn note_other_wait(block: &'static Block, call: Call, frame: &mut Frame, start: u64, count: isize) -> isize {
    if count < 0 {
        return note_failed_wait(block, call, frame, count);
    }
    note_events_and_look(block, frame, start, count)
}

#[inline(never)]
fn note_events_and_look(block: &'static Block, frame: &mut Frame, start: u64, count: isize) -> isize {
    let counters = &block.counters;
    counters.batch().record(count as u64);
    counters.add_full(u64::from(is_full(frame, count)));
    if are_plain(frame, count) {
        counters.delivered_plain(count as u64);
    } else {
        note_mixed(counters, frame, count);
    }
    ledger::waited(frame.int(0), end_of(frame, count), block, &frame.caller);
    if counters.batch().sum() >= block.part::<Watch>().due() {
        frame.state = start;
        findings::batch::look(block, frame, count as usize);
    }
    opaque(count)
}

/// Counts events of several kinds.
#[cold]
#[inline(never)]
fn note_mixed(counters: &counters::Counters, frame: &Frame, count: isize) {
    counters.delivered(masks(frame, count));
}

#[cold]
#[inline(never)]
fn note_failed_wait(block: &'static Block, call: Call, frame: &Frame, count: isize) -> isize {
    let epfd = frame.int(0);
    let error = sys::errno();
    block.counters.error(call, error);
    if error == libc::EBADF {
        // The descriptor is not open. If the ledger has an instance there, it no longer exists.
        ledger::waited_on_bad(epfd);
        census::used(epfd, use_after_close::WAIT, frame.caller);
    } else {
        ledger::waited(epfd, WaitEnd::Failed { interrupted: error == libc::EINTR }, block, &frame.caller);
    }
    let call = FailedWait { epfd, maxevents: frame.int(2), error, site: frame.caller };
    findings::errors::wait_failed(block, &call);
    opaque(count)
}
