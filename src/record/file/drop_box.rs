//! The directory of recordings.

use core::ffi::CStr;

use crate::sigsafe::Files;
use crate::{place, seccomp, sigsafe, sys};

/// For a directory that root makes: every user may add files to it and open their own by name, only
/// root may list it, and no user may remove another's (the sticky bit). A server that gives up
/// root's rights writes its recordings as its new user.
const DROP_BOX: u32 = 0o1733;

/// Whether a directory can take recordings, as far as that can be known. Creates it if it does not
/// exist. An inherited filter's refusal is no answer: then the first call of the program shows it,
/// and the report says so.
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
        // Opened for lookups only: a process that writes into a drop box cannot read it.
        let fd = place::open_directory(files, directory)?;
        let prepared = sys::may_write_in(fd);
        files.close(fd);
        prepared
    });
    prepared.unwrap_or(Err(libc::ENOMEM)).or_else(|error| if is_answer(&error) { Err(error) } else { Ok(()) })
}

/// Done afterwards, since the program's umask removes bits from the mode of a mkdir. On a file
/// system that has no such modes it stays root's own.
fn open_to_all(files: Files, directory: &CStr) {
    if let Ok(fd) = files.open(directory, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0) {
        let _ = sys::set_mode(fd, DROP_BOX);
        files.close(fd);
    }
}
