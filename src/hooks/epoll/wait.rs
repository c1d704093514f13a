//! epoll_wait(epfd, events, maxevents, timeout) and its relatives.

use core::sync::atomic::Ordering;

use epollshim_format::call::Call;
use epollshim_format::findings::thresholds;
use libc::{c_int, epoll_event};

use super::unforeseen;
use crate::hooks::entry::Frame;
use crate::ledger::counters::{self, Counter, WaitEnd};
use crate::thread::Block;
use crate::{clock, findings, ledger, real, sys, thread};

#[cfg(not(test))]
mod exports {
    crate::hooks::entry::around! {
        #[unsafe(link_section = ".text.hot.epollshim")]
        wait_timed(4): super::before_timed_wait, super::after_timed_wait;
        #[unsafe(link_section = ".text.hot.epollshim")]
        pwait_timed(5): super::before_timed_pwait, super::after_timed_pwait;
        #[unsafe(no_mangle)]
        epoll_pwait2(5) or epoll_pwait2: super::before_pwait2, super::after_pwait2;
    }

    // A wait that can block is timed, and has a way of its own: what is decided before the call need not be asked behind it.
    crate::hooks::entry::behind! {
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.hot.epollshim")]
        epoll_wait(4) or epoll_wait unless wait_timed: super::before_wait, crate::real::EPOLL_WAIT, super::after_untimed_wait;
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.hot.epollshim")]
        epoll_pwait(4) or epoll_pwait unless pwait_timed: super::before_pwait, crate::real::EPOLL_PWAIT, super::after_untimed_pwait;
    }

    // The types that frames are read by are those that libc gives to glibc's functions.
    const _: unsafe extern "C" fn(i32, *mut libc::epoll_event, i32, i32) -> i32 = libc::epoll_wait;
    const _: unsafe extern "C" fn(i32, *mut libc::epoll_event, i32, i32, *const libc::sigset_t) -> i32 =
        libc::epoll_pwait;
}

