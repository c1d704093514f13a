//! Getting text out: to descriptor 2 if it is still the file that it was, or to a file; never blocking for
//! long, never raising a signal, never a byte to a descriptor that became something else.

use core::ffi::CStr;
use core::fmt::Write;

use epollshim_format::options::Format;

use super::Line;
use crate::aside::{self, Files};
use crate::config::Config;
use crate::path::Path;
use crate::{place, process, sys};

/// How long in all a reader that does not read may hold up the end of the program: 2 seconds.
const PATIENCE_MS: i32 = 2000;
/// How often in a row a descriptor may take nothing, though it polls writable or cannot be polled.
const TRIES: usize = 100;
/// A pipe that polls writable takes this much without blocking (PIPE_BUF, pipe(7)).
const PIECE: usize = 4096;

/// Writes everything, in pieces that do not block. Err: an error number; ETIMEDOUT where nobody reads.
pub fn write_all(fd: i32, bytes: &[u8]) -> sys::Result<()> {
    for piece in bytes.chunks(PIECE) {
        let (mut rest, mut tries) = (piece, 0);
        while !rest.is_empty() {
            let ready = sys::writable(fd, PATIENCE_MS);
            if ready == Ok(false) {
                return Err(libc::ETIMEDOUT);
            }
            match sys::write(fd, rest) {
                Ok(0) => return Err(libc::EIO),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                // Nothing waits where a filter of the program's forbids poll, and nobody may read.
                Err(libc::EAGAIN) if ready.is_err() => return Err(libc::EAGAIN),
                Err(libc::EINTR | libc::EAGAIN) if tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

pub fn stderr_is_ours(config: &Config) -> bool {
    config.stderr.is_some() && sys::status(2).ok().map(|status| (status.st_dev, status.st_ino)) == config.stderr
}

pub fn to_stderr(config: &Config, bytes: &[u8]) {
    if stderr_is_ours(config) {
        // Nobody is left to be told of a failure.
        let _ = write_all(2, bytes);
    }
}

/// The path that a pattern stands for in this process.
pub fn expand(pattern: &CStr) -> Path {
    let mut path = Path::new();
    let mut rest = pattern.to_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            path.push(&[byte]);
            continue;
        }
        let Some((&letter, after)) = rest.split_first() else { break };
        rest = after;
        let _ = match letter {
            b'p' => write!(path, "{}", sys::getpid()),
            b't' => write!(path, "{}", process::began_unix()),
            b'e' => {
                let mut space = [0u8; 4096];
                path.push(crate::procfs::program_name(&mut space));
                Ok(())
            }
            other => {
                path.push(&[other]);
                Ok(())
            }
        };
    }
    path
}

/// Adds a report to a file, which is never emptied: what it holds may be of the same run, by another program of a script,
/// and nothing that could be asked here tells where a run began (docs/report.md).
pub fn to_file(config: &Config, pattern: &CStr, format: Format, bytes: &[u8]) {
    let path = expand(pattern);
    let Some(name) = path.as_c() else { return complain(config, c"(a path too long)", libc::ENAMETOOLONG) };
    let written = aside::unshared(|files| {
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
        // A device or pipe that takes no reading.
        Err(libc::EACCES) => place::open_output(files, name, libc::O_WRONLY | libc::O_CREAT),
        opened => opened,
    }
}

fn write_to(fd: i32, format: Format, bytes: &[u8]) -> sys::Result<()> {
    if sys::status(fd)?.st_mode & libc::S_IFMT != libc::S_IFREG {
        return write_all(fd, bytes);
    }
    // One writer at a time; a lock that is not to be had within a second is done without (each piece is appended at once).
    let _ = (0..500).any(|_| {
        let is_held = sys::lock(fd) == Err(libc::EWOULDBLOCK);
        if is_held {
            sys::sleep(2_000_000);
        }
        !is_held
    });
    let size = sys::status(fd)?.st_size;
    if size > 0 {
        // What a full disk, or a kill, has cut off is not to spoil what follows it.
        let mut last = [b'\n'];
        let _ = sys::read_at(fd, &mut last, size - 1);
        let gap: &[u8] = match (last == *b"\n", format) {
            (true, Format::Json) => b"",
            (false, Format::Text) => b"\n\n",
            _ => b"\n",
        };
        write_all(fd, gap)?;
    }
    write_all(fd, bytes)
}

/// Says on stderr, if that is still what it was, that a report could not be written.
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
