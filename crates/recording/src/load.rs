//! Recordings from the file system: one file, or all of a directory.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::{End, Process};
use crate::read::{self, Damage};
use crate::sites::Resolver;

/// The largest file that is read: a recording is at most some hundred megabytes.
const LARGEST: u64 = 2 << 30;
/// The most addresses of one process that are looked up; others are told by their bare number.
const ADDRESSES: usize = 1 << 16;

/// What a report is made of.
#[derive(Default)]
pub struct Set {
    pub source: PathBuf,
    /// By the time they began.
    pub processes: Vec<Process>,
    /// Files of the directory that could not be read.
    pub failures: Vec<Failure>,
}

pub struct Failure {
    pub path: PathBuf,
    pub what: String,
}

/// Where else to look.
#[derive(Default, Clone)]
pub struct Options {
    /// Directories of debug files, beside `/usr/lib/debug`: `.build-id/xx/yyyy.debug` in each.
    pub debug: Vec<PathBuf>,
    /// Do not look into the objects: sites stay `object+0xoffset`.
    pub raw: bool,
}

#[derive(Debug)]
pub enum Error {
    /// It could not be opened or read.
    Io { path: PathBuf, error: io::Error },
    /// It is no recording.
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

/// A path for a line of a terminal.
pub fn shown(path: &Path) -> String {
    crate::modules::plain(path.as_os_str().as_encoded_bytes())
}

/// Reads a recording, or all recordings of a directory.
pub fn load(path: &Path) -> Result<Set, Error> {
    load_with(path, &Options::default())
}

pub fn load_with(path: &Path, options: &Options) -> Result<Set, Error> {
    let io = |error| Error::Io { path: path.to_path_buf(), error };
    let mut set = Set { source: path.to_path_buf(), ..Set::default() };
    if !fs::metadata(path).map_err(io)?.is_dir() {
        set.processes.push(one(path)?);
    } else {
        let mut first = None;
        for path in recordings(path).map_err(io)? {
            match one(&path) {
                Ok(process) => set.processes.push(process),
                Err(error) => {
                    set.failures.push(Failure { path, what: reason(&error) });
                    first = first.or(Some(error));
                }
            }
        }
        if set.processes.is_empty() {
            return Err(first.unwrap_or(Error::Nothing { path: path.to_path_buf() }));
        }
    }
    set.processes.sort_by_key(|process| (process.header.began_unix, process.header.pid));
    resolve(&mut set, options);
    Ok(set)
}

fn reason(error: &Error) -> String {
    match error {
        Error::Io { error, .. } => error.to_string(),
        Error::Damaged { damage, .. } => damage.to_string(),
        Error::Nothing { .. } => String::new(),
    }
}

/// The plain files of a directory that are named as recordings are, in order.
fn recordings(directory: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(b"epollshim.") && name.ends_with(b".rec") && entry.file_type()?.is_file() {
            found.insert(entry.path());
        }
    }
    Ok(found)
}

fn one(path: &Path) -> Result<Process, Error> {
    let io = |error| Error::Io { path: path.to_path_buf(), error };
    let (bytes, inode) = copy(path, LARGEST).map_err(io)?;
    let mut process = read::process(&bytes).map_err(|damage| Error::Damaged { path: path.to_path_buf(), damage })?;
    process.path = path.to_path_buf();
    let header = &process.header;
    process.runs = header.end == End::NotYet && maps(header.pid, path, inode);
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

/// The bytes of a plain file, and its inode. A copy: a mapping of a file that somebody cuts short would kill us.
pub fn copy(path: &Path, largest: u64) -> io::Result<(Vec<u8>, u64)> {
    // O_NONBLOCK: a pipe of that name would keep us waiting.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::other("not a plain file"));
    }
    if facts.len() > largest {
        return Err(io::Error::other(format!("{} bytes; the most that is read is {largest}", facts.len())));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(facts.len()).map_err(io::Error::other)?)?;
    file.take(facts.len()).read_to_end(&mut bytes)?;
    Ok((bytes, facts.ino()))
}

/// Whether a process has that file mapped: then it is the one, and it runs.
fn maps(pid: u64, path: &Path, inode: u64) -> bool {
    let Ok(maps) = fs::read(format!("/proc/{pid}/maps")) else { return false };
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let inode = inode.to_string();
    maps.split(|byte| *byte == b'\n').any(|line| {
        // start-end perms offset dev inode path (proc_pid_maps(5))
        line.ends_with(name) && line.split(|byte| *byte == b' ').nth(4) == Some(inode.as_bytes())
    })
}

/// Finds functions and lines for all addresses.
fn resolve(set: &mut Set, options: &Options) {
    let mut resolver = Resolver::new(options);
    for process in &mut set.processes {
        let callers = process.threads.iter().flat_map(|thread| thread.records.iter().map(|record| record.caller));
        let created = process.instances.iter().map(|instance| instance.site);
        let added = process.interests.iter().map(|interest| interest.site);
        let mut addresses = BTreeSet::new();
        let counted = process.census.iter().flat_map(|census| census.rows.iter().map(|row| row.site));
        let stacked = |site: u64| process.stacks.frames(site).map_or(vec![site], <[u64]>::to_vec);
        let all = created.chain(added).chain(counted).flat_map(stacked).chain(callers);
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
