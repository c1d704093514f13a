//! Writes text to descriptors, and builds messages and names of files.
//!
//! A write never blocks for long, never raises a signal, and writes nothing to a descriptor that
//! now refers to another file than at load.

use core::ffi::CStr;
use core::fmt::{self, Write};

use crate::config::{self, Config};
use crate::path::Path;
use crate::sigsafe::on_own_stack;
use crate::{process, sys};

/// How long, in total, a reader that does not read may delay the end of the program.
const PATIENCE_MS: i32 = 2000;
/// How often in a row a descriptor may accept nothing although it polls writable or cannot be
/// polled.
const TRIES: usize = 100;
/// A pipe that polls writable takes this much without blocking (PIPE_BUF, pipe(7)).
const PIECE: usize = 4096;

/// Writes everything, in pieces that do not block. Err: an error number; ETIMEDOUT if nobody reads.
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
                // If a filter of the program forbids poll, nothing waits, and there may be no
                // reader.
                Err(libc::EAGAIN) if ready.is_err() => return Err(libc::EAGAIN),
                Err(libc::EINTR | libc::EAGAIN) if tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Whether a descriptor still refers to the file that it referred to at load.
pub fn is_as_at_load(config: &Config, fd: i32) -> bool {
    let file = config.at_load(fd);
    file.is_some() && sys::status(fd).ok().map(|status| (status.st_dev, status.st_ino)) == file
}

pub fn to_stderr(config: &Config, bytes: &[u8]) {
    to_descriptor(config, 2, bytes);
}

/// Writes to a descriptor if it still refers to the file that it referred to at load.
pub fn to_descriptor(config: &Config, fd: i32, bytes: &[u8]) {
    if is_as_at_load(config, fd) {
        // There is nowhere to report a failure.
        let _ = write_all(fd, bytes);
    }
}

/// The path that a pattern represents in this process.
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

/// Prints one line on stderr if that is still the file that it was at load.
pub fn tell(write: impl FnOnce(&mut Line)) {
    if let Some(config) = config::get() {
        tell_by(config, write);
    }
}

/// [`tell`] for a library that is inactive.
pub fn tell_by(config: &Config, write: impl FnOnce(&mut Line)) {
    on_own_stack(|| {
        let mut line = Line::new();
        write(&mut line);
        to_stderr(config, line.as_bytes());
    });
}

/// A short line on the stack, for messages. What does not fit is cut off.
pub struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl Line {
    pub const fn new() -> Self {
        Line { bytes: [0; 512], length: 0 }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // The last byte is reserved for the newline.
            let end = self.bytes.len() - 1;
            let at = if byte == b'\n' { self.length.min(end) } else { self.length };
            if at >= end && byte != b'\n' {
                continue;
            }
            if let Some(place) = self.bytes.get_mut(at) {
                *place = byte;
                self.length = at + 1;
            }
        }
        Ok(())
    }
}
