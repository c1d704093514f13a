//! What was found wrong: read from a recording, and of several processes added up.

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

/// The entries of a segment that are in use and can be told, and how many findings found no place.
pub(crate) fn read(segment: Bytes<'_>) -> (Vec<Finding>, u64) {
    let entries = segment.0.get(findings::FIRST..).unwrap_or_default();
    let found = entries
        .chunks_exact(finding::SIZE)
        .take(findings::ENTRIES)
        .enumerate()
        .filter_map(|(place, entry)| Finding::read(place, |word| Bytes(entry).word(word)));
    (found.collect(), segment.word(findings::DROPPED))
}

/// A finding of one process, or the same finding of several.
#[derive(Clone)]
pub struct Found {
    /// Descriptors and numbers are those of the process that met it most often; the severity is the highest.
    pub finding: Finding,
    pub site: Option<Arc<Site>>,
    pub other: Option<Arc<Site>>,
    /// The callers of `site`, itself first, where stacks were kept.
    pub stack: Vec<Arc<Site>>,
    pub other_stack: Vec<Arc<Site>>,
    /// Where the descriptor was created, where the finding says so.
    pub created: Option<Arc<Site>>,
    pub created_stack: Vec<Arc<Site>>,
    /// What the descriptor was when it was found.
    pub descriptor: Option<Descriptor>,
    /// Of a leak: some of those that were open at the end.
    pub descriptors: Vec<Descriptor>,
    /// How many processes have it.
    pub processes: u64,
    /// How often the one met it whose numbers these are.
    most: u64,
}

impl Found {
    fn of(process: &Process, finding: &Finding) -> Found {
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
        }
    }

    pub fn message(&self) -> String {
        Message(&self.finding).to_string()
    }
}

fn leaked(process: &Process, finding: &Finding) -> Vec<Descriptor> {
    let [kind, ..] = finding.detail;
    let key = (finding.site, Kind::from_number(kind));
    let known = process.open_at_end.get(&key).filter(|_| finding.id == Id::FdLeak);
    known.cloned().unwrap_or_default()
}

/// Those of some processes, the worst first and of these the most frequent. What several have at one site is one.
pub fn of<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Vec<Found> {
    let mut found: BTreeMap<(Id, u8, String, String), Found> = BTreeMap::new();
    for process in processes {
        for finding in &process.findings {
            let more = Found::of(process, finding);
            let place = |site: &Option<Arc<Site>>| site.as_ref().map(|site| site.text.clone()).unwrap_or_default();
            let key = (finding.id, finding.variant, place(&more.site), place(&more.other));
            match found.get_mut(&key) {
                None => drop(found.insert(key, more)),
                Some(known) => add(known, more),
            }
        }
    }
    let mut found: Vec<Found> = found.into_values().collect();
    // Stable: of equals, those of the lower place come first.
    found.sort_by_key(|Found { finding, .. }| (Reverse(finding.severity), finding.id, Reverse(finding.count)));
    found
}

fn add(known: &mut Found, more: Found) {
    let count = known.finding.count.saturating_add(more.finding.count);
    let severity = known.finding.severity.max(more.finding.severity);
    let processes = known.processes + more.processes;
    if more.most > known.most {
        *known = more;
    }
    known.finding.count = count;
    known.finding.severity = severity;
    known.processes = processes;
}
