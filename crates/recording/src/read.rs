//! From a file's bytes to a [`Process`]. Whatever the bytes are: no panic, no loop without end, no more memory than a
//! few times their number (segments that overlap are refused, so nothing is read twice), and records a stretch at a time.

use std::collections::HashMap;
use std::fmt;

use epollshim_format::call::Call;
use epollshim_format::census::Kind;
use epollshim_format::function::Function;
use epollshim_format::recording::{
    DIRECTORY, FIRST_SEGMENT, MACHINE, MAGIC, PAGE, SEGMENTS, VERSION, area, end, entry, header, instance, interest,
    kind, policy, record, series, thread, totals,
};
use epollshim_format::{control, errno, histogram};

use crate::bytes::Bytes;
use crate::model::{
    CallCounters, Control, Counters, End, Header, Histogram, Instance, Interest, Judged, Limit, Moment, Notes, Origin,
    Process, Record, Rule, Thread, Totals,
};
use crate::modules::plain;
use crate::records::{HELD, Records};
use crate::source::Source;
use crate::{census, described, findings, firings};

/// Why a file is no recording that can be read, and where in it.
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

/// The largest segment that is read at once. A writer's are far smaller, but for those with records.
const LARGEST: usize = 64 << 20;
/// Records are read so many bytes at a time.
const STRETCH: usize = 1 << 20;

/// Reads a recording that was copied into memory.
pub fn process(bytes: &[u8]) -> Result<Process, Damage> {
    of(bytes, HELD)
}

/// Reads a recording; holds so many of its records.
pub fn of<S: Source + ?Sized>(source: &S, held: usize) -> Result<Process, Damage> {
    read(source, held, false)
}

/// Reads of a recording what findings follow from, and no records: so much that it may be done each second.
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
    // Looked at last: whoever truncated the file since it was opened, and let it grow again, left zeros here.
    if self::identity(source.part(0, PAGE, &mut Vec::new())) != identity {
        reader.process.notes.add_lost(|| "the file was truncated or overwritten while it was read".into());
    }
    reader.check();
    let Reader { mut process, records, census, .. } = reader;
    records.give(&mut process);
    process.census = census.finish();
    Ok(process)
}

/// What stays the same in the header for as long as the recording is this one.
fn identity(front: Bytes) -> [u64; 4] {
    [header::MAGIC, header::PID, header::BEGAN, header::BEGAN_UNIX].map(|place| front.word(place))
}

/// Whether a file begins as a recording that this program reads.
pub fn check_header(file: Bytes) -> Result<(), Damage> {
    let bytes = file.0;
    if bytes.is_empty() {
        return damage(0, "the file is empty");
    }
    match file.get(header::MAGIC) {
        Some(MAGIC) => {}
        Some(0) => return damage(header::MAGIC, "the header was never written"),
        _ => return damage(header::MAGIC, "not a recording (it does not begin with EPOLLREC)"),
    }
    if bytes.len() < PAGE {
        return damage(bytes.len(), format!("the file ends within its header, which has {PAGE} bytes"));
    }
    if file.word(header::VERSION) != VERSION {
        let version = file.word(header::VERSION);
        return damage(header::VERSION, format!("layout version {version}; this program reads version {VERSION}"));
    }
    if file.word(header::MACHINE) != MACHINE {
        let machine = file.word(header::MACHINE);
        return damage(
            header::MACHINE,
            format!("written for ELF machine {machine}; this program reads {MACHINE} (x86-64)"),
        );
    }
    Ok(())
}

