//! Reports that a rule fired: to the log of decisions, and to the recording.

use epollshim_format::faults::Operation;
use epollshim_format::faults::decisions::{self, Decision, On};
use epollshim_format::function::Function;

use super::fault::Fault;
use crate::frame::{Frame, fd_of};
use crate::policy::tally;
use crate::{clock, log, procfs, record, stacks, sys};

#[cold]
#[inline(never)]
pub(super) fn report(fault: &Fault, frame: &Frame, function: Function) {
    let (mut frames, mut count) = ([0; decisions::DEPTH], 0);
    let stack = stacks::hash(frame.caller, decisions::DEPTH, &mut |address| {
        if let Some(place) = frames.get_mut(count) {
            (*place, count) = (address, count + 1);
        }
    });
    if record::is_wanted() {
        keep_firing(fault, frame, function, stack);
    }
    if !log::decisions::are_wanted() {
        return;
    }
    if stack.is_none() {
        (frames[0], count) = (frame.caller, 1);
    }
    let decision = Decision {
        pid: 0,
        tid: 0,
        rule: fault.rule,
        function,
        operation: if function == Function::EpollCtl { operation(frame.int(1)) } else { None },
        on: fd_of(function, &frame.words).and_then(on),
        thread: fault.thread,
        ordinal: fault.ordinal,
        outcome: fault.outcome,
        shuffle: fault.shuffle,
        stack,
    };
    log::decisions::decided(&decision, frames.get(..count).unwrap_or_default());
}

/// Keeps that a fault fired, and where, in the process and in its recording.
fn keep_firing(fault: &Fault, frame: &Frame, function: Function, stack: Option<u64>) {
    let operation = if function == Function::EpollCtl { frame.int(1) as u8 } else { 0 };
    let [rule, generation] = [fault.rule, super::generation() as u32].map(|number| number as u8);
    let what = u32::from_le_bytes([rule, function as u8, operation, generation]);
    record::new_site(frame.caller);
    let words = [
        u64::from(what) | (sys::gettid() as u64) << 32,
        clock::monotonic(),
        fault.ordinal,
        stack.unwrap_or(0),
        stacks::site(frame.caller) as u64,
        0,
        0,
    ];
    let Some(tally) = tally::of_this_process() else { return };
    match tally::recorded() {
        Some(start) => tally.firings.keep(words, Some(&|place| tally::word(start, place))),
        None => tally.firings.keep(words, None),
    }
}

/// What kind of file a descriptor refers to. None: it is not open. The kernel is asked without
/// opening another descriptor.
fn on(fd: i32) -> Option<On> {
    let is_nonblocking = sys::status_flags(fd).is_ok_and(|flags| flags & libc::O_NONBLOCK as usize != 0);
    Some(On { kind: procfs::kind_of(fd)?, is_nonblocking })
}

fn operation(number: i32) -> Option<Operation> {
    Some(match number {
        libc::EPOLL_CTL_ADD => Operation::Add,
        libc::EPOLL_CTL_MOD => Operation::Mod,
        libc::EPOLL_CTL_DEL => Operation::Del,
        _ => return None,
    })
}
