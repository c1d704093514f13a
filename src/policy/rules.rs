//! The rules of faults that are armed, and the choice among them at a call.
//!
//! There are two tables, of which one is current. New rules are appended to it. To clear them, the other table is emptied and
//! becomes current: the next generation. A call reads a rule word by word, whatever happens to the tables meanwhile, and then
//! looks whether the generation is still the same; if not, it begins again. So nobody waits, not even in a signal handler,
//! and no memory is given back.
//!
//! Counts carry the number of their generation (a tag): a count of an earlier generation reads as zero.

use crate::sync::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

use epollshim_format::faults::{COUNTERS, Operation, Outcome, RULES, Rule, Scope};
use epollshim_format::function::{Function, Functions};

use super::effects;
use crate::frame::{Frame, epfd_of, fd_of};
use crate::ledger::{self, Hold, Lock};
use crate::thread::Block;
use crate::{clock, config, process, sys, thread};

/// Bytes of rules that one table keeps for the report.
const TEXT: usize = 16 * 1024;

/// The tables, and who changes them.
struct Rules {
    tables: [Table; 2],
    /// The lowest bit tells which table is current.
    generation: AtomicU32,
    /// Held by the frame that changes the tables. Others are refused, and do not wait.
    arming: Lock,
}

struct Table {
    /// Rules that are complete. Release by the arming thread, Acquire by calls.
    length: AtomicU32,
    entries: [Entry; RULES],
    text: [AtomicU8; TEXT],
}

struct Entry {
    /// Flags, the operation and the outcome.
    head: AtomicU64,
    functions: AtomicU64,
    /// The first of its counters.
    counters: AtomicU64,
    /// fd in the lower half, epfd in the upper.
    descriptors: AtomicU64,
    /// Event bits that must be asked for in the lower half; bits to forge in the upper.
    events: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    step: AtomicU64,
    chance: AtomicU64,
    after: AtomicU64,
    max: AtomicU64,
    value: AtomicI64,
    delay_enter: AtomicU64,
    delay_exit: AtomicU64,
    /// Batch in the lower half, signal above it.
    batch: AtomicU64,
    /// Where its text begins (lower half), and how long it is; the caller's name in the same way.
    text: AtomicU64,
    caller: AtomicU64,
}

// Of a rule's `head`.
const HAS_FD: u64 = 1;
const HAS_EPFD: u64 = 1 << 1;
const HAS_EVENTS: u64 = 1 << 2;
const HAS_CALLER: u64 = 1 << 3;
const HAS_CHANCE: u64 = 1 << 4;
/// Ordinals are counted in each thread.
const IN_THREAD: u64 = 1 << 5;
/// Ordinals are counted for each system call by itself, and the rule names more than one.
const BY_CALL: u64 = 1 << 6;
const SHUFFLES: u64 = 1 << 7;
const ILLEGAL: u64 = 1 << 8;
const ONLY_DUPLICATES: u64 = 1 << 9;
const OPERATION: u32 = 10;
const OUTCOME: u32 = OPERATION + 2;

static TABLES: Rules = Rules::new();

impl Table {
    const fn new() -> Self {
        Table {
            length: AtomicU32::new(0),
            entries: [const { Entry::new() }; RULES],
            text: [const { AtomicU8::new(0) }; TEXT],
        }
    }

    /// Keeps bytes from `at` on, which it moves behind them, and returns where they are. None: no room.
    fn keep(&self, at: &mut usize, bytes: &[u8]) -> Option<u64> {
        let places = self.text.get(*at..*at + bytes.len())?;
        for (place, byte) in places.iter().zip(bytes) {
            place.store(*byte, Ordering::Relaxed);
        }
        let kept = *at as u64 | (bytes.len() as u64) << 32;
        *at += bytes.len();
        Some(kept)
    }

    /// Where the text of the first so many rules ends. (It is not a count of its own: whoever stops while it fills in a rule
    /// leaves nothing behind.)
    fn text_end(&self, length: u32) -> usize {
        let last = length.checked_sub(1).and_then(|last| self.entries.get(last as usize));
        last.map_or(0, |entry| {
            let caller = entry.caller.load(Ordering::Relaxed);
            (caller as u32 as usize) + (caller >> 32) as usize
        })
    }

