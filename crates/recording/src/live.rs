//! Reads a recording repeatedly while its program runs. Only the counters are read, some kilobytes
//! per thread, however large the file is. Rings are not read. Tables and the map of modules are
//! read when they are needed.
//!
//! The program is not involved: its file is read, and `/proc/PID/maps` if the file does not show
//! whether it still runs.

use std::cmp::Reverse;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use epollshim_format::call::Call;
use epollshim_format::findings::Finding;
use epollshim_format::recording::{FIRST_SEGMENT, PAGE, header, kind, thread, totals};

use crate::bytes::Bytes;
use crate::judged;
use crate::load::{Error, Options, open};
use crate::maps;
use crate::model::{Counters, End, Header, Instance, Notes, Totals};
use crate::modules::{Module, Modules, Place, plain};
use crate::read::{self, Damage, Segment};
use crate::sites::{Resolver, Site};
use crate::source::Opened;
use crate::stacks::Stacks;

/// The most bytes that are read of the table of instances, and of the maps of modules.
const MOST: usize = 16 << 20;

/// The recording of a process that ran when the recording was opened.
pub struct Live {
    pub path: PathBuf,
    /// The id in this pid namespace. In a container the recording has another one.
    pub pid: u32,
    pub began_unix: u64,
    file: File,
    /// The process's `/proc/PID/maps`. An open file keeps referring to this program even if the id
    /// is reused, and is empty when the program has ended (proc_pid_maps(5); Linux v6.1
    /// fs/proc/task_mmu.c, m_start).
    mappings: File,
    modules: Modules,
    /// The number of segments of modules that have been read.
    modules_read: usize,
}

/// The counters of a recording at one moment.
#[derive(Clone, Default)]
pub struct Reading {
    /// CLOCK_MONOTONIC, as passed by the caller.
    pub at: u64,
    pub totals: Totals,
    /// The sums of all threads.
    pub counters: Counters,
    pub threads: Vec<Waiting>,
    pub end: End,
    /// Something is missing: threads, calls or entries for which there was no space, or parts of
    /// the file.
    pub is_partial: bool,
    /// The file has lost parts that it once had.
    pub is_cut_short: bool,
}

/// The state of a thread's waits.
#[derive(Clone, Default)]
pub struct Waiting {
    /// The place of its segment, which identifies the thread.
    pub place: usize,
    /// Waits that began, and waits that ended. Waits that cannot block are counted when they end.
    pub begun: u64,
    pub ended: u64,
    /// Of the waits that could block: how many ended, the nanoseconds in them, and between them.
    pub timed: u64,
    pub blocked: u64,
    pub worked: u64,
    /// CLOCK_MONOTONIC at the end of the last such wait. 0: the thread is in one, or has made a
    /// wait that cannot block since.
    pub last_end: u64,
}

impl Waiting {
    fn of(place: usize, segment: Bytes, counters: &Counters) -> Waiting {
        let waits = counters.of(&Call::WAITS);
        let blocked = counters.blocked();
        Waiting {
            place,
            begun: waits.calls,
            ended: counters.ended(),
            timed: blocked.count(),
            blocked: blocked.sum,
            worked: counters.work.sum,
            last_end: segment.word(thread::LAST_WAIT_END),
        }
    }

    pub fn is_in_wait(&self) -> bool {
        self.last_end == 0 && self.begun > self.ended
    }
}

impl Live {
    /// Opens the recording of a running process. None: the process does not run, or does not write
    /// this file. `pid` is its id in this pid namespace. None means the id in the recording.
    pub fn open(path: &Path, pid: Option<u32>) -> Result<Option<Live>, Error> {
        let io = |error| Error::Io { path: path.to_path_buf(), error };
        let (file, facts) = open(path).map_err(io)?;
        let head = part(&file, 0, PAGE).map_err(io)?;
        let damaged = |damage| Error::Damaged { path: path.to_path_buf(), damage };
        read::check_header(Bytes(&head)).map_err(damaged)?;
        let header = read::the_header(Bytes(&head));
        let Some(pid) = pid.or_else(|| u32::try_from(header.pid).ok()) else { return Ok(None) };
        // A forked child has its parent's recording mapped, too.
        let is_its_own = header.end.is_open() && maps::is_known_as(pid, header.pid);
        let mappings = if is_its_own { mappings(pid, path, facts.ino()) } else { None };
        Ok(mappings.map(|mappings| Live {
            path: path.to_path_buf(),
            pid,
            began_unix: header.began_unix,
            file,
            mappings,
            modules: Modules::default(),
            modules_read: 0,
        }))
    }

