//! What a recording holds of the census (`epollshim_format::recording::census`).

use epollshim_format::census::{Kind, Row as Counted};
use epollshim_format::recording::census::{self, number, place};
use serde_json::{Map, Value, json};

use crate::bytes::Bytes;
use crate::model::Process;
use crate::scale::grouped;

/// As it was when the process ended, or when the file was read.
#[derive(Clone, Default)]
pub struct Census {
    pub live: u64,
    pub peak: u64,
    pub born: u64,
    pub closed: u64,
    pub at_start: u64,
    pub healed: u64,
    /// How many forks lie between the load and this process.
    pub generation: u8,
    /// It was refused a descriptor for lack of room.
    pub has_met_the_limit: bool,
    pub rows: Vec<Row>,
    /// The numbers that are open, in order, with their words (`epollshim_format::recording::census::number`).
    pub numbers: Vec<(i32, u64)>,
}

/// What one place has made of one kind.
#[derive(Clone, Copy)]
pub struct Row {
    /// The row's number: that of a descriptor's word.
    pub index: u16,
    /// 0: out of sight.
    pub site: u64,
    pub kind: Kind,
    pub live: u64,
    pub peak: u64,
    pub born: u64,
    pub closed: u64,
    /// All that the row has.
    pub counted: Counted,
}

/// The segments of a file that have it.
#[derive(Default)]
pub struct Parts {
    has_totals: bool,
    census: Census,
}

/// More rows than these the library does not keep.
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

    /// None: the file has none.
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
    fn of_kind(&self, kind: Kind, count: fn(&Row) -> u64) -> u64 {
        self.rows.iter().filter(|row| row.kind == kind).fold(0, |sum, row| sum.saturating_add(count(row)))
    }
}

/// The member `census` of a process's report. None: there was none.
pub fn json(process: &Process) -> Option<Value> {
    let census = process.census.as_ref()?;
    let kinds = |count: fn(&Row) -> u64| {
        let counted = Kind::ALL.iter().map(move |kind| (kind.name().to_owned(), census.of_kind(*kind, count)));
        counted.filter(|(_, count)| *count != 0).map(|(name, count)| (name, count.into())).collect::<Map<_, _>>()
    };
    let mut rows: Vec<&Row> = census.rows.iter().collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.live), row.site, row.kind));
    let sites = rows.iter().take(TOLD).map(|row| {
        json!({
            "kind": row.kind.name(),
            "site": process.site(row.site).map(|site| site.text.clone()),
            "location": process.site(row.site).and_then(|site| site.location()),
            "stack": process.stack(row.site).iter().map(|site| site.best()).collect::<Vec<_>>(),
            "live": row.live, "peak": row.peak, "born": row.born, "closed": row.closed,
        })
    });
    Some(json!({
        "live": census.live, "peak": census.peak, "born": census.born, "closed": census.closed,
        "at_start": census.at_start, "healed": census.healed,
        "kinds": kinds(|row| row.live),
        "sites": sites.collect::<Vec<_>>(),
    }))
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
