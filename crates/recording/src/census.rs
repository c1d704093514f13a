//! What a recording holds of the census (`epollshim_format::recording::census`).

use epollshim_format::census::Kind;
use epollshim_format::recording::census::{self, row};
use serde_json::{Map, Value, json};

use crate::bytes::Bytes;
use crate::described::{self, Descriptor};
use crate::json;
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

/// What some of those were that were open at the end.
fn described<'a>(process: &'a Process, row: &Row) -> &'a [Descriptor] {
    process.open_at_end.get(&(row.site, row.kind)).map_or(&[], Vec::as_slice)
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
            "stack": json::frames(&process.stack(row.site)),
            "live": row.live, "peak": row.peak, "born": row.born, "closed": row.closed,
            "descriptors": described(process, row).iter().map(Descriptor::json).collect::<Vec<_>>(),
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

/// Lines; none without a census.
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
        let (live, born, kind) = (grouped(row.live), grouped(row.born), row.kind.plural());
        lines.push(match row.live.saturating_sub(row.born) {
            0 => format!("    {live} of {born} {kind}"),
            before => format!(
                "    {live} {kind}, at least {} of them from before the fork; {born} made since",
                grouped(before)
            ),
        });
        lines.extend(
            described::lines(described(process, row), row.live).into_iter().map(|line| format!("      {line}")),
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
