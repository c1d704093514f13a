//! Writes a line: it is formatted in a place of its own, and written by one write.

use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use core::cell::UnsafeCell;
use core::fmt::{self, Write};

use super::file::{self, Queued};
use crate::config::{Config, LogTo};
use crate::sigsafe::{self, Quiet};
use crate::{output, process, registers, sys};

/// The longest line, which is what a pipe takes in one piece (PIPE_BUF).
const LONGEST: usize = 4096;
/// The stack on which a line is formatted: several times as large as that needs.
const STACK: usize = 28 * 1024;
/// How many lines can be formatted at one time. More are dropped.
const PLACES: usize = 64;

#[repr(C, align(16))]
pub struct Place {
    stack: UnsafeCell<[u8; STACK]>,
    /// A newline, which is written if the last line was torn, and the line.
    line: UnsafeCell<[u8; LONGEST]>,
    /// The process whose thread owns the place. 0: none. A place that still has an owner in the
    /// child of a fork is free, because the owning thread does not exist there.
    owner: AtomicU64,
    /// The state of the line in the queue, if it goes to a file.
    pub queued: Queued,
}

// SAFETY: `stack` and `line` are written only by the thread that owns the place, and `line` is read
// only by a thread that has claimed it (`Queued::claim`). The rest is atomics.
unsafe impl Sync for Place {}

impl Place {
    /// The stack of the place.
    pub fn room(&self) -> sigsafe::Room {
        sigsafe::Room::new(self.stack.get().cast(), STACK)
    }

    /// The newline and the line, of `length` bytes together.
    ///
    /// # Safety
    /// The caller must own the place, or have claimed its line, so that no thread writes there.
    pub unsafe fn line(&self, length: usize) -> &[u8] {
        // SAFETY: by this function's contract, no thread writes there.
        unsafe { &*self.line.get() }.get(..length).unwrap_or_default()
    }
}

/// Each place is mapped when it is first taken. The mapping thread stores it with Release, and
/// others load it with Acquire: they find the kernel's zeroes, which are a free place.
static PLACE: [AtomicPtr<Place>; PLACES] = [const { AtomicPtr::new(core::ptr::null_mut()) }; PLACES];

/// The place of a number. None: there is no memory.
fn place(number: usize) -> Option<&'static Place> {
    let slot = PLACE.get(number % PLACES)?;
    let mut start = slot.load(Ordering::Acquire);
    if start.is_null() {
        let mapped = sys::map(size_of::<Place>()).ok()?;
        start = mapped.cast();
        if let Err(first) = slot.compare_exchange(core::ptr::null_mut(), start, Ordering::Release, Ordering::Acquire) {
            // SAFETY: another thread was first, so this mapping was not published, and nothing
            // refers to it.
            unsafe { sys::unmap(mapped, size_of::<Place>()) };
            start = first;
        }
    }
    // SAFETY: a mapping of the size of a place, page-aligned, valid as zero bytes, and never
    // unmapped once it is published.
    Some(unsafe { &*start })
}

/// All places that are mapped.
pub fn places() -> impl Iterator<Item = &'static Place> {
    // SAFETY: the pointer is null, or a place, which is never unmapped. Acquire: pairs with the
    // Release in `place`.
    PLACE.iter().filter_map(|slot| unsafe { slot.load(Ordering::Acquire).as_ref() })
}

/// Set when a reader did not read for [`PATIENCE_MS`]. Lines are dropped until it does. Relaxed: an
/// approximate answer is good enough.
static IS_STUCK: AtomicBool = AtomicBool::new(false);
/// Set when a full disk has cut a line: the next line begins with a newline.
static IS_TORN: AtomicBool = AtomicBool::new(false);

/// How long a reader that does not read may block the program, once.
const PATIENCE_MS: i32 = 2000;

/// How often a pipe may be found full again before the line is dropped.
const TRIES: usize = 100;

/// The bytes of a line, as they are formatted.
pub struct Bytes<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl Write for Bytes<'_> {
    // Not inline: a copy in each caller would cost several kilobytes.
    #[inline(never)]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Formats a line and writes it. Calls `count` with the result.
pub fn write(
    to: &LogTo,
    config: &Config,
    render: impl FnOnce(&mut Bytes) -> fmt::Result,
    count: impl FnOnce(sys::Result<()>),
) {
    // Signals are blocked first: a handler that left by a jump would leave the place taken, the
    // file open, and the line uncounted.
    let quiet = Quiet::new();
    let written = take().map_or(Err(libc::EAGAIN), |place| {
        let mut length = None;
        sigsafe::on_stack(place.room(), || {
            // SAFETY: this thread owns the place until it stores 0 to `owner`, and no line of it is
            // queued yet.
            let mut line = Bytes { bytes: unsafe { &mut *place.line.get() }, length: 0 };
            let is_whole = line.write_char('\n').and_then(|()| render(&mut line)).is_ok();
            length = is_whole.then_some(line.length);
        });
        let written = length.map_or(Err(libc::E2BIG), |length| send(to, config, place, length));
        // Release: pairs with the Acquire in `take`. The next owner finds nothing of this line in
        // progress.
        place.owner.store(0, Ordering::Release);
        written
    });
    count(written);
    quiet.end();
}

/// Takes a free place. The search begins at one that this thread is likely to find free.
fn take() -> Option<&'static Place> {
    // Not the pid, because parent and child may both be pid 1, and a process may not know its own.
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
        // SAFETY: this thread owns the place.
        LogTo::Descriptor(fd) if output::is_as_at_load(config, fd) => send_to(fd, unsafe { place.line(length) }, false),
        LogTo::Descriptor(_) => Err(libc::EBADF),
        LogTo::File(pattern) => file::send(pattern, place, length),
    }
}

/// Writes a line, preceded by a newline if the last line was torn. `is_own`: the file was opened
/// for the log, with O_NONBLOCK.
pub fn send_to(fd: i32, with_end: &[u8], is_own: bool) -> sys::Result<()> {
    let repairs = IS_TORN.swap(false, Ordering::Relaxed);
    let bytes = with_end.get(usize::from(!repairs)..).unwrap_or_default();
    let sent = send_bytes(fd, bytes, is_own);
    if repairs && sent.is_err() {
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
            // Another writer has filled the pipe.
            Err(libc::EAGAIN) => {}
            Err(error) => return Err(error),
        }
    }
    Err(libc::EAGAIN)
}

/// Removes the part of a line that a full disk has taken, if it is at the end of the file. (If
/// another process appends a line between the two calls, on the full disk, that line is lost.)
#[cold]
fn cut(fd: i32, written: usize) -> bool {
    let Ok(end) = sys::position(fd) else { return false };
    sys::status(fd).is_ok_and(|status| status.st_size == end)
        && sys::truncate(fd, end.saturating_sub(written as i64)).is_ok()
}

/// Writes without waiting. Between poll and write, another thread or process may have filled the
/// pipe. A plain write would then wait for its reader, perhaps forever, with all signals blocked.
/// (The log's own file is opened with O_NONBLOCK.)
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
