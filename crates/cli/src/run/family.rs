//! Finds the processes that CMD has started, by /proc.
//!
//! They are recognised by the directory of recordings in their environment or among their mappings.
//! Nothing is added to mark them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::check::process::is_secure;
use crate::text::printable;

/// The kernel's name of an epoll instance (Linux v6.1 fs/eventpoll.c, do_epoll_create).
const EPOLL: &str = "anon_inode:[eventpoll]";

/// A running process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Running {
    pub pid: i32,
    pub name: String,
}

/// Fields of /proc/PID/stat.
struct Stat {
    state: u8,
    parent: i32,
    /// Clock ticks since boot.
    began: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain any byte.
    let behind = text.iter().rposition(|byte| *byte == b')')?;
    let text = String::from_utf8_lossy(text.get(behind + 1..)?);
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let state = *fields.first()?.as_bytes().first()?;
    Some(Stat { state, parent: fields.get(1)?.parse().ok()?, began: fields.get(19)?.parse().ok()? })
}

/// The start time of a process in clock ticks since boot. 0: unknown.
pub fn began(pid: i32) -> u64 {
    stat(pid).map_or(0, |stat| stat.began)
}

pub fn is_stopped(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| stat.state == b'T')
}

/// Whether process `pid` is `from`, or a descendant of it.
pub fn descends(pid: i32, from: i32) -> bool {
    let mut pid = pid;
    for _ in 0..64 {
        if pid == from {
            return true;
        }
        match stat(pid) {
            Some(stat) if stat.parent > 1 => pid = stat.parent,
            _ => return false,
        }
    }
    false
}

/// The running processes that record into `directory`, or will at their first recorded call, and
/// that started at `since` or later. Parents of such processes are included. Processes that the
/// loader started without the library are not (AT_SECURE).
pub fn running(directory: &Path, since: u64) -> Vec<Running> {
    let variable = [b"EPOLLSHIM_RECORD=", directory.as_os_str().as_bytes()].concat();
    let below = [directory.as_os_str().as_bytes(), b"/epollshim."].concat();
    let own = std::process::id() as i32;
    let mut young: BTreeMap<i32, i32> = BTreeMap::new();
    let mut found: BTreeMap<i32, ()> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Some(stat) = stat(pid).filter(|stat| stat.began >= since && !matches!(stat.state, b'Z' | b'X')) else {
            continue;
        };
        if pid == own {
            continue;
        }
        young.insert(pid, stat.parent);
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let has_library = || !is_secure(&fs::read(format!("/proc/{pid}/auxv")).unwrap_or_default());
        let is_ours = environment.split(|byte| *byte == 0).any(|entry| entry == variable) && has_library()
            || fs::read(format!("/proc/{pid}/maps")).is_ok_and(|maps| contains(&maps, &below));
        if is_ours {
            found.insert(pid, ());
        }
    }
    // A parent may have overwritten its environment by a title, and make no epoll call itself.
    let masters: Vec<i32> = found.keys().filter_map(|pid| young.get(pid)).copied().collect();
    for mut pid in masters {
        while let Some(parent) = young.get(&pid) {
            found.insert(pid, ());
            pid = *parent;
        }
    }
    let named = found.into_keys().map(|pid| {
        let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        Running { pid, name: printable(OsStr::from_bytes(name.trim_ascii_end()).to_string_lossy().as_ref()) }
    });
    named.filter(|process| !process.name.is_empty()).collect()
}

/// The descriptors of a process that refer to epoll instances, except those that it inherited,
/// which have the same numbers in its parent.
pub fn epolls_of_its_own(pid: i32) -> Vec<i32> {
    let all = epolls(pid);
    let inherited = match stat(pid) {
        Some(stat) if !all.is_empty() => epolls(stat.parent),
        _ => Vec::new(),
    };
    all.into_iter().filter(|fd| !inherited.contains(fd)).collect()
}

fn epolls(pid: i32) -> Vec<i32> {
    let is_epoll = |path: &Path| fs::read_link(path).is_ok_and(|target| target == Path::new(EPOLL));
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut fds: Vec<i32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().filter(|_: &i32| is_epoll(&entry.path())))
        .collect();
    fds.sort_unstable();
    fds
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{began, descends, running};
    use std::path::Path;
    use std::process::Command;

    #[test]
    fn a_process_is_known_by_the_directory_in_its_environment() {
        let directory = format!("/tmp/epollshim-run.test.{}", std::process::id());
        let own = std::process::id() as i32;
        let since = began(own);
        let mut child = Command::new("sleep").arg("60").env("EPOLLSHIM_RECORD", &directory).spawn().unwrap();
        let pid = child.id() as i32;
        // The spawn returns in the middle of the exec (CLONE_VFORK).
        while std::fs::read(format!("/proc/{pid}/environ")).unwrap().is_empty() {}
        let found = running(Path::new(&directory), since);
        assert!(descends(pid, own) && !descends(own, pid));
        child.kill().unwrap();
        // A zombie, since nobody has waited for it.
        while !std::fs::read(format!("/proc/{pid}/cmdline")).unwrap().is_empty() {}
        let none = running(Path::new(&directory), since);
        child.wait().unwrap();
        assert_eq!(found.iter().map(|one| (one.pid, one.name.as_str())).collect::<Vec<_>>(), [(pid, "sleep")]);
        assert_eq!(none, []);
    }
}
