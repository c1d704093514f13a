//! Compares two sets of recordings: findings, instances, descriptors, calls and their failures.
//!
//! Places are compared by name, because addresses change with every build. The name is the function
//! and its file, or `object+0xoffset` if no function is known.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use epollshim_format::call::FUNCTIONS;
use epollshim_format::findings::{Id, Severity};
use serde_json::{Value, json};

use crate::Set;
use crate::findings::{self, Found};
use crate::json::error_name;
use crate::load::shown;
use crate::look::{Colour, Look};
use crate::model::{Counters, Process};
use crate::scale::{count, grouped};
use crate::sites::Site;

/// The schema of the JSON.
pub const SCHEMA: &str = "epollshim.diff/1";
/// The most lines of a table that are printed.
const LISTED: usize = 40;

/// How something changed from A to B.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    New,
    Gone,
    Grown,
    Fewer,
    Same,
}

impl State {
    const ALL: [State; 5] = [State::New, State::Gone, State::Grown, State::Fewer, State::Same];

    fn of(a: u64, b: u64) -> State {
        match (a, b) {
            (0, 1..) => State::New,
            (1.., 0) => State::Gone,
            (a, b) if b > a => State::Grown,
            (a, b) if b < a => State::Fewer,
            _ => State::Same,
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::New => "new",
            State::Gone => "gone",
            State::Grown => "grown",
            State::Fewer => "fewer",
            State::Same => "same",
        }
    }
}

/// Something that is counted in both sets.
pub struct Change {
    /// What is counted, such as a call or a kind of descriptor. Empty if the place is enough.
    pub what: String,
    /// The place in the program, or the error of a failed call. Empty if there is none.
    pub place: String,
    pub a: u64,
    pub b: u64,
}

impl Change {
    #[must_use]
    pub fn state(&self) -> State {
        State::of(self.a, self.b)
    }
}

/// A finding of one set or of both.
pub struct FindingChange {
    /// The finding as in B, or as in A if B does not have it.
    pub found: Found,
    pub place: String,
    pub other: String,
    /// How often it occurred.
    pub a: u64,
    pub b: u64,
    /// None: that set does not have it.
    pub severity_a: Option<Severity>,
    pub severity_b: Option<Severity>,
}

impl FindingChange {
    #[must_use]
    pub fn state(&self) -> State {
        match (self.severity_a, self.severity_b) {
            (None, _) => State::New,
            (_, None) => State::Gone,
            (Some(a), Some(b)) if b > a => State::Grown,
            _ => State::of(self.a, self.b),
        }
    }

    /// Whether B has it with this severity or a higher one, and A does not.
    #[must_use]
    pub fn is_new_from(&self, least: Severity) -> bool {
        self.severity_b.is_some_and(|severity| severity >= least)
            && self.severity_a.is_none_or(|severity| severity < least)
    }
}

pub struct Diff {
    pub findings: Vec<FindingChange>,
    /// Instances alive at the end, by the call that created them.
    pub instances: Vec<Change>,
    /// Descriptors open at the end, by kind and by the call that created them. None: one of the two
    /// sets has no census.
    pub descriptors: Option<Vec<Change>>,
    pub calls: Vec<Change>,
    /// Failed calls, by call and error.
    pub failures: Vec<Change>,
}

/// Compares two sets.
#[must_use]
pub fn between(a: &Set, b: &Set) -> Diff {
    let has_census = |set: &Set| set.processes.iter().any(|process| process.census.is_some());
    let descriptors = has_census(a) && has_census(b);
    let [of_a, of_b] = [a, b].map(|set| {
        let mut sum = Counters::default();
        set.processes.iter().for_each(|process| sum.add(&process.counters()));
        sum
    });
    Diff {
        findings: of_findings(a, b),
        instances: changes(instances(a), instances(b)),
        descriptors: descriptors.then(|| changes(open(a), open(b))),
        calls: changes(calls(&of_a), calls(&of_b)),
        failures: changes(failures(&of_a), failures(&of_b)),
    }
}

type Counted = BTreeMap<(String, String), u64>;

/// The changes in the order of [`State`]. Within a state the largest difference comes first.
fn changes(a: Counted, mut b: Counted) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for (key, a) in a {
        let b = b.remove(&key).unwrap_or(0);
        changes.push(Change { what: key.0, place: key.1, a, b });
    }
    changes.extend(b.into_iter().map(|(key, b)| Change { what: key.0, place: key.1, a: 0, b }));
    changes.retain(|change| change.a != 0 || change.b != 0);
    changes.sort_by_key(|change| (change.state(), Reverse(change.a.abs_diff(change.b))));
    changes
}

fn add(counted: &mut Counted, what: &str, place: String, more: u64) {
    let sum = counted.entry((what.to_owned(), place)).or_default();
    *sum = sum.saturating_add(more);
}