pub extern "C-unwind" fn before_wait(frame: &mut Frame) -> usize {
    begin_wait(Call::Wait, frame, frame.int(3) != 0);
    real::EPOLL_WAIT.address()
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim")]
extern "C-unwind" fn before_timed_wait(frame: &mut Frame) -> usize {
    begin_wait(Call::Wait, frame, true);
    real::EPOLL_WAIT.address()
}

pub extern "C-unwind" fn after_wait(frame: &mut Frame, count: isize) -> isize {
    end_wait(Call::Wait, frame, count)
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim")]
extern "C-unwind" fn after_timed_wait(frame: &mut Frame, count: isize) -> isize {
    end_timed_wait(Call::Wait, frame, count)
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim")]
extern "C-unwind" fn after_untimed_wait(frame: &mut Frame, count: isize) -> isize {
    end_untimed_wait(Call::Wait, frame, count)
}

pub extern "C-unwind" fn before_pwait(frame: &mut Frame) -> usize {
    begin_wait(Call::Pwait, frame, frame.int(3) != 0);
    real::EPOLL_PWAIT.address()
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim")]
extern "C-unwind" fn before_timed_pwait(frame: &mut Frame) -> usize {
    begin_wait(Call::Pwait, frame, true);
    real::EPOLL_PWAIT.address()
}

pub extern "C-unwind" fn after_pwait(frame: &mut Frame, count: isize) -> isize {
    end_wait(Call::Pwait, frame, count)
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim")]
extern "C-unwind" fn after_timed_pwait(frame: &mut Frame, count: isize) -> isize {
    end_timed_wait(Call::Pwait, frame, count)
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim")]
extern "C-unwind" fn after_untimed_pwait(frame: &mut Frame, count: isize) -> isize {
    end_untimed_wait(Call::Pwait, frame, count)
}

/// A timeout may point to zero, but only the kernel may look: the address may be bad, which is EFAULT.
pub extern "C-unwind" fn before_pwait2(frame: &mut Frame) -> usize {
    begin_wait(Call::Pwait2, frame, true);
    real::EPOLL_PWAIT2.address()
}

pub extern "C-unwind" fn after_pwait2(frame: &mut Frame, count: isize) -> isize {
    end_timed_wait(Call::Pwait2, frame, count)
}

/// Only a wait that can block is timed: `state` is when it began, or 0. It is counted as it begins, since it may never
/// come back: cancelled, or left by siglongjmp.
#[inline(always)]
fn begin_wait(call: Call, frame: &mut Frame, can_block: bool) {
    frame.state = 0;
    if !can_block {
        return;
    }
    let Some(block) = thread::block() else { return };
    let counters = &block.counters;
    counters.calls(call).bump();
    block.begin_wait(frame.int(0), frame.caller);
    let start = clock::monotonic();
    let last = counters.last_wait_end.load(Ordering::Relaxed);
    if last != 0 {
        let work = start.saturating_sub(last);
        counters.work().record(work);
        counters.last_wait_end.store(0, Ordering::Relaxed);
        if work >= thresholds::LATE {
            block.watch.late(frame.int(0), work, frame.caller);
        }
    }
    frame.state = start;
}

#[inline(always)]
fn end_wait(call: Call, frame: &mut Frame, count: isize) -> isize {
    if frame.state == 0 { end_untimed_wait(call, frame, count) } else { end_timed_wait(call, frame, count) }
}

#[inline(always)]
fn end_timed_wait(call: Call, frame: &mut Frame, count: isize) -> isize {
    let start = frame.state;
    if start == 0 {
        // The thread had no block when it began.
        return end_first_wait(call, frame, count);
    }
    let Some(block) = thread::block() else { return count };
    block.end_wait();
    let end = clock::monotonic();
    if block.is_older(start) {
        count_in_child(block, call);
    }
    block.counters.last_wait_end.store(end, Ordering::Relaxed);
    if let Some(blocked) = block.counters.blocked(call) {
        blocked.record(end.saturating_sub(start));
    }
    if count == 0 {
        block.counters.short.add(u64::from(frame.int(3) == 1));
    }
    note_wait(block, call, frame, start, count, &block.counters.empty)
}

/// A handler has forked, and this is the child: here too a call returns, as other calls do, and is counted.
#[cold]
#[inline(never)]
fn count_in_child(block: &Block, call: Call) {
    block.counters.calls(call).bump();
}

#[inline(always)]
fn end_untimed_wait(call: Call, frame: &mut Frame, count: isize) -> isize {
    let Some(block) = thread::block_at_hand() else { return end_first_wait(call, frame, count) };
    block.counters.calls(call).bump();
    block.counters.last_wait_end.store(0, Ordering::Relaxed);
    note_wait(block, call, frame, 0, count, &block.counters.polled)
}

#[cold]
#[inline(never)]
fn end_first_wait(call: Call, frame: &mut Frame, count: isize) -> isize {
    if thread::block().is_some() { end_untimed_wait(call, frame, count) } else { unforeseen(count) }
}

/// What came of a wait that began at `start` (0: it was not timed); `empty` counts it if that is nothing. What is rare, and
/// what calls something, has a function of its own to its end, as behind an `epoll_ctl`.
#[inline(always)]
fn note_wait(block: &'static Block, call: Call, frame: &mut Frame, start: u64, count: isize, empty: &Counter) -> isize {
    if count < 0 {
        return note_failed_wait(block, call, frame, count);
    }
    if count == 0 {
        empty.bump();
        if !ledger::waited_alone(frame.int(0), WaitEnd::Empty, block) {
            return note_rare_wait(block, frame, count);
        }
        return count;
    }
    let batch = block.counters.batch();
    if !batch.has_reached(count as u64) || batch.sum().wrapping_add(count as u64) >= block.watch.due() {
        return note_events_and_look(block, frame, start, count);
    }
    batch.record_reached(count as u64);
    let full = is_full(frame, count);
    block.counters.full.add(u64::from(full));
    if !counters::are_plain(count as usize, |index| mask(frame, index)) {
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

/// What the events that a wait returned are.
fn masks(frame: &Frame, count: isize) -> impl Iterator<Item = u32> {
    (0..count as usize).map(|index| mask(frame, index))
}

/// `index`: less than the wait returned.
#[inline(always)]
fn mask(frame: &Frame, index: usize) -> u32 {
    let events = frame.word(1) as *const epoll_event;
    // SAFETY: the kernel has just written that many events there.
    unsafe { (&raw const (*events.wrapping_add(index)).events).read_unaligned() }
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

/// The rest, where several threads wait on an instance, or for the first time.
#[cold]
#[inline(never)]
fn note_rare_wait(block: &'static Block, frame: &Frame, count: isize) -> isize {
    ledger::waited(frame.int(0), end_of(frame, count), block, &frame.caller);
    unforeseen(count)
}

/// The rest, where other events than the plain ones have come.
#[inline(never)]
fn note_mixed_wait(block: &'static Block, frame: &Frame, count: isize) -> isize {
    block.counters.delivered(masks(frame, count));
    ledger::waited(frame.int(0), end_of(frame, count), block, &frame.caller);
    unforeseen(count)
}

/// Of a wait that returned events, with whatever that brings.
#[cold]
#[inline(never)]
fn note_events_and_look(block: &'static Block, frame: &mut Frame, start: u64, count: isize) -> isize {
    let counters = &block.counters;
    counters.batch().record(count as u64);
    counters.full.add(u64::from(is_full(frame, count)));
    counters.delivered(masks(frame, count));
    ledger::waited(frame.int(0), end_of(frame, count), block, &frame.caller);
    if counters.batch().sum() >= block.watch.due() {
        frame.state = start;
        findings::watch::look(block, frame, count as usize);
    }
    unforeseen(count)
}

#[cold]
#[inline(never)]
fn note_failed_wait(block: &'static Block, call: Call, frame: &Frame, count: isize) -> isize {
    let epfd = frame.int(0);
    let error = sys::errno();
    block.counters.error(call, error);
    ledger::waited(epfd, WaitEnd::Failed { interrupted: error == libc::EINTR }, block, &frame.caller);
    if error == libc::EBADF {
        ledger::waited_on_bad(epfd);
        findings::errors::wait_failed(epfd, frame.caller);
    }
    unforeseen(count)
}
