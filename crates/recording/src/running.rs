//! Which recording belongs to a running process: the one that it has mapped, as `/proc/PID/maps` tells.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The recordings that a process writes: it has them mapped, and they are named after it. One as a rule; none where it
/// does not record, has not made an epoll call yet, or its file was removed.
///
/// A child of a fork has its parent's mapped as well, and does not write into it: that one is left out. In a container the file is
/// named after the process's id there, and is looked for in the root directory that the process has.
///
/// # Errors
/// As of reading `/proc/PID/maps`: no such process, or not this user's (ptrace(2), "Ptrace access mode checking").
pub fn recordings_of(pid: u32) -> io::Result<Vec<PathBuf>> {
    let (_, maps) = maps_of(pid)?;
    let mut names: Option<Vec<Vec<u8>>> = None;
    let mut found: Vec<PathBuf> = Vec::new();
    for (path, inode) in maps.split(|byte| *byte == b'\n').filter_map(recording) {
        // Asked for where there is something to ask for: most processes have none.
        let names = names.get_or_insert_with(|| ids(pid).iter().map(|id| format!("epollshim.{id}.").into()).collect());
        let base = path.file_name().unwrap_or_default().as_bytes();
        if !names.iter().any(|name| base.starts_with(name)) {
            continue;
        }
        let inside = Path::new(&format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap_or(path));
        let there = [path, &inside].into_iter().find(|path| path.metadata().is_ok_and(|facts| facts.ino() == inode));
        if let Some(there) = there
            && !found.iter().any(|known| known == there)
        {
            found.push(there.to_path_buf());
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a list of mappings has a file, by its name and inode.
pub fn is_mapped(maps: &[u8], path: &Path, inode: u64) -> bool {
    let name = path.file_name();
    maps.split(|byte| *byte == b'\n')
        .filter_map(recording)
        .any(|(mapped, its_inode)| its_inode == inode && mapped.file_name() == name)
}

/// The list of a process's mappings, and the file that it was read from. A first thread that has ended has none any more, while
/// the others go on.
pub fn maps_of(pid: u32) -> io::Result<(File, Vec<u8>)> {
    let first = read(Path::new(&format!("/proc/{pid}/maps")))?;
    if !first.1.is_empty() {
        return Ok(first);
    }
    let mut threads = fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
    let other = threads.find_map(|thread| read(&thread.path().join("maps")).ok().filter(|(_, maps)| !maps.is_empty()));
    Ok(other.unwrap_or(first))
}

fn read(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

/// `start-end perms offset dev inode path` (proc_pid_maps(5)): path and inode, where it is named as recordings are.
fn recording(line: &[u8]) -> Option<(&Path, u64)> {
    let start = line.iter().position(|byte| *byte == b'/')?;
    let (facts, path) = line.split_at_checked(start)?;
    let inode = facts.split(|byte| *byte == b' ').nth(4)?;
    let path = Path::new(OsStr::from_bytes(path));
    let name = path.file_name()?.as_bytes();
    let is_named = name.starts_with(b"epollshim.") && name.ends_with(b".rec");
    Some((path, std::str::from_utf8(inode).ok()?.parse().ok()?)).filter(|_| is_named)
}

/// The ids that a process has, from this pid namespace to its own (proc_pid_status(5), NSpid; since Linux 4.1).
fn ids(pid: u32) -> Vec<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{is_mapped, recording, recordings_of};
    use std::path::Path;

    const LINE: &[u8] = b"7f00-7f09 rw-s 00001000 fe:01 4711                       /srv/a b/epollshim.12.34.rec";

    #[test]
    fn a_mapped_recording_is_known_by_name_and_inode() {
        assert_eq!(recording(LINE), Some((Path::new("/srv/a b/epollshim.12.34.rec"), 4711)));
        assert_eq!(recording(b"7f00-7f09 r-xp 00000000 fe:01 4711   /usr/lib/libepollshim.so"), None);
        assert_eq!(recording(&[LINE, b" (deleted)"].concat()), None, "nobody can open it any more");
        assert_eq!(recording(b"7f00-7f09 rw-p 00000000 00:00 0 "), None);
        assert!(is_mapped(LINE, Path::new("elsewhere/epollshim.12.34.rec"), 4711));
        assert!(!is_mapped(LINE, Path::new("/srv/a b/epollshim.12.34.rec"), 4712));
    }

    #[test]
    fn this_test_records_nothing() {
        assert_eq!(recordings_of(std::process::id()).ok(), Some(Vec::new()));
        assert!(recordings_of(u32::MAX).is_err());
    }
}