pub fn the_header(file: Bytes) -> Header {
    let error = |word| u32::try_from(word).ok().filter(|error| *error != 0);
    let arguments = file.text(header::ARGUMENTS_LENGTH, header::ARGUMENTS, header::ARGUMENTS_BYTES);
    Header {
        pid: file.word(header::PID),
        ppid: file.word(header::PPID),
        began: file.word(header::BEGAN),
        began_unix: file.word(header::BEGAN_UNIX),
        ended: file.word(header::ENDED),
        end: match file.word(header::END) {
            end::NOT_YET => End::NotYet,
            end::EXIT => End::Exit,
            end::UNDERSCORE_EXIT => End::UnderscoreExit,
            end::EXEC => End::Exec,
            end::ABORT => End::Abort,
            end::ABORTED => End::Aborted,
            end::EXIT_GROUP => End::ExitGroup,
            end::SIGNAL => End::Raised,
            other => End::Other(other),
        },
        seed: (file.word(header::HAS_SEED) == 1).then(|| file.word(header::SEED)),
        threads_dropped: file.word(header::THREADS_DROPPED),
        calls_dropped: file.word(header::CALLS_DROPPED),
        entries_dropped: file.word(header::ENTRIES_DROPPED),
        ring: file.word(header::RING),
        trouble: error(file.word(header::TROUBLE)),
        children_lost: file.word(header::CHILDREN_LOST),
        children_trouble: error(file.word(header::CHILDREN_TROUBLE)),
        unseen: file.word(header::UNSEEN),
        why_unseen: file.word(header::UNSEEN_WHY),
        first_unseen: file.text(header::UNSEEN_LENGTH, header::UNSEEN_PATH, header::UNSEEN_BYTES).to_vec(),
        records_most: file.word(header::RECORDS_MOST),
        records_stopped: file.word(header::RECORDS_STOPPED),
        comm: file.part(header::COMM, 16).until_zero().to_vec(),
        exe: file.text(header::EXE_LENGTH, header::EXE, header::EXE_BYTES).to_vec(),
        arguments: self::arguments(arguments),
    }
}

/// What `/proc/PID/cmdline` has, argument by argument.
pub fn arguments(text: &[u8]) -> Vec<Vec<u8>> {
    match text.strip_suffix(b"\0").unwrap_or(text) {
        b"" => Vec::new(),
        text => text.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect(),
    }
}

/// A segment as the directory tells of it.
pub struct Segment {
    pub index: usize,
    pub kind: u64,
    pub start: usize,
    pub end: usize,
    pub extra: u64,
}

/// The segments that lie where segments may lie, each in a place of its own. `head`: the file, to the end of its directory at
/// least.
pub fn segments(head: Bytes, notes: &mut Notes) -> Vec<Segment> {
    let mut taken: Vec<Segment> = Vec::new();
    for index in 0..SEGMENTS {
        let words = head.part(DIRECTORY + index * entry::SIZE, entry::SIZE);
        let (Some(kind), Some(extra)) = (words.get(entry::KIND), words.get(entry::EXTRA)) else {
            let length = head.0.len();
            notes.add_lost(|| format!("the file ends at byte {length}, within the directory of its segments"));
            break;
        };
        if kind == 0 {
            break;
        }
        let (start, length) = (words.word(entry::START), words.word(entry::LENGTH));
        let Some((start, end)) = range(start, length) else {
            notes.add(|| format!("segment {index}: skipped, it cannot begin at {start} and have {length} bytes"));
            continue;
        };
        if taken.iter().any(|other| start < other.end && other.start < end) {
            notes.add(|| format!("segment {index}: skipped, it overlaps another"));
            continue;
        }
        taken.push(Segment { index, kind, start, end, extra });
    }
    taken
}

struct Reader<'a, S: ?Sized> {
    source: &'a S,
    process: Process,
    /// Whether totals were read.
    totals: bool,
    /// Where the thread of a segment is in `process.threads`.
    threads: HashMap<u64, usize>,
    records: Records,
    census: census::Parts,
    /// Records, and what only names things, are left out.
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
            // Half of all numbers: with what is there, it is still one.
            dropped: segment.word(thread::DROPPED).min(u64::MAX / 2),
            last_wait_end: segment.word(thread::LAST_WAIT_END),
            processor_time: segment.word(thread::PROCESSOR_TIME),
            polled_then: segment.word(thread::POLLED_THEN),
            ..Thread::default()
        };
        let behind = source.length().min(start + length).saturating_sub(start + thread::RING);
        let place = self.process.threads.len();
        if self.is_brief {
            // Its counters alone.
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

    /// The ring of a thread, of which `behind` bytes are in the file.
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
        // Stored is the number and one. Another number's place, or an older one's: not whole.
        of.seen = self.stretches(thread, start, places, |place, number| {
            number % ring == place as u64 && numbers.contains(&number)
        });
        of.unfinished = of.begun.saturating_sub(of.overwritten).saturating_sub(of.seen);
    }

    /// A segment of records of a thread whose segment is in that place of the directory.
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

    /// An area of a thread's records.
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

    /// Adds the records in so many places whose number is the right one there; how many those are.
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
            // The last is the newest.
            kind::DESCRIBED => self.process.described = described::of_findings(segment),
            kind::OPEN_AT_END => self.process.open_at_end = described::open_at_end(segment),
            other => self.note(|| format!("segment {index}: skipped, this program does not know kind {other}")),
        }
    }

    /// What a whole file has.
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

