//! Getting a line out: put together in a place of its own, and written by one write.

use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::fmt::{self, Write};

use crate::aside::{self, Quiet};
use crate::init::{Config, LogTo};
use crate::{process, report, sys, thread};

/// The longest line: what a pipe takes in one piece.
const LONGEST: usize = 4096;
/// What putting one together needs, several times over.
const STACK: usize = 28 * 1024;
/// Lines that can be put together at one time; those beyond are dropped.
const PLACES: usize = 64;

#[repr(C, align(16))]
struct Place {
    stack: UnsafeCell<[u8; STACK]>,
    line: UnsafeCell<[u8; LONGEST]>,
    /// The process whose thread has it; 0: none. One that a fork left taken is free: that thread is not here.
    owner: AtomicU64,
}

// SAFETY: the memory is touched only by the thread that has taken the place.
unsafe impl Sync for Place {}

/// Each is mapped when it is first taken. Release and Acquire: the kernel has zeroed it, which is a free place.
static PLACE: [AtomicPtr<Place>; PLACES] = [const { AtomicPtr::new(core::ptr::null_mut()) }; PLACES];

/// None: no memory.
fn place(number: usize) -> Option<&'static Place> {
    let slot = PLACE.get(number % PLACES)?;
    let mut start = slot.load(Ordering::Acquire);
    if start.is_null() {
        let mapped = sys::map(size_of::<Place>()).ok()?;
        start = mapped.cast();
        if let Err(first) = slot.compare_exchange(core::ptr::null_mut(), start, Ordering::Release, Ordering::Acquire) {
            // SAFETY: another thread was first; nobody has seen this one.
            unsafe { sys::unmap(mapped, size_of::<Place>()) };
            start = first;
        }
    }
    // SAFETY: page-aligned, large enough, valid as zero bytes, and never unmapped once it is published.
    Some(unsafe { &*start })
}

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
        let mut written = false;
        aside::on_stack(place.stack.get().cast(), STACK, || {
            // SAFETY: the place is this thread's until it gives it back.
            let mut line = Bytes { bytes: unsafe { &mut *place.line.get() }, length: 0 };
            let mends = IS_TORN.swap(false, Ordering::Relaxed);
            if mends {
                let _ = line.write_char('\n');
            }
            written = render(&mut line).is_ok()
                && line.bytes.get(..line.length).is_some_and(|bytes| send(config, bytes).is_ok());
            if mends && !written {
                IS_TORN.store(true, Ordering::Relaxed);
            }
        });
        // Release: the next taker (Acquire) finds nothing of this in progress.
        place.owner.store(0, Ordering::Release);
        written
    });
    count(written);
    quiet.end();
}

/// A free place, looked for from one that this thread is likely to find free.
fn take() -> Option<&'static Place> {
    // Not the pid: parent and child may both be pid 1, and the owner may not know its own.
    let own = process::identity().max(1);
    let first = thread::token() >> 12;
    let is_got = |place: &Place| {
        let owner = place.owner.load(Ordering::Relaxed);
        owner != own && place.owner.compare_exchange(owner, own, Ordering::Acquire, Ordering::Relaxed).is_ok()
    };
    (0..PLACES).filter_map(|step| place(first.wrapping_add(step))).find(|place| is_got(place))
}

fn send(config: &Config, bytes: &[u8]) -> sys::Result<()> {
    match config.log {
        LogTo::Off => Ok(()),
        LogTo::Stderr if report::stderr_is_ours(config) => send_to(2, bytes),
        LogTo::Stderr => Err(libc::EBADF),
        LogTo::File(pattern) => {
            let has_pattern = pattern.to_bytes().contains(&b'%');
            if !has_pattern {
                return send_to_file(pattern, bytes);
            }
            let path = report::expand(pattern);
            path.as_c().map_or(Err(libc::ENAMETOOLONG), |name| send_to_file(name, bytes))
        }
    }
}

fn send_to_file(name: &CStr, bytes: &[u8]) -> sys::Result<()> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_NONBLOCK | libc::O_NOCTTY;
    let fd = sys::open(name, flags, 0o600)?;
    let sent = send_to(fd, bytes);
    sys::close(fd);
    sent
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
