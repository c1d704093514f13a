//! From a file's bytes to a [`Process`]. Whatever the bytes are: no panic, no loop without end, no more memory than a
//! few times their number (segments that overlap are refused, so nothing is read twice).

use std::fmt;

use epollshim_format::call::Call;
use epollshim_format::function::Function;
use epollshim_format::recording::{
    DIRECTORY, FIRST_SEGMENT, MACHINE, MAGIC, PAGE, SEGMENTS, VERSION, end, entry, header, instance, interest, kind,
    record, thread, totals,
};
use epollshim_format::{errno, histogram};

use crate::bytes::Bytes;
use crate::census::Census;
use crate::model::{
    CallCounters, Counters, End, Header, Histogram, Instance, Interest, Notes, Origin, Process, Record, Thread, Totals,
};

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

/// Reads a recording that was copied into memory.
pub fn process(bytes: &[u8]) -> Result<Process, Damage> {
    let file = Bytes(bytes);
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
            format!("written on a machine of ELF number {machine}, not {MACHINE} (x86-64)"),
        );
    }
    let mut reader =
        Reader { file, process: Process { header: the_header(file), ..Process::default() }, totals: false };
    reader.directory();
    reader.check();
    Ok(reader.process)
}

fn the_header(file: Bytes) -> Header {
    let arguments = file.text(header::ARGUMENTS_LENGTH, header::ARGUMENTS, header::ARGUMENTS_BYTES);
    let arguments = arguments.strip_suffix(b"\0").unwrap_or(arguments);
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
            other => End::Other(other),
        },
        seed: (file.word(header::HAS_SEED) == 1).then(|| file.word(header::SEED)),
        threads_dropped: file.word(header::THREADS_DROPPED),
        calls_dropped: file.word(header::CALLS_DROPPED),
        entries_dropped: file.word(header::ENTRIES_DROPPED),
        ring: file.word(header::RING),
        trouble: u32::try_from(file.word(header::TROUBLE)).ok().filter(|error| *error != 0),
        comm: file.part(header::COMM, 16).until_zero().to_vec(),
        exe: file.text(header::EXE_LENGTH, header::EXE, header::EXE_BYTES).to_vec(),
        arguments: match arguments {
            b"" => Vec::new(),
            arguments => arguments.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect(),
        },
    }
}

struct Reader<'a> {
    file: Bytes<'a>,
    process: Process,
    /// Whether totals were read.
    totals: bool,
}

impl Reader<'_> {
    fn note(&mut self, note: impl FnOnce() -> String) {
        self.process.notes.add(note);
    }

    fn directory(&mut self) {
        let mut taken: Vec<(usize, usize)> = Vec::new();
        for index in 0..SEGMENTS {
            let place = DIRECTORY + index * entry::SIZE;
            let words = self.file.part(place, entry::SIZE);
            let (Some(kind), Some(extra)) = (words.get(entry::KIND), words.get(entry::EXTRA)) else {
                let length = self.file.0.len();
                self.note(|| format!("the file ends at byte {length}, within the directory of its segments"));
                return;
            };
            if kind == 0 {
                return;
            }
            let (start, length) = (words.word(entry::START), words.word(entry::LENGTH));
            let Some((start, end)) = range(start, length) else {
                self.note(|| format!("segment {index}: left out, it cannot begin at {start} with {length} bytes"));
                continue;
            };
            if taken.iter().any(|(from, to)| start < *to && *from < end) {
                self.note(|| format!("segment {index}: left out, it overlaps another"));
                continue;
            }
            taken.push((start, end));
            let segment = self.file.part(start, end - start);
            if segment.0.len() < end - start {
                let (has, of) = (segment.0.len(), end - start);
                self.note(|| format!("segment {index} ({}): the file holds {has} of its {of} bytes", name(kind)));
            }
            if !segment.0.is_empty() {
                self.segment(index, kind, segment, extra);
            }
        }
    }

    fn segment(&mut self, index: usize, kind: u64, segment: Bytes, extra: u64) {
        match kind {
            kind::TOTALS if self.totals => self.note(|| format!("segment {index}: left out, totals are there already")),
            kind::TOTALS => {
                self.totals = true;
                self.process.totals = the_totals(segment);
            }
            kind::THREAD if segment.0.len() < thread::COUNTERS_SIZE => {
                self.note(|| format!("segment {index}: left out, too short for a thread's counters"));
            }
            kind::THREAD => {
                let ring = self.process.header.ring;
                let read = the_thread(segment, extra, ring, &mut self.process.notes);
                self.process.threads.push(read);
            }
            kind::INSTANCES => self.process.instances.extend(instances(segment, extra)),
            kind::INTERESTS => self.process.interests.extend(interests(segment, extra)),
            kind::MODULES => {
                let unread = self.process.modules.add(segment.until_zero());
                if unread > 0 {
                    self.note(|| format!("segment {index}: {unread} lines of the map of modules cannot be read"));
                }
            }
            kind::STACKS => self.process.stacks.add(extra, segment),
            // The last is the newest.
            kind::CENSUS => self.process.census = Some(Census::read(segment)),
            other => self.note(|| format!("segment {index}: left out, this program does not know kind {other}")),
        }
    }

    /// What a whole file has.
    fn check(&mut self) {
        if !self.totals {
            self.note(|| "there are no totals: live and peak numbers are not known".into());
        }
        let mut known: Vec<u64> = self.process.instances.iter().map(|instance| instance.index).collect();
        known.sort_unstable();
        let lost = |interest: &&Interest| known.binary_search(&interest.instance).is_err();
        let orphans = self.process.interests.iter().filter(lost).count();
        if orphans > 0 && !self.process.instances.is_empty() {
            self.note(|| format!("{orphans} watches name an instance that is not in the table"));
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
        kind::STACKS => "stacks",
        kind::CENSUS => "the census",
        _ => "of an unknown kind",
    }
}

