//! Which files a process has mapped (`/proc/PID/maps`).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A mapped file.
pub struct Mapping<'a> {
    /// The path as the process sees it, below its own root.
    pub path: &'a Path,
    pub inode: u64,
    /// The file has been deleted.
    pub is_deleted: bool,
}

/// The files in a list of mappings, one entry per mapping.
pub fn files(maps: &[u8]) -> impl Iterator<Item = Mapping<'_>> {
    maps.split(|byte| *byte == b'\n').filter_map(mapping)
}

/// Whether a list of mappings contains a file, by name and inode.
pub fn has(maps: &[u8], path: &Path, inode: u64) -> bool {
    files(maps).any(|mapping| mapping.inode == inode && mapping.path.file_name() == path.file_name())
}

/// The list of a process's mappings, and the file that it was read from. If the main thread has
/// ended while others run, its list is empty, and another thread's is returned.
pub fn of(pid: u32) -> io::Result<(File, Vec<u8>)> {
    let first = read(Path::new(&format!("/proc/{pid}/maps")))?;
    if !first.1.is_empty() {
        return Ok(first);
    }
    let mut threads = fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
    let other = threads.find_map(|thread| read(&thread.path().join("maps")).ok().filter(|(_, maps)| !maps.is_empty()));
    Ok(other.unwrap_or(first))
}

/// Whether a process has an id in this pid namespace or in its own (proc_pid_status(5), NSpid;
/// since Linux 4.1).
pub fn is_known_as(pid: u32, id: u64) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    u64::from(pid) == id || ids.split_whitespace().any(|known| known.parse() == Ok(id))
}

fn read(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

/// `start-end perms offset dev inode path` (proc_pid_maps(5)).
fn mapping(line: &[u8]) -> Option<Mapping<'_>> {
    let (facts, path) = line.split_at_checked(line.iter().position(|byte| *byte == b'/')?)?;
    let inode = std::str::from_utf8(facts.split(|byte| *byte == b' ').nth(4)?).ok()?;
    // The kernel appends this to the path of a deleted file.
    let name = path.strip_suffix(b" (deleted)");
    Some(Mapping {
        path: Path::new(OsStr::from_bytes(name.unwrap_or(path))),
        inode: inode.parse().ok()?,
        is_deleted: name.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::{has, is_known_as, of};
    use std::path::Path;

    #[test]
    fn a_mapped_file_is_known_by_name_and_inode() {
        let line: &[u8] = b"7f00-7f09 rw-s 00001000 fe:01 4711                       /srv/a b/epollshim.12.34.rec";
        let maps = [b"7f00-7f09 rw-p 00000000 00:00 0 \n", line, b" (deleted)\n\n"].concat();
        for maps in [line, &maps] {
            assert!(has(maps, Path::new("elsewhere/epollshim.12.34.rec"), 4711));
            assert!(!has(maps, Path::new("/srv/a b/epollshim.12.34.rec"), 4712));
            assert!(!has(maps, Path::new("/srv/a b/epollshim.12.35.rec"), 4711));
        }
    }

    #[test]
    fn this_process_has_mappings_and_its_own_id() {
        assert!(of(std::process::id()).is_ok_and(|(_, maps)| !maps.is_empty()));
        assert!(is_known_as(std::process::id(), std::process::id().into()));
        assert!(!is_known_as(std::process::id(), 1 << 40));
    }
}
