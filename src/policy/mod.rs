//! What is done to a call besides counting it: faults, limits, the log.
//!
//! While nothing is armed for a function its hook looks at one bit and passes by. Otherwise they come here before the real call and after it
//! (hooks/armed.rs), with a plan on the stack that says what was decided:
//!
//! ```text
//! before   a rule of faults is chosen (rules.rs) → delay → an answer instead of the call?
//!          limits (limits.rs) → an errno instead of the call?
//!          maxevents lowered, a signal made pending
//! ──────── the real call, or the answer
//! after    events forged or shuffled → counted as ever → charges given back → signal → delay → a line for the log
//! ```

mod effects;
mod firings;
pub mod limits;
pub mod mirror;
pub mod rules;

use crate::sync::{AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use core::mem::MaybeUninit;

use epollshim_format::call::Call;
use epollshim_format::faults::{MAX_EVENTS, Outcome};
use epollshim_format::function::{Function, Functions};
use epollshim_format::functions::Role;
use libc::c_int;

use self::limits::{Key, LimitTally, Verdict};
use self::rules::RuleTally;
use crate::counters::{OwnCounter, WaitEnd};
use crate::frame::{After, Before, Frame, Handlers};
use crate::ledger::reservations::{self, Prepaid};
use crate::record::CallRecord;
use crate::thread::Block;
use crate::{census, clock, findings, ledger, log, process, real, record, stacks, sys, thread};

/// The functions whose calls come here, by the bits of [`Functions`]; 0: nothing is armed for any of them, and the hooks go
/// their short way. Relaxed, and read by assembly: what it stands for is published by its own words.
///
/// Begins with all of them, so that the very first call of the process comes here and has the options read; and so it stays until all real
/// functions are known, which the short ways rely upon.
///
/// In the section of what hot calls read, which is one cache line.
#[unsafe(link_section = ".data.hot.epollshim")]
pub static ARMED_FOR: AtomicU64 = AtomicU64::new(EVERY.0);
/// Those of them whose calls are recorded, where nothing else is armed for them: they have a way of their own (hooks/epoll/record_only_entries.rs).
/// As [`ARMED_FOR`], behind which it is read. (Not beside it: the one cache line is full.)
pub static RECORDED_ALONE: AtomicU16 = AtomicU16::new(0);
const _: () = assert!(Functions::EPOLL.0 <= u16::MAX as u64);
/// What is armed, by bit.
static ARMED: AtomicU8 = AtomicU8::new(0);
const FAULTS: u8 = 1;
const LIMITS: u8 = 2;
const LOG: u8 = 4;
const RECORD: u8 = 8;
/// What hooks/census_handlers.rs does is all in what counts the call.
const CENSUS: u8 = 16;

/// What a census follows. (What only makes descriptors asks by itself whether there is a census.)
const FOLLOWED: Functions =
    Functions::of_roles(&[Role::Instance, Role::Close, Role::Duplicate, Role::Stream, Role::StreamEnd, Role::Start]);

/// What limits look at, and what gives back what they count.
const LIMITED: Functions = Functions::EPOLL.with(Functions::of_roles(&[Role::Close]));

const _: () = assert!(MAX_EVENTS as usize == i32::MAX as usize / size_of::<libc::epoll_event>());

/// Acquire: who finds that it is not finds the real functions ([`crate::real::Real::resolved`]).
#[inline(always)]
pub fn is_armed_for(function: Function) -> bool {
    Functions(ARMED_FOR.load(Ordering::Acquire)).has(function)
}

/// The same for any function.
#[cfg(portable)]
#[inline(always)]
pub fn is_anything_armed() -> bool {
    ARMED_FOR.load(Ordering::Acquire) != 0
}

/// Looks at what is set, and has the hooks come here or not. Called when the options were read, and after each change.
pub fn arm() {
    loop {
        let set = what_is_set();
        // In this order: who comes by the last finds the others.
        ARMED.store(set.armed, Ordering::Release);
        RECORDED_ALONE.store(set.recorded_alone.0 as u16, Ordering::Release);
        ARMED_FOR.store(set.functions.0, Ordering::Release);
        // Of two threads that arm at once, the last to store sees, behind the fence, what both have set.
        fence(Ordering::SeqCst);
        if what_is_set() == set {
            return;
        }
    }
}

#[derive(PartialEq, Eq)]
struct Set {
    armed: u8,
    functions: Functions,
    recorded_alone: Functions,
}

fn what_is_set() -> Set {
    let mut armed = 0;
    let mut functions = rules::functions();
    if !functions.is_empty() {
        armed |= FAULTS;
    }
    if limits::limit(Key::Descriptors).is_some() {
        functions = functions.with(Functions::MAKE_DESCRIPTORS);
    }
    // Once limits count, closes are followed to their end.
    if limits::are_set() || reservations::tracks() {
        armed |= LIMITS;
        functions = functions.with(LIMITED);
    }
    if let Some(wanted) = log::functions() {
        armed |= LOG;
        functions = functions.with(wanted);
    }
    if stacks::are_kept() {
        // The short way of an ADD keeps none.
        functions = functions.with(Functions::of(&[Function::EpollCtl]));
    }
    let mut recorded_alone = Functions(0);
    if record::is_wanted() {
        armed |= RECORD;
        recorded_alone = Functions(RECORDED.0 & !functions.0);
        functions = functions.with(Functions::EPOLL);
    }
    if census::is_on() {
        armed |= CENSUS;
        functions = functions.with(FOLLOWED);
    }
    if real::are_known() {
        Set { armed, functions, recorded_alone }
    } else {
        Set { armed, functions: EVERY, recorded_alone: Functions(0) }
    }
}

/// What there is a way of its own for, where it is but recorded.
const RECORDED: Functions = Functions::of_roles(&[Role::Ctl, Role::Wait]);

const EVERY: Functions = Functions(u64::MAX);

/// Whether calls come here for the census, and for nothing else.
#[inline(always)]
pub fn is_census_alone() -> bool {
    ARMED.load(Ordering::Relaxed) == CENSUS
}

/// Forwarding only: nothing is armed.
pub fn disarm() {
    ARMED.store(0, Ordering::Relaxed);
    RECORDED_ALONE.store(0, Ordering::Relaxed);
    if real::are_known() {
        // Release: who finds it finds the real functions.
        ARMED_FOR.store(0, Ordering::Release);
    }
}

/// What this module needs of the layers above it.
pub trait Above {
    /// A limit is about to abort the process.
    fn aborts();
}

/// What rules and limits have counted in one process; wiped by the kernel at fork (process.rs). All-zero is valid.
#[repr(C)]
pub struct Tally {
    pub rules: [RuleTally; 2 * epollshim_format::faults::RULES],
    /// Ordinals of rules that name several system calls.
    pub calls: [AtomicU64; 2 * epollshim_format::faults::COUNTERS],
    /// Threads whose calls have matched a rule with `scope=thread`.
    pub ranks: AtomicU32,
    pub limits: [LimitTally; Key::COUNT],
    pub firings: firings::Firings,
    /// Where the recording has what is armed; null: nowhere yet (mirror.rs).
    pub mirror: AtomicPtr<u8>,
}

/// What rules and limits have counted in this process.
pub fn tally() -> Option<&'static Tally> {
    process::part()
}