fn instances(set: &Set) -> Counted {
    let mut counted = Counted::new();
    for process in &set.processes {
        for instance in &process.instances {
            add(&mut counted, "", place_of(process, instance.site), 1);
        }
    }
    counted
}

fn open(set: &Set) -> Counted {
    let mut counted = Counted::new();
    for process in &set.processes {
        for row in process.census.iter().flat_map(|census| &census.rows) {
            add(&mut counted, row.kind.plural(), place_of(process, row.site), row.live);
        }
    }
    counted
}

fn calls(counters: &Counters) -> Counted {
    FUNCTIONS.iter().map(|(name, of)| (((*name).to_owned(), String::new()), counters.of(of).calls)).collect()
}

fn failures(counters: &Counters) -> Counted {
    let mut counted = Counted::new();
    for (name, of) in FUNCTIONS {
        for (error, times) in counters.of(of).errors {
            add(&mut counted, name, error_name(error).to_owned(), times);
        }
    }
    counted
}

/// A name of a place that stays the same in another build of the program.
fn stable(site: &Site) -> String {
    let Some(function) = site.function.as_ref().filter(|_| !site.behind) else { return site.text.clone() };
    let file = site.file.as_deref().and_then(|file| file.rsplit('/').next());
    let object = site.text.split('+').next().unwrap_or_default();
    format!("{function} ({})", file.unwrap_or(object))
}

fn place_of(process: &Process, site: u64) -> String {
    process.site(site).map_or_else(|| "(not seen)".to_owned(), |site| stable(&site))
}

/// Pairs the findings of A and B. Findings of one kind in one function are the same if their lines
/// are. The remaining ones are paired in order, because lines may have moved.
fn of_findings(a: &Set, b: &Set) -> Vec<FindingChange> {
    let mut groups: BTreeMap<(Id, u8, String, String), [Vec<Found>; 2]> = BTreeMap::new();
    for (set, is_b) in [(a, false), (b, true)] {
        for found in findings::of(&set.processes) {
            let name = |site: Option<&Site>| site.map(stable).unwrap_or_default();
            let places = (name(found.site.as_deref()), name(found.other.as_deref()));
            let [of_a, of_b] = groups.entry((found.finding.id, found.finding.variant, places.0, places.1)).or_default();
            if is_b { of_b.push(found) } else { of_a.push(found) }
        }
    }
    let lines = |found: &Found| [&found.site, &found.other].map(|site| site.as_deref().map(Site::best));
    let mut all = Vec::new();
    for ((_, _, place, other), [mut of_a, of_b]) in groups {
        let mut change = |a: Option<Found>, b: Option<Found>| {
            let of = |found: &Option<Found>| found.as_ref().map(|found| (found.finding.count, found.finding.severity));
            let (in_a, in_b) = (of(&a), of(&b));
            all.extend(b.or(a).map(|found| FindingChange {
                found,
                place: place.clone(),
                other: other.clone(),
                a: in_a.map_or(0, |(count, _)| count),
                b: in_b.map_or(0, |(count, _)| count),
                severity_a: in_a.map(|(_, severity)| severity),
                severity_b: in_b.map(|(_, severity)| severity),
            }));
        };
        let mut moved = Vec::new();
        for found in of_b {
            match of_a.iter().position(|one| lines(one) == lines(&found)) {
                Some(index) => change(Some(of_a.remove(index)), Some(found)),
                None => moved.push(found),
            }
        }
        let mut of_a = of_a.into_iter();
        moved.into_iter().for_each(|found| change(of_a.next(), Some(found)));
        of_a.for_each(|found| change(Some(found), None));
    }
    all.sort_by_key(|change| (change.state(), Reverse(change.found.finding.severity), change.found.finding.id));
    all
}

