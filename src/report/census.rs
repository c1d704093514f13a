//! The census in both formats of the report.

use core::fmt::{self, Display, Write};

use epollshim_format::census::Kind;
use epollshim_format::descriptor::{Descriptor, Json, Kept};
use epollshim_format::findings::{Finding, Id};
use epollshim_format::scale::Grouped;

use super::facts::Facts;
use super::json::{InQuotes, Pair, Stack};
use super::values::{List, OrNull};
use crate::buffer::{Buffer, sort_by_key};
use crate::census::places::{self, Place};
use crate::census::{Census, each_alive, generation};
use crate::describe::describe;

/// The most places that are listed as text.
const LISTED: usize = 12;
/// The most descriptors of a place that are listed by number.
const NUMBERS: usize = 64;

#[inline(never)] // for size
fn of_kind(kind: Kind, count: fn(&Place) -> u64) -> u64 {
    places::all().filter(|(_, place)| place.kind() == kind).map(|(_, place)| count(place)).sum()
}

/// The number of descriptors created since load. Those that were open at load have no site.
fn born(place: &Place) -> u64 {
    if place.site() == 0 { 0 } else { place.born() }
}

/// Writes the census. Without one, writes nothing.
pub fn text(facts: &Facts, out: &mut Buffer<u8>) -> fmt::Result {
    let Some(census) = Census::of_now() else { return Ok(()) };
    writeln!(
        out,
        "\nDescriptors: {} open, {} at the peak; {} created, {} closed",
        Grouped(census.live),
        Grouped(census.peak),
        Grouped(census.born),
        Grouped(census.closed)
    )?;
    writeln!(
        out,
        "  {} open at the start, {} created unseen; repaired: {}",
        Grouped(census.at_start),
        Grouped(census.unseen),
        Grouped(census.corrected)
    )?;
    writeln!(out, "  {:<24}{:>12}{:>14}{:>14}", "", "open", "created", "closed")?;
    for kind in Kind::ALL.iter().copied() {
        let row = [of_kind(kind, Place::live), of_kind(kind, born), of_kind(kind, Place::closed)];
        let [live, made, closed] = row.map(Grouped);
        if row != [0; 3] {
            writeln!(out, "  {:<24}{live:>12}{made:>14}{closed:>14}", kind.plural())?;
        }
    }
    Buffer::lend(|open: &mut Buffer<u16>| {
        for (index, _) in places::all().filter(|(_, place)| place.live() != 0 && place.site() != 0) {
            open.push(index);
        }
        sort_by_key(open.as_mut_slice(), |index| (u64::MAX - places::at(*index).live(), *index));
        if !open.as_slice().is_empty() {
            writeln!(out, "  Open descriptors, by the call that created them:")?;
        }
        for index in open.as_slice().iter().take(LISTED) {
            let place = places::at(*index);
            let (live, made, kind) = (Grouped(place.live()), Grouped(born(place)), place.kind().plural());
            match inherited(*index) {
                0 => write!(out, "    {live} of {made} {kind}")?,
                before => {
                    write!(out, "    {live} {kind}, {} inherited at the fork; {made} created since", Grouped(before))?;
                }
            }
            writeln!(out, "  at {}", OrNull(facts.map.site(place.site())))?;
            examples(*index, out)?;
            stack(facts, place.site(), out)?;
        }
        match open.as_slice().len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => writeln!(out, "    and {more} more calls (EPOLLSHIM_REPORT_FORMAT=json lists all)"),
        }
    })
}

/// The most descriptors of a place that are described.
const DESCRIBED: u64 = 8;

fn numbers_of(index: u16) -> impl Iterator<Item = i32> {
    each_alive().filter(move |(_, entry)| entry.place() == index).map(|(fd, _)| fd)
}

/// How many descriptors of a place were open before this process was forked.
fn inherited(index: u16) -> u64 {
    let is_older = |entry: crate::census::Entry| entry.place() == index && entry.generation() != generation();
    each_alive().filter(|(_, entry)| is_older(*entry)).count() as u64
}

/// The place of a finding about a leak.
pub fn of_leak(finding: &Finding) -> Option<u16> {
    let [kind, ..] = finding.detail;
    let is_it = |place: &Place| place.site() as u64 == finding.site && place.kind() as u64 == kind;
    let all = || places::all().find(|(_, place)| is_it(place)).map(|(index, _)| index);
    if finding.id == Id::FdLeak && finding.site != 0 { all() } else { None }
}