/// Where the recording has what is armed. None: nowhere.
fn recorded() -> Option<*mut u8> {
    // Acquire: pairs with the Release of the one who has mapped it.
    let start = tally()?.mirror.load(Ordering::Acquire);
    (!start.is_null()).then_some(start)
}

/// A word of that part, at a place within it.
fn word<'a>(start: *mut u8, place: usize) -> &'a AtomicU64 {
    // SAFETY: the part is mapped for good, and the callers' places are within it.
    unsafe { &*start.wrapping_add(place).cast::<AtomicU64>() }
}

/// What was decided about a call, from before it to after it.
#[repr(C, align(16))]
pub struct Plan {
    /// What the entry calls after the real call (an [`After`]): what counts it, unless there is more to do. Read by assembly:
    /// the first field.
    pub after: usize,
    pub function: Function,
    way: Way,
    pub is_injected: bool,
    pub is_limited: bool,
    /// A fault held the call back.
    pub is_delayed: bool,
    /// A fault lowered how many events a wait asks for.
    is_shortened: bool,
    is_logged: bool,
    is_recorded: bool,
    is_only_recorded: bool,
    /// An answer that was counted when it was decided: the program may be aborted for it.
    is_counted: bool,
    /// The delay before a wait was cut short by a signal handler.
    is_interrupted: bool,
    /// The signal waits for this thread: `mask` was its mask.
    is_pending: bool,
    signal: c_int,
    /// The errno of an answer, or of a call that is made and fails all the same; 0: none.
    error: c_int,
    /// What the program asked for.
    words: [usize; 6],
    /// CLOCK_MONOTONIC before the call; 0: not wanted.
    began: u64,
    delay_exit: u64,
    shuffle: Option<u64>,
    forge: u32,
    /// In which the charge was made (`reservations::epoch`).
    epoch: u32,
    /// What was charged ahead (`Prepaid::to_word`).
    prepaid: u64,
    /// Room for descriptors that was taken, and the generation of processes that has taken it (`census::generation`).
    room: u32,
    generation: u8,
    mask: sys::SignalSet,
    /// Zero, for a wait that is not to block.
    no_time: libc::timespec,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// The function that the program called.
    Real,
    /// Another real function in its place.
    Instead,
    /// None.
    Answer,
}