    /// How many counters the first so many rules have.
    fn counters_end(&self, length: u32) -> usize {
        let last = length.checked_sub(1).and_then(|last| self.entries.get(last as usize));
        last.map_or(0, |entry| {
            let functions = Functions(entry.functions.load(Ordering::Relaxed));
            entry.counters.load(Ordering::Relaxed) as usize + counters_of(functions)
        })
    }

    fn kept(&self, place: u64) -> impl Iterator<Item = u8> + Clone + '_ {
        let (at, length) = (place as u32 as usize, (place >> 32) as usize);
        self.text.get(at..at + length).unwrap_or_default().iter().map(|byte| byte.load(Ordering::Relaxed))
    }
}

impl Entry {
    const fn new() -> Self {
        Entry {
            head: AtomicU64::new(0),
            functions: AtomicU64::new(0),
            counters: AtomicU64::new(0),
            descriptors: AtomicU64::new(0),
            events: AtomicU64::new(0),
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
            step: AtomicU64::new(0),
            chance: AtomicU64::new(0),
            after: AtomicU64::new(0),
            max: AtomicU64::new(0),
            value: AtomicI64::new(0),
            delay_enter: AtomicU64::new(0),
            delay_exit: AtomicU64::new(0),
            batch: AtomicU64::new(0),
            text: AtomicU64::new(0),
            caller: AtomicU64::new(0),
        }
    }

    fn fill(&self, rule: &Rule, counters: usize, text: u64, caller: u64) {
        let flag = |is: bool, bit: u64| if is { bit } else { 0 };
        let operation = match rule.operation {
            None => 0,
            Some(Operation::Add) => libc::EPOLL_CTL_ADD,
            Some(Operation::Del) => libc::EPOLL_CTL_DEL,
            Some(Operation::Mod) => libc::EPOLL_CTL_MOD,
        };
        let (outcome, value) = match rule.outcome {
            None => (0, 0),
            Some(Outcome::Error(error)) => (1, i64::from(error)),
            Some(Outcome::Value(value)) => (2, value),
            Some(Outcome::Timeout) => (3, 0),
            Some(Outcome::AnyError) => (4, 0),
        };
        let is_by_call = rule.scope != Scope::Rule && counters_of(rule.functions) > 1;
        let head = flag(rule.fd.is_some(), HAS_FD)
            | flag(rule.epfd.is_some(), HAS_EPFD)
            | flag(rule.events != 0, HAS_EVENTS)
            | flag(!rule.caller.is_empty(), HAS_CALLER)
            | flag(rule.chance.is_some(), HAS_CHANCE)
            | flag(rule.scope == Scope::Thread, IN_THREAD)
            | flag(is_by_call, BY_CALL)
            | flag(rule.only_duplicates, ONLY_DUPLICATES)
            | flag(rule.shuffle, SHUFFLES)
            | flag(!rule.legal, ILLEGAL)
            | (operation as u64) << OPERATION
            | outcome << OUTCOME;
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let set = |word: &AtomicU64, value| word.store(value, Ordering::Relaxed);
        set(&self.head, head);
        set(&self.functions, rule.functions.0);
        set(&self.counters, counters as u64);
        set(&self.descriptors, pair(rule.fd.unwrap_or(0) as u32, rule.epfd.unwrap_or(0) as u32));
        set(&self.events, pair(rule.events, rule.forge));
        set(&self.first, rule.when.first);
        set(&self.last, rule.when.last);
        set(&self.step, rule.when.step);
        set(&self.chance, rule.chance.unwrap_or(0));
        set(&self.after, rule.after);
        set(&self.max, rule.max);
        self.value.store(value, Ordering::Relaxed);
        set(&self.delay_enter, rule.delay_enter);
        set(&self.delay_exit, rule.delay_exit);
        set(&self.batch, pair(rule.batch, u32::from(rule.signal)));
        set(&self.text, text);
        set(&self.caller, caller);
    }