    /// The header, with the process's id and name.
    pub fn header(&self) -> io::Result<Header> {
        Ok(read::the_header(Bytes(&part(&self.file, 0, PAGE)?)))
    }

    /// Reads the counters. `now` is CLOCK_MONOTONIC.
    pub fn read(&self, now: u64) -> Result<Reading, Error> {
        let io = |error| Error::Io { path: self.path.clone(), error };
        let head = part(&self.file, 0, FIRST_SEGMENT).map_err(io)?;
        let head = Bytes(&head);
        read::check_header(head).map_err(|damage| Error::Damaged { path: self.path.clone(), damage })?;
        let header = read::the_header(head);
        if header.began_unix != self.began_unix {
            let damage =
                Damage { place: header::BEGAN_UNIX, what: "another recording was written into this file".into() };
            return Err(Error::Damaged { path: self.path.clone(), damage });
        }
        let mut notes = Notes::default();
        let mut reading = Reading { at: now, end: header.end, ..Reading::default() };
        let length = self.file.metadata().map_err(io)?.len();
        for segment in read::segments(head, &mut notes) {
            if segment.end as u64 > length {
                notes.add_lost(|| "the file ends within a segment".into());
            }
            let needed = match segment.kind {
                kind::TOTALS => totals::LOST + 8,
                kind::THREAD => thread::COUNTERS_SIZE,
                _ => continue,
            };
            let bytes = self.part(&segment, needed).map_err(io)?;
            if bytes.len() < needed {
                notes.is_cut_short = true;
                continue;
            }
            if segment.kind == kind::TOTALS {
                reading.totals = read::the_totals(Bytes(&bytes));
            } else {
                let counters = read::counters(Bytes(&bytes));
                reading.threads.push(Waiting::of(segment.start, Bytes(&bytes), &counters));
                reading.counters.add(&counters);
            }
        }
        reading.is_cut_short = notes.is_cut_short;
        reading.is_partial = !notes.kept.is_empty()
            || header.threads_dropped != 0
            || header.calls_dropped != 0
            || header.entries_dropped != 0;
        Ok(reading)
    }

    /// The current findings, the worst first, as a report would have them, except that call records
    /// are not read. `now` is CLOCK_MONOTONIC.
    pub fn findings(&self, now: u64) -> Result<Vec<Finding>, Error> {
        let io = |error| Error::Io { path: self.path.clone(), error };
        let length = usize::try_from(self.file.metadata().map_err(io)?.len()).unwrap_or(usize::MAX);
        let source = Opened::new(self.file.try_clone().map_err(io)?, length);
        let read = read::briefly(&source);
        let mut process = read.map_err(|damage| Error::Damaged { path: self.path.clone(), damage })?;
        process.runs = process.header.end.is_open() && self.runs();
        if process.runs {
            process.header.end = End::NotYet;
        }
        process.duration = now.saturating_sub(process.header.began);
        judged::judge(std::slice::from_mut(&mut process));
        let mut found = process.findings;
        found.sort_by_key(|finding| (Reverse(finding.severity), finding.id, Reverse(finding.count)));
        Ok(found)
    }

    /// Whether the program still runs, by /proc. This takes some microseconds; counters that still
    /// change show it as well.
    pub fn runs(&self) -> bool {
        self.mappings.read_at(&mut [0], 0).is_ok_and(|length| length > 0)
    }