/// Where a segment lies, if one may lie there.
fn range(start: u64, length: u64) -> Option<(usize, usize)> {
    let (start, length) = (usize::try_from(start).ok()?, usize::try_from(length).ok()?);
    let end = start.checked_add(length)?;
    (start >= FIRST_SEGMENT && length > 0 && start % PAGE == 0 && length % PAGE == 0).then_some((start, end))
}

pub fn the_totals(segment: Bytes) -> Totals {
    Totals {
        instances: segment.word(totals::INSTANCES),
        instances_peak: segment.word(totals::INSTANCES_PEAK),
        watches: segment.word(totals::WATCHES),
        watches_peak: segment.word(totals::WATCHES_PEAK),
        vanished: segment.word(totals::VANISHED),
        memory_peak: segment.word(totals::MEMORY_PEAK),
        unseen_instances: segment.word(totals::UNSEEN_INSTANCES),
        unseen_watches: segment.word(totals::UNSEEN_WATCHES),
        healed: segment.word(totals::HEALED),
        lost: segment.word(totals::LOST),
    }
}

fn series(segment: Bytes) -> Vec<Moment> {
    let count = usize::try_from(segment.word(series::COUNT)).unwrap_or(usize::MAX);
    let read = |row| {
        let words = segment.part(series::FIRST + row * series::ROW, series::ROW);
        let word = |number: usize| words.word(number * 8);
        let kinds = Kind::ALL.iter().map(|kind| (*kind, word(series::KINDS + *kind as usize)));
        Moment {
            at: word(series::AT),
            calls: word(series::CALLS),
            waits: word(series::WAITS),
            instances: word(series::INSTANCES),
            watches: word(series::WATCHES),
            kinds: kinds.filter(|(_, open)| *open != 0).collect(),
        }
    };
    // One more than are taken: who was killed amid the last had written its time.
    let rows = (0..count.saturating_add(1).min(series::ROWS)).map(read);
    let mut moments: Vec<Moment> = rows.filter(|moment| moment.at != 0).collect();
    moments.sort_by_key(|moment| moment.at);
    moments.dedup_by_key(|moment| moment.at);
    moments
}

fn limits(segment: Bytes) -> Vec<Limit> {
    let keys = epollshim_format::limits::KEYS.into_iter().take(policy::KEYS).enumerate();
    let read = |(index, key)| {
        let words = segment.part(policy::LIMITS + index * policy::LIMIT, policy::LIMIT);
        let limit = words.word(policy::LIMIT_SET).checked_sub(1);
        let mode = match words.word(policy::LIMIT_MODE) {
            1 => Some("warn"),
            2 => Some("enforce"),
            _ => None,
        };
        (limit.is_some() || mode.is_some()).then(|| Limit {
            key,
            limit,
            peak: words.word(policy::LIMIT_PEAK),
            denied: words.word(policy::LIMIT_DENIED),
            let_through: words.word(policy::LIMIT_LET_THROUGH),
            mode,
        })
    };
    keys.filter_map(read).collect()
}

fn rules(segment: Bytes) -> Vec<Rule> {
    let count = usize::try_from(segment.word(policy::COUNT)).unwrap_or(usize::MAX).min(policy::RULES);
    let texts = segment.part(policy::TEXT, policy::TEXT_BYTES);
    let fired = firings::read(segment);
    let read = |index| {
        let words = segment.part(policy::FIRST + index * policy::RULE, policy::RULE);
        let place = words.word(policy::WORDS);
        let text = texts.part(place as u32 as usize, (place >> 32) as usize);
        Rule {
            text: plain(text.0),
            matched: words.word(policy::MATCHED),
            fired: words.word(policy::FIRED),
            legal: words.word(policy::IS_LEGAL) != 0,
            firings: fired.iter().filter(|(rule, _)| *rule == index).map(|(_, firing)| *firing).collect(),
        }
    };
    (0..count).map(read).collect()
}

pub fn counters(segment: Bytes) -> Counters {
    let mut read = Counters {
        empty: segment.word(thread::EMPTY).saturating_add(segment.word(thread::POLLED)),
        polled: segment.word(thread::POLLED),
        short: segment.word(thread::SHORT),
        full: segment.word(thread::FULL),
        work: the_histogram(segment, thread::WORK),
        batch: the_histogram(segment, thread::BATCH),
        ..Counters::default()
    };
    for (call, counters) in Call::ALL.into_iter().zip(&mut read.calls) {
        *counters = of_call(segment, call as usize);
    }
    for (index, kind) in read.kinds.iter_mut().enumerate() {
        *kind = segment.word(thread::KINDS + index * 8);
    }
    for (index, blocked) in read.blocked.iter_mut().enumerate() {
        *blocked = the_histogram(segment, thread::BLOCKED + index);
    }
    read
}

