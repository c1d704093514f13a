//! Findings, read from a recording and merged over several processes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use epollshim_format::census::Kind;
use epollshim_format::findings::{Finding, Id, Message};
use epollshim_format::recording::{finding, findings};

use crate::bytes::Bytes;
use crate::described::Descriptor;
use crate::model::Process;
use crate::sites::Site;

/// The entries of a segment that are in use and known to this version, and how many findings did
/// not fit.
pub(crate) fn read(segment: Bytes<'_>) -> (Vec<Finding>, u64) {
    let entries = segment.0.get(findings::FIRST..).unwrap_or_default();
    let found = entries
        .chunks_exact(finding::SIZE)
        .take(findings::ENTRIES)
        .enumerate()
        .filter_map(|(place, entry)| Finding::read(place, |word| Bytes(entry).word(word)));
    (found.collect(), segment.word(findings::DROPPED))
}

/// A finding of one process, or the same finding of several processes.
#[derive(Clone)]
pub struct Found {
    /// Descriptors and numbers are those of the process in which it occurred most often. The
    /// severity is the highest of all.
    pub finding: Finding,
    pub site: Option<Arc<Site>>,
    pub other: Option<Arc<Site>>,
    /// The stack of `site`, beginning with the site itself. Empty if no stacks were recorded.
    pub stack: Vec<Arc<Site>>,
    pub other_stack: Vec<Arc<Site>>,
    /// Where the descriptor was created, if the finding has that.
    pub created: Option<Arc<Site>>,
    pub created_stack: Vec<Arc<Site>>,
    /// The descriptor at the time of the finding.
    pub descriptor: Option<Descriptor>,
    /// For a leak: some of the descriptors that were open at the end.
    pub descriptors: Vec<Descriptor>,
    /// How many processes have the finding.
    pub processes: u64,
    /// How often it occurred in the process whose numbers these are.
    most: u64,
    /// The index of the last of these processes.
    last: usize,
}

impl Found {
    fn of(index: usize, process: &Process, finding: &Finding) -> Found {
        Found {
            finding: *finding,
            site: process.site(finding.site),
            other: process.site(finding.other),
            stack: process.stack(finding.site),
            other_stack: process.stack(finding.other),
            created: process.site(finding.created_at()),
            created_stack: process.stack(finding.created_at()),
            descriptor: process.described.get(&finding.place).cloned(),
            descriptors: leaked(process, finding),
            processes: 1,
            most: finding.count,
            last: index,
        }
    }

    /// The places in the finding, each with its role, and with its stack if stacks were recorded.
    pub fn places(&self) -> impl Iterator<Item = (&'static str, &Site, &[Arc<Site>])> {
        let roles = self.finding.roles();
        let places = [
            (roles.site, &self.site, &self.stack),
            (roles.other, &self.other, &self.other_stack),
            ("created", &self.created, &self.created_stack),
        ];
        places.into_iter().filter_map(|(role, site, stack)| {
            let role = if role.is_empty() { "called" } else { role };
            Some((role, site.as_deref()?, stack.as_slice()))
        })
    }

    /// One sentence: what happened, and what to do.
    pub fn message(&self) -> String {
        Message(&self.finding).to_string()
    }
}

/// Some of the descriptors that a leak counts. Of one call and kind, they come before those that an
/// instance looks after, which the leak does not count.
fn leaked(process: &Process, finding: &Finding) -> Vec<Descriptor> {
    let [kind, count, ..] = finding.detail;
    let key = (finding.site, Kind::from_number(kind));
    let known = process.open_at_end.get(&key).filter(|_| finding.id == Id::FdLeak);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    known.into_iter().flatten().take(count).cloned().collect()
}

/// The findings of some processes, the worst first, and within a severity the most frequent first.
/// Findings of several processes at one place are merged. A place is a line of an object, or an
/// offset if no line is known. (Inlined or unrolled code has several offsets per line.)
pub fn of<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Vec<Found> {
    let mut found: BTreeMap<(Id, u8, String, String), Found> = BTreeMap::new();
    for (index, process) in processes.into_iter().enumerate() {
        for finding in &process.findings {
            let more = Found::of(index, process, finding);
            let place = |site: &Option<Arc<Site>>| site.as_deref().map(place).unwrap_or_default();
            let key = (finding.id, finding.variant, place(&more.site), place(&more.other));
            match found.get_mut(&key) {
                None => drop(found.insert(key, more)),
                Some(known) => add(known, more),
            }
        }
    }
    let mut found: Vec<Found> = found.into_values().collect();
    // The sort is stable: equal findings stay in the order of their places.
    found.sort_by_key(|Found { finding, .. }| (Reverse(finding.severity), finding.id, Reverse(finding.count)));
    found
}

fn place(site: &Site) -> String {
    match site.line {
        Some(_) => format!("{} {}", site.text.split('+').next().unwrap_or_default(), site.best()),
        None => site.text.clone(),
    }
}

/// The sums of the numbers in two findings' messages. None for findings whose numbers cannot be
/// added.
fn added(one: &Finding, other: &Finding) -> Option<[u64; 4]> {
    let sum = |index: usize| {
        let [one, other] = [one, other].map(|finding| finding.detail.get(index).copied().unwrap_or(0));
        one.saturating_add(other)
    };
    match one.id {
        Id::Leak => Some([sum(0), sum(1), sum(2), sum(3)]),
        // The first number is the kind of descriptor.
        Id::FdLeak if one.detail.first() == other.detail.first() => {
            Some([one.detail.first().copied().unwrap_or(0), sum(1), sum(2), sum(3)])
        }
        _ => None,
    }
}

fn add(known: &mut Found, more: Found) {
    let detail = added(&known.finding, &more.finding);
    let count = known.finding.count.saturating_add(more.finding.count);
    let severity = known.finding.severity.max(more.finding.severity);
    let processes = if known.last == more.last { known.processes } else { known.processes + more.processes };
    let last = more.last;
    if more.most > known.most {
        *known = more;
    }
    known.finding.count = count;
    known.finding.severity = severity;
    known.processes = processes;
    known.last = last;
    if let Some(detail) = detail {
        known.finding.detail = detail;
    }
}
