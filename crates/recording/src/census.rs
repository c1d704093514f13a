//! The census in a recording (`epollshim_format::recording::census`).

use std::collections::BTreeMap;

use epollshim_format::census::{Kind, Row as Counted};
use epollshim_format::recording::census::{self, number, place};
use serde_json::{Map, Value, json};

use crate::Set;
use crate::bytes::Bytes;
use crate::described::{self, Descriptor};
use crate::json;
use crate::model::Process;
use crate::scale::grouped;

/// The census at the end of the process, or when the file was read.
#[derive(Clone, Default)]
pub struct Census {
    pub live: u64,
    pub peak: u64,
    pub born: u64,
    pub closed: u64,
    pub at_start: u64,
    pub healed: u64,
    /// The number of forks between the load of the library and this process.
    pub generation: u8,
    /// Whether a descriptor was refused because the limit was reached.
    pub has_met_the_limit: bool,
    pub rows: Vec<Row>,
    /// The open descriptor numbers in ascending order, with their words
    /// (`epollshim_format::recording::census::number`).
    pub numbers: Vec<(i32, u64)>,
}

/// The descriptors of one kind that one call site created.
#[derive(Clone, Copy)]
pub struct Row {
    /// The number of the row, to which the words of descriptors refer.
    pub index: u16,
    /// 0: the creating call was not seen.
    pub site: u64,
    pub kind: Kind,
    pub live: u64,
    pub peak: u64,
    pub born: u64,
    pub closed: u64,
    /// The complete row.
    pub counted: Counted,
}

/// The census under construction, from the segments of a file.
#[derive(Default)]
pub struct Parts {
    has_totals: bool,
    census: Census,
}

impl Row {
    /// How many this process did not create: they were open at load or at the fork, or were found
    /// open although the library saw no call create them.
    pub fn inherited(&self) -> u64 {
        self.live.saturating_add(self.closed).saturating_sub(self.born)
    }

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

/// The most rows that the library keeps.
const ROWS: u64 = 8192;

impl Parts {
    pub fn add_totals(&mut self, segment: Bytes) {
        let census = &mut self.census;
        self.has_totals = true;
        census.peak = segment.word(census::PEAK);
        census.at_start = segment.word(census::AT_START);
        census.healed = segment.word(census::CORRECTED);
        census.generation = segment.word(census::GENERATION) as u8;
        census.has_met_the_limit = segment.word(census::HAS_MET_THE_LIMIT) != 0;
    }

    pub fn add_places(&mut self, segment: Bytes, first: u64) {
        for at in 0..segment.0.len().min(place::ENTRIES * place::SIZE) / place::SIZE {
            let words = segment.part(at * place::SIZE, place::SIZE);
            let counted = Counted::read(|place| words.word(place));
            let index = first.saturating_add(at as u64);
            if let Some(index) = u16::try_from(index).ok().filter(|_| index < ROWS)
                && counted.is_used()
            {
                let site = counted.site();
                self.census.rows.push(Row {
                    index,
                    site,
                    kind: counted.kind(),
                    live: counted.live(),
                    peak: counted.peak,
                    born: if site == 0 { 0 } else { counted.born() },
                    closed: counted.closed(),
                    counted,
                });
            }
        }
    }

    pub fn add_numbers(&mut self, segment: Bytes, first: u64) {
        for at in 0..segment.0.len() / 8 {
            let word = segment.word(at * 8);
            let fd = first.saturating_add(at as u64);
            if word & number::ALIVE != 0 && fd < u64::from(number::END) {
                self.census.numbers.push((fd as i32, word));
            }
        }
    }

    /// None: the file has no census.
    pub fn finish(self) -> Option<Census> {
        let Parts { has_totals: true, mut census } = self else { return None };
        let sum = |count: fn(&Row) -> u64| census.rows.iter().fold(0u64, |sum, row| sum.saturating_add(count(row)));
        (census.live, census.born, census.closed) = (sum(|row| row.live), sum(|row| row.born), sum(|row| row.closed));
        census.at_start = census.at_start.saturating_add(sum(|row| row.counted.base));
        census.peak = census.peak.max(census.live);
        census.rows.sort_by_key(|row| row.index);
        census.numbers.sort_unstable();
        Some(census)
    }
}

impl Census {
    /// Peaks are added as well. The sum is an upper bound of the number open at one time.
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

/// The descriptions of some of the row's descriptors that were open at the end, by their numbers.
pub fn described(process: &Process, row: &Row) -> Vec<Descriptor> {
    let mut some = process.open_at_end.get(&(row.site, row.kind)).cloned().unwrap_or_default();
    some.sort_by_key(|one| one.fd);
    some
}

/// The member `census` of a process's report. None: there was no census.
pub fn json(process: &Process) -> Option<Value> {
    let census = process.census.as_ref()?;
    let mut rows: Vec<&Row> = census.rows.iter().collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.live), row.site, row.kind));
    let sites = rows.iter().take(MOST_PLACES).map(|row| of_row(process, row)).collect();
    Some(of_census(census, sites))
}

