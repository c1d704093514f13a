//! The rules that are armed, and what they have counted: for reports and recordings.

use crate::sync::{AtomicU64, Ordering};

use epollshim_format::function::{Function, Functions};
use epollshim_format::recording::policy as layout;

use super::TABLES;
use super::counts::{self, RuleTally, counted, tag};
use super::entry::{Entry, ILLEGAL};
use crate::policy::tally;

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

/// A call of a function has been looked at by the rules: what they count for it.
#[inline(never)]
pub fn follow(function: Function) {
    let Some(start) = tally::recorded() else { return };
    for (index, rule) in armed_for(function) {
        let at = layout::FIRST + index * layout::RULE;
        for (place, count) in [(layout::MATCHED, rule.matched), (layout::FIRED, rule.fired)] {
            let copy = tally::word(start, at + place);
            if copy.load(Ordering::Relaxed) < count {
                // The highest of what several threads have read: it only grows.
                copy.fetch_max(count, Ordering::Relaxed);
            }
        }
    }
}

/// The rules that are armed now.
pub fn armed() -> impl Iterator<Item = RuleStatus> {
    armed_where(None).map(|(_, status)| status)
}

/// Those that name a function, with their places among all.
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