fn of_call(segment: Bytes, call: usize) -> CallCounters {
    let place = thread::OF_CALLS + call * thread::CALL_SIZE;
    let errors = (0..errno::NAMED).map(|error| (error as u32, segment.word(place + thread::CALL_ERRORS + error * 8)));
    CallCounters {
        calls: segment.word(thread::CALLS + call * 8),
        injected: segment.word(place + thread::CALL_INJECTED),
        limited: segment.word(place + thread::CALL_LIMITED),
        made_up: segment.word(place + thread::CALL_MADE_UP),
        errors: errors.filter(|(_, times)| *times != 0).collect(),
    }
}

fn the_histogram(segment: Bytes, number: usize) -> Histogram {
    let (top, first) = (thread::TOPS + number * thread::TOP_SIZE, thread::BUCKETS + number * thread::BUCKETS_SIZE);
    let mut buckets: Vec<u64> = (0..histogram::BUCKETS).map(|bucket| segment.word(first + bucket * 8)).collect();
    if buckets.iter().all(|count| *count == 0) {
        buckets = Vec::new();
    }
    Histogram { buckets, sum: segment.word(top + thread::TOP_SUM), max: segment.word(top + thread::TOP_MAX) }
}

fn the_record(words: Bytes, number: u64) -> Record {
    let call = words.word(record::CALL);
    let arguments = words.word(record::ARGUMENTS);
    Record {
        number,
        began: words.word(record::BEGAN),
        duration: words.word(record::DURATION),
        function: Function::ALL
            .get((call & 0xff) as usize)
            .copied()
            .filter(|function| (*function as usize) < Function::RECORDED),
        flags: (call >> 8) as u8,
        operation: (call >> 16) as u16,
        errno: (call >> 32) as u32,
        result: words.word(record::RESULT) as i64,
        first: arguments as u32 as i32,
        second: (arguments >> 32) as u32 as i32,
        extra: words.word(record::EXTRA),
        caller: words.word(record::CALLER),
    }
}

/// The entries of a part of a table, with their indices. The table's entry 0 is unused.
fn entries(segment: Bytes<'_>, first: u64, size: usize) -> impl Iterator<Item = (u64, Bytes<'_>)> {
    (0..segment.0.len() / size)
        .map(move |place| (first.saturating_add(place as u64), segment.part(place * size, size)))
        .filter(|(index, _)| *index != 0)
}

pub fn instances(segment: Bytes<'_>, first: u64) -> impl Iterator<Item = Instance> {
    entries(segment, first, instance::SIZE).filter(|(_, words)| words.word(instance::ID) != 0).map(|(index, words)| {
        let origin = words.word(instance::ORIGIN);
        let both = |word: usize| {
            let place = instance::WAITS + word * 8;
            words.word(place).saturating_add(words.word(place + 40))
        };
        Instance {
            index,
            id: words.word(instance::ID),
            site: words.word(instance::SITE),
            origin: match (origin & !instance::INHERITED) >> 32 {
                1 => Origin::Create,
                2 => Origin::Create1,
                _ => Origin::Unseen,
            },
            argument: origin as u32 as i32,
            inherited: origin & instance::INHERITED != 0,
            epfd: words.word(instance::EPFD) as i32,
            mark: (words.word(instance::EPFD) >> instance::MARK) as u32,
            watches: words.word(instance::WATCHES),
            watches_peak: words.word(instance::WATCHES_PEAK),
            began: words.word(instance::BEGAN),
            waits: both(0),
            events: both(1),
            empty: both(2),
            full: both(3),
            interrupted: both(4),
        }
    })
}

fn interests(segment: Bytes<'_>, first: u64) -> impl Iterator<Item = Interest> {
    entries(segment, first, interest::SIZE).filter(|(_, words)| words.word(interest::INSTANCE) != 0).map(
        |(_, words)| {
            let instance = words.word(interest::INSTANCE);
            Interest {
                instance: instance & u64::from(u32::MAX),
                fd: (instance >> 32) as u32 as i32,
                site: words.word(interest::SITE),
            }
        },
    )
}