/// Where a segment lies, if one may lie there.
fn range(start: u64, length: u64) -> Option<(usize, usize)> {
    let (start, length) = (usize::try_from(start).ok()?, usize::try_from(length).ok()?);
    let end = start.checked_add(length)?;
    (start >= FIRST_SEGMENT && length > 0 && start % PAGE == 0 && length % PAGE == 0).then_some((start, end))
}

fn the_totals(segment: Bytes) -> Totals {
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

fn the_thread(segment: Bytes, tid: u64, ring: u64, notes: &mut Notes) -> Thread {
    let mut read = Thread {
        tid,
        counters: counters(segment),
        begun: segment.word(thread::BEGUN),
        last_wait_end: segment.word(thread::LAST_WAIT_END),
        ..Thread::default()
    };
    let space = segment.0.len().saturating_sub(thread::RING) / record::SIZE;
    let places = match usize::try_from(ring) {
        Ok(ring) if ring <= space => ring,
        _ => {
            notes.add(|| format!("thread {tid}: of the {ring} places of its ring, {space} are in the file"));
            space
        }
    };
    read.overwritten = read.begun.saturating_sub(ring);
    for place in 0..places {
        let words = segment.part(thread::RING + place * record::SIZE, record::SIZE);
        // Stored is the number and one. Another number's place, or an older one's: not whole.
        let Some(number) = words.word(record::NUMBER).checked_sub(1) else { continue };
        if number % ring == place as u64 && (read.overwritten..read.begun).contains(&number) {
            read.records.push(the_record(words, number));
        }
    }
    read.records.sort_unstable_by_key(|record| (record.began, record.number));
    read.unfinished = read.begun.saturating_sub(read.overwritten).saturating_sub(read.records.len() as u64);
    read
}

fn counters(segment: Bytes) -> Counters {
    let mut read = Counters {
        empty: segment.word(thread::EMPTY),
        full: segment.word(thread::FULL),
        work: the_histogram(segment, thread::WORK),
        batch: the_histogram(segment, thread::BATCH),
        ..Counters::default()
    };
    for (call, counters) in Call::ALL.into_iter().zip(&mut read.calls) {
        *counters = of_call(segment, thread::CALLS + call as usize * thread::CALL_SIZE);
    }
    for (index, kind) in read.kinds.iter_mut().enumerate() {
        *kind = segment.word(thread::KINDS + index * 8);
    }
    for (index, blocked) in read.blocked.iter_mut().enumerate() {
        *blocked = the_histogram(segment, thread::BLOCKED + index * thread::HISTOGRAM_SIZE);
    }
    read
}

fn of_call(segment: Bytes, place: usize) -> CallCounters {
    let errors = (0..errno::NAMED).map(|error| (error as u32, segment.word(place + thread::CALL_ERRORS + error * 8)));
    CallCounters {
        calls: segment.word(place + thread::CALL_CALLS),
        injected: segment.word(place + thread::CALL_INJECTED),
        limited: segment.word(place + thread::CALL_LIMITED),
        made_up: segment.word(place + thread::CALL_MADE_UP),
        errors: errors.filter(|(_, times)| *times != 0).collect(),
    }
}

fn the_histogram(segment: Bytes, place: usize) -> Histogram {
    let mut buckets: Vec<u64> = (0..histogram::BUCKETS).map(|bucket| segment.word(place + bucket * 8)).collect();
    if buckets.iter().all(|count| *count == 0) {
        buckets = Vec::new();
    }
    Histogram {
        buckets,
        sum: segment.word(place + thread::HISTOGRAM_SUM),
        max: segment.word(place + thread::HISTOGRAM_MAX),
    }
}

fn the_record(words: Bytes, number: u64) -> Record {
    let call = words.word(record::CALL);
    let arguments = words.word(record::ARGUMENTS);
    Record {
        number,
        began: words.word(record::BEGAN),
        duration: words.word(record::DURATION),
        function: Function::ALL.get((call & 0xff) as usize).copied(),
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

fn instances(segment: Bytes<'_>, first: u64) -> impl Iterator<Item = Instance> {
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