/// Passes the descriptions of a place's first open descriptors to `write`. Returns how many are
/// open.
#[inline(never)]
fn each_described(index: u16, write: &mut dyn FnMut(i32, &Kept) -> fmt::Result) -> Result<u64, fmt::Error> {
    let mut count = 0;
    for fd in numbers_of(index) {
        if count < DESCRIBED {
            let mut kept = Kept::new();
            describe(fd, &mut kept);
            write(fd, &kept)?;
        }
        count += 1;
    }
    Ok(count)
}

/// Writes the first descriptors of a place, one line for each group of equal neighbours.
pub fn examples(index: u16, out: &mut Buffer<u8>) -> fmt::Result {
    let mut last = Kept::new();
    let count = each_described(index, &mut |fd, kept| {
        if *kept != last && !last.as_bytes().is_empty() {
            writeln!(out, ": {}", Descriptor(last.as_bytes()))?;
        }
        if *kept != last || last.as_bytes().is_empty() {
            out.write_str("           fd")?;
        }
        last = *kept;
        write!(out, " {fd}")
    })?;
    if count == 0 {
        return Ok(());
    }
    writeln!(out, ": {}", Descriptor(last.as_bytes()))?;
    match count.saturating_sub(DESCRIBED) {
        0 => Ok(()),
        more => writeln!(out, "           and {} more", Grouped(more)),
    }
}

/// The first descriptors of a place, as a list of JSON objects.
pub struct Examples(pub u16);

impl Display for Examples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        each_described(self.0, &mut |fd, kept| {
            write!(f, "{comma}{}", Json { fd, of: Descriptor(kept.as_bytes()) })?;
            comma = ",";
            Ok(())
        })
        .map(|_| ())
    }
}

/// Writes the callers of a site, one line each, if its stack was recorded.
pub fn stack(facts: &Facts, site: usize, out: &mut Buffer<u8>) -> fmt::Result {
    facts.map.stack(site).skip(1).try_for_each(|caller| writeln!(out, "           by {caller}"))
}

/// Writes the member `census` of the report's object, followed by a comma.
pub fn json(facts: &Facts, out: &mut impl Write) -> fmt::Result {
    let Some(census) = Census::of_now() else { return Ok(()) };
    let kinds = || Kind::ALL.iter().copied();
    write!(
        out,
        r#""census":{{"live":{},"peak":{},"born":{},"closed":{},"at_start":{},"unseen":{},"healed":{},"kinds":{{{}}},"#,
        census.live,
        census.peak,
        census.born,
        census.closed,
        census.at_start,
        census.unseen,
        census.corrected,
        List(|| kinds()
            .map(|kind| (kind, of_kind(kind, Place::live)))
            .filter(|(_, live)| *live != 0)
            .map(|(kind, live)| Pair(kind.name(), live))),
    )?;
    write!(
        out,
        r#""by_kind":[{}],"sites":[{}]}},"#,
        List(|| kinds().map(OfKind).filter(OfKind::is_used)),
        List(|| places::all().map(|(index, place)| OfPlace { facts, index, place })),
    )
}

struct OfKind(Kind);

impl OfKind {
    fn is_used(&self) -> bool {
        of_kind(self.0, Place::live) + of_kind(self.0, Place::born) + of_kind(self.0, Place::closed) != 0
    }
}

impl Display for OfKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"{{"kind":"{}","live":{},"born":{},"closed":{}}}"#,
            self.0.name(),
            of_kind(self.0, Place::live),
            of_kind(self.0, born),
            of_kind(self.0, Place::closed)
        )
    }
}

struct OfPlace<'a> {
    facts: &'a Facts,
    index: u16,
    place: &'static Place,
}

impl Display for OfPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place;
        let numbers = || numbers_of(self.index).take(NUMBERS);
        write!(
            f,
            r#"{{"kind":"{}","site":{},"stack":{},"live":{},"peak":{},"born":{},"closed":{},"fds":[{}],"inherited":{},"descriptors":[{}]}}"#,
            place.kind().name(),
            OrNull(self.facts.map.site(place.site()).as_ref().map(InQuotes)),
            Stack(self.facts, place.site()),
            place.live(),
            place.peak(),
            born(place),
            place.closed(),
            List(numbers),
            inherited(self.index),
            Examples(self.index),
        )
    }
}
