//! The file that `EPOLLSHIM_SUPPRESSIONS` names. It is read once, with the options, and kept.

use crate::sync::{AtomicPtr, AtomicUsize, Ordering};
use core::ffi::CStr;
use core::fmt;

use epollshim_format::errno;
use epollshim_format::suppressions::{self, LONGEST_FILE, Rule, Wrong};

use crate::buffer::Buffer;
use crate::{procfs, sigsafe, sys};

/// The file's bytes, in a mapping that is never unmapped. Relaxed: they are stored before the
/// options are published, and a report is made after that.
static TEXT: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Why the file cannot be used.
pub enum Refusal {
    /// It cannot be read: an error number.
    Unreadable(i32),
    NotPlain,
    TooLong,
    Line(Wrong<'static>),
}

/// The message about a file, after its name.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unreadable(error) => {
                write!(f, ": cannot be read: {}", errno::name(*error as u32).unwrap_or("an error"))
            }
            Refusal::NotPlain => f.write_str(": not a plain file"),
            Refusal::TooLong => write!(f, ": longer than {LONGEST_FILE} bytes"),
            Refusal::Line(wrong) => write!(f, ":{wrong}"),
        }
    }
}

/// Reads the file, and applies its rules from now on. Called once, before main.
pub fn read(path: &CStr) -> Result<(), Refusal> {
    // O_NONBLOCK: opening a pipe would block.
    let mut text = Buffer::new();
    let read = sigsafe::unshared(|files| {
        let fd = files.open(path, libc::O_RDONLY | libc::O_NONBLOCK, 0).map_err(Refusal::Unreadable)?;
        let read = read_from(fd, &mut text);
        files.close(fd);
        read
    });
    if let Err(refusal) = read.unwrap_or(Err(Refusal::Unreadable(libc::ENOMEM))) {
        text.end();
        return Err(refusal);
    }
    // Never unmapped, whatever the result, because the message about a bad line borrows from it.
    let (start, length) = text.keep();
    // SAFETY: `read_from` wrote `length` bytes there. `keep` took them out of the buffer, so
    // nothing writes or unmaps them any more.
    let text: &'static [u8] = if length == 0 { b"" } else { unsafe { core::slice::from_raw_parts(start, length) } };
    suppressions::check(text).map_err(Refusal::Line)?;
    TEXT.store(start, Ordering::Relaxed);
    LENGTH.store(length, Ordering::Relaxed);
    Ok(())
}

fn read_from(fd: i32, into: &mut Buffer<u8>) -> Result<(), Refusal> {
    let status = sys::status(fd).map_err(Refusal::Unreadable)?;
    if status.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(Refusal::NotPlain);
    }
    if status.st_size as u64 > LONGEST_FILE as u64 {
        return Err(Refusal::TooLong);
    }
    if procfs::read_to_end(fd, into) { Ok(()) } else { Err(Refusal::Unreadable(libc::EIO)) }
}

/// Whether there are rules.
pub fn are_there() -> bool {
    rules().next().is_some()
}

/// The rules, in the order of the file.
pub fn rules() -> impl Iterator<Item = Rule<'static>> + Clone {
    let (start, length) = (TEXT.load(Ordering::Relaxed), LENGTH.load(Ordering::Relaxed));
    // SAFETY: `read` stored the address and the length of bytes that nothing writes or unmaps.
    let text: &'static [u8] = if length == 0 { b"" } else { unsafe { core::slice::from_raw_parts(start, length) } };
    suppressions::parse(text).filter_map(Result::ok)
}
