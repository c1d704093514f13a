//! What a recording holds of the census (`epollshim_format::recording::census`).

use std::collections::BTreeMap;

use epollshim_format::census::Kind;
use epollshim_format::recording::census::{self, row};
use serde_json::{Map, Value, json};

use crate::Set;
use crate::bytes::Bytes;
use crate::model::Process;
use crate::scale::grouped;

/// As it was when the process ended.
#[derive(Clone, Default)]
pub struct Census {
    pub live: u64,
    pub peak: u64,
    pub born: u64,
    pub closed: u64,
    pub at_start: u64,
    pub healed: u64,
    pub rows: Vec<Row>,
}

/// What one place has made of one kind.
#[derive(Clone, Copy)]
pub struct Row {
    /// 0: out of sight.
    pub site: u64,
    pub kind: Kind,
    pub live: u64,
    pub peak: u64,
    pub born: u64,
    pub closed: u64,
}

impl Row {
    fn add(&mut self, other: &Row) {
        for (sum, more) in [
            (&mut self.live, other.live),
            (&mut self.peak, other.peak),
            (&mut self.born, other.born),
            (&mut self.closed, other.closed),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// More places the shim does not keep.
const ROWS: usize = 8192;

impl Census {
    pub fn read(segment: Bytes) -> Census {
        let space = segment.0.len().saturating_sub(census::FIRST) / row::SIZE;
        let count = usize::try_from(segment.word(census::ROWS)).unwrap_or(usize::MAX).min(space).min(ROWS);
        Census {
            live: segment.word(census::LIVE),
            peak: segment.word(census::PEAK),
            born: segment.word(census::BORN),
            closed: segment.word(census::CLOSED),
            at_start: segment.word(census::AT_START),
            healed: segment.word(census::HEALED),
            rows: (0..count)
                .map(|index| segment.part(census::FIRST + index * row::SIZE, row::SIZE))
                .map(|words| Row {
                    site: words.word(row::SITE),
                    kind: Kind::from_number(words.word(row::KIND)),
                    live: words.word(row::LIVE),
                    peak: words.word(row::PEAK),
                    born: words.word(row::BORN),
                    closed: words.word(row::CLOSED),
                })
                .collect(),
        }
    }

    /// Peaks are added, too: at most that many at once.
    fn add(&mut self, other: &Census) {
        for (sum, more) in [
            (&mut self.live, other.live),
            (&mut self.peak, other.peak),
            (&mut self.born, other.born),
            (&mut self.closed, other.closed),
            (&mut self.at_start, other.at_start),
            (&mut self.healed, other.healed),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    fn of_kind(&self, kind: Kind, count: fn(&Row) -> u64) -> u64 {
        self.rows.iter().filter(|row| row.kind == kind).fold(0, |sum, row| sum.saturating_add(count(row)))
    }
}

/// The member `census` of a process's report. None: there was none.
pub fn json(process: &Process) -> Option<Value> {
    let census = process.census.as_ref()?;
    let mut rows: Vec<&Row> = census.rows.iter().collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.live), row.site, row.kind));
    let sites = rows.iter().take(TOLD).map(|row| of_row(process, row)).collect();
    Some(of_census(census, sites))
}

/// The member `census` of the merged report: sums, and places of one kind and name as one. None: no process has any.
pub fn merged_json(set: &Set) -> Option<Value> {
    let mut sum = Census::default();
    let mut places: BTreeMap<(Kind, String), (&Process, Row)> = BTreeMap::new();
    let mut has_any = false;
    for process in &set.processes {
        let Some(census) = &process.census else { continue };
        has_any = true;
        sum.add(census);
        for row in &census.rows {
            let name = process.site(row.site).map(|site| site.text.clone()).unwrap_or_default();
            match places.get_mut(&(row.kind, name.clone())) {
                Some((_, known)) => known.add(row),
                None => drop(places.insert((row.kind, name), (process, *row))),
            }
        }
    }
    let mut places: Vec<(&Process, Row)> = places.into_values().collect();
    sum.rows = places.iter().map(|(_, row)| *row).collect();
    places.sort_by_key(|(_, row)| std::cmp::Reverse(row.live));
    let sites = places.iter().take(TOLD).map(|(process, row)| of_row(process, row)).collect();
    has_any.then(|| of_census(&sum, sites))
}

/// What the file does not hold is null: `unseen`, and the numbers of the descriptors.
fn of_census(census: &Census, sites: Vec<Value>) -> Value {
    let by_kind = Kind::ALL.iter().map(|kind| {
        let [live, born, closed] = [|row: &Row| row.live, |row: &Row| row.born, |row: &Row| row.closed]
            .map(|count| census.of_kind(*kind, count));
        (kind.name(), live, born, closed)
    });
    let by_kind: Vec<_> = by_kind.filter(|(_, live, born, closed)| (live | born | closed) != 0).collect();
    let kinds = by_kind.iter().filter(|(_, live, ..)| *live != 0);
    json!({
        "live": census.live, "peak": census.peak, "born": census.born, "closed": census.closed,
        "at_start": census.at_start, "unseen": null, "healed": census.healed,
        "kinds": kinds.map(|(name, live, ..)| ((*name).to_owned(), Value::from(*live))).collect::<Map<_, _>>(),
        "by_kind": by_kind.iter().map(|(kind, live, born, closed)| {
            json!({ "kind": kind, "live": live, "born": born, "closed": closed })
        }).collect::<Vec<_>>(),
        "sites": sites,
    })
}

fn of_row(process: &Process, row: &Row) -> Value {
    json!({
        "kind": row.kind.name(),
        "site": process.site(row.site).map(|site| site.text.clone()),
        "location": process.site(row.site).and_then(|site| site.location()),
        "stack": process.stack(row.site).iter().map(|site| site.best()).collect::<Vec<_>>(),
        "live": row.live, "peak": row.peak, "born": row.born, "closed": row.closed,
        "fds": null,
    })
}

/// How many places are told in JSON: a damaged file may have any number, each with a stack.
const TOLD: usize = 500;
/// How many places are told one by one in text.
const LISTED: usize = 12;

/// Lines of at most 80 columns; none without a census.
pub fn text(process: &Process) -> Vec<String> {
    let Some(census) = &process.census else { return Vec::new() };
    let mut lines = vec![format!(
        "Descriptors: {} open, {} at the peak; {} made, {} closed",
        grouped(census.live),
        grouped(census.peak),
        grouped(census.born),
        grouped(census.closed)
    )];
    lines.push(format!("  {:<24}{:>12}{:>14}{:>14}", "", "open", "made", "closed"));
    for kind in Kind::ALL {
        let row = [|row: &Row| row.live, |row: &Row| row.born, |row: &Row| row.closed]
            .map(|count| census.of_kind(*kind, count));
        if row != [0; 3] {
            let [live, born, closed] = row.map(grouped);
            lines.push(format!("  {:<24}{live:>12}{born:>14}{closed:>14}", kind.plural()));
        }
    }
    let mut open: Vec<&Row> = census.rows.iter().filter(|row| row.live != 0 && row.site != 0).collect();
    open.sort_by_key(|row| (std::cmp::Reverse(row.live), row.site));
    if !open.is_empty() {
        lines.push("  Open ones, by the call that made them:".into());
    }
    for row in open.iter().take(LISTED) {
        let place = process.site(row.site).map(|site| site.best()).unwrap_or_default();
        lines.push(format!("    {} of {} {}", grouped(row.live), grouped(row.born), row.kind.plural()));
        lines.push(format!("      at {place}"));
        lines.extend(process.stack(row.site).iter().skip(1).map(|caller| format!("      by {}", caller.best())));
    }
    if open.len() > LISTED {
        lines.push(format!("    and {} more calls", open.len() - LISTED));
    }
    lines
}
