//! Reads a [`Process`] from the bytes of a file.
//!
//! For any bytes, reading does not panic, and it terminates. It needs at most a few times their
//! size in memory: segments that overlap are refused, so nothing is read twice, and records are
//! read in parts.

mod header;
mod tables;

use std::collections::HashMap;
use std::fmt;

use epollshim_format::control;
use epollshim_format::recording::{FIRST_SEGMENT, PAGE, area, kind, record, thread, totals};

use crate::bytes::Bytes;
use crate::model::{Control, Interest, Judged, Process, Thread};
use crate::records::{HELD, Records};
use crate::source::Source;
use crate::{census, described, findings};

use header::identity;
pub use header::{Segment, arguments, check_header, segments, the_header};
pub use tables::{counters, instances, the_totals};
use tables::{interests, limits, rules, series, the_record};

/// Why a file cannot be read as a recording, and the place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub place: usize,
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.place, self.what)
    }
}

fn damage<T>(place: usize, what: impl Into<String>) -> Result<T, Damage> {
    Err(Damage { place, what: what.into() })
}

/// The largest segment that is read at once. Segments are far smaller, except those with records.
const LARGEST: usize = 64 << 20;
/// The number of bytes of records that are read at a time.
const STRETCH: usize = 1 << 20;

/// Reads a recording that was copied into memory.
pub fn process(bytes: &[u8]) -> Result<Process, Damage> {
    of(bytes, HELD)
}

/// Reads a recording, and holds the last `held` of its records.
pub fn of<S: Source + ?Sized>(source: &S, held: usize) -> Result<Process, Damage> {
    read(source, held, false)
}

/// Reads only what findings follow from, without records. It is fast enough to be called each
/// second.
pub fn briefly<S: Source + ?Sized>(source: &S) -> Result<Process, Damage> {
    read(source, 0, true)
}

fn read<S: Source + ?Sized>(source: &S, held: usize, is_brief: bool) -> Result<Process, Damage> {
    let mut space = Vec::new();
    let front = source.part(0, FIRST_SEGMENT, &mut space);
    check_header(front)?;
    let mut reader = Reader {
        source,
        process: Process { header: the_header(front), ..Process::default() },
        totals: false,
        threads: HashMap::new(),
        records: Records::new(held),
        census: census::Parts::default(),
        is_brief,
    };
    let identity = identity(front);
    reader.directory(front);
    if let Some(trouble) = source.trouble() {
        reader.process.notes.add_lost(|| format!("the file cannot be read completely: {trouble}"));
    }
    // Compared last: if the file was truncated after it was opened, and grew again, there are zeros
    // here.
    if self::identity(source.part(0, PAGE, &mut Vec::new())) != identity {
        reader.process.notes.add_lost(|| "the file was truncated or overwritten while it was read".into());
    }
    reader.check();
    let Reader { mut process, records, census, .. } = reader;
    records.give(&mut process);
    process.census = census.finish();
    Ok(process)
}

struct Reader<'a, S: ?Sized> {
    source: &'a S,
    process: Process,
    /// Whether the totals were read.
    totals: bool,
    /// The index in `process.threads` of the thread of each segment.
    threads: HashMap<u64, usize>,
    records: Records,
    census: census::Parts,
    /// Records, modules, stacks and descriptions are skipped.
    is_brief: bool,
}

