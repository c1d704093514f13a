//! Streams and directories while there is a census: `fopen`, `freopen`, `tmpfile`, `fclose`,
//! `opendir`, `closedir`, `popen`, `pclose`. (`fdopen` and `fdopendir` take over a descriptor that
//! the census already knows.)
//!
//! glibc opens and closes their descriptors by system calls of its own, which no hook sees. So a
//! new one is noted when the function returns it. The end of one is noted before the function ends
//! it: a thread that gets the number next must find it free. Without a census the entries jump to
//! the real functions.
//!
//! What glibc opens and closes for itself (`getpwnam`, `syslog`, `iconv`) is not noted.

use epollshim_format::census::Kind;
use libc::c_int;

use super::census_handlers::before_close_with_census;
use super::creators;
use super::entry::Frame;
use crate::census;
use crate::{ledger, stacks, streams, sys};

/// What runs before the real function, by its name.
pub mod before {
    pub use super::super::default_handlers::{
        nothing_before as fopen, nothing_before as opendir, nothing_before as tmpfile,
    };
    pub use super::super::starters::before_popen as popen;
    pub use super::before_closedir as closedir;
    pub use super::before_fclose as fclose;
    pub use super::before_fclose as pclose;
    pub use super::before_freopen as freopen;
}

/// What runs after the real function, by its name.
pub mod after {
    pub use super::after_end as fclose;
    pub use super::after_end as closedir;
    pub use super::after_end as pclose;
    pub use super::after_fopen as fopen;
    pub use super::after_freopen as freopen;
    pub use super::after_opendir as opendir;
    pub use super::after_popen as popen;
    pub use super::after_tmpfile as tmpfile;
}

/// Notes a new descriptor. For a C++ stream, the caller is the program's call of the C++ library.
#[inline(never)]
fn opened(frame: &Frame, fd: Option<c_int>, kind: Kind, is_cloexec: bool) {
    let caller = stacks::caller_of_cpp_library(frame.caller);
    creators::one(&Frame { caller, ..*frame }, fd.map_or(-1, |fd| fd as isize), kind, is_cloexec);
}

/// Whether a mode asks for close-on-exec. glibc reads seven letters (2.36 libio/fileops.c,
/// `_IO_new_file_fopen`).
#[inline(never)]
fn has_e(mode: usize) -> bool {
    // SAFETY: the real function has read the same text up to its terminating zero, and nothing
    // after the zero is read here.
    let mut letters = (0..7).map(|at| unsafe { *((mode + at) as *const u8) });
    letters.by_ref().take_while(|letter| *letter != 0).any(|letter| letter == b'e')
}

pub extern "C-unwind" fn after_fopen(frame: &mut Frame, result: isize) -> isize {
    opened(frame, streams::descriptor_of(result as usize), Kind::File, result != 0 && has_e(frame.word(1)));
    result
}

pub extern "C-unwind" fn after_tmpfile(frame: &mut Frame, result: isize) -> isize {
    opened(frame, streams::descriptor_of(result as usize), Kind::File, false);
    result
}

/// glibc opens directories with O_CLOEXEC.
pub extern "C-unwind" fn after_opendir(frame: &mut Frame, result: isize) -> isize {
    opened(frame, streams::descriptor_of_directory(result as usize), Kind::Directory, true);
    result
}

pub extern "C-unwind" fn after_popen(frame: &mut Frame, result: isize) -> isize {
    let fd = streams::descriptor_of(result as usize);
    opened(frame, fd, Kind::Pipe, result != 0 && has_e(frame.word(1)));
    if let Some(fd) = fd {
        census::is_popens(fd);
    }
    result
}

/// glibc replaces the old descriptor with the new one by dup3, and closes the old one if that fails
/// (2.36 libio/freopen.c). So the number is not free before the real function returns, or it is
/// free from then on.
pub extern "C-unwind" fn before_freopen(frame: &mut Frame) -> usize {
    before_end(frame, streams::descriptor_of(frame.word(2)))
}

pub extern "C-unwind" fn after_freopen(frame: &mut Frame, result: isize) -> isize {
    if frame.state != NONE {
        ledger::closed();
    }
    after_fopen(frame, result)
}

/// Value of the frame's state: there is no descriptor.
const NONE: u64 = u64::MAX;

/// Notes that a descriptor is about to end. The frame's state keeps its number, and in the upper
/// half what the census knew of it (`census::Before`).
#[inline(never)]
fn before_end(frame: &mut Frame, fd: Option<c_int>) -> usize {
    frame.state = NONE;
    if let Some(fd) = fd {
        let mut close = Frame { words: [fd as usize, 0, 0, 0, 0, 0], ..*frame };
        before_close_with_census(&mut close);
        frame.state = close.state << 32 | fd as u64;
    }
    0
}

pub extern "C-unwind" fn before_fclose(frame: &mut Frame) -> usize {
    before_end(frame, streams::descriptor_of(frame.word(0)))
}

pub extern "C-unwind" fn before_closedir(frame: &mut Frame) -> usize {
    before_end(frame, streams::descriptor_of_directory(frame.word(0)))
}

pub extern "C-unwind" fn after_end(frame: &mut Frame, result: isize) -> isize {
    if frame.state == NONE {
        return result;
    }
    ledger::closed();
    let (fd, before) = (frame.state as c_int, frame.state >> 32);
    // If the descriptor was open, EBADF may be the result of writing what was buffered.
    if result == -1 && before == census::Before::WasClosed as u64 {
        census::close_failed(fd, frame.caller, before, sys::errno());
    }
    result
}