    fn outcome(&self) -> Option<Outcome> {
        let value = self.value.load(Ordering::Relaxed);
        match self.head.load(Ordering::Relaxed) >> OUTCOME & 7 {
            1 => Some(Outcome::Error(value as u16)),
            2 => Some(Outcome::Value(value)),
            3 => Some(Outcome::Timeout),
            4 => Some(Outcome::AnyError),
            _ => None,
        }
    }

    /// Whether a call's arguments are those that the rule asks for.
    #[inline(always)]
    fn wants(&self, head: u64, table: &Table, frame: &Frame, function: Function) -> bool {
        head & (HAS_FD | HAS_EPFD | HAS_EVENTS | HAS_CALLER | ONLY_DUPLICATES | 3 << OPERATION) == 0
            || self.wants_these(head, table, frame, function)
    }

    fn wants_these(&self, head: u64, table: &Table, frame: &Frame, function: Function) -> bool {
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
        head & HAS_CALLER == 0 || effects::is_called_by(frame.caller, table.kept(self.caller.load(Ordering::Relaxed)))
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
            signal: (batch >> 32) as i32,
            delay_enter: self.delay_enter.load(Ordering::Relaxed),
            delay_exit: self.delay_exit.load(Ordering::Relaxed),
            batch: if is_wait { batch as u32 } else { 0 },
            forge: if is_wait { (self.events.load(Ordering::Relaxed) >> 32) as u32 } else { 0 },
            shuffle: (is_wait && head & SHUFFLES != 0).then(|| draw(index ^ usize::MAX, ordinal)),
        }
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
    let errors = function.row().errors;
    let place = random.checked_rem(errors.len() as u64)? as usize;
    errors.get(place).map(|error| Outcome::Error(*error))
}

/// How many counters a rule for these functions has.
fn counters_of(functions: Functions) -> usize {
    functions.system_calls().len() as usize
}

/// How many calls have matched each rule, by one thread: in its block.
pub type Ordinals = [AtomicU64; COUNTERS];

/// What a rule counts in a process, each with the tag of its table's generation above 48 bits.
#[repr(C)]
pub struct RuleTally {
    matched: AtomicU64,
    fired: AtomicU64,
    /// Of those that fired: beyond what this very call could return, which only an impossible fault does.
    beyond: AtomicU64,
}

const TAG_SHIFT: u32 = 48;
const NUMBER: u64 = (1 << TAG_SHIFT) - 1;

fn tag(generation: u32) -> u64 {
    u64::from(generation % 0xffff + 1) << TAG_SHIFT
}

fn counted(word: &AtomicU64, tag: u64) -> u64 {
    let now = word.load(Ordering::Relaxed);
    if now & !NUMBER == tag { now & NUMBER } else { 0 }
}

/// What the rule that fired does to a call.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub outcome: Option<Outcome>,
    pub signal: i32,
    pub delay_enter: u64,
    pub delay_exit: u64,
    pub batch: u32,
    pub forge: u32,
    /// A random number that decides the order; None: leave it.
    pub shuffle: Option<u64>,
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
struct Tallies<'a> {
    /// Of the process: those of both tables.
    process: &'a [RuleTally],
    /// Of the process, for rules that name several system calls: those of both tables.
    calls: &'a [AtomicU64],
    /// Of the thread, for rules with `scope=thread`.
    thread: &'a [AtomicU64],
}

/// The first rule that fires on a call. All rules that match count it, also those behind.
pub fn decide(block: &Block, frame: &Frame, function: Function) -> Option<Fault> {
    let tally = super::tally()?;
    TABLES.decide(
        Tallies { process: &tally.rules, calls: &tally.calls, thread: block.part::<Ordinals>() },
        frame,
        function,
    )
}

impl Rules {
    const fn new() -> Rules {
        Rules { tables: [const { Table::new() }; 2], generation: AtomicU32::new(0), arming: Lock::new() }
    }

    fn table(&self, generation: u32) -> &Table {
        let [even, odd] = &self.tables;
        if generation.is_multiple_of(2) { even } else { odd }
    }