    /// The live instances, up to a bound.
    pub fn instances(&self) -> io::Result<Vec<Instance>> {
        let mut left = MOST;
        let mut found = Vec::new();
        for segment in self.segments()?.iter().filter(|segment| segment.kind == kind::INSTANCES) {
            let bytes = self.part(segment, left)?;
            left = left.saturating_sub(bytes.len());
            found.extend(read::instances(Bytes(&bytes), segment.extra));
        }
        Ok(found)
    }

    /// The address of a site of the program, with what is needed to find its name.
    pub fn address(&mut self, site: u64) -> Address {
        let address = self.stacks_at(site).map_or(site, |stacks| stacks.address(site));
        if self.modules.place(address).module.is_none() {
            // The object may have been loaded since. The shim writes a new map when it finds a
            // change.
            let _ = self.read_modules();
        }
        Address { address, module: self.modules.place(address).module.cloned(), began_unix: self.began_unix }
    }

    /// The part of the arena of call stacks that contains a site, if one does.
    fn stacks_at(&self, site: u64) -> io::Result<Stacks> {
        let mut stacks = Stacks::default();
        for segment in self.segments()?.iter().filter(|segment| segment.kind == kind::STACKS) {
            let length = (segment.end - segment.start) as u64;
            if site.checked_sub(segment.extra).is_some_and(|place| place < length) {
                stacks.add(segment.extra, Bytes(&self.part(segment, MOST)?));
            }
        }
        Ok(stacks)
    }

    fn read_modules(&mut self) -> io::Result<()> {
        let all: Vec<Segment> = self.segments()?.into_iter().filter(|segment| segment.kind == kind::MODULES).collect();
        if all.len() == self.modules_read {
            return Ok(());
        }
        self.modules_read = all.len();
        self.modules = Modules::default();
        let mut left = MOST;
        for segment in &all {
            let bytes = self.part(segment, left)?;
            left = left.saturating_sub(bytes.len());
            self.modules.add(Bytes(&bytes).until_zero());
        }
        Ok(())
    }

    fn segments(&self) -> io::Result<Vec<Segment>> {
        Ok(read::segments(Bytes(&part(&self.file, 0, FIRST_SEGMENT)?), &mut Notes::default()))
    }

    fn part(&self, segment: &Segment, most: usize) -> io::Result<Vec<u8>> {
        part(&self.file, segment.start, most.min(segment.end - segment.start))
    }
}

/// An address, and the object that contains it.
#[derive(Clone)]
pub struct Address {
    pub address: u64,
    module: Option<Module>,
    began_unix: u64,
}

impl Address {
    /// `object+0xoffset`.
    pub fn text(&self) -> String {
        Place { module: self.module.as_ref() }.text(self.address)
    }
}

/// Finds the functions and lines of addresses, in the order in which they are asked for, and passes
/// each to the callback with its `Of`. Objects are cached, because a large one takes seconds to
/// read.
pub fn name<Of>(asked: impl IntoIterator<Item = (Of, Address)>, mut named: impl FnMut(&Of, &Address, Site)) {
    let options = Options::default();
    let mut resolver = Resolver::new(&options);
    for (of, address) in asked {
        let place = Place { module: address.module.as_ref() };
        let site = resolver.site(place, address.address, address.began_unix);
        named(&of, &address, site);
    }
}

/// The process's name and its arguments, safe for a terminal.
pub fn names(header: &Header) -> (String, String) {
    let arguments: Vec<String> = header.arguments.iter().map(|argument| plain(argument)).collect();
    (plain(&header.comm), arguments.join(" "))
}

/// Opens a process's list of mappings, and returns it if the file is among them.
fn mappings(pid: u32, path: &Path, inode: u64) -> Option<File> {
    let (open, list) = maps::of(pid).ok()?;
    maps::has(&list, path, inode).then_some(open)
}

/// The bytes that a file has of the `length` bytes from `start` on.
fn part(file: &File, start: usize, length: usize) -> io::Result<Vec<u8>> {
    // The kernel fails a read at a place that no file can have.
    let length = if i64::try_from(start.saturating_add(length)).is_ok() { length } else { 0 };
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length)?;
    bytes.resize(length, 0);
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, (start + done) as u64) {
            Ok(0) => break,
            Ok(more) => done += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}
