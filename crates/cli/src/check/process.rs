//! Reads facts on a process from `/proc`: mapped files, epoll instances and their interests,
//! limits.
//!
//! The process keeps running. What changes between two reads is left out.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Error;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sys;
use crate::text::printable;

pub struct Process {
    pub pid: u32,
    pub name: String,
    /// Whether the shim is loaded.
    pub has_shim: bool,
    /// Whether it was started with privileges that its caller did not have (AT_SECURE). None: not
    /// readable.
    pub is_secure: Option<bool>,
    /// How its system calls are filtered. None: they are not, or it is not readable.
    pub seccomp: Option<Seccomp>,
    pub descriptors: usize,
    /// RLIMIT_NOFILE, soft and hard. None: unlimited.
    pub limits: [Option<u64>; 2],
    pub instances: Vec<Instance>,
}

/// The seccomp(2) state of the most restricted thread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seccomp {
    pub mode: SeccompMode,
    /// The number of filters. None: not available before Linux 5.9.
    pub filters: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SeccompMode {
    Filter,
    /// Only read, write, exit and sigreturn are allowed.
    Strict,
}

pub struct Instance {
    /// The descriptors that refer to it.
    pub fds: Vec<i32>,
    pub interests: Vec<Interest>,
}

pub struct Interest {
    pub fd: i32,
    pub events: u32,
    pub data: u64,
    /// What the descriptor refers to now. None: it is closed.
    pub target: Option<String>,
    /// Whether the descriptor is closed or refers to another file now, while the old file is still
    /// watched.
    pub is_ghost: bool,
}

/// The files that a process has mapped executable.
pub fn mapped(pid: u32) -> Result<Vec<PathBuf>, Error> {
    let text = std::fs::read(format!("/proc/{pid}/maps"))?;
    let mut files = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        // Address, permissions, offset, device, inode, and after blanks the path (proc(5)).
        let Some(at) = line.iter().position(|byte| *byte == b'/') else { continue };
        let is_code =
            line.split(|byte| *byte == b' ').nth(1).is_some_and(|permissions| permissions.get(2) == Some(&b'x'));
        let path = PathBuf::from(OsStr::from_bytes(line.get(at..).unwrap_or_default()));
        if is_code && !files.contains(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

pub fn of(pid: u32, has_shim: bool) -> Result<Process, Error> {
    let targets = descriptors(pid)?;
    let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    Ok(Process {
        pid,
        name: printable(String::from_utf8_lossy(&name).trim_end()),
        has_shim,
        is_secure: std::fs::read(format!("/proc/{pid}/auxv")).ok().map(|auxv| is_secure(&auxv)),
        seccomp: seccomp(pid),
        descriptors: targets.len(),
        limits: limits(&std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default()),
        instances: instances(pid, &targets),
    })
}

/// Filters belong to threads, so each thread is read.
fn seccomp(pid: u32) -> Option<Seccomp> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    threads.filter_map(|thread| seccomp_of(&std::fs::read_to_string(thread.path().join("status")).ok()?)).max()
}

/// Parses `Seccomp: 2` and `Seccomp_filters: 1` of a status file (proc_pid_status(5)).
fn seccomp_of(status: &str) -> Option<Seccomp> {
    let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok());
    let mode = match value("Seccomp:")? {
        1 => SeccompMode::Strict,
        2 => SeccompMode::Filter,
        _ => return None,
    };
    Some(Seccomp { mode, filters: value("Seccomp_filters:") })
}

/// The target of each descriptor, as /proc shows it.
fn descriptors(pid: u32) -> Result<BTreeMap<i32, PathBuf>, Error> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
    Ok(entries
        .filter_map(|entry| {
            let fd = entry.file_name().to_str()?.parse().ok()?;
            Some((fd, std::fs::read_link(entry.path()).ok()?))
        })
        .collect())
}

