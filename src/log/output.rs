//! Getting a line out: put together in a place of its own, and written by one write.

use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use core::cell::UnsafeCell;
use core::fmt::{self, Write};

use super::file::{self, Queued};
use crate::config::{Config, LogTo};
use crate::sigsafe::{self, Quiet};
use crate::{output, process, registers, sys};

/// The longest line: what a pipe takes in one piece.
const LONGEST: usize = 4096;
/// What putting one together needs, several times over.
const STACK: usize = 28 * 1024;
/// Lines that can be put together at one time; those beyond are dropped.
const PLACES: usize = 64;

#[repr(C, align(16))]
pub struct Place {
    stack: UnsafeCell<[u8; STACK]>,
    /// A line's end, for a line that follows a torn one, and the line.
    line: UnsafeCell<[u8; LONGEST]>,
    /// The process whose thread has it; 0: none. One that a fork left taken is free: that thread is not here.
    owner: AtomicU64,
    /// What it is in for, where the line goes to a file.
    pub queued: Queued,
}

// SAFETY: the memory is touched only by the thread that has taken the place, and read by the one that has claimed its line.
unsafe impl Sync for Place {}

impl Place {
    /// Its stack.
    pub fn room(&self) -> sigsafe::Room {
        sigsafe::Room::new(self.stack.get().cast(), STACK)
    }

    /// What was put together, of that length, with the line's end before it.
    ///
    /// # Safety
    /// Nobody writes there meanwhile: the caller has the place, or has claimed its line.
    pub unsafe fn line(&self, length: usize) -> &[u8] {
        // SAFETY: by this function's contract.
        unsafe { &*self.line.get() }.get(..length).unwrap_or_default()
    }
}

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

/// The places that were ever taken.
pub fn places() -> impl Iterator<Item = &'static Place> {
    // SAFETY: null, or a place, which is never unmapped. Acquire: the kernel has zeroed it.
    PLACE.iter().filter_map(|slot| unsafe { slot.load(Ordering::Acquire).as_ref() })
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
    // A copy in each place that writes would be several kilobytes.
    #[inline(never)]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Puts a line together and writes it, and tells `count` whether it went out.
pub fn write(
    to: &LogTo,
    config: &Config,
    render: impl FnOnce(&mut Bytes) -> fmt::Result,
    count: impl FnOnce(sys::Result<()>),
) {
    // Signals are blocked first: a handler that left for good would keep the place, the file's descriptor and the count.
    let quiet = Quiet::new();
    let written = take().map_or(Err(libc::EAGAIN), |place| {
        let mut length = None;
        sigsafe::on_stack(place.room(), || {
            // SAFETY: the place is this thread's until it gives it back.
            let mut line = Bytes { bytes: unsafe { &mut *place.line.get() }, length: 0 };
            let is_whole = line.write_char('\n').and_then(|()| render(&mut line)).is_ok();
            length = is_whole.then_some(line.length);
        });
        let written = length.map_or(Err(libc::E2BIG), |length| send(to, config, place, length));
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
    let first = registers::token() >> 12;
    let is_got = |place: &Place| {
        let owner = place.owner.load(Ordering::Relaxed);
        owner != own && place.owner.compare_exchange(owner, own, Ordering::Acquire, Ordering::Relaxed).is_ok()
    };
    (0..PLACES).filter_map(|step| place(first.wrapping_add(step))).find(|place| is_got(place))
}

fn send(to: &LogTo, config: &Config, place: &Place, length: usize) -> sys::Result<()> {
    match *to {
        LogTo::Off => Ok(()),
        // SAFETY: the place is this thread's.
        LogTo::Descriptor(fd) if output::is_as_at_load(config, fd) => send_to(fd, unsafe { place.line(length) }, false),
        LogTo::Descriptor(_) => Err(libc::EBADF),
        LogTo::File(pattern) => file::send(pattern, place, length),
    }
}

/// Writes a line, with the line's end that comes before it if the last line was torn.
/// `is_own`: the file was opened for the log, with O_NONBLOCK.
pub fn send_to(fd: i32, with_end: &[u8], is_own: bool) -> sys::Result<()> {
    let mends = IS_TORN.swap(false, Ordering::Relaxed);
    let bytes = with_end.get(usize::from(!mends)..).unwrap_or_default();
    let sent = send_bytes(fd, bytes, is_own);
    if mends && sent.is_err() {
        IS_TORN.store(true, Ordering::Relaxed);
    }
    sent
}

fn send_bytes(fd: i32, bytes: &[u8], is_own: bool) -> sys::Result<()> {
    for _ in 0..TRIES {
        let patience = if IS_STUCK.load(Ordering::Relaxed) { 0 } else { PATIENCE_MS };
        if let Ok(false) = sys::writable(fd, patience) {
            IS_STUCK.store(true, Ordering::Relaxed);
            return Err(libc::ETIMEDOUT);
        }
        IS_STUCK.store(false, Ordering::Relaxed);
        match put(fd, bytes, is_own) {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(written) => {
                if !(is_own && cut(fd, written)) {
                    IS_TORN.store(true, Ordering::Relaxed);
                }
                return Err(libc::ENOSPC);
            }
            // Somebody else was faster.
            Err(libc::EAGAIN) => {}
            Err(error) => return Err(error),
        }
    }
    Err(libc::EAGAIN)
}

/// Removes what a full disk has left of a line, if it is the file's end. (Another process that adds
/// a line between the two calls, on a full disk, loses it.)
#[cold]
fn cut(fd: i32, written: usize) -> bool {
    let Ok(end) = sys::position(fd) else { return false };
    sys::status(fd).is_ok_and(|status| status.st_size == end)
        && sys::truncate(fd, end.saturating_sub(written as i64)).is_ok()
}

/// Between poll and write another thread, or another process, may have filled the pipe: a plain write would wait for its
/// reader, for ever, and with all signals blocked. (The log's own file is opened with O_NONBLOCK.)
fn put(fd: i32, bytes: &[u8], is_own: bool) -> sys::Result<usize> {
    if is_own {
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
