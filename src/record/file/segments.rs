//! Segments: parts of the file, which are reserved at its end before they are touched. Only one is
//! created at a time.

use crate::sync::{AtomicPtr, Ordering};

use epollshim_format::recording::{PAGE, SEGMENTS, area, header, kind, stopped};

use super::head::{enter, word};
use super::open::with_file;
use super::{NoRoom, State};
use crate::{config, sigsafe, sys};

/// The smallest segment of records.
const LEAST: usize = PAGE;
/// How many bytes are mapped ahead if the file may become unreachable.
const SPARE: usize = 1 << 20;
/// Records leave so many places of the directory to new threads, tables and modules.
const PLACES_LEFT: usize = SEGMENTS / 8;

// Values of `State::making`. `FREE`: no thread creates a segment.
const FREE: u32 = 0;
const MAKING: u32 = 1;
/// A thread creates one, and others sleep until it is done.
const AWAITED: u32 = 2;

impl State {
    /// Reserves a segment at the end of the file and maps it: at `fixed`, in place of what is
    /// there, or anywhere. Calls `fill` before the segment is entered into the directory. None:
    /// there is no space, and nothing is mapped.
    pub fn segment(
        &self,
        kind: u64,
        bytes: usize,
        extra: u64,
        fixed: Option<*mut u8>,
        fill: impl FnOnce(*mut u8),
    ) -> Option<*mut u8> {
        if self.start.load(Ordering::Acquire).is_null() {
            return None;
        }
        let made = sigsafe::on_own_stack(|| {
            self.alone(|directory| self.segment_alone(directory, kind, bytes, extra, fixed, fill))
        });
        made.unwrap_or(Err(libc::ENOMEM)).map_err(|error| self.note_trouble(error)).ok()
    }

    /// The same for a segment that must exist only once. `place` gets its address as soon as it is
    /// mapped. Calls `first` before the segment is created. Ok(false): it existed. Err: the errno,
    /// which is also noted in the header.
    pub fn part(
        &self,
        kind: u64,
        bytes: usize,
        extra: u64,
        place: &AtomicPtr<u8>,
        first: &dyn Fn(),
    ) -> sys::Result<bool> {
        let make = |directory: *mut u8| {
            if !place.load(Ordering::Relaxed).is_null() {
                return Ok(false);
            }
            first();
            // Release: pairs with Acquire loads of `place`. A thread that reads the address finds
            // the segment mapped.
            let fill = |start| place.store(start, Ordering::Release);
            self.segment_alone(directory, kind, bytes, extra, None, fill).map(|_| true)
        };
        let made = sigsafe::on_own_stack(|| self.alone(make)).unwrap_or(Err(libc::ENOMEM));
        made.inspect_err(|error| self.note_trouble(*error))
    }

    /// Creates and maps a segment of records for the thread whose segment has the place `thread` in
    /// the directory. It has `wanted` bytes, or another power of two. Its first record has the
    /// number `first`. Must be called on a stack of its own (`sigsafe.rs`).
    pub fn grow(&self, thread: u32, wanted: usize, first: u64) -> Result<(*mut u8, usize), NoRoom> {
        let most = config::get().map_or(0, |config| config.record_max);
        let made = self.alone(|directory| {
            let (end, places) = (self.end.load(Ordering::Relaxed), self.segments.load(Ordering::Relaxed) as usize);
            if places + PLACES_LEFT >= SEGMENTS {
                return Ok(Err(stopped::PLACES));
            }
            // Once half of the directory is in use, each segment adds at least a 32nd to the file.
            // 384 such segments make it 100,000 times as large.
            let least = if places < SEGMENTS / 2 { 0 } else { (end as usize / 32).next_power_of_two() };
            let mut bytes = wanted.max(least);
            while end + bytes as u64 > most {
                bytes /= 2;
                if bytes < LEAST {
                    return Ok(Err(stopped::MOST));
                }
            }
            let make = |bytes| {
                let fill = |start: *mut u8| {
                    // SAFETY: the aligned head of a segment that was just mapped, for good.
                    unsafe { word(start, area::FIRST).store(first, Ordering::Relaxed) };
                };
                let made = self.segment_alone(directory, kind::RECORDS, bytes, u64::from(thread), None, fill);
                made.map(|start| (start, bytes))
            };
            // A nearly full disk may have a little space left.
            make(bytes)
                .or_else(|error| if bytes > area::IN_THREAD { make(area::IN_THREAD) } else { Err(error) })
                .map(Ok)
        });
        let why = match made {
            Ok(Ok(made)) => return Ok(made),
            Ok(Err(reason)) => {
                self.set_bits(header::RECORDS_STOPPED, reason);
                NoRoom::ForGood
            }
            Err(error) => {
                self.note_trouble(error);
                self.set_bits(header::RECORDS_STOPPED, stopped::SPACE);
                NoRoom::ForNow(error)
            }
        };
        Err(why)
    }

    /// Runs `work` with the address of header and directory, while no other thread creates a
    /// segment. Must be called on a stack of its own (`sigsafe.rs`), so that no handler interrupts
    /// the thread whose turn it is.
    fn alone<T>(&self, work: impl FnOnce(*mut u8) -> sys::Result<T>) -> sys::Result<T> {
        let directory = self.start.load(Ordering::Acquire);
        if directory.is_null() {
            return Err(libc::ENOENT);
        }
        if !self.wait_for_turn() {
            return Err(libc::EBUSY);
        }
        let done = work(directory);
        self.end_turn();
        done
    }

