//! How the file is named and opened.

use crate::path::Path;
use crate::{config, place, process, sigsafe, sys};

/// Runs `work` with this process's file, opened for reading and writing: in a descriptor table of
/// its own, if possible (sigsafe.rs).
pub(super) fn with_file(flags: i32, work: impl FnOnce(i32) -> sys::Result<*mut u8>) -> sys::Result<*mut u8> {
    let directory = config::get().and_then(|config| config.record).ok_or(libc::ENOENT)?;
    let name = name();
    let name = name.as_c().ok_or(libc::ENAMETOOLONG)?;
    let done = sigsafe::unshared(|files| {
        let directory = place::open_directory(files, directory)?;
        let opened = files.open_at(directory, name, libc::O_RDWR | libc::O_NOFOLLOW | flags, 0o600);
        files.close(directory);
        let fd = opened?;
        let done = work(fd);
        files.close(fd);
        done
    });
    done.unwrap_or(Err(libc::ENOMEM))
}

/// The path of this process's file.
#[inline(never)] // for size
pub fn path() -> Option<Path> {
    let directory = config::get()?.record?;
    let mut path = Path::new();
    path.push(directory.to_bytes());
    path.push(b"/");
    path.push(name().as_c()?.to_bytes());
    Some(path)
}

/// Its name within the directory.
fn name() -> Path<64> {
    Path::of(format_args!("epollshim.{}.{}.rec", process::pid(), process::began_unix()))
}
