//! A rule, stored as words that are written and read one by one, also while other threads read
//! them.

use crate::sync::{AtomicI64, AtomicU64, Ordering};

use epollshim_format::faults::{Operation, Outcome, Rule, Scope};
use epollshim_format::function::Functions;

pub(super) struct Entry {
    /// The flags, the operation and the kind of outcome: see the constants below.
    pub(super) head: AtomicU64,
    pub(super) functions: AtomicU64,
    /// The index of its first counter.
    pub(super) counters: AtomicU64,
    /// `fd` in the lower half, `epfd` in the upper half.
    pub(super) descriptors: AtomicU64,
    /// The event bits that an `epoll_ctl` must ask for in the lower half. The bits to forge in the
    /// upper half.
    pub(super) events: AtomicU64,
    pub(super) first: AtomicU64,
    pub(super) last: AtomicU64,
    pub(super) step: AtomicU64,
    pub(super) chance: AtomicU64,
    pub(super) after: AtomicU64,
    pub(super) max: AtomicU64,
    pub(super) value: AtomicI64,
    pub(super) delay_enter: AtomicU64,
    pub(super) delay_exit: AtomicU64,
    /// The batch in the lower half, the signal in the upper half.
    pub(super) batch: AtomicU64,
    /// Where the rule's text begins (lower half), and its length (upper half). The same for the two
    /// names below.
    pub(super) text: AtomicU64,
    pub(super) caller: AtomicU64,
    pub(super) stack_name: AtomicU64,
    /// The first of the table's functions that the name matches (lower half), and their number
    /// (upper half).
    pub(super) on_stack: AtomicU64,
    /// The hash of the call stack that the rule asks for.
    pub(super) stack: AtomicU64,
    /// The return address that the rule asks for, as an address of its file.
    pub(super) site: AtomicU64,
}

/// Where a table keeps the parts of a rule that do not fit into its words.
pub(super) struct Kept {
    /// The index of its first counter.
    pub(super) counters: usize,
    pub(super) text: u64,
    pub(super) caller: u64,
    pub(super) stack_name: u64,
    pub(super) on_stack: u64,
}

// Flags and fields of `head`.
pub(super) const HAS_FD: u64 = 1;
pub(super) const HAS_EPFD: u64 = 1 << 1;
pub(super) const HAS_EVENTS: u64 = 1 << 2;
pub(super) const HAS_CALLER: u64 = 1 << 3;
pub(super) const HAS_CHANCE: u64 = 1 << 4;
/// Ordinals are counted for each thread.
pub(super) const IN_THREAD: u64 = 1 << 5;
/// Ordinals are counted for each system call, and the rule names more than one.
pub(super) const BY_CALL: u64 = 1 << 6;
pub(super) const SHUFFLES: u64 = 1 << 7;
pub(super) const ILLEGAL: u64 = 1 << 8;
pub(super) const ONLY_DUPLICATES: u64 = 1 << 9;
pub(super) const HAS_STACK_NAME: u64 = 1 << 10;
pub(super) const HAS_STACK: u64 = 1 << 11;
pub(super) const OPERATION: u32 = 12;
pub(super) const OUTCOME: u32 = OPERATION + 2;
pub(super) const HAS_SITE: u64 = 1 << 17;
/// The call is made, and is then reported as failed.
pub(super) const IS_MADE: u64 = 1 << 18;
/// Ordinals and `max` are counted across all processes of the session.
pub(super) const IN_TREE: u64 = 1 << 19;
/// The shift of the phase plus one. 0: any phase.
pub(super) const PHASE: u32 = 20;
/// The shift of the number of callers that the hash covers. 0: all.
pub(super) const DEPTH: u32 = 24;

impl Entry {
    pub(super) const fn new() -> Self {
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
            stack_name: AtomicU64::new(0),
            on_stack: AtomicU64::new(0),
            stack: AtomicU64::new(0),
            site: AtomicU64::new(0),
        }
    }

    pub(super) fn fill(&self, rule: &Rule, kept: &Kept) {
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
            | flag(!rule.stack_name.is_empty(), HAS_STACK_NAME)
            | flag(rule.stack.is_some(), HAS_STACK)
            | flag(rule.chance.is_some(), HAS_CHANCE)
            | flag(rule.scope == Scope::Thread, IN_THREAD)
            | flag(is_by_call, BY_CALL)
            | flag(rule.only_duplicates, ONLY_DUPLICATES)
            | flag(rule.shuffle, SHUFFLES)
            | flag(!rule.legal, ILLEGAL)
            | (operation as u64) << OPERATION
            | outcome << OUTCOME
            | flag(rule.site.is_some(), HAS_SITE)
            | flag(rule.is_made, IS_MADE)
            | flag(rule.scope == Scope::Tree, IN_TREE)
            | rule.phase.map_or(0, |phase| phase as u64 + 1) << PHASE
            | u64::from(rule.depth) << DEPTH;
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let set = |word: &AtomicU64, value| word.store(value, Ordering::Relaxed);
        set(&self.head, head);
        set(&self.functions, rule.functions.0);
        set(&self.counters, kept.counters as u64);
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
        set(&self.text, kept.text);
        set(&self.caller, kept.caller);
        set(&self.stack_name, kept.stack_name);
        set(&self.on_stack, kept.on_stack);
        set(&self.stack, rule.stack.unwrap_or(0));
        set(&self.site, rule.site.unwrap_or(0));
    }

    pub(super) fn outcome(&self) -> Option<Outcome> {
        let value = self.value.load(Ordering::Relaxed);
        match self.head.load(Ordering::Relaxed) >> OUTCOME & 7 {
            1 => Some(Outcome::Error(value as u16)),
            2 => Some(Outcome::Value(value)),
            3 => Some(Outcome::Timeout),
            4 => Some(Outcome::AnyError),
            _ => None,
        }
    }
}

/// How many counters a rule that names these functions has.
pub(super) fn counters_of(functions: Functions) -> usize {
    functions.system_calls().len() as usize
}