    /// Waits for the caller's turn. A thousand threads may begin at once, and each may wait for a
    /// processor or a slow disk. If no turn ends within two seconds, the thread whose turn it is
    /// has gone: a child of vfork that was killed. It never waits longer than half a minute.
    fn wait_for_turn(&self) -> bool {
        const NAP: i64 = 100_000_000;
        const EACH: usize = 20;
        // Acquire pairs with the Release in `end_turn`: one segment is in the directory before the
        // next is created.
        if self.making.compare_exchange(FREE, MAKING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return true;
        }
        let (mut turns, mut idle, mut naps) = (self.turns.load(Ordering::Relaxed), 0, 0);
        while naps < 15 * EACH && idle < EACH {
            if self.making.swap(AWAITED, Ordering::Acquire) == FREE {
                return true;
            }
            match sys::futex_wait(&self.making, AWAITED, NAP) {
                Ok(()) | Err(libc::EAGAIN | libc::EINTR) => continue,
                Err(libc::ETIMEDOUT) => {}
                // A seccomp filter of the program forbids the futex.
                Err(_) => sys::sleep(NAP),
            }
            naps += 1;
            let now = self.turns.load(Ordering::Relaxed);
            idle = if now == turns { idle + 1 } else { 0 };
            turns = now;
        }
        false
    }

    fn end_turn(&self) {
        self.turns.store(self.turns.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        if self.making.swap(FREE, Ordering::Release) == AWAITED {
            sys::futex_wake(&self.making);
        }
    }

    /// The place in the directory of the segment that is being created. Only for its `fill`.
    pub fn next_place(&self) -> u32 {
        self.segments.load(Ordering::Relaxed)
    }

    fn segment_alone(
        &self,
        directory: *mut u8,
        kind: u64,
        bytes: usize,
        extra: u64,
        fixed: Option<*mut u8>,
        fill: impl FnOnce(*mut u8),
    ) -> sys::Result<*mut u8> {
        let index = self.segments.load(Ordering::Relaxed) as usize;
        if index >= SEGMENTS {
            return Err(libc::ENOSPC);
        }
        let end = self.end.load(Ordering::Relaxed);
        let length = bytes.next_multiple_of(PAGE);
        let made = with_file(0, |fd| {
            self.check_identity(fd)?;
            sys::allocate(fd, end as usize, length)?;
            sys::map_part(fd, end as usize, length, fixed)
        });
        let (start, at) = match made {
            Ok(start) => (start, end),
            Err(error) => self.take_spare(length, fixed).ok_or(error)?,
        };
        fill(start);
        self.end.store(end.max(at + length as u64), Ordering::Relaxed);
        self.segments.store(index as u32 + 1, Ordering::Relaxed);
        enter(directory, index, at, length as u64, extra, kind);
        Ok(start)
    }

    fn check_identity(&self, fd: i32) -> sys::Result<()> {
        let status = sys::status(fd)?;
        let [device, inode] = self.identity.each_ref().map(|number| number.load(Ordering::Relaxed));
        if (status.st_dev, status.st_ino) == (device, inode) { Ok(()) } else { Err(libc::ESTALE) }
    }

    /// Gives the file to another user (`u32::MAX`: it keeps its owner), and maps space for later
    /// segments, because the file may not be opened again.
    #[cold]
    #[inline(never)]
    pub fn prepare_to_leave(&self, user: u32) {
        // A failure shows up when the file must grow.
        let prepare = |_: *mut u8| {
            let at = self.end.load(Ordering::Relaxed);
            let start = with_file(0, |fd| {
                self.check_identity(fd)?;
                let _ = sys::set_owner(fd, user);
                if !self.spare.load(Ordering::Relaxed).is_null() {
                    return Err(libc::EEXIST);
                }
                sys::allocate(fd, at as usize, SPARE)?;
                sys::map_part(fd, at as usize, SPARE, None)
            })?;
            self.spare.store(start, Ordering::Relaxed);
            self.spare_at.store(at, Ordering::Relaxed);
            self.spare_bytes.store(SPARE as u64, Ordering::Relaxed);
            self.end.store(at + SPARE as u64, Ordering::Relaxed);
            Ok(())
        };
        sigsafe::on_own_stack(|| self.alone(prepare));
    }

    /// Takes a segment from the space that was mapped ahead. Returns its address and its offset in
    /// the file. None: too little is left.
    #[cold]
    fn take_spare(&self, bytes: usize, fixed: Option<*mut u8>) -> Option<(*mut u8, u64)> {
        let left = self.spare_bytes.load(Ordering::Relaxed).checked_sub(bytes as u64)?;
        let (mut start, at) = (self.spare.load(Ordering::Relaxed), self.spare_at.load(Ordering::Relaxed));
        self.spare.store(start.wrapping_add(bytes), Ordering::Relaxed);
        self.spare_at.store(at + bytes as u64, Ordering::Relaxed);
        self.spare_bytes.store(left, Ordering::Relaxed);
        if let Some(place) = fixed {
            // SAFETY: `start` is whole pages of the spare mapping, which nothing refers to yet. The
            // caller of `segment` gives the memory at `place` to be replaced.
            unsafe { sys::move_over(start, bytes, place) }.ok()?;
            start = place;
        }
        Some((start, at))
    }
}
