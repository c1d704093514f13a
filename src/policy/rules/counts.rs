//! What rules have counted: in the process, in each thread, and in all processes of the session.
//!
//! Counts carry the number of their generation (a tag): a count of an earlier generation reads as zero.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

use epollshim_format::faults::{COUNTERS, RULES};

use crate::session::faults::Page;

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
    pub(super) fn rank(&self) -> u32 {
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
    pub(super) counts: [AtomicU64; COUNTERS],
    /// The thread's place among those whose calls have matched a rule with `scope=thread`, from 1; 0: none has.
    pub(super) rank: AtomicU32,
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

/// The count of a rule in a process.
pub(super) fn tally(tallies: &[RuleTally], generation: u32, rule: usize) -> Option<&RuleTally> {
    tallies.get((generation as usize % 2) * RULES + rule)
}