/// The member `census` of the merged report: sums, with places of the same kind and name merged.
/// None: no process has a census.
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
    let sites = places.iter().take(MOST_PLACES).map(|(process, row)| of_row(process, row)).collect();
    has_any.then(|| of_census(&sum, sites))
}

/// `unseen` is null, because the file does not have it.
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

/// The lowest open descriptor numbers that the row's calls created.
fn fds(process: &Process, row: &Row) -> Vec<i32> {
    /// The same bound as in the exit report.
    const NUMBERS: usize = 64;
    let numbers = process.census.iter().flat_map(|census| &census.numbers);
    numbers.filter(|(_, word)| *word as u16 == row.index).map(|(fd, _)| *fd).take(NUMBERS).collect()
}

/// How many of the row's descriptors were open before the process was forked.
fn inherited(process: &Process, row: &Row) -> usize {
    let Some(census) = &process.census else { return 0 };
    let is_older = |word: u64| word as u16 == row.index && number::generation(word) != census.generation;
    census.numbers.iter().filter(|(_, word)| is_older(*word)).count()
}

fn of_row(process: &Process, row: &Row) -> Value {
    json!({
        "kind": row.kind.name(),
        "site": process.site(row.site).map(|site| site.text.clone()),
        "location": process.site(row.site).and_then(|site| site.location()),
        "stack": json::frames(&process.stack(row.site)),
        "live": row.live, "peak": row.peak, "born": row.born, "closed": row.closed,
        "fds": fds(process, row),
        "inherited": inherited(process, row),
        "descriptors": described(process, row).iter().map(Descriptor::json).collect::<Vec<_>>(),
    })
}

/// The most places in JSON. A damaged file may have any number, each with a stack.
const MOST_PLACES: usize = 500;
/// The most places that are listed as text.
const LISTED: usize = 12;

/// The lines of the census. Empty without a census.
pub fn text(process: &Process) -> Vec<String> {
    let Some(census) = &process.census else { return Vec::new() };
    let inherited = census.live.saturating_add(census.closed).saturating_sub(census.born);
    let [live, peak, born, closed] = [census.live, census.peak, census.born, census.closed].map(grouped);
    let mut lines = vec![format!(
        "Descriptors: {live} open, {peak} at the peak; {} inherited, {born} created, {closed} closed",
        grouped(inherited),
    )];
    lines.push(format!("  {:<22}{:>12}{:>14}{:>14}{:>14}", "", "open", "= inherited", "+ created", "- closed"));
    for kind in Kind::ALL {
        let row = [|row: &Row| row.live, Row::inherited, |row: &Row| row.born, |row: &Row| row.closed]
            .map(|count: fn(&Row) -> u64| census.of_kind(*kind, count));
        if row != [0; 4] {
            let [live, inherited, born, closed] = row.map(grouped);
            lines.push(format!("  {:<22}{live:>12}{inherited:>14}{born:>14}{closed:>14}", kind.plural()));
        }
    }
    match inherited.saturating_sub(census.at_start) {
        0 => {}
        unseen => lines.push(format!(
            "  {} of those inherited: found open later, created by no call that was seen",
            grouped(unseen)
        )),
    }
    let mut open: Vec<&Row> = census.rows.iter().filter(|row| row.live != 0 && row.site != 0).collect();
    open.sort_by_key(|row| (std::cmp::Reverse(row.live), row.site));
    if !open.is_empty() {
        lines.push("  Open descriptors, by the call that created them:".into());
    }
    for row in open.iter().take(LISTED) {
        let (live, born) = (grouped(row.live), grouped(row.born));
        let kind = if row.live.max(row.born) == 1 { row.kind.name() } else { row.kind.plural() };
        lines.push(match row.live.saturating_sub(row.born) {
            0 => format!("    {live} of {born} {kind}"),
            before => {
                format!("    {live} {kind}, at least {} inherited at the fork; {born} created since", grouped(before))
            }
        });
        lines.extend(
            described::lines(&described(process, row), row.live).into_iter().map(|line| format!("      {line}")),
        );
        let site = process.site(row.site);
        let mut frames = site.iter().flat_map(|site| site.frames());
        lines.push(format!("      created at {}", frames.next().unwrap_or_default()));
        let callers = process.stack(row.site);
        let callers = callers.iter().skip(1).flat_map(|caller| caller.frames());
        lines.extend(frames.chain(callers).map(|caller| format!("      by {caller}")));
    }
    if open.len() > LISTED {
        lines.push(format!("    and {} more calls", open.len() - LISTED));
    }
    lines
}
