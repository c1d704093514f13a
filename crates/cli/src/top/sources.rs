//! Finds the recordings to watch: of the given processes, directories and files, or of all
//! processes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use epollshim_recording::live::Live;
use epollshim_recording::recordings;
use epollshim_recording::running::recordings_of;

use crate::text::{printable, reason, shown};
use crate::{Failure, sys};

/// A process without a recording is checked again after this time, and then after twice the time,
/// up to...
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(16);

pub struct Sources {
    subjects: Vec<Subject>,
    /// Files in directories that no process writes any more.
    dead: HashSet<PathBuf>,
    /// Processes without a recording.
    without: HashMap<u32, Without>,
    /// Files that could not be read, and why.
    pub failures: BTreeMap<PathBuf, String>,
}

enum Subject {
    Process(u32),
    Directory(PathBuf),
    File(PathBuf),
    /// All processes of this user, or of all users for root.
    All,
}

struct Without {
    /// The ctime of its directory in /proc. Another process that reuses the id has another.
    changed: (i64, i64),
    next: Instant,
    pause: Duration,
}

impl Sources {
    /// A word of digits is a process id.
    pub fn new(words: &[OsString]) -> Result<Sources, Failure> {
        let mut subjects = words.iter().map(subject).collect::<Result<Vec<_>, _>>()?;
        if subjects.is_empty() {
            subjects.push(Subject::All);
        }
        Ok(Sources { subjects, dead: HashSet::new(), without: HashMap::new(), failures: BTreeMap::new() })
    }

    /// Why there is nothing to watch, and how to create a recording. Two lines of at most 80
    /// columns.
    pub fn nothing(&self) -> [String; 2] {
        let (what, directory) = match self.subjects.as_slice() {
            [Subject::Process(pid)] => (format!("process {pid} has no recording"), "DIR".into()),
            [Subject::Directory(path)] => (format!("no program runs that records into {}", shown(path)), shown(path)),
            [Subject::File(path)] => (format!("{}: no program runs that writes it", shown(path)), "DIR".into()),
            [Subject::All] => ("no program runs with a recording".into(), "DIR".into()),
            _ => ("none of these runs with a recording".into(), "DIR".into()),
        };
        [what, format!("create one: epollshim run --record {directory} -- CMD")]
    }

    /// Whether each search finds everything. With all processes, those without a recording are
    /// checked less often.
    pub fn finds_all(&self) -> bool {
        !self.subjects.iter().any(|subject| matches!(subject, Subject::All))
    }

    /// Recordings of running programs, except those for which `is_watched` returns true.
    pub fn look(&mut self, is_watched: impl Fn(&Path) -> bool, is_watched_process: impl Fn(u32) -> bool) -> Vec<Live> {
        self.failures.clear();
        let mut found: Vec<(PathBuf, Option<u32>)> = Vec::new();
        for subject in &self.subjects {
            match subject {
                // A process that is watched is checked as well: an exec begins another recording.
                Subject::Process(pid) if is_watched_process(*pid) => {}
                Subject::Process(pid) => {
                    found.extend(recordings_of(*pid).unwrap_or_default().into_iter().map(|path| (path, Some(*pid))));
                }
                Subject::Directory(path) => {
                    let all = recordings(path).unwrap_or_default();
                    found.extend(all.into_iter().filter(|path| !self.dead.contains(path)).map(|path| (path, None)));
                }
                Subject::File(path) => found.push((path.clone(), None)),
                Subject::All => found.extend(of_all(&mut self.without, &is_watched_process)),
            }
        }
        let mut opened: Vec<Live> = Vec::new();
        for (path, pid) in found {
            if is_watched(&path) || opened.iter().any(|live| live.path == path) {
                continue;
            }
            match Live::open(&path, pid) {
                Ok(Some(live)) => opened.push(live),
                Ok(None) => drop(self.dead.insert(path)),
                Err(error) => drop(self.failures.insert(path, printable(&error.to_string()))),
            }
        }
        opened
    }
}

fn subject(word: &OsString) -> Result<Subject, Failure> {
    let digits = word.to_str().filter(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(digits) = digits {
        let pid: u32 = digits.parse().map_err(|_| Failure::usage(format!("{digits}: no such process")))?;
        return match recordings_of(pid) {
            Ok(_) => Ok(Subject::Process(pid)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::usage(format!("{pid}: no such process"))),
            Err(error) => Err(Failure::usage(format!("process {pid}: {}", reason(&error)))),
        };
    }
    let path = PathBuf::from(word);
    let facts = fs::metadata(&path).map_err(|error| Failure::usage(format!("{}: {}", shown(word), reason(&error))))?;
    if facts.is_dir() {
        fs::read_dir(&path).map_err(|error| Failure::usage(format!("{}: {}", shown(word), reason(&error))))?;
        return Ok(Subject::Directory(path));
    }
    match Live::open(&path, None) {
        Ok(_) => Ok(Subject::File(path)),
        Err(error) => Err(Failure::usage(printable(&error.to_string()))),
    }
}

/// The recordings of all processes whose mappings this user may read.
fn of_all(without: &mut HashMap<u32, Without>, is_watched: &impl Fn(u32) -> bool) -> Vec<(PathBuf, Option<u32>)> {
    let (user, now) = (sys::effective_user(), Instant::now());
    let mut found = Vec::new();
    let mut there = HashSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name: &OsStr = &entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(facts) = entry.metadata() else { continue };
        let is_ours = user == 0 || facts.uid() == user;
        if !is_ours || is_watched(pid) {
            continue;
        }
        there.insert(pid);
        let changed = (facts.ctime(), facts.ctime_nsec());
        let known = without.get(&pid).filter(|known| known.changed == changed);
        if known.is_some_and(|known| known.next > now) {
            continue;
        }
        let own = recordings_of(pid).unwrap_or_default();
        if own.is_empty() {
            let pause = known.map_or(SOONEST, |known| (known.pause * 2).min(LATEST));
            without.insert(pid, Without { changed, next: now + pause, pause });
        } else {
            without.remove(&pid);
            found.extend(own.into_iter().map(|path| (path, Some(pid))));
        }
    }
    without.retain(|pid, _| there.contains(pid));
    found
}
