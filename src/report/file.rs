//! A report that goes to a file.

use core::ffi::CStr;
use core::fmt::Write;

use epollshim_format::options::Format;

use crate::config::Config;
use crate::output::{Line, expand, to_stderr, write_all};
use crate::sigsafe::{self, Files};
use crate::{place, sys};

/// Appends a report to a file. The file is never truncated: it may hold another program's report
/// from the same run, and this process cannot determine where a run began (docs/report.md).
pub fn to_file(config: &Config, pattern: &CStr, format: Format, bytes: &[u8]) {
    let path = expand(pattern);
    let Some(name) = path.as_c() else { return complain(config, c"(a path too long)", libc::ENAMETOOLONG) };
    let written = sigsafe::unshared(|files| {
        let fd = open(files, name)?;
        let written = write_to(fd, format, bytes);
        files.close(fd);
        written
    });
    if let Err(error) = written.unwrap_or(Err(libc::ENOMEM)) {
        complain(config, name, error);
    }
}

fn open(files: Files, name: &CStr) -> sys::Result<i32> {
    match place::open_output(files, name, libc::O_RDWR | libc::O_CREAT) {
        // A device or pipe that cannot be read.
        Err(libc::EACCES) => place::open_output(files, name, libc::O_WRONLY | libc::O_CREAT),
        opened => opened,
    }
}

fn write_to(fd: i32, format: Format, bytes: &[u8]) -> sys::Result<()> {
    if sys::status(fd)?.st_mode & libc::S_IFMT != libc::S_IFREG {
        return write_all(fd, bytes);
    }
    // Only one process writes at a time. If the lock is not free within a second, the report is
    // written without it. Each write appends atomically.
    let _ = (0..500).any(|_| {
        let is_held = sys::lock(fd) == Err(libc::EWOULDBLOCK);
        if is_held {
            sys::sleep(2_000_000);
        }
        !is_held
    });
    let size = sys::status(fd)?.st_size;
    if size > 0 {
        // A report that was cut off by a full disk or a kill must not spoil the one after it.
        let mut last = [b'\n'];
        let _ = sys::read_at(fd, &mut last, size - 1);
        let gap: &[u8] = match (last == *b"\n", format) {
            (true, Format::Json) => b"",
            (false, Format::Text) => b"\n\n",
            _ => b"\n",
        };
        write_all(fd, gap)?;
    }
    let written = write_all(fd, bytes);
    // Half a text is useful, but half a line of JSON is not, so it is removed. Other reports wait
    // for the lock.
    if written.is_err() && format == Format::Json {
        let _ = sys::truncate(fd, size);
    }
    written
}

/// Prints that a report could not be written on stderr, if stderr is still the same file.
fn complain(config: &Config, path: &CStr, error: i32) {
    let mut line = Line::new();
    let name = epollshim_format::errno::name(error as u32).unwrap_or("?");
    let _ = writeln!(
        line,
        "epollshim: EPOLLSHIM_REPORT: cannot write '{}': {name}{}; the report of process {} is lost",
        path.to_bytes().escape_ascii(),
        place::hint(error),
        sys::getpid()
    );
    to_stderr(config, line.as_bytes());
}
