//! What is done before a call.

use crate::sync::Ordering;
use core::mem::MaybeUninit;

use epollshim_format::faults::{MAX_EVENTS, Outcome};
use epollshim_format::function::Function;
use epollshim_format::functions::Role;
use libc::c_int;

use super::armed::{ARMED, FAULTS, LIMITS, LOG, RECORD};
use super::effects;
use super::limits::{self, Key, Verdict};
use super::plan::{Plan, Target, count};
use super::rules;
use crate::frame::{Before, Frame, Handlers};
use crate::ledger::reservations;
use crate::thread::Block;
use crate::{census, clock, findings, ledger, log, real, sys, thread};

const _: () = assert!(MAX_EVENTS as usize == i32::MAX as usize / size_of::<libc::epoll_event>());

/// Decides what is done to a call, and does what comes before it. Calls `default.before`, which
/// counts the call, unless an answer is made up. Returns the address of the function to call.
///
/// Some: the plan is written, and [`super::after()`] (or [`super::after_recorded`]) must run after
/// the call. None: `default.after` suffices, and the plan is not written.
///
/// Most calls match no rule. For them, only the rules are checked.
#[inline(always)]
pub fn before<'plan>(
    plan: &'plan mut MaybeUninit<Plan>,
    frame: &mut Frame,
    function: Function,
    default: Handlers,
) -> (usize, Option<&'plan Plan>) {
    frame.state = 0;
    // This may be the first call of the process, in which the options are read. `ARMED` is valid
    // after it.
    let Some(block) = thread::block() else { return ((default.before)(frame), None) };
    let (armed, fault) = decide(block, frame, function);
    if fault.is_none() && armed & LOG == 0 && (armed & LIMITS == 0 || !limits::concern(frame, function)) {
        if armed & RECORD == 0 || !function.is_epoll() {
            return ((default.before)(frame), None);
        }
        let plan = plan.write(Plan::new(function, frame));
        plan.is_recorded = true;
        plan.is_only_recorded = true;
        let address = (default.before)(frame);
        // `default.before` has read the clock for a timed wait.
        plan.began = if function.waits() && frame.state != 0 { frame.state } else { clock::monotonic() };
        return (address, Some(plan));
    }
    let plan = plan.write(Plan::new(function, frame));
    let address = before_planned(plan, frame, fault, block, default.before);
    (address, Some(plan))
}

/// What is armed, and the fault of the first rule that fires on a call.
#[inline(always)]
fn decide(block: &Block, frame: &Frame, function: Function) -> (u8, Option<rules::Fault>) {
    let armed = ARMED.load(Ordering::Relaxed);
    let fault = if armed & FAULTS != 0 { rules::decide(block, frame, function) } else { None };
    if armed & (FAULTS | RECORD) == FAULTS | RECORD {
        rules::mirror_counts(function);
    }
    (armed, fault)
}

/// Decides about a call whose entry keeps no frame, so that nothing can be done after it
/// (hooks/sharing.rs). True: a fault makes it fail, and errno is set.
#[cold]
#[inline(never)]
pub fn fails_at_once(function: Function, frame: &Frame) -> bool {
    let Some(block) = thread::block() else { return false };
    let began = clock::monotonic();
    let (armed, fault) = decide(block, frame, function);
    let Some(fault) = fault else { return false };
    if fault.delay_enter != 0 {
        effects::pause_fully(fault.delay_enter);
    }
    let Some(Outcome::Error(error)) = fault.outcome else { return false };
    let error = c_int::from(error);
    if armed & LOG != 0 {
        let call = log::Call {
            function,
            words: frame.words,
            began,
            is_made: false,
            is_made_up: true,
            is_delayed: fault.delay_enter != 0,
            is_signalled: false,
            is_injected: true,
            is_limited: false,
            caller: frame.caller,
        };
        log::call(&call, -1, error);
    }
    sys::set_errno(error);
    true
}

#[cold]
#[inline(never)]
fn before_planned(
    plan: &mut Plan,
    frame: &mut Frame,
    fault: Option<rules::Fault>,
    block: &Block,
    counted: Before,
) -> usize {
    let armed = ARMED.load(Ordering::Relaxed);
    plan.is_logged = armed & LOG != 0;
    plan.is_recorded = armed & RECORD != 0 && plan.function.is_epoll();
    if plan.is_logged || plan.is_recorded {
        plan.began = clock::monotonic();
    }
    if let Some(fault) = fault
        && let Some(address) = begin_fault(plan, frame, fault)
    {
        return address;
    }
    if armed & LIMITS != 0
        && let Some(address) = limit(plan, frame, block)
    {
        return address;
    }
    let own = block.prepaid.swap(plan.prepaid, Ordering::Relaxed);
    let address = counted(frame);
    // The ledger has taken what its record now owns. The rest still belongs to this call.
    plan.prepaid = block.prepaid.swap(own, Ordering::Relaxed);
    if plan.signal != 0 && plan.function.waits() {
        return send_ahead(plan, frame).unwrap_or(address);
    }
    address
}

