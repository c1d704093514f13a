//! The programs that are watched. They are found, read at each refresh, and dropped some time after
//! they have ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use epollshim_recording::interval::nothing_until;
use epollshim_recording::live::{Address, Live, Reading, names};
use epollshim_recording::model::{End, Header, Instance};

use super::row::{InstanceRow, Rates, Row, instances};
use super::sources::Sources;
use crate::sys;
use crate::text::printable;

/// How long a program that has ended is still shown.
const FAREWELL: Duration = Duration::from_secs(10);

/// Why the numbers of a process are too low.
const CUT_SHORT: &str = "the file was truncated; lost data is not counted";

pub struct Board {
    pub sources: Sources,
    watched: Vec<Watched>,
    /// CLOCK_MONOTONIC of the last refresh. 0: none yet.
    last: u64,
}

struct Watched {
    live: Live,
    reading: Reading,
    row: Row,
    left: Option<Instant>,
    /// Why its numbers are incomplete.
    trouble: Option<String>,
    /// The last reading of the instances, and its time, for the process whose instances are shown.
    instances: Option<(Vec<Instance>, u64)>,
}

impl Board {
    pub fn new(sources: Sources) -> Board {
        Board { sources, watched: Vec::new(), last: 0 }
    }

    /// Reads all recordings, and searches for new ones.
    pub fn refresh(&mut self) {
        self.watched.retain(|one| one.left.is_none_or(|left| left.elapsed() < FAREWELL));
        for one in self.watched.iter_mut().filter(|one| one.left.is_none()) {
            one.read();
        }
        let watched = &self.watched;
        // One that has ended counts as watched, since its file would be found again. After an exec,
        // a process continues in another file.
        let is_watched = |path: &Path| watched.iter().any(|one| one.live.path == path);
        let is_process = |pid| watched.iter().any(|one| one.left.is_none() && one.live.pid == pid);
        for live in self.sources.look(is_watched, is_process) {
            let was_missing = self.last != 0 && self.sources.finds_all();
            match Watched::new(live, self.last, was_missing) {
                Ok(one) => self.watched.push(one),
                Err((path, what)) => drop(self.sources.failures.insert(path, what)),
            }
        }
        for one in &self.watched {
            if let Some(what) = &one.trouble {
                self.sources.failures.insert(one.live.path.clone(), what.clone());
            }
        }
        self.last = sys::monotonic();
    }

    /// Whether numbers of a process are incomplete, or no longer known.
    pub fn lacks_something(&self) -> bool {
        self.watched.iter().any(|one| one.trouble.is_some())
    }

    pub fn rows(&self) -> Vec<Row> {
        self.watched.iter().map(|one| one.row.clone()).collect()
    }

    /// The instances of a process, with what they did since the last call.
    pub fn instances(&mut self, key: &Path) -> Vec<InstanceRow> {
        let Some(one) = self.watched.iter_mut().find(|one| one.live.path == key) else { return Vec::new() };
        let now = sys::monotonic();
        // A process that has ended keeps its last values.
        let Ok(mut later) = one.live.instances() else { return Vec::new() };
        later.sort_by_key(|instance| instance.id);
        let earlier = one.instances.as_ref().map(|(earlier, at)| (earlier.as_slice(), now.saturating_sub(*at)));
        let rows = instances(earlier, &later);
        one.instances = Some((later, now));
        rows
    }

    /// What is needed to name an address of a process.
    pub fn address(&mut self, key: &Path, address: u64) -> Option<Address> {
        self.watched.iter_mut().find(|one| one.live.path == key).map(|one| one.live.address(address))
    }

    /// The number of files that could not be read, and one of the reasons.
    pub fn failures(&self) -> Option<(usize, &str)> {
        let failures = &self.sources.failures;
        failures.values().next().map(|first| (failures.len(), first.as_str()))
    }
}

impl Watched {
    /// `last` is the time of the last search. If the recording or its process did not exist then,
    /// all that it has counted is new.
    fn new(live: Live, last: u64, was_missing: bool) -> Result<Watched, (PathBuf, String)> {
        let now = sys::monotonic();
        let read = live.header().map_err(|error| error.to_string());
        let read = read.and_then(|header| Ok((header, live.read(now).map_err(|error| error.to_string())?)));
        let (header, reading) = read.map_err(|what| (live.path.clone(), printable(&what)))?;
        let is_new = was_missing || last != 0 && (last..now).contains(&header.began);
        let rates = is_new.then(|| Rates::between(&nothing_until(header.began.clamp(last, now)), &reading));
        let row = row(&live, &header, &reading, rates);
        let trouble = reading.is_cut_short.then(|| CUT_SHORT.to_owned());
        Ok(Watched { live, reading, row, left: None, trouble, instances: None })
    }

    fn read(&mut self) {
        let now = sys::monotonic();
        let read = self.live.read(now).and_then(|reading| {
            let header = self.live.header();
            let header =
                header.map_err(|error| epollshim_recording::Error::Io { path: self.live.path.clone(), error })?;
            Ok((header, reading))
        });
        let (header, reading) = match read {
            Ok(read) => read,
            Err(error) => {
                self.trouble = Some(printable(&error.to_string()));
                return self.leave("its recording cannot be read any more");
            }
        };
        self.trouble = reading.is_cut_short.then(|| CUT_SHORT.to_owned());
        let rates = Rates::between(&self.reading, &reading);
        // A process that still counts is still running.
        let is_idle = rates.calls == 0.0 && self.reading.threads.len() == reading.threads.len();
        self.row = row(&self.live, &header, &reading, Some(rates));
        let end = reading.end;
        self.reading = reading;
        match end {
            End::Exit => self.leave("exit"),
            End::UnderscoreExit => self.leave("_exit"),
            End::Exec if self.live.runs() => {}
            End::Exec => self.leave("exec"),
            End::Abort => self.leave("aborted by a limit"),
            End::Aborted => self.leave("abort"),
            End::ExitGroup => self.leave("exit_group"),
            End::Raised if self.live.runs() => {}
            End::Raised => self.leave("its own signal"),
            End::Other(_) => self.leave("ended"),
            End::NotYet if is_idle && !self.live.runs() => self.leave("killed"),
            End::NotYet => {}
        }
    }

    fn leave(&mut self, how: &'static str) {
        self.row.ended = Some(how);
        self.left = Some(Instant::now());
    }
}

fn row(live: &Live, header: &Header, reading: &Reading, rates: Option<Rates>) -> Row {
    let (name, arguments) = names(header);
    Row {
        key: Arc::new(live.path.clone()),
        pid: live.pid,
        name,
        arguments,
        age: reading.at.saturating_sub(header.began),
        instances: reading.totals.instances,
        watches: reading.totals.watches,
        threads: reading.threads.len() as u64,
        is_partial: reading.is_partial,
        // An unreadable file was reported before this.
        findings: live.findings(reading.at).unwrap_or_default(),
        ended: None,
        rates,
    }
}