impl<S: Source + ?Sized> Reader<'_, S> {
    fn note(&mut self, note: impl FnOnce() -> String) {
        self.process.notes.add(note);
    }

    fn directory(&mut self, front: Bytes) {
        for Segment { index, kind, start, end, extra } in segments(front, &mut self.process.notes) {
            let has = self.source.length().min(end).saturating_sub(start);
            if has < end - start {
                let of = end - start;
                let note = || format!("segment {index} ({}): the file holds {has} of its {of} bytes", name(kind));
                self.process.notes.add_lost(note);
            }
            match kind {
                _ if has == 0 => {}
                kind::RECORDS | kind::MODULES | kind::STACKS | kind::DESCRIBED | kind::OPEN_AT_END if self.is_brief => {
                }
                kind::RECORDS => self.more_records(index, start, end - start, extra),
                kind::THREAD => self.thread(index, start, end - start, extra),
                _ if has > LARGEST => {
                    self.note(|| format!("segment {index} ({}): skipped, it is too large", name(kind)))
                }
                _ => {
                    let mut space = Vec::new();
                    let source = self.source;
                    self.segment(index, kind, source.part(start, has, &mut space), extra);
                }
            }
        }
    }

    fn thread(&mut self, index: usize, start: usize, length: usize, tid: u64) {
        let (mut space, source) = (Vec::new(), self.source);
        let segment = source.part(start, thread::RING.min(length), &mut space);
        if segment.0.len() < thread::COUNTERS_SIZE {
            return self.note(|| format!("segment {index}: skipped, too short for a thread's counters"));
        }
        let mut read = Thread {
            tid,
            counters: counters(segment),
            begun: segment.word(thread::BEGUN),
            // Bounded, so that the sum with the records in the file does not overflow.
            dropped: segment.word(thread::DROPPED).min(u64::MAX / 2),
            last_wait_end: segment.word(thread::LAST_WAIT_END),
            processor_time: segment.word(thread::PROCESSOR_TIME),
            polled_then: segment.word(thread::POLLED_THEN),
            ..Thread::default()
        };
        let behind = source.length().min(start + length).saturating_sub(start + thread::RING);
        let place = self.process.threads.len();
        if self.is_brief {
            // Only its counters are needed.
        } else if self.process.header.ring == 0 {
            read.begun = read.dropped;
            self.area(place, start + thread::RING, area::IN_THREAD.min(length.saturating_sub(thread::RING)), &mut read);
        } else {
            read.dropped = 0;
            self.ring(place, start + thread::RING, behind, &mut read);
        }
        self.threads.insert(index as u64, place);
        self.process.threads.push(read);
    }

    /// Reads the ring of a thread, of which `behind` bytes are in the file.
    fn ring(&mut self, thread: usize, start: usize, behind: usize, of: &mut Thread) {
        let (ring, tid) = (self.process.header.ring, of.tid);
        let space = behind / record::SIZE;
        let places = match usize::try_from(ring) {
            Ok(ring) if ring <= space => ring,
            _ => {
                self.note(|| format!("thread {tid}: the file holds {space} of the {ring} slots of its ring"));
                space
            }
        };
        of.overwritten = of.begun.saturating_sub(ring);
        let numbers = of.overwritten..of.begun;
        // The file stores each number plus one. A record whose number does not fit its place is not
        // complete.
        of.seen = self.stretches(thread, start, places, |place, number| {
            number % ring == place as u64 && numbers.contains(&number)
        });
        of.unfinished = of.begun.saturating_sub(of.overwritten).saturating_sub(of.seen);
    }

    /// Reads a segment of records. `of` is the index of the thread's own segment in the directory.
    fn more_records(&mut self, index: usize, start: usize, length: usize, of: u64) {
        let thread = self.threads.get(&of).copied().filter(|_| self.process.header.ring == 0);
        let Some((thread, mut of)) =
            thread.and_then(|thread| Some((thread, std::mem::take(self.process.threads.get_mut(thread)?))))
        else {
            return self.note(|| format!("segment {index}: skipped, no thread has these records"));
        };
        self.area(thread, start, length, &mut of);
        if let Some(place) = self.process.threads.get_mut(thread) {
            *place = of;
        }
    }

    /// Reads an area of a thread's records.
    fn area(&mut self, thread: usize, start: usize, length: usize, of: &mut Thread) {
        let (mut space, source) = (Vec::new(), self.source);
        let head = source.part(start, area::RECORDS, &mut space);
        let places = length.saturating_sub(area::RECORDS) / record::SIZE;
        let taken = head.word(area::TAKEN).min(places as u64);
        let first = head.word(area::FIRST);
        let seen = self.stretches(thread, start + area::RECORDS, taken as usize, |place, number| {
            number == first.wrapping_add(place as u64)
        });
        of.begun = of.begun.saturating_add(taken);
        of.seen += seen;
        of.unfinished = of.unfinished.saturating_add(taken - seen);
    }

    /// Adds the records in `places` places that have the right number for their place. Returns how
    /// many there are.
    fn stretches(&mut self, thread: usize, start: usize, places: usize, is_right: impl Fn(usize, u64) -> bool) -> u64 {
        let (mut space, source, mut seen) = (Vec::new(), self.source, 0);
        for from in (0..places).step_by(STRETCH / record::SIZE) {
            let bytes = (places - from).min(STRETCH / record::SIZE) * record::SIZE;
            let stretch = source.part(start.saturating_add(from * record::SIZE), bytes, &mut space);
            if stretch.0.is_empty() {
                break;
            }
            for (place, words) in stretch.0.chunks_exact(record::SIZE).enumerate() {
                let words = Bytes(words);
                let Some(number) = words.word(record::NUMBER).checked_sub(1) else { continue };
                if is_right(from + place, number) {
                    seen += 1;
                    self.records.add(thread, the_record(words, number));
                }
            }
        }
        seen
    }

    fn segment(&mut self, index: usize, kind: u64, segment: Bytes, extra: u64) {
        match kind {
            kind::TOTALS if self.totals => self.note(|| format!("segment {index}: skipped, there are totals already")),
            kind::TOTALS => {
                self.totals = true;
                self.process.totals = the_totals(segment);
                self.process.judged_by = Judged {
                    marked: segment.word(totals::MARKED),
                    numbers: segment.word(totals::NUMBERS),
                    numbers_limit: segment.word(totals::NUMBERS_LIMIT),
                };
                let place = |site: usize| totals::CREATIONS + site * 16;
                let of = |site| (segment.word(place(site)), segment.word(place(site) + 8));
                self.process.creations = (0..totals::SITES).map(of).filter(|(site, _)| *site != 0).collect();
            }
            kind::INSTANCES => self.process.instances.extend(instances(segment, extra)),
            kind::INTERESTS => self.process.interests.extend(interests(segment, extra)),
            kind::FINDINGS => {
                let (found, dropped) = findings::read(segment);
                self.process.findings.extend(found);
                self.process.findings_dropped = self.process.findings_dropped.saturating_add(dropped);
            }
            kind::MODULES => {
                let unread = self.process.modules.add(segment.until_zero());
                if unread > 0 {
                    self.note(|| format!("segment {index}: unreadable lines in the map of modules: {unread}"));
                }
            }
            kind::CONTROL => {
                self.process.control =
                    Control { requests: segment.word(control::REQUESTS), damaged: segment.word(control::DAMAGED) };
            }
            kind::SERIES => self.process.series = series(segment),
            kind::POLICY => (self.process.limits, self.process.rules) = (limits(segment), rules(segment)),
            kind::STACKS => self.process.stacks.add(extra, segment),
            kind::CENSUS => self.census.add_totals(segment),
            kind::PLACES => self.census.add_places(segment, extra),
            kind::NUMBERS => self.census.add_numbers(segment, extra),
            // The last segment of this kind is the newest.
            kind::DESCRIBED => self.process.described = described::of_findings(segment),
            kind::OPEN_AT_END => self.process.open_at_end = described::open_at_end(segment),
            other => self.note(|| format!("segment {index}: skipped, this program does not know kind {other}")),
        }
    }

    /// Checks for what a complete file has.
    fn check(&mut self) {
        if !self.totals {
            self.note(|| "no totals: live and peak numbers are not known".into());
        }
        let mut known: Vec<u64> = self.process.instances.iter().map(|instance| instance.index).collect();
        known.sort_unstable();
        let lost = |interest: &&Interest| known.binary_search(&interest.instance).is_err();
        let orphans = self.process.interests.iter().filter(lost).count();
        if orphans > 0 && !self.process.instances.is_empty() {
            self.note(|| format!("watches of an instance that is not in the table: {orphans}"));
        }
    }
}

fn name(kind: u64) -> &'static str {
    match kind {
        kind::TOTALS => "totals",
        kind::THREAD => "a thread",
        kind::INSTANCES => "instances",
        kind::INTERESTS => "watches",
        kind::MODULES => "modules",
        kind::FINDINGS => "findings",
        kind::CONTROL => "control",
        kind::RECORDS => "records",
        kind::STACKS => "stacks",
        kind::CENSUS => "the census",
        kind::PLACES => "rows of the census",
        kind::NUMBERS => "descriptor numbers",
        kind::POLICY => "what is armed",
        kind::SERIES => "the series of the run",
        kind::DESCRIBED | kind::OPEN_AT_END => "descriptors",
        _ => "of an unknown kind",
    }
}