    fn decide(&self, tallies: Tallies, frame: &Frame, function: Function) -> Option<Fault> {
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
            let Ok(mut ordinal) = self.count(&tally.matched, generation, u64::MAX) else { continue };
            if head & (IN_THREAD | BY_CALL) != 0 {
                let rank = functions.system_calls().before(function.counted_as()) as usize;
                let counter = entry.counters.load(Ordering::Relaxed) as usize + rank;
                let counter = if head & IN_THREAD != 0 {
                    tallies.thread.get(counter)
                } else {
                    tallies.calls.get((generation as usize % 2) * COUNTERS + counter)
                };
                if let Some(counter) = counter {
                    ordinal = self.count(counter, generation, u64::MAX).unwrap_or(ordinal);
                }
            }
            if chosen.is_some() || !entry.holds(ordinal) {
                continue;
            }
            if head & HAS_CHANCE != 0 && draw(index, ordinal) >= entry.chance.load(Ordering::Relaxed) {
                continue;
            }
            let after = entry.after.load(Ordering::Relaxed);
            if after != 0 && clock::monotonic().saturating_sub(process::began()) < after {
                continue;
            }
            let is_beyond = !fits(entry, frame, function);
            if is_beyond && !config::allows_impossible() {
                continue;
            }
            if self.count(&tally.fired, generation, entry.max.load(Ordering::Relaxed)).is_err() {
                continue;
            }
            if is_beyond {
                let _ = self.count(&tally.beyond, generation, u64::MAX);
            }
            chosen = Some(entry.fault(head, function, index, ordinal));
        }
        chosen
    }

    /// Adds rules behind those that are armed. None of them is armed if one cannot be.
    fn arm<'a>(&self, hold: Hold, rules: impl Iterator<Item = Rule<'a>>) -> Result<(), Refusal> {
        self.exclusively(hold, || {
            let table = self.table(self.generation.load(Ordering::Relaxed));
            let mut length = table.length.load(Ordering::Relaxed);
            let mut text_end = table.text_end(length);
            let mut counters = table.counters_end(length);
            for rule in rules {
                if !rule.caller.is_empty() && !effects::can_tell_callers() {
                    return Err(Refusal::NoCaller);
                }
                let entry = table.entries.get(length as usize).ok_or(Refusal::Full)?;
                let text = table.keep(&mut text_end, rule.text).ok_or(Refusal::Full)?;
                let caller = table.keep(&mut text_end, rule.caller).ok_or(Refusal::Full)?;
                entry.fill(&rule, counters, text, caller);
                counters += counters_of(rule.functions);
                if counters > COUNTERS {
                    return Err(Refusal::Full);
                }
                length += 1;
            }
            // Release: whoever reads the length finds the rules complete.
            table.length.store(length, Ordering::Release);
            Ok(())
        })
    }

    /// Takes all rules back.
    fn clear(&self, hold: Hold) -> Result<(), Refusal> {
        self.exclusively(hold, || {
            let next = self.generation.load(Ordering::Relaxed).wrapping_add(1);
            self.table(next).length.store(0, Ordering::Relaxed);
            // Release: whoever reads the new generation finds its table empty.
            self.generation.store(next, Ordering::Release);
            Ok(())
        })
    }

    /// One change is whole before the next begins. A frame that stopped in the middle of one has published nothing: the next
    /// one takes its place.
    fn exclusively(&self, hold: Hold, work: impl FnOnce() -> Result<(), Refusal>) -> Result<(), Refusal> {
        if !self.arming.try_lock(hold) {
            let holder = self.arming.holder().ok_or(Refusal::Busy)?;
            let is_gone = holder.is_gone(hold, thread::has_owner_ended, sys::is_on_alternate_stack);
            if !is_gone || !self.arming.break_lock(holder, hold) {
                return Err(Refusal::Busy);
            }
        }
        let result = work();
        self.arming.unlock(hold);
        result
    }

    /// In the child of a fork: a thread of the parent's that was arming is not here to end it.
    fn after_fork(&self, hold: Hold) {
        if let Some(holder) = self.arming.holder().filter(|holder| !holder.is_beside(hold))
            && self.arming.break_lock(holder, hold)
        {
            self.arming.unlock(hold);
        }
    }
}

