//! The rules of faults that are armed, and the choice among them at a call.
//!
//! Two tables, of which one is current. Rules are added behind those of the current one; to clear them the other, empty one becomes current. A
//! call reads a rule word by word, whatever happens to the tables meanwhile, and then looks whether its table is still
//! the current one; if not, it begins again. So nobody waits, in a signal handler neither, and nothing is given back.
//!
//! Counts carry the number of the table's turn (its tag): one of an earlier turn reads as zero.

use crate::sync::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

use epollshim_format::faults::{Operation, Outcome, RULES, Rule, Scope};
use epollshim_format::function::{Function, Functions};

use super::effects;
use crate::hooks::Frame;
use crate::thread::Block;
use crate::{clock, init, process};

/// Bytes of rules that one table keeps for the report.
const TEXT: usize = 16 * 1024;

struct Table {
    /// Rules that are complete. Release by the arming thread, Acquire by calls.
    length: AtomicU32,
    entries: [Entry; RULES],
    text: [AtomicU8; TEXT],
    text_length: AtomicU32,
}

struct Entry {
    /// `Functions`, and flags above them.
    head: AtomicU64,
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

const FLAGS: u32 = 16;
const HAS_FD: u64 = 1 << FLAGS;
const HAS_EPFD: u64 = 2 << FLAGS;
const HAS_EVENTS: u64 = 4 << FLAGS;
const HAS_CALLER: u64 = 8 << FLAGS;
const HAS_CHANCE: u64 = 16 << FLAGS;
const IN_THREAD: u64 = 32 << FLAGS;
const SHUFFLES: u64 = 64 << FLAGS;
const ILLEGAL: u64 = 128 << FLAGS;
const OPERATION: u32 = FLAGS + 8;
const OUTCOME: u32 = OPERATION + 2;

static TABLES: [Table; 2] = [const { Table::new() }; 2];
/// Turns of the tables: the lowest bit tells which one is current.
static TURN: AtomicU32 = AtomicU32::new(0);
/// One thread arms at a time: of the process with this identity; 0: none does.
static ARMING: AtomicU64 = AtomicU64::new(0);
static SEED: AtomicU64 = AtomicU64::new(0);
static HAS_SEED: AtomicBool = AtomicBool::new(false);

impl Table {
    const fn new() -> Self {
        Table {
            length: AtomicU32::new(0),
            entries: [const { Entry::new() }; RULES],
            text: [const { AtomicU8::new(0) }; TEXT],
            text_length: AtomicU32::new(0),
        }
    }

    /// Keeps bytes, and tells where. None: no room.
    fn keep(&self, bytes: &[u8]) -> Option<u64> {
        let at = self.text_length.load(Ordering::Relaxed);
        let places = self.text.get(at as usize..at as usize + bytes.len())?;
        for (place, byte) in places.iter().zip(bytes) {
            place.store(*byte, Ordering::Relaxed);
        }
        self.text_length.store(at + bytes.len() as u32, Ordering::Relaxed);
        Some(u64::from(at) | (bytes.len() as u64) << 32)
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

    fn fill(&self, rule: &Rule, text: u64, caller: u64) {
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
        };
        let head = u64::from(rule.functions.0)
            | flag(rule.fd.is_some(), HAS_FD)
            | flag(rule.epfd.is_some(), HAS_EPFD)
            | flag(rule.events != 0, HAS_EVENTS)
            | flag(!rule.caller.is_empty(), HAS_CALLER)
            | flag(rule.chance.is_some(), HAS_CHANCE)
            | flag(rule.scope == Scope::Thread, IN_THREAD)
            | flag(rule.shuffle, SHUFFLES)
            | flag(!rule.legal, ILLEGAL)
            | (operation as u64) << OPERATION
            | outcome << OUTCOME;
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let set = |word: &AtomicU64, value| word.store(value, Ordering::Relaxed);
        set(&self.head, head);
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
        match self.head.load(Ordering::Relaxed) >> OUTCOME & 3 {
            1 => Some(Outcome::Error(value as u16)),
            2 => Some(Outcome::Value(value)),
            3 => Some(Outcome::Timeout),
            _ => None,
        }
    }

    /// Whether a call's arguments are those that the rule asks for.
    #[inline(always)]
    fn wants(&self, head: u64, table: &Table, frame: &Frame, function: Function) -> bool {
        head & (HAS_FD | HAS_EPFD | HAS_EVENTS | HAS_CALLER | 3 << OPERATION) == 0
            || self.wants_these(head, table, frame, function)
    }

