//! The recordings of a running process. It has them mapped, so `/proc/PID/maps` names them.
//!
//! A mapped recording may be another process's: a forked child keeps its parent's mapping besides
//! that of its own file. The header names the process.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::load::is_named_as_one;
use crate::maps::{self, Mapping};

/// A recording that a process has mapped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapped {
    /// The path as the process sees it, below its own root.
    pub path: PathBuf,
    pub inode: u64,
    /// The file has been deleted.
    pub is_deleted: bool,
}

/// The recordings that a process has mapped, by paths that this process can open. Err: there is no
/// such process, or this process may not read its memory map.
pub fn recordings_of(pid: u32) -> io::Result<Vec<PathBuf>> {
    let mapped = mapped_by(pid)?;
    Ok(mapped.iter().filter(|one| !one.is_deleted).filter_map(|one| one.reachable(pid)).collect())
}

/// The recordings that a process has mapped, each one once.
pub fn mapped_by(pid: u32) -> io::Result<BTreeSet<Mapped>> {
    Ok(mapped(&maps::of(pid)?.1))
}

impl Mapped {
    /// A path by which this process can open the file: the path itself or, if the process has
    /// another root, the path below `/proc/PID/root`. None: no file has this name any more, or
    /// another one does.
    #[must_use]
    pub fn reachable(&self, pid: u32) -> Option<PathBuf> {
        let relative = self.path.strip_prefix("/").unwrap_or(&self.path);
        let below = Path::new("/proc").join(pid.to_string()).join("root").join(relative);
        // Only the inode is compared: on overlayfs and btrfs, the device in maps differs from
        // stat's.
        let is_it =
            |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.ino() == self.inode);
        [self.path.clone(), below].into_iter().find(is_it)
    }
}

fn mapped(maps: &[u8]) -> BTreeSet<Mapped> {
    let recordings = maps::files(maps).filter(|mapping| mapping.path.file_name().is_some_and(is_named_as_one));
    let mapped = recordings.map(|Mapping { path, inode, is_deleted }| Mapped { path: path.into(), inode, is_deleted });
    mapped.collect()
}

#[cfg(test)]
mod tests {
    use super::{mapped, recordings_of};

    #[test]
    fn a_recording_is_recognized_by_its_name_and_listed_once() {
        let maps = b"\
7f00-7f01 rw-s 00000000 fd:00 77                         /var/rec/epollshim.12.34.rec\n\
7f01-7f02 rw-s 00009000 fd:00 77                         /var/rec/epollshim.12.34.rec\n\
7f02-7f03 rw-s 00000000 fd:00 78                         /a b/epollshim.1.2.rec (deleted)\n\
7f03-7f04 r-xp 00000000 fd:00 79                         /lib/libepollshim.so\n\
7f04-7f05 rw-p 00000000 00:00 0                          [heap]\n\n";
        let found: Vec<_> = mapped(maps).into_iter().map(|one| (one.path, one.inode, one.is_deleted)).collect();
        assert_eq!(
            found,
            [("/a b/epollshim.1.2.rec".into(), 78, true), ("/var/rec/epollshim.12.34.rec".into(), 77, false)]
        );
    }

    #[test]
    fn a_process_without_a_recording_has_none_and_no_process_is_an_error() {
        assert_eq!(recordings_of(std::process::id()).unwrap_or_default(), Vec::<std::path::PathBuf>::new());
        assert!(recordings_of(u32::MAX).is_err());
    }
}
