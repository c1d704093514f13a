//! Reads recordings from the file system: files, and all recordings of directories.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::judged;
use crate::maps;
use crate::model::{End, Header, Process};
use crate::owner::Users;
use crate::read::{self, Damage};
use crate::records::HELD;
use crate::runs::{self, Run};
use crate::sites::Resolver;
use crate::source::Opened;
use crate::suppressions::Suppression;

/// The largest file that is read: the most that EPOLLSHIM_RECORD_MAX allows for records, and the
/// most that there may be besides.
const LARGEST: u64 = 66 << 30;
/// The most addresses of one process that are looked up. The others are shown as bare numbers.
const ADDRESSES: usize = 1 << 16;
/// The fewest records that are held for each process, however many processes a report has.
const FEWEST: usize = 256;

/// The content of a report.
#[derive(Default)]
pub struct Set {
    /// The files and directories that were asked for.
    pub sources: Vec<PathBuf>,
    /// By the time at which they began.
    pub processes: Vec<Process>,
    /// The runs of each directory, the oldest first.
    pub runs: Vec<Run>,
    /// Files of the directory that could not be read.
    pub failures: Vec<Failure>,
    /// The machine and the time of reading.
    pub machine: Machine,
    /// The rules that were passed to `suppress`.
    pub suppressions: Vec<Suppression>,
}

/// The machine that reads the recordings, and its time. Empty and 0 if not determined.
#[derive(Default, Clone)]
pub struct Machine {
    pub host: String,
    /// The release of its kernel.
    pub kernel: String,
    /// Nanoseconds since 1970.
    pub now_unix: u64,
}

impl Machine {
    fn this() -> Machine {
        let read = |name: &str| {
            let text = fs::read(Path::new("/proc/sys/kernel").join(name)).unwrap_or_default();
            crate::modules::plain(text.trim_ascii())
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Machine { host: read("hostname"), kernel: read("osrelease"), now_unix: u64::try_from(now).unwrap_or(0) }
    }
}

pub struct Failure {
    pub path: PathBuf,
    pub what: String,
}

/// Options of reading.
#[derive(Default, Clone)]
pub struct Options {
    /// Directories with debug files (`.build-id/xx/yyyy.debug`), in addition to `/usr/lib/debug`.
    pub debug: Vec<PathBuf>,
    /// Do not read the objects: sites stay `object+0xoffset`.
    pub raw: bool,
    /// The library itself has just evaluated what it evaluates at the end of a process.
    pub is_judged: bool,
    /// Keep only the run of each directory that began last.
    pub latest: bool,
}

#[derive(Debug)]
pub enum Error {
    /// It could not be opened or read.
    Io { path: PathBuf, error: io::Error },
    /// It is not a recording.
    Damaged { path: PathBuf, damage: Damage },
    /// A directory without a recording.
    Nothing { path: PathBuf },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { path, error } => write!(f, "{}: {error}", shown(path)),
            Error::Damaged { path, damage } => write!(f, "{}: {damage}", shown(path)),
            Error::Nothing { path } => write!(f, "{}: no recording (epollshim.*.rec) in this directory", shown(path)),
        }
    }
}

impl std::error::Error for Error {}

/// A path that is safe for a terminal.
pub fn shown(path: &Path) -> String {
    crate::modules::plain(path.as_os_str().as_encoded_bytes())
}

impl Error {
    /// Whether there is no recording at all, as opposed to one that cannot be read.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        match self {
            Error::Nothing { .. } => true,
            Error::Io { error, .. } => error.kind() == io::ErrorKind::NotFound,
            Error::Damaged { .. } => false,
        }
    }
}

/// Reads a recording, or all recordings of a directory.
pub fn load(path: &Path) -> Result<Set, Error> {
    load_with(path, &Options::default())
}

pub fn load_with(path: &Path, options: &Options) -> Result<Set, Error> {
    load_all(&[path], options)
}

/// Reads recordings, and all recordings of directories. A recording that is named twice is read
/// once.
pub fn load_all<P: AsRef<Path>>(paths: &[P], options: &Options) -> Result<Set, Error> {
    let mut loading =
        Loading { users: Users::of_this_machine(), left: HELD, seen: BTreeSet::new(), set: Set::default() };
    for path in paths {
        loading.add(path.as_ref(), options.latest)?;
    }
    let mut set = loading.set;
    set.machine = Machine::this();
    if !options.is_judged {
        judged::judge(&mut set.processes);
    }
    set.processes.sort_by_key(|process| (process.header.began_unix, process.header.pid));
    resolve(&mut set, options);
    Ok(set)
}

