//! Opens files that the options name in places where other users may have put something first
//! (/tmp).
//!
//! A symbolic link is followed only if it belongs to this user or to root. A link of another user
//! could lead to a file of this user that must not be touched. The checks use the descriptor of the
//! opened file and not its path, which may lead elsewhere by then. Callers pass [`Files`], so they
//! run on a separate stack.

use core::ffi::CStr;

use crate::path::Path;
use crate::sigsafe::Files;
use crate::sys::{self, Result};

/// The error number for a file, a directory, or a symbolic link on the path that belongs to another
/// user.
pub const FOREIGN: i32 = libc::EPERM;

/// What a message adds after the name of the error.
pub fn hint(error: i32) -> &'static str {
    if error == FOREIGN {
        " (it, or a symbolic link to it, belongs to another user; use a directory of your own)"
    } else {
        ""
    }
}

/// Opens a file to which lines or reports are appended, and creates it (0600) if it does not exist.
/// A regular file must belong to this user.
pub fn open_output(files: Files, path: &CStr, flags: i32) -> Result<i32> {
    let flags = flags | libc::O_APPEND | libc::O_NONBLOCK | libc::O_NOCTTY;
    let fd = open(files, path, flags, 0o600)?;
    match sys::status(fd) {
        Ok(status) if is_kind(&status, libc::S_IFREG) && status.st_uid != sys::geteuid() => {
            files.close(fd);
            Err(FOREIGN)
        }
        Ok(_) => Ok(fd),
        Err(error) => {
            files.close(fd);
            Err(error)
        }
    }
}

/// Whether [`open_output`] can be expected to succeed. Creates nothing, and does not open a pipe,
/// whose reader would notice.
pub fn may_become_output(files: Files, path: &CStr) -> Result<()> {
    match sys::mode(path).unwrap_or(libc::S_IFREG) & libc::S_IFMT {
        libc::S_IFDIR => return Err(libc::EISDIR),
        libc::S_IFREG => {}
        _ => return sys::may_write(path),
    }
    match open_output(files, path, libc::O_WRONLY) {
        Err(libc::ENOENT) => {}
        Ok(fd) => {
            files.close(fd);
            return Ok(());
        }
        Err(error) => return Err(error),
    }
    let name = path.to_bytes();
    let end = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let mut directory = Path::new();
    directory.push(if end == 0 { b"." } else { name.get(..end).unwrap_or_default() });
    let fd = open_directory(files, directory.as_c().ok_or(libc::ENAMETOOLONG)?)?;
    let answer = sys::may_write_in(fd);
    files.close(fd);
    answer
}

/// Opens a directory only for looking up files in it (O_PATH).
pub fn open_directory(files: Files, path: &CStr) -> Result<i32> {
    open(files, path, libc::O_PATH | libc::O_DIRECTORY, 0)
}

/// Whether a path leads to something that another user owns. Also false if it leads nowhere.
pub fn is_foreign(path: &CStr) -> bool {
    sys::owner(path).is_ok_and(|owner| owner != sys::geteuid())
}

/// Whether a file is of that kind, belongs to this user, and cannot be written by others.
#[inline(never)] // for size
pub fn is_private(status: &libc::stat, kind: libc::mode_t) -> bool {
    is_kind(status, kind) && status.st_uid == sys::geteuid() && status.st_mode & 0o022 == 0
}

fn is_kind(status: &libc::stat, kind: libc::mode_t) -> bool {
    status.st_mode & libc::S_IFMT == kind
}

/// Opens a path whose last component may be a symbolic link that belongs to this user or to root.
fn open(files: Files, path: &CStr, flags: i32, mode: u32) -> Result<i32> {
    match files.open(path, flags | libc::O_NOFOLLOW, mode) {
        // The errors for a symbolic link; with O_DIRECTORY it is ENOTDIR (Linux v6.1 fs/namei.c,
        // do_open).
        Err(error @ (libc::ELOOP | libc::ENOTDIR)) => follow(files, path, flags, mode, error),
        opened => opened,
    }
}

/// How many links in a row are followed.
const LINKS: usize = 8;

#[cold]
#[inline(never)]
fn follow(files: Files, path: &CStr, flags: i32, mode: u32, error: i32) -> Result<i32> {
    let mut at = Path::new();
    at.push(path.to_bytes());
    let mut error = error;
    for _ in 0..LINKS {
        let link = files.open(at.as_c().ok_or(libc::ENAMETOOLONG)?, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
        let next = target_of(link, &at, error);
        files.close(link);
        let Some(next) = next? else {
            return files.open(at.as_c().ok_or(libc::ENAMETOOLONG)?, flags, mode);
        };
        match files.open(next.as_c().ok_or(libc::ENAMETOOLONG)?, flags | libc::O_NOFOLLOW, mode) {
            Err(again @ (libc::ELOOP | libc::ENOTDIR)) => error = again,
            opened => return opened,
        }
        at = next;
    }
    Err(libc::ELOOP)
}

/// Where a link leads, read through the link's own descriptor. None: it is one of /proc's links,
/// which only the kernel makes and which is no path (/dev/stdout leads to /proc/self/fd/1).
/// Err(`error`): it is no link.
fn target_of(link: i32, at: &Path, error: i32) -> Result<Option<Path>> {
    let status = sys::status(link)?;
    if !is_kind(&status, libc::S_IFLNK) {
        return Err(error);
    }
    if status.st_uid != 0 && status.st_uid != sys::geteuid() {
        return Err(FOREIGN);
    }
    if sys::is_of_proc(link) {
        return Ok(None);
    }
    let mut space = [0u8; 4096];
    let length = sys::read_link_at(link, c"", &mut space)?;
    let target = space.get(..length).unwrap_or_default();
    let mut next = Path::new();
    if !target.starts_with(b"/") {
        let directory = at.as_c().map_or(&b""[..], CStr::to_bytes);
        let end = directory.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        next.push(directory.get(..end).unwrap_or_default());
    }
    next.push(target);
    Ok(Some(next))
}