    fn wants_these(&self, head: u64, table: &Table, frame: &Frame, function: Function) -> bool {
        let descriptors = self.descriptors.load(Ordering::Relaxed);
        let is_ctl = function == Function::EpollCtl;
        let operation = (head >> OPERATION & 3) as i32;
        if operation != 0 && !(is_ctl && frame.int(1) == operation) {
            return false;
        }
        if head & HAS_EPFD != 0 && effects::epfd_of(function, &frame.words) != Some((descriptors >> 32) as i32) {
            return false;
        }
        if head & HAS_FD != 0 && effects::fd_of(function, &frame.words) != Some(descriptors as i32) {
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

    fn holds(&self, ordinal: u64) -> bool {
        let when = epollshim_format::faults::When {
            first: self.first.load(Ordering::Relaxed),
            last: self.last.load(Ordering::Relaxed),
            step: self.step.load(Ordering::Relaxed),
        };
        when.holds(ordinal)
    }
}

/// What a rule counts in a process, each with the tag of its table's turn above 48 bits.
#[repr(C)]
pub struct RuleTally {
    matched: AtomicU64,
    fired: AtomicU64,
    /// Of those that fired: beyond what this very call could return, which only an impossible fault does.
    beyond: AtomicU64,
}

const TAG_SHIFT: u32 = 48;
const NUMBER: u64 = (1 << TAG_SHIFT) - 1;

fn tag(turn: u32) -> u64 {
    u64::from(turn % 0xffff + 1) << TAG_SHIFT
}

/// Counts one more, up to `most`. Ok: the new count. Err: it is `most` already, or the turn is over.
fn count(word: &AtomicU64, turn: u32, most: u64) -> Result<u64, ()> {
    let tag = tag(turn);
    let mut now = word.load(Ordering::Relaxed);
    loop {
        let before = if now & !NUMBER == tag {
            now & NUMBER
        } else {
            // An earlier turn's count is replaced; a later one's, which a slow call may find here, is not its to touch.
            fence(Ordering::Acquire);
            if TURN.load(Ordering::Relaxed) != turn {
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
    let seed = SEED.load(Ordering::Relaxed);
    let rule = (rule as u64).wrapping_add(1);
    mix(mix(seed.wrapping_add(rule.wrapping_mul(STEP))).wrapping_add(ordinal.wrapping_mul(STEP)))
}

/// The first rule that fires on a call. All rules that match count it, also those behind.
pub fn decide(block: &Block, frame: &Frame, function: Function) -> Option<Fault> {
    loop {
        let turn = TURN.load(Ordering::Acquire);
        let fault = decide_by(turn, block, frame, function);
        // What was read is of this turn if the turn has not changed since.
        fence(Ordering::Acquire);
        if TURN.load(Ordering::Relaxed) == turn {
            return fault;
        }
    }
}

fn table(turn: u32) -> &'static Table {
    let [even, odd] = &TABLES;
    if turn.is_multiple_of(2) { even } else { odd }
}

fn tally(turn: u32, rule: usize) -> Option<&'static RuleTally> {
    process::tally()?.rules.get((turn as usize % 2) * RULES + rule)
}

#[inline(always)]
fn decide_by(turn: u32, block: &Block, frame: &Frame, function: Function) -> Option<Fault> {
    let table = table(turn);
    let mut chosen = None;
    let length = table.length.load(Ordering::Acquire) as usize;
    for (index, entry) in table.entries.iter().enumerate().take(length) {
        let head = entry.head.load(Ordering::Relaxed);
        if !Functions(head as u16).has(function) || !entry.wants(head, table, frame, function) {
            continue;
        }
        let Some(tally) = tally(turn, index) else { continue };
        let Ok(mut ordinal) = count(&tally.matched, turn, u64::MAX) else { continue };
        if head & IN_THREAD != 0
            && let Some(of_thread) = block.ordinals.get(index)
        {
            ordinal = count(of_thread, turn, u64::MAX).unwrap_or(ordinal);
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
        if is_beyond && !init::allows_impossible() {
            continue;
        }
        if count(&tally.fired, turn, entry.max.load(Ordering::Relaxed)).is_err() {
            continue;
        }
        if is_beyond {
            let _ = count(&tally.beyond, turn, u64::MAX);
        }
        let batch = entry.batch.load(Ordering::Relaxed);
        let is_wait = function.waits();
        let outcome = entry.outcome().filter(|outcome| is_wait || *outcome != Outcome::Timeout);
        chosen = Some(Fault {
            outcome,
            signal: (batch >> 32) as i32,
            delay_enter: entry.delay_enter.load(Ordering::Relaxed),
            delay_exit: entry.delay_exit.load(Ordering::Relaxed),
            batch: if is_wait { batch as u32 } else { 0 },
            forge: if is_wait { (entry.events.load(Ordering::Relaxed) >> 32) as u32 } else { 0 },
            shuffle: (is_wait && head & SHUFFLES != 0).then(|| draw(index ^ usize::MAX, ordinal)),
        });
    }
    chosen
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
    /// More than [`RULES`], or their text is too long.
    Full,
    /// `caller=` needs glibc 2.35.
    NoCaller,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Refusal::Busy => f.write_str("another thread is changing the rules"),
            Refusal::Full => write!(f, "more than {RULES} rules, or more than {TEXT} bytes of them"),
            Refusal::NoCaller => f.write_str("caller= needs glibc 2.35 or later (_dl_find_object)"),
        }
    }
}

/// Adds rules behind those that are armed. None of them is armed if one cannot be.
pub fn arm<'a>(rules: impl Iterator<Item = Rule<'a>>) -> Result<(), Refusal> {
    exclusively(|| {
        let table = table(TURN.load(Ordering::Relaxed));
        let text_length = table.text_length.load(Ordering::Relaxed);
        let mut length = table.length.load(Ordering::Relaxed);
        let filled = (|| {
            for rule in rules {
                if !rule.caller.is_empty() && !effects::can_tell_callers() {
                    return Err(Refusal::NoCaller);
                }
                let entry = table.entries.get(length as usize).ok_or(Refusal::Full)?;
                let text = table.keep(rule.text).ok_or(Refusal::Full)?;
                let caller = table.keep(rule.caller).ok_or(Refusal::Full)?;
                entry.fill(&rule, text, caller);
                length += 1;
            }
            Ok(())
        })();
        match filled {
            Ok(()) => table.length.store(length, Ordering::Release),
            Err(_) => table.text_length.store(text_length, Ordering::Relaxed),
        }
        filled
    })
}

/// Takes all rules back.
pub fn clear() -> Result<(), Refusal> {
    exclusively(|| {
        let next = TURN.load(Ordering::Relaxed).wrapping_add(1);
        let other = table(next);
        other.length.store(0, Ordering::Relaxed);
        other.text_length.store(0, Ordering::Relaxed);
        // Release: who reads the new turn finds the other table empty.
        TURN.store(next, Ordering::Release);
        Ok(())
    })
}

/// Counts begin anew.
pub fn restart() {
    if let Some(tally) = process::tally() {
        for rule in &tally.rules {
            rule.matched.store(0, Ordering::Relaxed);
            rule.fired.store(0, Ordering::Relaxed);
            rule.beyond.store(0, Ordering::Relaxed);
        }
    }
    for block in crate::thread::all() {
        block.ordinals.iter().for_each(|ordinal| ordinal.store(0, Ordering::Relaxed));
    }
}

fn exclusively(work: impl FnOnce() -> Result<(), Refusal>) -> Result<(), Refusal> {
    // Not the pid: parent and child may both be pid 1, and a filter may answer 0.
    let own = process::identity().max(1);
    let mut holder = 0;
    // Acquire and Release: one change is whole before the next begins. Another process's: a thread of the parent's was
    // arming at the fork, and is not here to end it. What it had not published is written over.
    while let Err(now) = ARMING.compare_exchange(holder, own, Ordering::Acquire, Ordering::Relaxed) {
        if now == own {
            return Err(Refusal::Busy);
        }
        holder = now;
    }
    let result = work();
    ARMING.store(0, Ordering::Release);
    result
}

/// Sets the seed of every random choice.
pub fn seed(value: u64) {
    SEED.store(value, Ordering::Relaxed);
    HAS_SEED.store(true, Ordering::Relaxed);
}

/// The seed; None: nothing random was asked for.
pub fn the_seed() -> Option<u64> {
    HAS_SEED.load(Ordering::Relaxed).then(|| SEED.load(Ordering::Relaxed))
}

/// A rule, for the report.
pub struct Told {
    turn: u32,
    text: u64,
    pub matched: u64,
    pub fired: u64,
    pub legal: bool,
}

impl Told {
    pub fn text(&self) -> impl Iterator<Item = u8> + Clone + use<> {
        table(self.turn).kept(self.text)
    }
}

/// The functions that rules name.
pub fn functions() -> Functions {
    let table = table(TURN.load(Ordering::Acquire));
    let length = table.length.load(Ordering::Acquire) as usize;
    let heads = table.entries.iter().take(length).map(|entry| entry.head.load(Ordering::Relaxed) as u16);
    Functions(heads.fold(0, |all, head| all | head))
}

/// The rules that are armed now.
pub fn told() -> impl Iterator<Item = Told> {
    let turn = TURN.load(Ordering::Acquire);
    let table = table(turn);
    let length = table.length.load(Ordering::Acquire) as usize;
    table.entries.iter().enumerate().take(length).map(move |(index, entry)| {
        let of =
            |word: fn(&RuleTally) -> &AtomicU64| tally(turn, index).map_or(0, |tally| counted(word(tally), tag(turn)));
        Told {
            turn,
            text: entry.text.load(Ordering::Relaxed),
            matched: of(|tally| &tally.matched),
            fired: of(|tally| &tally.fired),
            legal: entry.head.load(Ordering::Relaxed) & ILLEGAL == 0 && of(|tally| &tally.beyond) == 0,
        }
    })
}
