//! What is done after a call.

use crate::sync::Ordering;

use epollshim_format::function::Function;
use libc::c_int;

use super::effects;
use super::plan::{Plan, Target, call_of, count};
use crate::counters::{OwnCounter, WaitEnd};
use crate::frame::{After, Frame};
use crate::ledger::reservations::{self, Prepaid};
use crate::record::CallRecord;
use crate::thread::Block;
use crate::{census, clock, ledger, log, record, sys, thread};

/// Does what comes after the call or the answer. `counted` is the handler that counts the call.
/// Returns what the program gets.
pub fn after(plan: &mut Plan, frame: &mut Frame, result: isize, counted: After) -> isize {
    // The program may have called `syscall`, whose result is a word. The function that ran instead
    // returns an int, and the upper half of the register is undefined.
    let mut result = if plan.target == Target::Instead { result as c_int as isize } else { result };
    // Looked up again: a signal handler may have forked in the meantime, and this may be the child.
    let block = thread::block();
    if plan.is_interrupted && plan.target != Target::Answer && result == 0 && !asked_for_no_time(plan) {
        sys::set_errno(libc::EINTR);
        result = -1;
    }
    let room = block.map_or(0, census::room::of);
    if let Some(block) = block {
        match plan.target {
            Target::Answer if plan.is_counted => {}
            Target::Answer => count(plan, block),
            Target::Real | Target::Instead => result = after_real(plan, frame, block, result, counted),
        }
    }
    // A call that failed in the kernel keeps its errno.
    if plan.is_overruled() && !plan.function.has_failed(result) {
        result = -1;
        sys::set_errno(plan.error);
    }
    let error = sys::errno();
    if plan.room != 0
        && plan.generation == census::generation()
        && let Some(block) = block
    {
        let taken_by_births = room.saturating_sub(census::room::of(block));
        census::give_back_room(block, plan.room.saturating_sub(taken_by_births));
    }
    if plan.is_pending {
        // If the wait did not deliver the signal, this does.
        sys::set_signal_mask(plan.mask);
    } else if plan.signal != 0 {
        sys::raise(plan.signal);
    }
    if plan.delay_exit != 0 {
        effects::pause_fully(plan.delay_exit);
    }
    if plan.is_logged {
        let call = log::Call {
            function: plan.function,
            words: plan.words,
            began: plan.began,
            is_made: plan.is_made(),
            is_made_up: plan.is_made_up(),
            is_delayed: plan.is_delayed,
            is_signalled: plan.is_signalled(),
            is_injected: plan.is_injected,
            is_limited: plan.is_limited,
            caller: frame.caller,
        };
        log::call(&call, result, error);
    }
    if plan.is_recorded
        && let Some(block) = block
    {
        record_call(plan, frame, block, result, error);
    }
    sys::set_errno(error);
    result
}

/// The same for a call that is recorded, and nothing else.
#[inline(always)]
pub fn after_recorded(plan: &Plan, frame: &mut Frame, result: isize, counted: After) -> isize {
    let result = counted(frame, result);
    if let Some(block) = thread::block() {
        record_call(plan, frame, block, result, sys::errno());
    }
    result
}

#[inline(always)]
fn record_call(plan: &Plan, frame: &Frame, block: &Block, result: isize, error: c_int) {
    let waits = plan.function.waits();
    // The handler has read the clock after a timed wait, and has left the time there.
    let left = if waits && frame.state != 0 { block.counters.last_wait_end.load(Ordering::Relaxed) } else { 0 };
    let ended = if left != 0 { left } else { clock::monotonic() };
    let [_, _, _, fourth, ..] = plan.words;
    let call = CallRecord {
        function: plan.function,
        words: plan.words,
        began: plan.began,
        ended,
        result,
        error: if result == -1 { error } else { 0 },
        is_made: plan.is_made(),
        is_timeout_given: plan.is_made() && frame.word(3) == fourth,
        is_injected: plan.is_injected,
        is_limited: plan.is_limited,
        caller: frame.caller,
    };
    if waits && plan.is_made() {
        ledger::recorded_wait(frame.int(0), WaitEnd::of(result, frame.int(2), error), block);
    }
    record::keep(block, &call);
}

/// Changes the events of a wait if the fault asks for that, and counts the call.
fn after_real(plan: &mut Plan, frame: &mut Frame, block: &Block, result: isize, counted: After) -> isize {
    if result > 0 && plan.function.waits() && (plan.forge != 0 || plan.shuffle.is_some()) {
        // SAFETY: the call is a wait that returned `result` > 0, so the kernel has written that
        // many events to the buffer of its second argument.
        let events = unsafe { effects::delivered(frame, result as usize) };
        events.iter_mut().for_each(|event| event.events |= plan.forge);
        if let Some(random) = plan.shuffle {
            effects::shuffle(events, random);
        }
    }
    if plan.is_injected
        && let Some(call) = call_of(plan)
    {
        block.counters.call(call).injected.bump();
    }
    settle(plan, frame, block, result, counted)
}

/// Counts the call while its reservation is in the thread's block, where the ledger takes what it
/// needs. Releases the rest.
fn settle(plan: &mut Plan, frame: &mut Frame, block: &Block, result: isize, counted: After) -> isize {
    if plan.prepaid == 0 {
        return counted(frame, result);
    }
    // A child that was forked in the meantime has reserved nothing.
    let prepaid = if plan.epoch == reservations::epoch() { plan.prepaid } else { 0 };
    let own = block.prepaid.swap(prepaid, Ordering::Relaxed);
    let result = counted(frame, result);
    let left = Prepaid::from_word(block.prepaid.swap(own, Ordering::Relaxed));
    ledger::give_back(left);
    result
}

/// Whether the program asked for a wait that does not block.
fn asked_for_no_time(plan: &Plan) -> bool {
    let [_, _, _, timeout, ..] = plan.words;
    match plan.function {
        Function::EpollPwait2 => sys::timespec_at(timeout).is_some_and(|time| time.tv_sec == 0 && time.tv_nsec == 0),
        _ => timeout as c_int == 0,
    }
}
