//! What a rule that fires does to a call.

use crate::sync::Ordering;

use epollshim_format::faults::Outcome;
use epollshim_format::function::Function;

use super::entry::{Entry, HAS_CHANCE, IS_MADE, SHUFFLES};
use crate::{clock, config, process};

/// What the rule that fired does to a call.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub outcome: Option<Outcome>,
    /// The call is made, and is then reported as failed.
    pub is_made: bool,
    pub signal: i32,
    pub delay_enter: u64,
    pub delay_exit: u64,
    pub batch: u32,
    pub forge: u32,
    /// A random number that decides the order of events. None: the order stays.
    pub shuffle: Option<u64>,
    /// The index of the rule.
    pub rule: u32,
    /// The rank of the thread if the rule counts in each thread. Otherwise 0.
    pub thread: u32,
    pub ordinal: u64,
}

/// A uniformly distributed number that depends only on the seed, a rule and an ordinal. It is the
/// finalizer of splitmix64, applied twice.
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

impl Entry {
    /// The fault that the rule causes.
    pub(super) fn fault(&self, head: u64, function: Function, index: usize, ordinal: u64) -> Fault {
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

    /// Whether the rule fires on this ordinal, now.
    pub(super) fn fires(&self, head: u64, index: usize, ordinal: u64) -> bool {
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

/// Flips a bit of the rule's index, so that errors are drawn independently of chances and orders.
const ERRORS: usize = 1 << 32;

/// One of the errors that the manual page of a function documents.
fn any_error(function: Function, random: u64) -> Option<Outcome> {
    let errors = function.row().errors.all();
    let place = random.checked_rem(errors.len() as u64)? as usize;
    errors.get(place).map(|error| Outcome::Error(u16::from(*error)))
}