impl Diff {
    /// Writes the differences as text: everything that is new, gone or grown, and how much else
    /// there is.
    pub fn text(&self, a: &Set, b: &Set, look: Look, out: &mut dyn Write) -> io::Result<()> {
        for (name, set) in [("A", a), ("B", b)] {
            writeln!(out, "{name}: {}", described(set))?;
            for line in crate::text::lacks(set) {
                writeln!(out, "   {}", look.paint(Colour::Trouble, &line))?;
            }
        }
        let states = |states: &mut dyn Iterator<Item = State>| {
            let mut counts = [0u64; State::ALL.len()];
            for state in states {
                if let Some(count) = counts.get_mut(state as usize) {
                    *count += 1;
                }
            }
            let words = State::ALL.iter().zip(counts).filter(|(_, count)| *count != 0);
            let words: Vec<String> =
                words.map(|(state, count)| format!("{} {}", grouped(count), state.name())).collect();
            if words.is_empty() { "none".to_owned() } else { words.join(", ") }
        };
        let heading = |title: &str, what: String| format!("\n{}: {what}", look.paint(Colour::Heading, title));
        let counted = states(&mut self.findings.iter().map(FindingChange::state));
        writeln!(out, "{}", heading("Findings", counted))?;
        let changed = self.findings.iter().filter(|change| change.state() <= State::Grown);
        for change in changed.clone().take(LISTED) {
            write!(out, "  {:<5} ", change.state().name())?;
            if change.severity_a.is_some() && change.severity_b.is_some() {
                write!(out, " {} -> {} times  ", grouped(change.a), grouped(change.b))?;
            }
            out.write_all(crate::text::finding(&change.found, look).trim_start().as_bytes())?;
        }
        more(changed.count(), out)?;
        for (title, changes) in [
            ("Instances alive, by the call that created them", Some(&self.instances)),
            ("Open descriptors, by kind and the call that created them", self.descriptors.as_ref()),
            ("Calls", Some(&self.calls)),
            ("Failed calls", Some(&self.failures)),
        ] {
            let Some(changes) = changes else {
                writeln!(out, "{}", heading(title, "not known (record both with EPOLLSHIM_CENSUS=1)".into()))?;
                continue;
            };
            writeln!(out, "{}", heading(title, states(&mut changes.iter().map(Change::state))))?;
            let changed = changes.iter().filter(|change| change.state() <= State::Grown);
            for change in changed.clone().take(LISTED) {
                let what = format!("{} {}", change.what, change.place);
                let (a, b) = (grouped(change.a), grouped(change.b));
                writeln!(out, "  {:<5} {a:>14} -> {b:<14} {}", change.state().name(), what.trim())?;
            }
            more(changed.count(), out)?;
        }
        Ok(())
    }

    /// Writes one object of the schema `epollshim.diff/1`: everything, including what is the same.
    pub fn json(&self, a: &Set, b: &Set, out: &mut dyn Write) -> io::Result<()> {
        let findings = self.findings.iter().map(|change| {
            json!({
                "state": change.state().name(),
                "id": change.found.finding.id.name(),
                "severity_a": change.severity_a.map(Severity::name),
                "severity_b": change.severity_b.map(Severity::name),
                "site": change.place,
                "location": change.found.site.as_deref().and_then(Site::location),
                "other_site": (!change.other.is_empty()).then_some(&change.other),
                "a": change.a,
                "b": change.b,
                "message": change.found.message(),
            })
        });
        let diff = json!({
            "schema": SCHEMA,
            "a": of_set(a),
            "b": of_set(b),
            "findings": findings.collect::<Vec<_>>(),
            "instances": of_changes(&self.instances, ["", "site"]),
            "descriptors": self.descriptors.as_ref().map(|changes| of_changes(changes, ["kind", "site"])),
            "calls": of_changes(&self.calls, ["call", ""]),
            "failures": of_changes(&self.failures, ["call", "errno"]),
        });
        serde_json::to_writer(&mut *out, &diff)?;
        out.write_all(b"\n")
    }
}

fn more(all: usize, out: &mut dyn Write) -> io::Result<()> {
    match all.saturating_sub(LISTED) {
        0 => Ok(()),
        more => writeln!(out, "  and {} more (--format json lists all)", grouped(more as u64)),
    }
}

/// `rec (3 processes of redis-server)`.
fn described(set: &Set) -> String {
    let sources: Vec<String> = set.sources.iter().map(|source| shown(source)).collect();
    let programs: BTreeSet<String> =
        set.processes.iter().map(|process| crate::modules::plain(&process.header.comm)).collect();
    let programs: Vec<String> = programs.into_iter().collect();
    let processes = count(set.processes.len() as u64, "process", "processes");
    format!("{} ({processes} of {})", sources.join(", "), programs.join(", "))
}

fn of_set(set: &Set) -> Value {
    json!({
        "sources": set.sources.iter().map(|source| shown(source)).collect::<Vec<_>>(),
        "processes": set.processes.len(),
        "partial": set.processes.iter().filter(|process| process.partial()).count(),
        "unread": set.failures.len(),
    })
}

/// `names` are the keys of `what` and `place`. A word with an empty key is omitted.
fn of_changes(changes: &[Change], names: [&str; 2]) -> Value {
    let one = |change: &Change| {
        let mut object = serde_json::Map::new();
        object.insert("state".into(), change.state().name().into());
        for (name, word) in names.into_iter().zip([&change.what, &change.place]) {
            if !name.is_empty() {
                object.insert(name.into(), word.as_str().into());
            }
        }
        object.insert("a".into(), change.a.into());
        object.insert("b".into(), change.b.into());
        Value::Object(object)
    };
    changes.iter().map(one).collect()
}