/// The count of a rule in a process.
fn tally(tallies: &[RuleTally], generation: u32, rule: usize) -> Option<&RuleTally> {
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

/// Why rules could not be armed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Another thread is changing them.
    Busy,
    /// More than [`RULES`], or their text is too long, or they name too many calls.
    Full,
    /// `caller=` needs glibc 2.35.
    NoCaller,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Refusal::Busy => f.write_str("another thread is changing the rules"),
            Refusal::Full => {
                write!(f, "more than {RULES} rules, {TEXT} bytes of them, or {COUNTERS} calls that they name")
            }
            Refusal::NoCaller => f.write_str("caller= needs glibc 2.35 or later (_dl_find_object)"),
        }
    }
}

/// Adds rules behind those that are armed. None of them is armed if one cannot be.
pub fn arm<'a>(rules: impl Iterator<Item = Rule<'a>>) -> Result<(), Refusal> {
    TABLES.arm(ledger::here(), rules)
}

/// Takes all rules back.
pub fn clear() -> Result<(), Refusal> {
    TABLES.clear(ledger::here())
}

/// In the child of a fork.
pub fn after_fork() {
    TABLES.after_fork(ledger::here());
}

/// Counts begin anew.
pub fn restart() {
    if let Some(tally) = super::tally() {
        for rule in &tally.rules {
            rule.matched.store(0, Ordering::Relaxed);
            rule.fired.store(0, Ordering::Relaxed);
            rule.beyond.store(0, Ordering::Relaxed);
        }
        tally.calls.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }
    for block in crate::thread::all() {
        block.part::<Ordinals>().iter().for_each(|ordinal| ordinal.store(0, Ordering::Relaxed));
    }
}

/// A rule, for the report.
pub struct RuleStatus {
    generation: u32,
    text: u64,
    pub matched: u64,
    pub fired: u64,
    pub legal: bool,
}

impl RuleStatus {
    pub fn text(&self) -> impl Iterator<Item = u8> + Clone + use<> {
        TABLES.table(self.generation).kept(self.text)
    }
}

/// The functions that rules name.
pub fn functions() -> Functions {
    let table = TABLES.table(TABLES.generation.load(Ordering::Acquire));
    let length = table.length.load(Ordering::Acquire) as usize;
    let named = table.entries.iter().take(length).map(|entry| Functions(entry.functions.load(Ordering::Relaxed)));
    named.fold(Functions::NONE, Functions::with)
}

