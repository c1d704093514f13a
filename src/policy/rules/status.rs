//! The armed rules and their counts, for reports and recordings.

use crate::sync::{AtomicU64, Ordering};

use epollshim_format::function::{Function, Functions};
use epollshim_format::recording::policy as layout;

use super::TABLES;
use super::counts::{self, RuleTally, counted, tag};
use super::entry::{Entry, ILLEGAL};
use crate::policy::tally;

/// The state of an armed rule.
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

/// Copies the counts of the rules that name a function into the recording. Called after each call
/// that they were checked for.
#[inline(never)]
pub fn mirror_counts(function: Function) {
    let Some(start) = tally::recorded() else { return };
    for (index, rule) in armed_for(function) {
        let at = layout::FIRST + index * layout::RULE;
        for (place, count) in [(layout::MATCHED, rule.matched), (layout::FIRED, rule.fired)] {
            let copy = tally::word(start, at + place);
            if copy.load(Ordering::Relaxed) < count {
                // Several threads may copy at once. A count only grows, so the highest is the
                // newest.
                copy.fetch_max(count, Ordering::Relaxed);
            }
        }
    }
}

/// The armed rules.
pub fn armed() -> impl Iterator<Item = RuleStatus> {
    armed_where(None).map(|(_, status)| status)
}

/// The armed rules that name a function, with their indexes.
pub fn armed_for(function: Function) -> impl Iterator<Item = (usize, RuleStatus)> {
    armed_where(Some(function))
}

fn armed_where(function: Option<Function>) -> impl Iterator<Item = (usize, RuleStatus)> {
    let generation = TABLES.generation.load(Ordering::Acquire);
    let table = TABLES.table(generation);
    let length = table.length.load(Ordering::Acquire) as usize;
    let tallies = tally::of_this_process().map_or(&[][..], |tally| &tally.rules[..]);
    let names = move |entry: &Entry| match function {
        Some(function) => Functions(entry.functions.load(Ordering::Relaxed)).has(function),
        None => true,
    };
    let all = table.entries.iter().enumerate().take(length).filter(move |(_, entry)| names(entry));
    all.map(move |(index, entry)| {
        let of = |word: fn(&RuleTally) -> &AtomicU64| {
            counts::tally(tallies, generation, index).map_or(0, |tally| counted(word(tally), tag(generation)))
        };
        let status = RuleStatus {
            generation,
            text: entry.text.load(Ordering::Relaxed),
            matched: of(|tally| &tally.matched),
            fired: of(|tally| &tally.fired),
            legal: entry.head.load(Ordering::Relaxed) & ILLEGAL == 0 && of(|tally| &tally.beyond) == 0,
        };
        (index, status)
    })
}