struct Loading {
    users: Users,
    /// The number of records that may still be held.
    left: usize,
    /// Each file that was read, by its resolved path. An inode would not identify it: if a file is
    /// replaced, another file may get its inode.
    seen: BTreeSet<PathBuf>,
    set: Set,
}

impl Loading {
    fn add(&mut self, path: &Path, latest: bool) -> Result<(), Error> {
        let io = |error| Error::Io { path: path.to_path_buf(), error };
        let facts = fs::metadata(path).map_err(io)?;
        self.set.sources.push(path.to_path_buf());
        if facts.is_dir() {
            return self.add_directory(path, facts.uid(), latest);
        }
        let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let directory = fs::metadata(parent).map_or(facts.uid(), |facts| facts.uid());
        if self.seen.insert(path.canonicalize().map_err(io)?) {
            let process = one(path, 0, self.left.max(FEWEST), &self.users, directory)?;
            self.keep(process);
        }
        Ok(())
    }

    fn add_directory(&mut self, path: &Path, owner: u32, latest: bool) -> Result<(), Error> {
        let found = recordings(path).map_err(|error| Error::Io { path: path.to_path_buf(), error })?;
        let (mut first, mut all, mut has_any) = (None, Vec::new(), false);
        let directory = path.canonicalize().map_err(|error| Error::Io { path: path.to_path_buf(), error })?;
        for (files, path) in (1..=found.len()).rev().zip(found) {
            if let Some(name) = path.file_name()
                && !self.seen.insert(directory.join(name))
            {
                has_any = true;
                continue;
            }
            // Links are not followed, because others may write to the directory. Records that one
            // process does not use up are left to the next.
            match one(&path, libc::O_NOFOLLOW, (self.left / files).max(FEWEST), &self.users, owner) {
                Ok(process) => {
                    self.left = self.left.saturating_sub(held(&process));
                    all.push(process);
                }
                Err(error) => {
                    self.set.failures.push(Failure { path, what: reason(&error) });
                    first = first.or(Some(error));
                }
            }
        }
        if all.is_empty() && !has_any {
            return Err(first.unwrap_or(Error::Nothing { path: path.to_path_buf() }));
        }
        let before = self.set.runs.len();
        let mut runs = runs::tell_apart(path, &mut all);
        if latest {
            let last = runs.len().saturating_sub(1);
            all.retain(|process| process.run == Some(last));
            let earlier = runs.drain(..last).map(|run| run.processes).sum();
            runs.iter_mut().for_each(|run| run.left_out = earlier);
            all.iter_mut().for_each(|process| process.run = Some(0));
        }
        all.iter_mut().for_each(|process| process.run = process.run.map(|run| run + before));
        self.set.runs.append(&mut runs);
        self.set.processes.append(&mut all);
        Ok(())
    }

    fn keep(&mut self, process: Process) {
        self.left = self.left.saturating_sub(held(&process));
        self.set.processes.push(process);
    }
}

fn held(process: &Process) -> usize {
    process.threads.iter().map(|thread| thread.records.len()).sum()
}

fn reason(error: &Error) -> String {
    match error {
        Error::Io { error, .. } => error.to_string(),
        Error::Damaged { damage, .. } => damage.to_string(),
        Error::Nothing { .. } => String::new(),
    }
}

/// The plain files of a directory that are named like recordings, in order. `epollshim run` as root
/// creates a directory in a directory. For the outer one, the recordings of the inner one are
/// included.
pub fn recordings(directory: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let is_of_run = |name: &OsStr| name.as_encoded_bytes().starts_with(OF_RUN.as_bytes());
    let is_outer = directory.file_name().is_some_and(is_of_run);
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_named_as_one(&name) && entry.file_type()?.is_file() {
            found.insert(entry.path());
        } else if is_outer && is_of_run(&name) && entry.file_type()?.is_dir() {
            found.append(&mut recordings(&entry.path())?);
        }
    }
    Ok(found)
}

/// The prefix of the directories that `epollshim run` creates.
pub const OF_RUN: &str = "epollshim-run.";