/// Does what a fired rule does before the call. Some: the function to call instead of the real one.
fn begin_fault(plan: &mut Plan, frame: &mut Frame, fault: rules::Fault) -> Option<usize> {
    plan.is_injected = true;
    plan.signal = fault.signal;
    plan.delay_exit = fault.delay_exit;
    plan.is_delayed = fault.delay_enter != 0 || fault.delay_exit != 0;
    plan.forge = fault.forge;
    plan.shuffle = fault.shuffle;
    if plan.function.waits() {
        if fault.delay_enter != 0 && !effects::pause(fault.delay_enter) {
            // A signal handler ran. The wait collects what is ready, and ends with EINTR if that is
            // nothing, as a wait of the kernel does.
            plan.is_interrupted = true;
            let no_time = if plan.function == Function::EpollPwait2 { &raw const plan.no_time as usize } else { 0 };
            set(frame, 3, no_time);
        }
        // The kernel refuses a wait with a larger `maxevents` (EINVAL), and lowering it would make
        // the wait valid.
        if fault.batch != 0 && (fault.batch as c_int..=MAX_EVENTS).contains(&frame.int(2)) {
            set(frame, 2, fault.batch as usize);
            plan.is_shortened = true;
        }
    } else if fault.delay_enter != 0 {
        effects::pause_fully(fault.delay_enter);
    }
    match fault.outcome? {
        // POSIX: after fclose and similar calls the stream is gone, whatever they return.
        Outcome::Error(error) if fault.is_made || plan.function.row().role == Role::StreamEnd => {
            plan.error = c_int::from(error);
            None
        }
        Outcome::Error(error) => Some(fail(plan, frame, c_int::from(error))),
        Outcome::Value(value) => Some(answer(plan, frame, value as isize, 0)),
        Outcome::Timeout => Some(answer(plan, frame, 0, 0)),
        // The rule has replaced it by one of its errors (rules/fault.rs).
        Outcome::AnyError => None,
    }
}

/// Checks the limits. Some: the function to call instead of the real one.
fn limit(plan: &mut Plan, frame: &mut Frame, block: &Block) -> Option<usize> {
    if plan.function.waits() {
        let asked = frame.int(2);
        set(frame, 2, limits::most_events(asked) as usize);
        return None;
    }
    match limits::take_room(frame, plan.function, block) {
        Ok(count) => (plan.room, plan.generation) = (count, census::generation()),
        Err(key) => return Some(refuse(plan, frame, block, key)),
    }
    match limits::admit(frame, plan.function) {
        Verdict::Go(prepaid) => {
            plan.prepaid = prepaid.to_word();
            plan.epoch = reservations::epoch();
            None
        }
        Verdict::Refused(key) => Some(refuse(plan, frame, block, key)),
        Verdict::Objected(error) => {
            ledger::not_changed(frame.int(0), frame.int(2), error, frame.caller);
            findings::errors::ctl_failed(block.part(), frame, error, false);
            let answer = fail(plan, frame, error);
            count(plan, block);
            Some(answer)
        }
    }
}

#[cold]
#[inline(never)]
fn refuse(plan: &mut Plan, frame: &mut Frame, block: &Block, key: Key) -> usize {
    plan.is_limited = true;
    let answer = fail(plan, frame, key.errno());
    count(plan, block);
    limits::refuse(key, plan.function);
    answer
}

fn set(frame: &mut Frame, index: usize, value: usize) {
    if let Some(word) = frame.words.get_mut(index) {
        *word = value;
    }
}

/// Plans a failure instead of the call.
fn fail(plan: &mut Plan, frame: &mut Frame, error: c_int) -> usize {
    let (value, errno) = plan.function.failure(error);
    let address = answer(plan, frame, value, errno);
    plan.error = error;
    address
}

/// Plans an answer instead of the call. The frame's words become the arguments of the function that
/// answers.
fn answer(plan: &mut Plan, frame: &mut Frame, value: isize, error: c_int) -> usize {
    plan.target = Target::Answer;
    plan.error = error;
    set(frame, 0, value as usize);
    set(frame, 1, error as usize);
    let row = plan.function.row();
    // An answer to close or fcntl is no cancellation point: a thread that is cancelled in one would
    // leave the descriptor open.
    let is_cancellable = row.is_cancellation_point && !matches!(row.role, Role::Close | Role::Duplicate);
    let answer = if is_cancellable { effects::answer_of_a_cancellation_point } else { effects::answer };
    answer as *const () as usize
}

/// Has a wait begin with the signal pending, as under strace: the signal is sent while it is
/// blocked, and the kernel unblocks it with the signal mask of the wait. Some: the function to call
/// instead of the real one.
fn send_ahead(plan: &mut Plan, frame: &mut Frame) -> Option<usize> {
    // If a seccomp filter of the program forbids that, the signal is raised after the wait.
    plan.mask = sys::block_signal(plan.signal).ok()?;
    plan.is_pending = true;
    sys::raise(plan.signal);
    let instead = match plan.function {
        Function::EpollWait => real::function::epoll_pwait.address(),
        // The program may have called `syscall`, which would pass its sixth argument on as the size
        // of the signal set. Without a set, that argument may have any value.
        Function::EpollPwait if frame.word(4) == 0 => real::function::epoll_pwait.address(),
        Function::EpollPwait2 if frame.word(4) == 0 => real::function::epoll_pwait2.address(),
        _ => return None,
    };
    set(frame, 4, &raw const plan.mask as usize);
    plan.target = Target::Instead;
    Some(instead)
}
