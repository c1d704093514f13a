//! Which of the armed rules fires on a call.

use crate::sync::{AtomicU64, Ordering, fence};

use epollshim_format::faults::{COUNTERS, Outcome};
use epollshim_format::function::{Function, Functions};

use super::counts::{NUMBER, Ordinals, Tallies, tag, tally};
use super::decision::report;
use super::entry::{BY_CALL, Entry, ILLEGAL, IN_THREAD, IN_TREE};
use super::fault::Fault;
use super::{Rules, TABLES, replay};
use crate::frame::Frame;
use crate::policy::tally;
use crate::thread::Block;
use crate::{config, log, record, session};

/// The first rule that fires on a call. All matching rules count the call, including those after
/// the first that fires.
pub fn decide(block: &Block, frame: &Frame, function: Function) -> Option<Fault> {
    let tally = tally::of_this_process()?;
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
        report(&fault, frame, function);
    }
    Some(fault)
}

impl Rules {
    pub(super) fn decide(&self, tallies: Tallies, frame: &Frame, function: Function) -> Option<Fault> {
        loop {
            // Acquire: pairs with the Release store in `Rules::clear`. A call that reads the new
            // generation finds its table empty.
            let generation = self.generation.load(Ordering::Acquire);
            let fault = self.decide_by(generation, tallies, frame, function);
            // Acquire fence: the loads above come before this load. If the generation has not
            // changed, all that was read belongs to it.
            fence(Ordering::Acquire);
            if self.generation.load(Ordering::Relaxed) == generation {
                return fault;
            }
        }
    }

    /// Adds 1 to a count, up to `most`. Ok: the new count. Err: it is `most` already, or another
    /// generation has begun.
    fn count(&self, word: &AtomicU64, generation: u32, most: u64) -> Result<u64, ()> {
        let tag = tag(generation);
        let mut now = word.load(Ordering::Relaxed);
        loop {
            let before = if now & !NUMBER == tag {
                now & NUMBER
            } else {
                // A count of an earlier generation is replaced. A slow call may find the count of a
                // later generation here, which it must leave.
                fence(Ordering::Acquire);
                if self.generation.load(Ordering::Relaxed) != generation {
                    return Err(());
                }
                0
            };
            if before >= most {
                return Err(());
            }
            // Relaxed: all threads see the changes of one word in the same order, and an ordinal
            // needs nothing more.
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

/// Whether a call could return the rule's value. A wait cannot return more events than it asked
/// for.
fn fits(entry: &Entry, frame: &Frame, function: Function) -> bool {
    match entry.outcome() {
        Some(Outcome::Value(value)) if function.waits() => {
            entry.head.load(Ordering::Relaxed) & ILLEGAL != 0 || value <= i64::from(frame.int(2).max(0))
        }
        _ => true,
    }
}
