//! What a recording holds of the census (`epollshim_format::recording::census`).

use epollshim_format::census::Kind;
use epollshim_format::recording::census::{self, row};
use serde_json::{Map, Value, json};

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
