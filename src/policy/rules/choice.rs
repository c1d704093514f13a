//! The choice among the armed rules at a call, and what each has counted.
//!
//! Counts carry the number of their generation (a tag): a count of an earlier generation reads as zero.

use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

use epollshim_format::faults::decisions::{self, Decision, On};
use epollshim_format::faults::{COUNTERS, Operation, Outcome, RULES};
use epollshim_format::function::{Function, Functions};

use super::entry::{
    BY_CALL, DEPTH, Entry, HAS_CALLER, HAS_CHANCE, HAS_EPFD, HAS_EVENTS, HAS_FD, HAS_SITE, HAS_STACK, HAS_STACK_NAME,
    ILLEGAL, IN_THREAD, IN_TREE, IS_MADE, ONLY_DUPLICATES, OPERATION, PHASE, SHUFFLES,
};
use super::{Rules, TABLES, Table, on_stack, replay};
use crate::frame::{Frame, epfd_of, fd_of};
use crate::policy::{self, effects};
use crate::session::faults::Page;
use crate::thread::Block;
use crate::{clock, config, log, process, procfs, record, session, stacks, sys};

/// What a rule counts in a process, each with the tag of its table's generation above 48 bits.
#[repr(C)]
pub struct RuleTally {
    pub(super) matched: AtomicU64,
    pub(super) fired: AtomicU64,
    /// Of those that fired: beyond what this very call could return, which only an impossible fault does.
    pub(super) beyond: AtomicU64,
}

const TAG_SHIFT: u32 = 48;
pub(super) const NUMBER: u64 = (1 << TAG_SHIFT) - 1;

pub(super) fn tag(generation: u32) -> u64 {
    u64::from(generation % 0xffff + 1) << TAG_SHIFT
}

pub(super) fn counted(word: &AtomicU64, tag: u64) -> u64 {
    let now = word.load(Ordering::Relaxed);
    if now & !NUMBER == tag { now & NUMBER } else { 0 }
}

/// What the rule that fired does to a call.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub outcome: Option<Outcome>,
    /// The call is made, and fails all the same.
    pub is_made: bool,
    pub signal: i32,
    pub delay_enter: u64,
    pub delay_exit: u64,
    pub batch: u32,
    pub forge: u32,
    /// A random number that decides the order; None: leave it.
    pub shuffle: Option<u64>,
    /// The rule's place.
    pub rule: u32,
    /// The thread's rank, where the rule counts in each thread; else 0.
    pub thread: u32,
    pub ordinal: u64,
}

/// A uniform number from the seed, a rule and an ordinal alone (the finalizer of splitmix64, twice).
fn draw(rule: usize, ordinal: u64) -> u64 {
    let mix = |value: u64| {
        let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    };
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let seed = config::seed().unwrap_or(0);
    let rule = (rule as u64).wrapping_add(1);
    mix(mix(seed.wrapping_add(rule.wrapping_mul(STEP))).wrapping_add(ordinal.wrapping_mul(STEP)))
}

/// What a call of a thread counts in.
#[derive(Clone, Copy)]
pub(super) struct Tallies<'a> {
    /// Of the process: those of both tables.
    pub(super) process: &'a [RuleTally],
    /// Of the process, for rules that name several system calls: those of both tables.
    pub(super) calls: &'a [AtomicU64],
    /// Of the thread, for rules with `scope=thread`.
    pub(super) thread: &'a [AtomicU64],
    /// Of all processes of the session, for rules with `scope=tree`.
    pub(super) shared: Option<&'a Page>,
    /// The thread's rank, and the last that was given.
    pub(super) ranks: [&'a AtomicU32; 2],
}

