//! What rules have counted: in the process, in each thread, and in all processes of the session.
//!
//! Each count carries a tag of its generation. A count of an earlier generation reads as zero.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

use epollshim_format::faults::{COUNTERS, RULES};

use crate::session::faults::Page;

/// What a rule has counted in a process. Above its lowest 48 bits, each word has the tag of its
/// generation.
#[repr(C)]
pub struct RuleTally {
    pub(super) matched: AtomicU64,
    pub(super) fired: AtomicU64,
    /// How many of those that fired gave the call a result that it could not have returned, which
    /// only an impossible fault does.
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

/// The counts that a call of a thread may change.
#[derive(Clone, Copy)]
pub(super) struct Tallies<'a> {
    /// The counts of this process for each rule, of both tables.
    pub(super) process: &'a [RuleTally],
    /// The counts of this process for each system call, of both tables. For rules that name
    /// several.
    pub(super) calls: &'a [AtomicU64],
    /// The counts of this thread, for rules with `scope=thread`.
    pub(super) thread: &'a [AtomicU64],
    /// The counts of all processes of the session, for rules with `scope=tree`.
    pub(super) shared: Option<&'a Page>,
    /// The rank of this thread, and the last rank that was given to any.
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

/// How many calls of one thread have matched each rule. It lies in the thread's block.
#[repr(C)]
pub struct Ordinals {
    pub(super) counts: [AtomicU64; COUNTERS],
    /// The rank of the thread: its place, from 1, among the threads whose calls have matched a rule
    /// with `scope=thread`. 0: it has none.
    pub(super) rank: AtomicU32,
}

impl Ordinals {
    /// Resets the counts to zero.
    pub(super) fn forget_counts(&self) {
        self.counts.iter().for_each(|ordinal| ordinal.store(0, Ordering::Relaxed));
    }

    /// The block now belongs to another thread.
    pub fn next_owner(&self) {
        self.forget_counts();
        self.rank.store(0, Ordering::Relaxed);
    }
}

/// The counts of a rule in a process.
pub(super) fn tally(tallies: &[RuleTally], generation: u32, rule: usize) -> Option<&RuleTally> {
    tallies.get((generation as usize % 2) * RULES + rule)
}