fn instances(pid: u32, targets: &BTreeMap<i32, PathBuf>) -> Vec<Instance> {
    let mut all: Vec<Instance> = Vec::new();
    // The kernel's name of an epoll instance (Linux v6.1 fs/eventpoll.c, do_epoll_create).
    for fd in targets.iter().filter(|(_, target)| *target == Path::new("anon_inode:[eventpoll]")).map(|(fd, _)| *fd) {
        let known = all
            .iter_mut()
            .find(|instance| instance.fds.first().is_some_and(|first| sys::are_one(pid, *first, fd) == Some(true)));
        if let Some(instance) = known {
            instance.fds.push(fd);
            continue;
        }
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")) else { continue };
        // The kernel lists them by the addresses of their files.
        let mut interests: Vec<_> = text.lines().filter_map(|line| interest(line, pid, targets)).collect();
        interests.sort_by_key(|interest| interest.fd);
        all.push(Instance { fds: vec![fd], interests });
    }
    all
}

/// `tfd:        7 events:       19 data:                7  pos:0 ino:4d9 sdev:8` (Linux v6.1
/// fs/eventpoll.c, ep_show_fdinfo; ino and sdev since Linux 4.9).
fn interest(line: &str, pid: u32, targets: &BTreeMap<i32, PathBuf>) -> Option<Interest> {
    let field = |name: &str| line.split_once(name)?.1.split_whitespace().next();
    let hex = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
    let fd: i32 = field("tfd:")?.parse().ok()?;
    let target = targets.get(&fd);
    let is_other = hex("ino:").zip(inode(pid, fd)).is_some_and(|(watched, now)| watched != now);
    Some(Interest {
        fd,
        events: u32::try_from(hex("events:")?).ok()?,
        data: hex("data:")?,
        target: target.map(|target| printable(&target.to_string_lossy())),
        is_ghost: target.is_none() || is_other,
    })
}

fn inode(pid: u32, fd: i32) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(format!("/proc/{pid}/fd/{fd}")).ok().map(|data| data.ino())
}

fn limits(text: &str) -> [Option<u64>; 2] {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
    [numbers.next().flatten(), numbers.next().flatten()]
}

/// Whether an auxiliary vector (`/proc/PID/auxv`) has AT_SECURE.
pub fn is_secure(auxv: &[u8]) -> bool {
    const AT_SECURE: u64 = 23;
    let mut words = auxv.chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?)));
    while let (Some(kind), Some(value)) = (words.next(), words.next()) {
        if kind == AT_SECURE {
            return value != 0;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{Seccomp, SeccompMode, interest, is_secure, limits, seccomp_of};
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    #[test]
    fn a_line_of_fdinfo_is_an_interest() {
        let targets = BTreeMap::from([(7, PathBuf::from("socket:[1]"))]);
        let line = "tfd:        7 events: 8000001d data: ffffffffffffffff  pos:0 ino:4d9 sdev:8";
        // There is no process 0, so the inode is unknown, and the interest does not count as a
        // ghost.
        let found = interest(line, 0, &targets).map(|one| (one.fd, one.events, one.data, one.target, one.is_ghost));
        assert_eq!(found, Some((7, 0x8000_001d, u64::MAX, Some("socket:[1]".into()), false)));
        let closed = interest("tfd: 8 events: 1 data: 8", 0, &targets).map(|one| (one.target, one.is_ghost));
        assert_eq!(closed, Some((None, true)));
        assert!(interest("flags:\t02", 0, &targets).is_none());
    }

    #[test]
    fn limits_may_be_unlimited() {
        let text = "Limit   Soft Limit  Hard Limit  Units\nMax open files            1024                 unlimited            files\n";
        assert_eq!(limits(text), [Some(1024), None]);
        assert_eq!(limits(""), [None, None]);
    }

    #[test]
    fn the_filters_of_a_thread_are_counted() {
        let filter = |filters| Some(Seccomp { mode: SeccompMode::Filter, filters });
        assert_eq!(seccomp_of("Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n"), None);
        assert_eq!(seccomp_of("Seccomp:\t2\nSeccomp_filters:\t3\n"), filter(Some(3)));
        assert_eq!(seccomp_of("Seccomp:\t2\n"), filter(None));
        assert!(seccomp_of("Seccomp:\t1\n") > filter(Some(9)));
        assert_eq!(seccomp_of(""), None);
    }

    #[test]
    fn at_secure_is_found_in_the_vector() {
        let vector = |secure: u64| [6u64, 4096, 23, secure, 0, 0].map(u64::to_le_bytes).concat();
        assert!(is_secure(&vector(1)) && !is_secure(&vector(0)) && !is_secure(&[1, 2, 3]));
    }
}