impl Plan {
    fn new(function: Function, frame: &Frame) -> Plan {
        Plan {
            after: 0,
            function,
            way: Way::Real,
            is_injected: false,
            is_limited: false,
            is_delayed: false,
            is_shortened: false,
            is_logged: false,
            is_recorded: false,
            is_only_recorded: false,
            is_counted: false,
            is_interrupted: false,
            is_pending: false,
            signal: 0,
            error: 0,
            words: frame.words,
            began: 0,
            delay_exit: 0,
            shuffle: None,
            forge: 0,
            epoch: 0,
            prepaid: 0,
            room: 0,
            generation: 0,
            mask: 0,
            no_time: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        }
    }

    /// Whether the function that the program called is what is called.
    pub fn is_real(&self) -> bool {
        self.way == Way::Real
    }

    /// Whether the call is recorded, and nothing else is done to it.
    pub fn is_only_recorded(&self) -> bool {
        self.is_only_recorded
    }

    /// Whether a fault made up what the program got, or a part of it.
    pub fn is_made_up(&self) -> bool {
        let is_altered = self.forge != 0 || self.shuffle.is_some() || self.is_interrupted || self.is_shortened;
        self.is_injected && (self.way == Way::Answer || is_altered || self.is_overruled())
    }

    /// Whether the call was made, and then fails by a fault: `error`.
    fn is_overruled(&self) -> bool {
        self.way == Way::Real && self.error != 0
    }

    /// Whether a fault sent the thread a signal.
    pub fn is_signalled(&self) -> bool {
        self.signal != 0
    }

    /// Whether the kernel was asked.
    pub fn is_made(&self) -> bool {
        self.way != Way::Answer
    }
}

/// Before the call. Has it counted as ever, and returns the function to call. Some: there is more to do after it, by
/// [`after`]; the plan is written. None: only what counts it.
///
/// Most calls that come here are none of any rule's: they pay for the look at the rules, and for nothing else.
#[inline(always)]
pub fn before<'plan>(
    plan: &'plan mut MaybeUninit<Plan>,
    frame: &mut Frame,
    function: Function,
    default: Handlers,
) -> (usize, Option<&'plan Plan>) {
    frame.state = 0;
    // It may be the first call of all, that has the options read: ARMED says the truth after it.
    let Some(block) = thread::block() else { return ((default.before)(frame), None) };
    let armed = ARMED.load(Ordering::Relaxed);
    let fault = if armed & FAULTS != 0 { rules::decide(block, frame, function) } else { None };
    if armed & (FAULTS | RECORD) == FAULTS | RECORD {
        rules::follow(function);
    }
    if fault.is_none() && armed & LOG == 0 && (armed & LIMITS == 0 || !limits::concern(frame, function)) {
        if armed & RECORD == 0 || !function.is_epoll() {
            return ((default.before)(frame), None);
        }
        let plan = plan.write(Plan::new(function, frame));
        plan.is_recorded = true;
        plan.is_only_recorded = true;
        let address = (default.before)(frame);
        // A wait that is timed has read the clock.
        plan.began = if function.waits() && frame.state != 0 { frame.state } else { clock::monotonic() };
        return (address, Some(plan));
    }
    let plan = plan.write(Plan::new(function, frame));
    let address = before_planned(plan, frame, fault, block, default.before);
    (address, Some(plan))
}