impl Tallies<'_> {
    fn rank(&self) -> u32 {
        let [own, last] = self.ranks;
        if own.load(Ordering::Relaxed) == 0 {
            own.store(last.fetch_add(1, Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
        own.load(Ordering::Relaxed)
    }
}

/// How many calls have matched each rule, by one thread: in its block.
#[repr(C)]
pub struct Ordinals {
    counts: [AtomicU64; COUNTERS],
    /// The thread's place among those whose calls have matched a rule with `scope=thread`, from 1; 0: none has.
    rank: AtomicU32,
}

impl Ordinals {
    /// No rule that is armed has matched a call of this thread.
    pub(super) fn forget_counts(&self) {
        self.counts.iter().for_each(|ordinal| ordinal.store(0, Ordering::Relaxed));
    }

    /// The block has another thread.
    pub fn next_owner(&self) {
        self.forget_counts();
        self.rank.store(0, Ordering::Relaxed);
    }
}

/// The first rule that fires on a call. All rules that match count it, also those behind.
pub fn decide(block: &Block, frame: &Frame, function: Function) -> Option<Fault> {
    let tally = policy::tally()?;
    let ordinals = block.part::<Ordinals>();
    let tallies = Tallies {
        process: &tally.rules,
        calls: &tally.calls,
        thread: &ordinals.counts,
        shared: session::faults::page(),
        ranks: [&ordinals.rank, &tally.ranks],
    };
    let fault = TABLES.decide(tallies, frame, function)?;
    if log::decisions::are_wanted() || record::is_wanted() {
        tell(&fault, frame, function);
    }
    Some(fault)
}

#[cold]
#[inline(never)]
fn tell(fault: &Fault, frame: &Frame, function: Function) {
    let (mut frames, mut count) = ([0; decisions::DEPTH], 0);
    let stack = stacks::hash(frame.caller, decisions::DEPTH, &mut |address| {
        if let Some(place) = frames.get_mut(count) {
            (*place, count) = (address, count + 1);
        }
    });
    if record::is_wanted() {
        keep(fault, frame, function, stack);
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

/// Has the process and its recording keep that a fault fired, and where.
fn keep(fault: &Fault, frame: &Frame, function: Function, stack: Option<u64>) {
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
    let Some(tally) = policy::tally() else { return };
    match policy::recorded() {
        Some(start) => tally.firings.keep(words, Some(&|place| policy::word(start, place))),
        None => tally.firings.keep(words, None),
    }
}

/// What a descriptor is; None: it is not open. Asked of the kernel, without a descriptor.
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

impl Rules {
    pub(super) fn decide(&self, tallies: Tallies, frame: &Frame, function: Function) -> Option<Fault> {
        loop {
            // Acquire: pairs with the Release in `clear`.
            let generation = self.generation.load(Ordering::Acquire);
            let fault = self.decide_by(generation, tallies, frame, function);
            // What was read is of this generation if the generation has not changed since.
            fence(Ordering::Acquire);
            if self.generation.load(Ordering::Relaxed) == generation {
                return fault;
            }
        }
    }

    /// Counts one more, up to `most`. Ok: the new count. Err: it is `most` already, or the generation is over.
    fn count(&self, word: &AtomicU64, generation: u32, most: u64) -> Result<u64, ()> {
        let tag = tag(generation);
        let mut now = word.load(Ordering::Relaxed);
        loop {
            let before = if now & !NUMBER == tag {
                now & NUMBER
            } else {
                // An earlier generation's count is replaced. A slow call may find a later one's here, and must leave it.
                fence(Ordering::Acquire);
                if self.generation.load(Ordering::Relaxed) != generation {
                    return Err(());
                }
                0
            };
            if before >= most {
                return Err(());
            }
            // Relaxed: one word has one order for all threads, and an ordinal is all that is wanted of it.
            match word.compare_exchange_weak(now, tag | (before + 1) & NUMBER, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(before + 1),
                Err(found) => now = found,
            }
        }
    }

    #[inline(always)]
    fn decide_by(&self, generation: u32, tallies: Tallies, frame: &Frame, function: Function) -> Option<Fault> {
        let table = self.table(generation);
        let mut chosen = None;
        let length = table.length.load(Ordering::Acquire) as usize;
        for (index, entry) in table.entries.iter().enumerate().take(length) {
            let head = entry.head.load(Ordering::Relaxed);
            let functions = Functions(entry.functions.load(Ordering::Relaxed));
            if !functions.has(function) || !entry.wants(head, table, frame, function) {
                continue;
            }
            let Some(tally) = tally(tallies.process, generation, index) else { continue };
            let shared = if head & IN_TREE != 0 { tallies.shared } else { None };
            let shared_tally = shared.and_then(|shared| shared.rules.get(index));
            if head & IN_TREE != 0 && shared_tally.is_none() {
                continue;
            }
            let Ok(mut ordinal) = self.count(&tally.matched, generation, u64::MAX) else { continue };
            if let Some(tally) = shared_tally {
                ordinal = session::faults::bump(&tally.matched);
            }
            if head & (IN_THREAD | BY_CALL) != 0 {
                let rank = functions.system_calls().before(function.counted_as()) as usize;
                let counter = entry.counters.load(Ordering::Relaxed) as usize + rank;
                if let Some(counter) = shared.and_then(|shared| shared.calls.get(counter)) {
                    ordinal = session::faults::bump(counter);
                }
                let counter = if shared.is_some() {
                    None
                } else if head & IN_THREAD != 0 {
                    tallies.thread.get(counter)
                } else {
                    tallies.calls.get((generation as usize % 2) * COUNTERS + counter)
                };
                if let Some(counter) = counter {
                    ordinal = self.count(counter, generation, u64::MAX).unwrap_or(ordinal);
                }
            }
            let thread = if head & IN_THREAD != 0 { tallies.rank() } else { 0 };
            if chosen.is_some() {
                continue;
            }
            let mut most = entry.max.load(Ordering::Relaxed);
            let mut recorded = None;
            if replay::is_on() {
                recorded = replay::find(index, function, thread, ordinal);
                if recorded.is_none() {
                    continue;
                }
                most = u64::MAX;
            } else if !entry.fires(head, index, ordinal) {
                continue;
            }
            let is_beyond = !fits(entry, frame, function);
            if is_beyond && !config::allows_impossible() {
                continue;
            }
            if let Some(tally) = shared_tally {
                if !tally.fire(most) {
                    continue;
                }
                most = u64::MAX;
            }
            if self.count(&tally.fired, generation, most).is_err() {
                continue;
            }
            if is_beyond {
                let _ = self.count(&tally.beyond, generation, u64::MAX);
            }
            let mut fault = entry.fault(head, function, index, ordinal);
            fault.thread = thread;
            if let Some(recorded) = recorded {
                recorded.repeat(&mut fault);
            }
            chosen = Some(fault);
        }
        chosen
    }
}

impl Entry {
    /// Whether a call's arguments are those that the rule asks for.
    #[inline(always)]
    fn wants(&self, head: u64, table: &Table, frame: &Frame, function: Function) -> bool {
        const CONDITIONS: u64 = HAS_FD
            | HAS_EPFD
            | HAS_EVENTS
            | HAS_CALLER
            | HAS_SITE
            | HAS_STACK_NAME
            | HAS_STACK
            | ONLY_DUPLICATES
            | 3 << OPERATION
            | 3 << PHASE;
        head & CONDITIONS == 0 || self.wants_these(head, table, frame, function)
    }

    fn wants_these(&self, head: u64, table: &Table, frame: &Frame, function: Function) -> bool {
        let phase = head >> PHASE & 3;
        // Relaxed: whoever drives the program has it wait for nothing that this word stands for.
        if phase != 0 && session::faults::page().is_none_or(|page| page.phase.load(Ordering::Relaxed) + 1 != phase) {
            return false;
        }
        let descriptors = self.descriptors.load(Ordering::Relaxed);
        let is_ctl = function == Function::EpollCtl;
        let operation = (head >> OPERATION & 3) as i32;
        if operation != 0 && !(is_ctl && frame.int(1) == operation) {
            return false;
        }
        if head & ONLY_DUPLICATES != 0 && function == Function::Fcntl && !is_duplication(frame.int(1)) {
            return false;
        }
        if head & HAS_EPFD != 0 && epfd_of(function, &frame.words) != Some((descriptors >> 32) as i32) {
            return false;
        }
        if head & HAS_FD != 0 && fd_of(function, &frame.words) != Some(descriptors as i32) {
            return false;
        }
        if head & HAS_EVENTS != 0 {
            let wanted = self.events.load(Ordering::Relaxed) as u32;
            if !is_ctl || effects::asked_for(frame).is_none_or(|mask| mask & wanted != wanted) {
                return false;
            }
        }
        if head & HAS_SITE != 0 && !effects::is_at(frame.caller, self.site.load(Ordering::Relaxed)) {
            return false;
        }
        let text = |place: &AtomicU64| table.kept(place.load(Ordering::Relaxed));
        if head & HAS_CALLER != 0 && !effects::is_called_by(frame.caller, text(&self.caller)) {
            return false;
        }
        // Last, since it takes the longest.
        if head & HAS_STACK != 0
            && stacks::hash(frame.caller, (head >> DEPTH & 0x7f) as usize, &mut |_| {})
                != Some(self.stack.load(Ordering::Relaxed))
        {
            return false;
        }
        let functions = self.on_stack.load(Ordering::Relaxed);
        head & HAS_STACK_NAME == 0
            || on_stack::is_on_stack(frame.caller, text(&self.stack_name), |address| {
                table.has_function_at(functions, address)
            })
    }

    /// What the rule does to a call.
    fn fault(&self, head: u64, function: Function, index: usize, ordinal: u64) -> Fault {
        let batch = self.batch.load(Ordering::Relaxed);
        let is_wait = function.waits();
        let outcome = match self.outcome() {
            Some(Outcome::Timeout) if !is_wait => None,
            Some(Outcome::AnyError) => any_error(function, draw(index ^ ERRORS, ordinal)),
            outcome => outcome,
        };
        Fault {
            outcome,
            is_made: head & IS_MADE != 0,
            signal: (batch >> 32) as i32,
            delay_enter: self.delay_enter.load(Ordering::Relaxed),
            delay_exit: self.delay_exit.load(Ordering::Relaxed),
            batch: if is_wait { batch as u32 } else { 0 },
            forge: if is_wait { (self.events.load(Ordering::Relaxed) >> 32) as u32 } else { 0 },
            shuffle: (is_wait && head & SHUFFLES != 0).then(|| draw(index ^ usize::MAX, ordinal)),
            rule: index as u32,
            thread: 0,
            ordinal,
        }
    }

    /// Whether the rule fires on this ordinal, at this time.
    fn fires(&self, head: u64, index: usize, ordinal: u64) -> bool {
        if !self.holds(ordinal) || head & HAS_CHANCE != 0 && draw(index, ordinal) >= self.chance.load(Ordering::Relaxed)
        {
            return false;
        }
        let after = self.after.load(Ordering::Relaxed);
        after == 0 || clock::monotonic().saturating_sub(process::began()) >= after
    }

    fn holds(&self, ordinal: u64) -> bool {
        let when = epollshim_format::faults::When {
            first: self.first.load(Ordering::Relaxed),
            last: self.last.load(Ordering::Relaxed),
            step: self.step.load(Ordering::Relaxed),
        };
        when.holds(ordinal)
    }
}

/// Whether a command of fcntl makes a descriptor.
fn is_duplication(command: i32) -> bool {
    command == libc::F_DUPFD || command == libc::F_DUPFD_CLOEXEC
}

/// Has other random numbers drawn for errors than for chances and orders.
const ERRORS: usize = 1 << 32;

/// One of the errors that the manual page documents for a call.
fn any_error(function: Function, random: u64) -> Option<Outcome> {
    let errors = function.row().errors.all();
    let place = random.checked_rem(errors.len() as u64)? as usize;
    errors.get(place).map(|error| Outcome::Error(u16::from(*error)))
}

/// The count of a rule in a process.
pub(super) fn tally(tallies: &[RuleTally], generation: u32, rule: usize) -> Option<&RuleTally> {
    tallies.get((generation as usize % 2) * RULES + rule)
}

/// A legal rule does not return more events than a wait has asked for.
fn fits(entry: &Entry, frame: &Frame, function: Function) -> bool {
    match entry.outcome() {
        Some(Outcome::Value(value)) if function.waits() => {
            entry.head.load(Ordering::Relaxed) & ILLEGAL != 0 || value <= i64::from(frame.int(2).max(0))
        }
        _ => true,
    }
}