/// The rules that are armed now.
pub fn armed() -> impl Iterator<Item = RuleStatus> {
    let generation = TABLES.generation.load(Ordering::Acquire);
    let table = TABLES.table(generation);
    let length = table.length.load(Ordering::Acquire) as usize;
    let tallies = super::tally().map_or(&[][..], |tally| &tally.rules[..]);
    table.entries.iter().enumerate().take(length).map(move |(index, entry)| {
        let of = |word: fn(&RuleTally) -> &AtomicU64| {
            tally(tallies, generation, index).map_or(0, |tally| counted(word(tally), tag(generation)))
        };
        RuleStatus {
            generation,
            text: entry.text.load(Ordering::Relaxed),
            matched: of(|tally| &tally.matched),
            fired: of(|tally| &tally.fired),
            legal: entry.head.load(Ordering::Relaxed) & ILLEGAL == 0 && of(|tally| &tally.beyond) == 0,
        }
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{COUNTERS, RULES, Refusal, RuleTally, Rules, Tallies};
    use crate::frame::Frame;
    use crate::ledger::Hold;
    use crate::model::{self, Event, Search, check, check_each_step, participate};
    use crate::sync::{AtomicU64, Ordering};
    use epollshim_format::faults::{self, Outcome};
    use epollshim_format::function::Function;
    use std::boxed::Box;
    use std::format;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64 as Plain, Ordering::Relaxed as Unordered};

    struct State {
        rules: Rules,
        process: [RuleTally; 2 * RULES],
        calls: [AtomicU64; 2 * COUNTERS],
        thread: [AtomicU64; COUNTERS],
    }

    impl State {
        fn new() -> Arc<State> {
            // SAFETY: atomics, for which zero is valid.
            Arc::from(unsafe { Box::<State>::new_zeroed().assume_init() })
        }

        /// Arms a rule all of whose numbers follow from one, for every wait.
        fn arm(&self, hold: Hold, number: u64) -> Result<(), Refusal> {
            self.arm_text(hold, &text(number))
        }

        fn arm_text(&self, hold: Hold, text: &str) -> Result<(), Refusal> {
            self.rules.arm(hold, faults::parse(text.as_bytes(), true).map(Result::unwrap))
        }

        /// How many rules are armed.
        fn length(&self) -> u32 {
            self.rules.table(self.rules.generation.load(Ordering::Relaxed)).length.load(Ordering::Relaxed)
        }

        /// The number of the rule that a wait meets. Panics if it is made of two rules.
        fn decide(&self) -> Option<u64> {
            let frame = Frame { words: [0; 6], state: 0, caller: 0 };
            let tallies = Tallies { process: &self.process, calls: &self.calls, thread: &self.thread };
            let fault = self.rules.decide(tallies, &frame, Function::EpollWait)?;
            let number = u64::from(fault.batch);
            assert_eq!(fault.outcome, Some(Outcome::Error(number as u16)), "a fault of two rules");
            assert_eq!((fault.delay_enter, fault.delay_exit), (number * 1000, number * 1000), "a fault of two rules");
            Some(number)
        }

        fn matched(&self) -> u64 {
            self.process.iter().map(|tally| tally.matched.load(Ordering::Relaxed) & super::NUMBER).sum()
        }
    }

    fn text(number: u64) -> std::string::String {
        format!("epoll_wait:error={number}:delay_enter={number}:delay_exit={number}:batch={number}")
    }

    fn frame(thread: usize) -> Hold {
        Hold::new(0x7f00_0000_1000 + 64 * thread, 0x7ffe_0010_0000)
    }

    fn handler(thread: usize) -> Hold {
        Hold::new(0x7f00_0000_1000 + 64 * thread, 0x7ffe_0010_0000 - 4096)
    }

    #[test]
    fn a_call_meets_one_rule_whole_while_rules_change_under_it() {
        check(Search::Random(1500), || {
            let state = State::new();
            let steering = {
                let state = state.clone();
                shuttle::thread::spawn(move || {
                    for number in [1, 2] {
                        state.arm(frame(1), number).unwrap();
                        state.rules.clear(frame(1)).unwrap();
                    }
                    state.arm(frame(1), 3).unwrap();
                })
            };
            let calls = {
                let state = state.clone();
                shuttle::thread::spawn(move || {
                    let mut last = 0;
                    for _ in 0..3 {
                        let number = state.decide().unwrap_or(last);
                        assert!(number >= last, "a rule that was taken back came again");
                        last = number;
                    }
                })
            };
            calls.join().unwrap();
            steering.join().unwrap();
            assert_eq!(state.decide(), Some(3));
        });
    }

    #[test]
    fn a_call_that_is_overtaken_at_any_step_begins_again() {
        for at in 0..60 {
            check(Search::Exhaustive(1), move || {
                let state = State::new();
                state.arm(frame(1), 1).unwrap();
                let steering = state.clone();
                // Both tables are written over.
                let work = Box::new(move || {
                    for number in [2, 3] {
                        steering.rules.clear(handler(1)).unwrap();
                        steering.arm(handler(1), number).unwrap();
                    }
                    assert_eq!(steering.decide(), Some(3));
                });
                participate(at, Some(Event::Handler(work)), || {
                    let number = state.decide();
                    assert_eq!(number, Some(if model::any_event_met() { 3 } else { 1 }));
                });
                assert_eq!(state.matched(), if model::any_event_met() { 2 } else { 1 }, "a call was not counted");
            });
        }
    }

    #[test]
    fn a_handler_at_any_step_of_a_change_meets_no_rule_that_was_taken_back() {
        check_each_step(Search::Exhaustive(1), |at| {
            let state = State::new();
            let in_handler = state.clone();
            let taken_back = Arc::new(Plain::new(0));
            let least = taken_back.clone();
            let work = Box::new(move || {
                let least = least.load(Unordered);
                assert!(in_handler.decide().is_none_or(|number| number > least), "it came again");
            });
            participate(at, Some(Event::Handler(work)), || {
                for number in 1..=3 {
                    state.arm(frame(1), number).unwrap();
                    state.rules.clear(frame(1)).unwrap();
                    taken_back.store(number, Unordered);
                }
            });
            assert_eq!(state.decide(), None);
        });
    }

    #[test]
    fn two_threads_that_call_are_both_counted() {
        check(Search::Random(1500), || {
            let state = State::new();
            state.arm(frame(1), 1).unwrap();
            let call = |state: Arc<State>| shuttle::thread::spawn(move || assert_eq!(state.decide(), Some(1)));
            for thread in [call(state.clone()), call(state.clone())] {
                thread.join().unwrap();
            }
            assert_eq!(state.matched(), 2);
        });
    }

    #[test]
    fn of_two_threads_that_call_one_meets_a_rule_that_fires_once() {
        check(Search::Random(1500), || {
            let state = State::new();
            state.arm_text(frame(1), &format!("{}:max=1", text(1))).unwrap();
            let call = |state: Arc<State>| shuttle::thread::spawn(move || state.decide());
            let calls = [call(state.clone()), call(state.clone())].map(|call| call.join().unwrap());
            assert!(calls == [Some(1), None] || calls == [None, Some(1)], "{calls:?}");
        });
    }

    #[test]
    fn of_two_rules_that_are_armed_together_both_are_there_or_none() {
        check_each_step(Search::Exhaustive(1), |at| {
            let state = State::new();
            let in_handler = state.clone();
            let look = Box::new(move || assert!(matches!(in_handler.length(), 0 | 2)));
            let pair = format!("{};{}", text(1), text(2));
            participate(at, Some(Event::Handler(look)), || state.arm_text(frame(1), &pair).unwrap());
            assert_eq!(state.length(), 2);
        });
    }

    #[test]
    fn a_thread_that_jumps_out_while_it_arms_leaves_no_rule_and_no_lock() {
        // A rule of this kind takes some 20 words and its text.
        for at in 0..110 {
            check(Search::Random(15), move || {
                let state = State::new();
                let caller = {
                    let state = state.clone();
                    shuttle::thread::spawn(move || state.decide())
                };
                let went_on = participate(at, Some(Event::Stop), || state.arm(frame(1), 1).unwrap());
                assert!(caller.join().unwrap().is_none_or(|number| number == 1));
                if !went_on {
                    assert!(state.decide().is_none_or(|number| number == 1));
                    state.rules.clear(frame(1)).expect("the lock of a frame that is gone");
                    assert_eq!(state.decide(), None);
                    state.arm(frame(1), 2).unwrap();
                    assert_eq!(state.decide(), Some(2));
                }
            });
        }
    }

    #[test]
    fn a_handler_above_a_frame_that_arms_is_refused_and_calls_go_on() {
        for at in 0..110 {
            check(Search::Random(5), move || {
                let state = State::new();
                let in_handler = state.clone();
                let work = Box::new(move || {
                    let armed = in_handler.arm(handler(1), 2);
                    assert!(matches!(armed, Ok(()) | Err(Refusal::Busy)));
                    in_handler.decide();
                });
                participate(at, Some(Event::Handler(work)), || state.arm(frame(1), 1).unwrap());
                assert!(state.decide().is_some());
            });
        }
    }

    #[test]
    fn the_child_of_a_fork_arms_whatever_a_thread_of_its_parent_was_at() {
        for at in 0..110 {
            check(Search::Random(15), move || {
                let state = State::new();
                let arming = {
                    let state = state.clone();
                    shuttle::thread::spawn(move || {
                        participate(0, None, || state.arm(frame(1), 1).unwrap());
                    })
                };
                let in_child = state.clone();
                let fork = Event::Fork(Box::new(move || in_child.rules.after_fork(frame(2))));
                participate(at, Some(fork), || (0..=at).for_each(|_| model::step()));
                let forked = model::has_forked();
                arming.join().unwrap();
                model::go_on_alone();
                if forked {
                    state.rules.clear(frame(2)).expect("the lock of a thread that is not in the child");
                    state.arm(frame(2), 3).unwrap();
                    assert_eq!(state.decide(), Some(3));
                }
            });
        }
    }
}