/// Before a call that nothing can be done behind. True: a fault has it fail, by the errno that is set.
#[cold]
#[inline(never)]
pub fn fails_at_once(function: Function, frame: &Frame) -> bool {
    let Some(block) = thread::block() else { return false };
    let began = clock::monotonic();
    let armed = ARMED.load(Ordering::Relaxed);
    let fault = if armed & FAULTS != 0 { rules::decide(block, frame, function) } else { None };
    if armed & (FAULTS | RECORD) == FAULTS | RECORD {
        rules::follow(function);
    }
    let Some(fault) = fault else { return false };
    if fault.delay_enter != 0 {
        effects::pause_fully(fault.delay_enter);
    }
    let Some(Outcome::Error(error)) = fault.outcome else { return false };
    let error = c_int::from(error);
    if armed & LOG != 0 {
        let told = log::Call {
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
        log::call(&told, -1, error);
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
    // What the ledger has taken is the record's.
    plan.prepaid = block.prepaid.swap(own, Ordering::Relaxed);
    if plan.signal != 0 && plan.function.waits() {
        return send_ahead(plan, frame).unwrap_or(address);
    }
    address
}

/// What a rule that has fired does first. Some: the function to call instead of the real one.
fn begin_fault(plan: &mut Plan, frame: &mut Frame, fault: rules::Fault) -> Option<usize> {
    plan.is_injected = true;
    plan.signal = fault.signal;
    plan.delay_exit = fault.delay_exit;
    plan.is_delayed = fault.delay_enter != 0 || fault.delay_exit != 0;
    plan.forge = fault.forge;
    plan.shuffle = fault.shuffle;
    if plan.function.waits() {
        if fault.delay_enter != 0 && !effects::pause(fault.delay_enter) {
            // A handler ran: the wait takes what is ready, and else ends with EINTR, as the kernel's own.
            plan.is_interrupted = true;
            let no_time = if plan.function == Function::EpollPwait2 { &raw const plan.no_time as usize } else { 0 };
            set(frame, 3, no_time);
        }
        // A wait that asks for more than there can be is refused (EINVAL), and not to be made valid.
        if fault.batch != 0 && (fault.batch as c_int..=MAX_EVENTS).contains(&frame.int(2)) {
            set(frame, 2, fault.batch as usize);
            plan.is_shortened = true;
        }
    } else if fault.delay_enter != 0 {
        effects::pause_fully(fault.delay_enter);
    }
    match fault.outcome? {
        // POSIX: after fclose and its like the stream is gone, whatever they return.
        Outcome::Error(error) if fault.is_made || plan.function.row().role == Role::StreamEnd => {
            plan.error = c_int::from(error);
            None
        }
        Outcome::Error(error) => Some(fail(plan, frame, c_int::from(error))),
        Outcome::Value(value) => Some(answer(plan, frame, value as isize, 0)),
        Outcome::Timeout => Some(answer(plan, frame, 0, 0)),
        // A rule has drawn one before it came here.
        Outcome::AnyError => None,
    }
}

/// Asks the limits. Some: the function to call instead of the real one.
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

/// The call is not made, and fails.
fn fail(plan: &mut Plan, frame: &mut Frame, error: c_int) -> usize {
    let (value, errno) = plan.function.failure(error);
    let address = answer(plan, frame, value, errno);
    plan.error = error;
    address
}

/// The call is not made: its frame becomes that of an answer.
fn answer(plan: &mut Plan, frame: &mut Frame, value: isize, error: c_int) -> usize {
    plan.way = Way::Answer;
    plan.error = error;
    set(frame, 0, value as usize);
    set(frame, 1, error as usize);
    let row = plan.function.row();
    // (close and fcntl have no such answer: a program that is cancelled in one has not closed the descriptor.)
    let is_cancellable = row.is_cancellation_point && !matches!(row.role, Role::Close | Role::Duplicate);
    let answer = if is_cancellable { effects::answer_of_a_cancellation_point } else { effects::answer };
    answer as *const () as usize
}

/// A wait that begins with a signal pending, as under strace: the signal is sent while it is blocked, and the kernel
/// lets it in with the wait's own mask. Some: the function to call instead of the real one.
fn send_ahead(plan: &mut Plan, frame: &mut Frame) -> Option<usize> {
    // Where a filter of the program's forbids that, the signal is raised after the wait.
    plan.mask = sys::block_signal(plan.signal).ok()?;
    plan.is_pending = true;
    sys::raise(plan.signal);
    let instead = match plan.function {
        Function::EpollWait => real::function::epoll_pwait.address(),
        // syscall() would pass on what the program gave as the size of a set where it gave none.
        Function::EpollPwait if frame.word(4) == 0 => real::function::epoll_pwait.address(),
        Function::EpollPwait2 if frame.word(4) == 0 => real::function::epoll_pwait2.address(),
        _ => return None,
    };
    set(frame, 4, &raw const plan.mask as usize);
    plan.way = Way::Instead;
    Some(instead)
}

/// After the call, or the answer. Returns what the program gets.
pub fn after(plan: &mut Plan, frame: &mut Frame, result: isize, counted: After) -> isize {
    // What syscall() gives is a word; a function in its place gives an int, whose upper half is undefined.
    let mut result = if plan.way == Way::Instead { result as c_int as isize } else { result };
    // Looked up again: a signal handler may have forked meanwhile, and this may be the child.
    let block = thread::block();
    if plan.is_interrupted && plan.way != Way::Answer && result == 0 && !asked_for_no_time(plan) {
        sys::set_errno(libc::EINTR);
        result = -1;
    }
    let room = block.map_or(0, census::room::of);
    if let Some(block) = block {
        match plan.way {
            Way::Answer if plan.is_counted => {}
            Way::Answer => count(plan, block),
            Way::Real | Way::Instead => result = after_real(plan, frame, block, result, counted),
        }
    }
    // A call that has failed by itself keeps its error.
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
        // Now it is delivered, if the wait did not let it in.
        sys::set_signal_mask(plan.mask);
    } else if plan.signal != 0 {
        sys::raise(plan.signal);
    }
    if plan.delay_exit != 0 {
        effects::pause_fully(plan.delay_exit);
    }
    if plan.is_logged {
        let told = log::Call {
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
        log::call(&told, result, error);
    }
    if plan.is_recorded
        && let Some(block) = block
    {
        tell_recording(plan, frame, block, result, error);
    }
    sys::set_errno(error);
    result
}

/// After a call that is recorded, and nothing else.
#[inline(always)]
pub fn after_recorded(plan: &Plan, frame: &mut Frame, result: isize, counted: After) -> isize {
    let result = counted(frame, result);
    if let Some(block) = thread::block() {
        tell_recording(plan, frame, block, result, sys::errno());
    }
    result
}

#[inline(always)]
fn tell_recording(plan: &Plan, frame: &Frame, block: &Block, result: isize, error: c_int) {
    let waits = plan.function.waits();
    // A wait that was timed has read the clock, and left it there.
    let left = if waits && frame.state != 0 { block.counters.last_wait_end.load(Ordering::Relaxed) } else { 0 };
    let ended = if left != 0 { left } else { clock::monotonic() };
    let [_, _, _, fourth, ..] = plan.words;
    let told = CallRecord {
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
    record::keep(block, &told);
}

/// Changes what a wait has delivered, where that is wanted, and has the call counted.
fn after_real(plan: &mut Plan, frame: &mut Frame, block: &Block, result: isize, counted: After) -> isize {
    if result > 0 && plan.function.waits() && (plan.forge != 0 || plan.shuffle.is_some()) {
        // SAFETY: a wait that returned `result` has written as many events.
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

/// Has the call counted, with what was charged for it in hand, and gives back what is left of that.
fn settle(plan: &mut Plan, frame: &mut Frame, block: &Block, result: isize, counted: After) -> isize {
    if plan.prepaid == 0 {
        return counted(frame, result);
    }
    // A child that was forked meanwhile has charged nothing.
    let prepaid = if plan.epoch == reservations::epoch() { plan.prepaid } else { 0 };
    let own = block.prepaid.swap(prepaid, Ordering::Relaxed);
    let result = counted(frame, result);
    let left = Prepaid::from_word(block.prepaid.swap(own, Ordering::Relaxed));
    ledger::give_back(left);
    result
}

/// Whether a wait was not to block in any case.
fn asked_for_no_time(plan: &Plan) -> bool {
    let [_, _, _, timeout, ..] = plan.words;
    match plan.function {
        Function::EpollPwait2 => sys::timespec_at(timeout).is_some_and(|time| time.tv_sec == 0 && time.tv_nsec == 0),
        _ => timeout as c_int == 0,
    }
}

/// The counted call that a plan is about; None: of descriptors, which are not counted.
fn call_of(plan: &Plan) -> Option<Call> {
    Some(match plan.function {
        Function::EpollCreate => Call::Create,
        Function::EpollCreate1 => Call::Create1,
        Function::EpollCtl => match plan.words[1] as c_int {
            libc::EPOLL_CTL_ADD => Call::CtlAdd,
            libc::EPOLL_CTL_MOD => Call::CtlMod,
            libc::EPOLL_CTL_DEL => Call::CtlDel,
            _ => Call::CtlOther,
        },
        Function::EpollWait => Call::Wait,
        Function::EpollPwait => Call::Pwait,
        Function::EpollPwait2 => Call::Pwait2,
        _ => return None,
    })
}

/// Counts a call that was not made. The ledger and the instances hear nothing of it.
fn count(plan: &mut Plan, block: &Block) {
    plan.is_counted = true;
    let Some(call) = call_of(plan) else { return };
    let counters = &block.counters;
    if plan.error != 0 {
        counters.failed(call, plan.error);
    } else {
        counters.calls(call).bump();
        counters.call(call).made_up.bump();
    }
    if plan.is_injected {
        counters.call(call).injected.bump();
    }
    if plan.is_limited {
        counters.call(call).limited.bump();
    }
    if plan.function.waits() {
        counters.last_wait_end.store(0, Ordering::Relaxed);
    }
}