/// Whether a file is named like a recording.
pub fn is_named_as_one(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"epollshim.") && name.ends_with(b".rec")
}

fn one(path: &Path, flags: i32, held: usize, users: &Users, directory: u32) -> Result<Process, Error> {
    let io = |error| Error::Io { path: path.to_path_buf(), error };
    let (file, facts) = open_up_to(path, flags, LARGEST).map_err(io)?;
    let length = usize::try_from(facts.len()).unwrap_or(usize::MAX);
    let read = read::of(&Opened::new(file, length), held);
    let mut process = read.map_err(|damage| Error::Damaged { path: path.to_path_buf(), damage })?;
    process.path = path.to_path_buf();
    process.owner = users.owner(facts.uid(), directory);
    process.runs = process.header.end.is_open() && has_mapped(process.header.pid, path, facts.ino());
    if process.runs {
        name_anew(&mut process.header);
    }
    if process.runs || process.has_outlived_its_exec() {
        process.header.end = End::NotYet;
    }
    let header = &process.header;
    process.duration = if header.end != End::NotYet {
        header.ended
    } else if process.runs {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let since = u64::try_from(now).unwrap_or(u64::MAX).saturating_sub(header.began_unix);
        header.began.saturating_add(since)
    } else {
        process.last_seen()
    }
    .saturating_sub(header.began);
    Ok(process)
}

/// Copies the bytes of a plain file. They are not mapped: if the file were truncated, an access to
/// the mapping would kill this process.
pub fn copy(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let (file, facts) = open_up_to(path, 0, largest)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(facts.len()).map_err(io::Error::other)?)?;
    file.take(facts.len()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces name and arguments of a running process by its current ones. A worker may have changed
/// its title.
fn name_anew(header: &mut Header) {
    let read = |name| fs::read(format!("/proc/{}/{name}", header.pid)).ok().filter(|text| !text.is_empty());
    let (comm, arguments) = (read("comm"), read("cmdline"));
    if let Some(comm) = comm {
        header.comm = comm.trim_ascii_end().to_vec();
    }
    if let Some(arguments) = arguments {
        header.arguments = read::arguments(&arguments);
    }
}

/// Opens a plain file for reading.
pub fn open(path: &Path) -> io::Result<(fs::File, Metadata)> {
    open_up_to(path, 0, u64::MAX)
}

fn open_up_to(path: &Path, flags: i32, largest: u64) -> io::Result<(fs::File, Metadata)> {
    // O_NONBLOCK: opening a pipe would block.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | flags).open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::other("not a plain file"));
    }
    if facts.len() > largest {
        return Err(io::Error::other(format!("too large: {} bytes, the maximum is {largest}", facts.len())));
    }
    Ok((file, facts))
}

/// Whether a process has the file mapped. If so, it is the process that was recorded, and it runs.
fn has_mapped(pid: u64, path: &Path, inode: u64) -> bool {
    u32::try_from(pid).is_ok_and(|pid| maps::of(pid).is_ok_and(|(_, list)| maps::has(&list, path, inode)))
}

/// Looks up functions and lines for all addresses.
fn resolve(set: &mut Set, options: &Options) {
    let mut resolver = Resolver::new(options);
    for process in &mut set.processes {
        let callers = process.callers.keys().copied();
        let created = process.instances.iter().map(|instance| instance.site);
        let added = process.interests.iter().map(|interest| interest.site);
        let found = process.findings.iter().flat_map(|finding| [finding.site, finding.other, finding.created_at()]);
        let mut addresses = BTreeSet::new();
        let counted = process.census.iter().flat_map(|census| census.rows.iter().map(|row| row.site));
        let stacked = |site: u64| process.stacks.frames(site).map_or(vec![site], <[u64]>::to_vec);
        let fired = process.rules.iter().flat_map(|rule| &rule.firings).map(|firing| firing.site);
        let all = found.chain(fired).chain(created).chain(added).chain(counted).flat_map(stacked).chain(callers);
        for address in all.filter(|address| *address != 0) {
            if addresses.len() == ADDRESSES {
                break;
            }
            addresses.insert(address);
        }
        let sites = addresses.into_iter().map(|address| {
            let place = process.modules.place(address);
            (address, Arc::new(resolver.site(place, address, process.header.began_unix)))
        });
        process.sites = sites.collect();
    }
}
