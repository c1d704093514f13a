//! What was found wrong: read from a recording, and of several processes added up.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use epollshim_format::findings::{Finding, Id, Message, Severity};
use epollshim_format::recording::{finding, findings};

use crate::bytes::Bytes;
use crate::model::Process;
use crate::sites::Site;

/// The entries of a segment that are in use and can be told, and how many findings found no place.
pub(crate) fn read(segment: Bytes<'_>) -> (Vec<Finding>, u64) {
    let entries = segment.0.get(findings::FIRST..).unwrap_or_default();
    let found = entries.chunks_exact(finding::SIZE).take(findings::ENTRIES).filter_map(|entry| one(Bytes(entry)));
    (found.collect(), segment.word(findings::DROPPED))
}

fn one(words: Bytes<'_>) -> Option<Finding> {
    let what = words.word(finding::WHAT);
    let descriptors = words.word(finding::DESCRIPTORS);
    let descriptor = |word: u32| word.checked_sub(1).map(|fd| fd as i32);
    let found = Finding {
        id: Id::from_number(what as u8)?,
        severity: Severity::from_number(words.word(finding::SEVERITY))?,
        variant: (what >> 8) as u8,
        count: words.word(finding::COUNT),
        epfd: descriptor(descriptors as u32),
        fd: descriptor((descriptors >> 32) as u32),
        site: words.word(finding::SITE),
        other: words.word(finding::OTHER),
        detail: [0, 8, 16, 24].map(|place| words.word(finding::DETAIL + place)),
        first: words.word(finding::FIRST),
    };
    (found.count != 0).then_some(found)
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
            processes: 1,
            most: finding.count,
        }
    }

    pub fn message(&self) -> String {
        Message(&self.finding).to_string()
    }
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

/// How many are of a severity.
pub fn count(found: &[Found], severity: Severity) -> usize {
    found.iter().filter(|found| found.finding.severity == severity).count()
}

/// `1 error, 2 warnings`; "" where there are none.
pub fn summary(found: &[Found]) -> String {
    let told = [Severity::Error, Severity::Warning, Severity::Info].into_iter().filter_map(|severity| {
        let count = count(found, severity);
        let plural = if count == 1 || severity == Severity::Info { "" } else { "s" };
        (count > 0).then(|| format!("{count} {}{plural}", severity.name()))
    });
    told.collect::<Vec<_>>().join(", ")
}
