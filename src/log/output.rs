//! Getting a line out: put together in a place of its own, and written by one write.

use crate::sync::{AtomicBool, AtomicI32, Ordering};
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::fmt::{self, Write};

use crate::aside::{self, Files, Quiet};
use crate::init::{Config, LogTo};
use crate::{place, process, report, sys, thread};

/// The longest line: what a pipe takes in one piece.
const LONGEST: usize = 4096;
/// What putting one together needs, several times over.
const STACK: usize = 28 * 1024;
/// Lines that can be put together at one time; those beyond are dropped. (Zero memory: only what was ever used is
/// backed by pages.)
const PLACES: usize = 64;

#[repr(C, align(16))]
struct Place {
    stack: UnsafeCell<[u8; STACK]>,
    line: UnsafeCell<[u8; LONGEST]>,
    /// The process whose thread has it; 0: none. One that a fork left taken is free: that thread is not here.
    owner: AtomicI32,
}

// SAFETY: the memory is touched only by the thread that has taken the place.
unsafe impl Sync for Place {}

static PLACE: [Place; PLACES] = [const {
    Place { stack: UnsafeCell::new([0; STACK]), line: UnsafeCell::new([0; LONGEST]), owner: AtomicI32::new(0) }
}; PLACES];

/// A reader did not read for as long as is waited: lines are dropped until it does. Relaxed: a guess is good enough.
static IS_STUCK: AtomicBool = AtomicBool::new(false);
/// A line was cut by a disk that is full: the next one begins a line of its own.
static IS_TORN: AtomicBool = AtomicBool::new(false);

/// How long a reader that does not read may hold up the program, once.
const PATIENCE_MS: i32 = 2000;

/// How often a pipe may be full again before the line is written.
const TRIES: usize = 100;

/// The bytes of a line as they come.
pub struct Bytes<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl Write for Bytes<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Puts a line together and writes it, and tells `count` whether it went out.
pub fn write(config: &Config, render: impl FnOnce(&mut Bytes) -> fmt::Result, count: impl FnOnce(bool)) {
    // Signals are blocked first: a handler that left for good would keep the place, the file's descriptor and the count.
    let quiet = Quiet::new();
    let written = take().is_some_and(|place| {
        let top = place.stack.get().cast::<u8>().wrapping_add(STACK);
        let mends = IS_TORN.swap(false, Ordering::Relaxed);
        let mut length = None;
        aside::on_stack(top, || {
            // SAFETY: the place is this thread's until it gives it back.
            let mut line = Bytes { bytes: unsafe { &mut *place.line.get() }, length: 0 };
            if mends {
                let _ = line.write_char('\n');
            }
            length = render(&mut line).is_ok().then_some(line.length);
        });
        // SAFETY: as above.
        let bytes = length.and_then(|length| unsafe { &*place.line.get() }.get(..length));
        let written = bytes.is_some_and(|bytes| send(config, bytes, top).is_ok());
        if mends && !written {
            IS_TORN.store(true, Ordering::Relaxed);
        }
        // Release: the next taker (Acquire) finds nothing of this in progress.
        place.owner.store(0, Ordering::Release);
        written
    });
    count(written);
    quiet.end();
}

/// A free place, looked for from one that this thread is likely to find free.
fn take() -> Option<&'static Place> {
    let own = process::pid();
    let first = thread::token() >> 12;
    let is_got = |place: &Place| {
        let owner = place.owner.load(Ordering::Relaxed);
        owner != own && place.owner.compare_exchange(owner, own, Ordering::Acquire, Ordering::Relaxed).is_ok()
    };
    (0..PLACES).filter_map(|step| PLACE.get(first.wrapping_add(step) % PLACES)).find(|place| is_got(place))
}

/// Writes a line, on the stack whose upper end is given.
fn send(config: &Config, bytes: &[u8], top: *mut u8) -> sys::Result<()> {
    match config.log {
        LogTo::Off => Ok(()),
        LogTo::Stderr if report::stderr_is_ours(config) => send_to(2, bytes),
        LogTo::Stderr => Err(libc::EBADF),
        LogTo::File(pattern) => {
            let sent = aside::unshared_often(top, |files| {
                if !pattern.to_bytes().contains(&b'%') {
                    return send_to_file(files, pattern, bytes);
                }
                let path = report::expand(pattern);
                path.as_c().map_or(Err(libc::ENAMETOOLONG), |name| send_to_file(files, name, bytes))
            });
            if sent == Err(place::FOREIGN) {
                complain_once(pattern);
            }
            sent
        }
    }
}

fn send_to_file(files: Files, name: &CStr, bytes: &[u8]) -> sys::Result<()> {
    let fd = place::open_output(files, name, libc::O_WRONLY | libc::O_CREAT)?;
    let sent = send_to(fd, bytes);
    files.close(fd);
    sent
}

/// Says, once in a program, that the log is another user's. Other errors are in the report alone: a disk may have space again.
fn complain_once(pattern: &CStr) {
    static IS_SAID: AtomicBool = AtomicBool::new(false);
    if !IS_SAID.swap(true, Ordering::Relaxed) {
        report::tell(|line| {
            let _ = writeln!(
                line,
                "epollshim: EPOLLSHIM_LOG: cannot write '{}': EPERM{}; the lines of process {} are dropped",
                pattern.to_bytes().escape_ascii(),
                place::hint(place::FOREIGN),
                sys::getpid()
            );
        });
    }
}

/// Whether the log, if it is there, may be used by this user. Asked at load. Err(path): another user's.
pub fn prepare(config: &Config) -> Result<(), &'static CStr> {
    let LogTo::File(pattern) = config.log else { return Ok(()) };
    let opened = aside::unshared(|files| {
        let path = report::expand(pattern);
        let fd = place::open_output(files, path.as_c().ok_or(libc::ENAMETOOLONG)?, libc::O_WRONLY)?;
        files.close(fd);
        Ok(())
    });
    if opened == Some(Err(place::FOREIGN)) { Err(pattern) } else { Ok(()) }
}

fn send_to(fd: i32, bytes: &[u8]) -> sys::Result<()> {
    for _ in 0..TRIES {
        let patience = if IS_STUCK.load(Ordering::Relaxed) { 0 } else { PATIENCE_MS };
        if let Ok(false) = sys::writable(fd, patience) {
            IS_STUCK.store(true, Ordering::Relaxed);
            return Err(libc::ETIMEDOUT);
        }
        IS_STUCK.store(false, Ordering::Relaxed);
        match put(fd, bytes) {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(_) => {
                IS_TORN.store(true, Ordering::Relaxed);
                return Err(libc::ENOSPC);
            }
            // Somebody else was faster.
            Err(libc::EAGAIN) => {}
            Err(error) => return Err(error),
        }
    }
    Err(libc::EAGAIN)
}

/// Between poll and write another thread, or another process, may have filled the pipe: a plain write would wait for its
/// reader, for ever, and with all signals blocked. (The log's own file is opened with O_NONBLOCK.)
fn put(fd: i32, bytes: &[u8]) -> sys::Result<usize> {
    if fd != 2 {
        return sys::write(fd, bytes);
    }
    match sys::write_at_once(fd, bytes) {
        Err(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL) => sys::write(fd, bytes),
        Err(libc::EAGAIN) if is_file(fd) => sys::write(fd, bytes),
        done => done,
    }
}

fn is_file(fd: i32) -> bool {
    sys::status(fd).is_ok_and(|status| status.st_mode & libc::S_IFMT == libc::S_IFREG)
}
