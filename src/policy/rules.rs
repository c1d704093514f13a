//! The rules of faults that are armed, and how they change. Which of them fires on a call:
//! rules/choice.rs.
//!
//! There are two tables, one of which is current. New rules are appended to the current table. To
//! clear the rules, the other table is emptied and becomes current, which begins the next
//! generation.
//!
//! A call reads a rule word by word while another thread may change the tables. Afterwards it
//! checks that the generation is still the same. If it is not, the call starts again. So no thread
//! waits, not even in a signal handler, and no memory is freed.

mod choice;
mod condition;
pub(super) mod counts;
mod decision;
mod entry;
mod fault;
mod on_stack;
mod refusal;
pub mod replay;
mod status;
mod table;
#[cfg(test)]
mod tests;

use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use epollshim_format::faults::{COUNTERS, Rule};
use epollshim_format::function::Functions;

use self::entry::{Kept, counters_of};
use self::table::Table;
use super::{effects, tally};
use crate::ledger::{self, Hold, Lock};
use crate::{stacks, sys, thread};

pub use self::choice::decide;
pub use self::counts::Ordinals;
pub use self::fault::Fault;
pub use self::refusal::Refusal;
pub use self::status::{RuleStatus, armed, mirror_counts};

/// The tables, and the lock of the frame that changes them.
struct Rules {
    tables: [Table; 2],
    /// The number of times that all rules were cleared. The lowest bit selects the current table.
    generation: AtomicU32,
    /// Held by the frame that changes the tables. Other frames are refused instead of waiting.
    arming: Lock,
}

static TABLES: Rules = Rules::new();

impl Rules {
    const fn new() -> Rules {
        Rules { tables: [const { Table::new() }; 2], generation: AtomicU32::new(0), arming: Lock::new() }
    }

    fn table(&self, generation: u32) -> &Table {
        let [even, odd] = &self.tables;
        if generation.is_multiple_of(2) { even } else { odd }
    }

    /// Appends rules to those that are armed: all of them, or none.
    fn arm<'a>(&self, hold: Hold, rules: impl Iterator<Item = Rule<'a>>) -> Result<(), Refusal> {
        self.exclusively(hold, || {
            let table = self.table(self.generation.load(Ordering::Relaxed));
            let mut length = table.length.load(Ordering::Relaxed);
            let mut text_end = table.text_end(length);
            let mut counters = table.counters_end(length);
            let mut functions_end = table.on_stack_end(length);
            for rule in rules {
                if !rule.caller.is_empty() && !effects::can_tell_callers() {
                    return Err(Refusal::NoCaller);
                }
                if !rule.stack_name.is_empty() || rule.stack.is_some() {
                    stacks::want_walks().map_err(Refusal::Stacks)?;
                }
                request(rule.functions)?;
                let entry = table.entries.get(length as usize).ok_or(Refusal::Full)?;
                let mut keep = |bytes| table.keep(&mut text_end, bytes).ok_or(Refusal::Full);
                let kept = Kept {
                    counters,
                    text: keep(rule.text)?,
                    caller: keep(rule.caller)?,
                    stack_name: keep(rule.stack_name)?,
                    on_stack: table.find_functions(&mut functions_end, rule.stack_name)?,
                };
                entry.fill(&rule, &kept);
                counters += counters_of(rule.functions);
                if counters > COUNTERS {
                    return Err(Refusal::Full);
                }
                length += 1;
            }
            // Release: pairs with the Acquire loads of `length`. A call that reads it finds the
            // rules complete.
            table.length.store(length, Ordering::Release);
            Ok(())
        })
    }

    /// Clears all rules.
    fn clear(&self, hold: Hold) -> Result<(), Refusal> {
        self.exclusively(hold, || {
            let next = self.generation.load(Ordering::Relaxed).wrapping_add(1);
            self.table(next).length.store(0, Ordering::Relaxed);
            // Release: pairs with the Acquire loads of `generation`. A call that reads the new one
            // finds its table empty.
            self.generation.store(next, Ordering::Release);
            Ok(())
        })
    }

    /// Runs `work` under the lock, so that one change is complete before the next begins. A frame
    /// that was left in the middle of a change has published nothing: the next frame takes its
    /// lock.
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

    /// In the child of a fork. A thread of the parent that held the lock does not exist here: the
    /// lock is taken from it.
    fn after_fork(&self, hold: Hold) {
        if let Some(holder) = self.arming.holder().filter(|holder| !holder.is_beside(hold))
            && self.arming.break_lock(holder, hold)
        {
            self.arming.unlock(hold);
        }
    }
}
/// The functions of [`Functions::ON_REQUEST`] that rules have named so far. Relaxed: the thread
/// that arms the first rules also hooks these functions.
static REQUESTED: AtomicU64 = AtomicU64::new(0);
/// Set when those were hooked. Others cannot be hooked any more.
static IS_STARTED: AtomicBool = AtomicBool::new(false);

/// Has functions hooked that are only hooked on request. Err: it is too late.
fn request(functions: Functions) -> Result<(), Refusal> {
    let asked = functions.0 & Functions::ON_REQUEST.0;
    if IS_STARTED.load(Ordering::Relaxed) && asked & !REQUESTED.load(Ordering::Relaxed) != 0 {
        return Err(Refusal::NotHooked);
    }
    if asked != 0 {
        REQUESTED.fetch_or(asked, Ordering::Relaxed);
    }
    Ok(())
}

/// The functions that the caller must hook now. Later rules cannot name others.
pub fn requested() -> Functions {
    IS_STARTED.store(true, Ordering::Relaxed);
    Functions(REQUESTED.load(Ordering::Relaxed))
}

/// Appends rules to those that are armed: all of them, or none.
pub fn arm<'a>(rules: impl Iterator<Item = Rule<'a>>) -> Result<(), Refusal> {
    TABLES.arm(ledger::here(), rules)
}

/// Clears all rules.
pub fn clear() -> Result<(), Refusal> {
    TABLES.clear(ledger::here())
}

/// Makes the rules of the child of a fork usable.
pub fn after_fork() {
    TABLES.after_fork(ledger::here());
}

/// Resets all counts to zero.
pub fn restart() {
    if let Some(tally) = tally::of_this_process() {
        for rule in &tally.rules {
            rule.matched.store(0, Ordering::Relaxed);
            rule.fired.store(0, Ordering::Relaxed);
            rule.beyond.store(0, Ordering::Relaxed);
        }
        tally.calls.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }
    for block in crate::thread::all() {
        block.part::<Ordinals>().forget_counts();
    }
}

/// The functions that armed rules name.
pub fn functions() -> Functions {
    let table = TABLES.table(TABLES.generation.load(Ordering::Acquire));
    let length = table.length.load(Ordering::Acquire) as usize;
    let named = table.entries.iter().take(length).map(|entry| Functions(entry.functions.load(Ordering::Relaxed)));
    named.fold(Functions::NONE, Functions::with)
}

/// The generation as the recording has it: its lowest byte.
pub fn generation() -> u64 {
    u64::from(TABLES.generation.load(Ordering::Acquire) as u8)
}
