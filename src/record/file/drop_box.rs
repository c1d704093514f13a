//! Prepares the directory of recordings.

use core::ffi::CStr;

use crate::sigsafe::Files;
use crate::{place, seccomp, sigsafe, sys};

/// The mode of a directory that root creates. Every user may add files and open their own by name.
/// Only root may list it, and no user may remove another's file (the sticky bit). So a server that
/// gives up root's rights records as its new user.
const DROP_BOX: u32 = 0o1733;

/// Checks whether recordings can be created in a directory, as far as that can be known. Creates
/// the directory if it does not exist. If an inherited seccomp filter refuses the check, nothing is
/// known: the first call of the program will show it, and the report says so.
pub fn prepare_directory(directory: &CStr) -> sys::Result<()> {
    let is_answer = |error: &i32| !(seccomp::is_inherited() && matches!(*error, libc::EPERM | libc::ENOSYS));
    let is_new = match sys::make_directory(directory, 0o700) {
        Ok(()) => true,
        Err(libc::EEXIST) => false,
        Err(error) if is_answer(&error) => return Err(error),
        Err(_) => false,
    };
    let prepared = sigsafe::unshared(|files| {
        if is_new && sys::geteuid() == 0 {
            open_to_all(files, directory);
        }
        // Opened only for lookups: a process may be able to write into a drop box, but not to read
        // it.
        let fd = place::open_directory(files, directory)?;
        let prepared = sys::may_write_in(fd);
        files.close(fd);
        prepared
    });
    prepared.unwrap_or(Err(libc::ENOMEM)).or_else(|error| if is_answer(&error) { Err(error) } else { Ok(()) })
}

/// Sets the mode after the mkdir, which applies the program's umask. On a file system without such
/// modes the directory remains root's own.
fn open_to_all(files: Files, directory: &CStr) {
    if let Ok(fd) = files.open(directory, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0) {
        let _ = sys::set_mode(fd, DROP_BOX);
        files.close(fd);
    }
}
