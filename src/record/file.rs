//! The file: its header, its directory, and segments that are reserved before they are touched.

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence};
use core::ffi::CStr;

use epollshim_format::control;
use epollshim_format::recording::{
    DIRECTORY, FIRST_SEGMENT, MACHINE, MAGIC, PAGE, SEGMENTS, VERSION, area, entry, header, kind, stopped,
};

use super::losses::{self, Losses};
use crate::path::Path;
use crate::sigsafe::Files;
use crate::{clock, config, place, process, procfs, seccomp, sigsafe, sys};

/// This process's recording. In the page that the kernel wipes at fork: all-zero is a process that
/// has none yet.
#[repr(C)]
pub struct State {
    /// [`BEGINNING`], [`ON`], [`OFF`]; 0: not begun.
    phase: AtomicU32,
    /// One segment is made at a time: [`FREE`], [`MAKING`], [`AWAITED`].
    making: AtomicU32,
    /// How often a segment was finished: by it a waiting thread knows that others make progress.
    turns: AtomicU32,
    /// How many segments the directory has.
    segments: AtomicU32,
    /// The errno of the first reservation that failed.
    trouble: AtomicU32,
    /// Where the file ends.
    end: AtomicU64,
    /// The file's device and inode. A file of that name may later be another.
    identity: [AtomicU64; 2],
    /// Space of the file that is mapped for later segments: its address, its place in the file, its
    /// length. Changed by the thread that makes a segment.
    spare: AtomicPtr<u8>,
    spare_at: AtomicU64,
    spare_bytes: AtomicU64,
    /// Calls that were dropped before there was a header to count them in.
    early: AtomicU64,
    /// CLOCK_MONOTONIC from which on the file may be asked again to grow for records.
    pub again: AtomicU64,
    /// Header and directory. Release when they are complete, Acquire by readers.
    start: AtomicPtr<u8>,
    /// The totals, under the ledger's lock.
    pub totals: AtomicPtr<u8>,
    /// The state of the tables of instances and interests (tables.rs).
    pub tables: AtomicU32,
    pub control: super::control::Steered,
    /// The series of the run; and a thread writes a row of it.
    pub series: AtomicPtr<u8>,
    pub series_busy: AtomicU32,
    /// Where the parts of the arena of stacks are mapped; null: nowhere yet.
    pub stacks: [AtomicPtr<u8>; crate::stacks::PARTS],
}

/// Why there is no room for more records.
pub enum NoRoom {
    /// The file has its largest size, or the most segments. Neither shrinks.
    ForGood,
    /// By an errno.
    ForNow(i32),
}

/// The smallest segment of records.
const LEAST: usize = PAGE;
/// What is mapped for later where the file may become unreachable.
const SPARE: usize = 1 << 20;
/// Records leave these places of the directory to new threads, to tables and modules.
const PLACES_LEFT: usize = SEGMENTS / 8;

// Values of `State::making`. No thread makes a segment.
const FREE: u32 = 0;
const MAKING: u32 = 1;
/// A thread makes one, and others sleep until it is done.
const AWAITED: u32 = 2;

const BEGINNING: u32 = 1;
const ON: u32 = 2;
const OFF: u32 = 3;

/// A word of a mapped file.
///
/// # Safety
/// `start + place` must be an aligned word of a mapping that lasts.
pub unsafe fn word<'a>(start: *mut u8, place: usize) -> &'a AtomicU64 {
    // SAFETY: the caller promises such a word.
    unsafe { &*start.wrapping_add(place).cast::<AtomicU64>() }
}

impl State {
    /// None: there is no page.
    #[inline(always)]
    pub fn of_this_process() -> Option<&'static State> {
        process::part()
    }

    #[inline(always)]
    pub fn is_on(&self) -> bool {
        self.phase.load(Ordering::Acquire) == ON
    }

    /// The file could not be made.
    pub fn is_off(&self) -> bool {
        self.phase.load(Ordering::Acquire) == OFF
    }

    /// Makes the file, unless another thread has begun to. True: this call has made it.
    pub fn begin(&self) -> bool {
        let is_first = || self.phase.compare_exchange(0, BEGINNING, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if self.phase.load(Ordering::Relaxed) == 0 {
            // On a stack of its own, before the word says that a thread makes the file: a handler
            // that came in between would wait for the frame below it, all other threads for both,
            // and none of them would get its place in the file. (The present stack may be a
            // handler's small one. And a frame that is jumped out of must not leave a descriptor
            // open.)
            match sigsafe::on_own_stack(|| is_first().then(|| self.settle(self.make()))) {
                Some(Some(is_made)) => return is_made,
                Some(None) => {}
                None if is_first() => return self.settle(Err(libc::ENOMEM)),
                None => {}
            }
        }
        // Another thread makes the file (docs/performance.md, "Recorded calls").
        for _ in 0..2000 {
            if self.phase.load(Ordering::Acquire) != BEGINNING {
                break;
            }
            sys::sleep(100_000);
        }
        false
    }

    /// Stores the result of the beginning. True: there is a file.
    fn settle(&self, made: sys::Result<()>) -> bool {
        if let Err(error) = made {
            self.note_trouble(error);
            losses::has_no_file(error);
        }
        super::tables::want_tables();
        // Release: a thread that finds it on sees header and directory.
        self.phase.store(if made.is_ok() { ON } else { OFF }, Ordering::Release);
        made.is_ok()
    }

    fn make(&self) -> sys::Result<()> {
        // The control pages too, through the descriptor that made the file. The name might refer to
        // another file by now.
        let bytes = FIRST_SEGMENT + control::BYTES;
        let start = with_file(libc::O_CREAT | libc::O_EXCL, |fd| {
            let status = sys::status(fd)?;
            let [device, inode] = &self.identity;
            device.store(status.st_dev, Ordering::Relaxed);
            inode.store(status.st_ino, Ordering::Relaxed);
            sys::allocate(fd, 0, bytes)?;
            sys::map_part(fd, 0, bytes, None)
        })?;
        // SAFETY: the pages lie behind the directory, in the same mapping.
        unsafe { word(start, FIRST_SEGMENT + control::IMPOSSIBLE) }
            .store(u64::from(config::allows_impossible()), Ordering::Relaxed);
        enter(start, 0, FIRST_SEGMENT as u64, control::BYTES as u64, 0, kind::CONTROL);
        write_header(start);
        self.end.store(bytes as u64, Ordering::Relaxed);
        self.segments.store(1, Ordering::Relaxed);
        self.start.store(start, Ordering::SeqCst);
        self.drop_calls(0);
        losses::has_file(start);
        Ok(())
    }

    /// The control pages, mapped for good; None: there is no file.
    pub fn control_pages(&self) -> Option<*mut u8> {
        let start = self.start.load(Ordering::Acquire);
        (self.is_on() && !start.is_null()).then(|| start.wrapping_add(FIRST_SEGMENT))
    }

    /// Faults have been given a seed after the file was made.
    pub fn note_seed(&self, seed: u64) {
        if let (Some(place), Some(has)) = (self.header(header::SEED), self.header(header::HAS_SEED)) {
            place.store(seed, Ordering::Relaxed);
            has.store(1, Ordering::Relaxed);
        }
    }

    /// Reserves a segment at the end of the file and maps it: at `fixed`, in place of what is
    /// there, or anywhere. Calls `fill` before the segment is entered into the directory. None: no
    /// space; nothing is mapped.
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

    /// The same for a segment that only one thread makes: `place` gets its address as soon as it is
    /// mapped. Calls `first` before it is made. Ok(false): it existed. Err: the error number, also
    /// noted in the header.
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
            // Release: a thread that reads the address finds the segment mapped.
            let fill = |start| place.store(start, Ordering::Release);
            self.segment_alone(directory, kind, bytes, extra, None, fill).map(|_| true)
        };
        let made = sigsafe::on_own_stack(|| self.alone(make)).unwrap_or(Err(libc::ENOMEM));
        made.inspect_err(|error| self.note_trouble(*error))
    }

    /// Makes and maps a segment of records, of `wanted` bytes or of another power of two, for the
    /// thread in that place of the directory. Its first record has the number `first`. Called on a
    /// stack of its own (`sigsafe.rs`).
    pub fn grow(&self, thread: u32, wanted: usize, first: u64) -> Result<(*mut u8, usize), NoRoom> {
        let most = config::get().map_or(0, |config| config.record_max);
        let made = self.alone(|directory| {
            let (end, places) = (self.end.load(Ordering::Relaxed), self.segments.load(Ordering::Relaxed) as usize);
            if places + PLACES_LEFT >= SEGMENTS {
                return Ok(Err(stopped::PLACES));
            }
            // Where half of the directory is in use, each segment adds a 32nd to the file at least:
            // 384 of them make it 100,000 times as large.
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
                    // SAFETY: the segment's head, mapped just now.
                    unsafe { word(start, area::FIRST).store(first, Ordering::Relaxed) };
                };
                let made = self.segment_alone(directory, kind::RECORDS, bytes, u64::from(thread), None, fill);
                made.map(|start| (start, bytes))
            };
            // A disk that is nearly full may have a little left.
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

    /// Runs `work` with header and directory, while no other thread makes a segment. Called on a
    /// stack of its own (`sigsafe.rs`), so that the thread that has the turn is not interrupted.
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
    /// processor, or for a slow disk. If no turn ends in two seconds, the thread that has it is
    /// gone (a child of vfork that was killed). It never waits longer than half a minute.
    fn wait_for_turn(&self) -> bool {
        const NAP: i64 = 100_000_000;
        const EACH: usize = 20;
        // Acquire and Release: one segment is in the directory before the next is made.
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
                // A filter of the program forbids the futex.
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

    /// The place in the directory of the segment that is being made: for its `fill`.
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

    /// Makes the file another user's (`u32::MAX`: it stays as it is), and maps space for later
    /// segments, for when the file cannot be opened any more.
    #[cold]
    #[inline(never)]
    pub fn prepare_to_leave(&self, user: u32) {
        // What fails shows where the file is to grow.
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

    /// Takes a segment from the space that was mapped before: its address, and its place in the
    /// file. None: there is not enough.
    #[cold]
    fn take_spare(&self, bytes: usize, fixed: Option<*mut u8>) -> Option<(*mut u8, u64)> {
        let left = self.spare_bytes.load(Ordering::Relaxed).checked_sub(bytes as u64)?;
        let (mut start, at) = (self.spare.load(Ordering::Relaxed), self.spare_at.load(Ordering::Relaxed));
        self.spare.store(start.wrapping_add(bytes), Ordering::Relaxed);
        self.spare_at.store(at + bytes as u64, Ordering::Relaxed);
        self.spare_bytes.store(left, Ordering::Relaxed);
        if let Some(place) = fixed {
            // SAFETY: whole pages of the spare mapping, which nothing refers to, in place of memory
            // that the caller of `segment` gives for it.
            unsafe { sys::move_over(start, bytes, place) }.ok()?;
            start = place;
        }
        Some((start, at))
    }

    fn note_trouble(&self, error: i32) {
        let _ = self.trouble.compare_exchange(0, error as u32, Ordering::Relaxed, Ordering::Relaxed);
        self.add(header::TROUBLE, 0);
        if let Some(header) = self.header(header::TROUBLE) {
            let _ = header.compare_exchange(0, error as u64, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn header(&self, place: usize) -> Option<&'static AtomicU64> {
        let start = self.start.load(Ordering::Acquire);
        // SAFETY: places in the header are aligned, and the header is mapped for good.
        (!start.is_null()).then(|| unsafe { word(start, place) })
    }

    /// Adds to a count in the header.
    pub fn add(&self, place: usize, amount: u64) {
        if let Some(word) = self.header(place) {
            word.fetch_add(amount, Ordering::Relaxed);
        }
    }

    pub fn losses(&self) -> Option<Losses> {
        let phase = self.phase.load(Ordering::Acquire);
        let counted = |place| self.header(place).map_or(0, |word| word.load(Ordering::Relaxed));
        matches!(phase, ON | OFF).then(|| Losses {
            has_file: phase == ON,
            trouble: self.trouble.load(Ordering::Relaxed) as i32,
            children: counted(header::CHILDREN_LOST),
            children_trouble: counted(header::CHILDREN_TROUBLE) as i32,
        })
    }

    fn set_bits(&self, place: usize, bits: u64) {
        if let Some(word) = self.header(place) {
            word.fetch_or(bits, Ordering::Relaxed);
        }
    }

    /// Counts calls of which the file has nothing: in the header, as soon as there is one.
    pub fn drop_calls(&self, calls: u64) {
        self.early.fetch_add(calls, Ordering::SeqCst);
        // SeqCst: of the thread that counts and the thread that makes the header, the later one
        // sees what the other has done.
        if !self.start.load(Ordering::SeqCst).is_null() {
            self.add(header::CALLS_DROPPED, self.early.swap(0, Ordering::SeqCst));
        }
    }

    pub fn ended(&self, how: u64) {
        let start = self.start.load(Ordering::Acquire);
        if !start.is_null() {
            sigsafe::on_own_stack(|| write_names(start));
        }
        if let (Some(end), Some(ended)) = (self.header(header::END), self.header(header::ENDED)) {
            end.store(how, Ordering::Relaxed);
            ended.store(clock::monotonic(), Ordering::Relaxed);
        }
    }
}

/// Runs `work` in a helper with this process's file, opened for reading and writing.
fn with_file(flags: i32, work: impl FnOnce(i32) -> sys::Result<*mut u8>) -> sys::Result<*mut u8> {
    let directory = config::get().and_then(|config| config.record).ok_or(libc::ENOENT)?;
    let name = name();
    let name = name.as_c().ok_or(libc::ENAMETOOLONG)?;
    let done = sigsafe::unshared(|files| {
        let directory = place::open_directory(files, directory)?;
        let opened = files.open_at(directory, name, libc::O_RDWR | libc::O_NOFOLLOW | flags, 0o600);
        files.close(directory);
        let fd = opened?;
        let done = work(fd);
        files.close(fd);
        done
    });
    done.unwrap_or(Err(libc::ENOMEM))
}

/// Enters a segment into the directory.
fn enter(file: *mut u8, index: usize, at: u64, length: u64, extra: u64, kind: u64) {
    let place = DIRECTORY + index * entry::SIZE;
    // SAFETY: within the directory, which is mapped for good.
    let set = |field, value, order| unsafe { word(file, place + field).store(value, order) };
    set(entry::START, at, Ordering::Relaxed);
    set(entry::LENGTH, length, Ordering::Relaxed);
    set(entry::EXTRA, extra, Ordering::Relaxed);
    // Release: the kind is last, so that a reader that sees it sees the segment.
    set(entry::KIND, kind, Ordering::Release);
}

/// The name of this process's file.
#[inline(never)] // for size
pub fn path() -> Option<Path> {
    let directory = config::get()?.record?;
    let mut path = Path::new();
    path.push(directory.to_bytes());
    path.push(b"/");
    path.push(name().as_c()?.to_bytes());
    Some(path)
}

/// The same within the directory.
fn name() -> Path<64> {
    Path::of(format_args!("epollshim.{}.{}.rec", process::pid(), process::began_unix()))
}

fn write_header(start: *mut u8) {
    // SAFETY: places in the header are aligned, and it was mapped just now.
    let set = |place, value| unsafe { word(start, place).store(value, Ordering::Relaxed) };
    set(header::VERSION, VERSION);
    set(header::MACHINE, MACHINE);
    set(header::PID, process::pid() as u64);
    set(header::PPID, sys::getppid() as u64);
    set(header::BEGAN, process::began());
    set(header::BEGAN_UNIX, process::began_unix());
    if let Some(seed) = config::seed() {
        set(header::SEED, seed);
        set(header::HAS_SEED, 1);
    }
    set(header::RING, super::threads::ring_length() as u64);
    set(header::RECORDS_MOST, config::get().map_or(0, |config| config.record_max));
    let mut exe = [0u8; header::EXE_BYTES];
    if let Some(exe) = procfs::read_link(c"/proc/self/exe", &mut exe) {
        write_text(start, header::EXE, exe);
        set(header::EXE_LENGTH, exe.len() as u64);
    }
    write_names(start);
    // It comes last: a file without it is not valid. SAFETY: places in the header are aligned, and
    // it was mapped just now.
    unsafe { word(start, header::MAGIC).store(MAGIC, Ordering::Release) };
}

/// Writes the program's name and its arguments: at the beginning, and at the end, since many
/// programs change them once they know what they are ("nginx: worker process").
#[inline(never)] // for size
fn write_names(start: *mut u8) {
    // SAFETY: places in the header are aligned, and it is mapped for good.
    let length_word = unsafe { word(start, header::ARGUMENTS_LENGTH) };
    let mut comm = [0u8; 17];
    if let Some(length) = procfs::read_short(c"/proc/self/comm", &mut comm) {
        // With its terminating zero, in case it is shorter than the last one.
        if let Some(newline) = comm.get_mut(length.saturating_sub(1)..) {
            newline.fill(0);
        }
        write_text(start, header::COMM, comm.get(..16).unwrap_or_default());
    }
    let mut space = [0u8; header::ARGUMENTS_BYTES];
    if let Some(length) = procfs::read_short(c"/proc/self/cmdline", &mut space) {
        let arguments = only_arguments(space.get(..length).unwrap_or_default());
        // A reader in the meantime, or after a kill, must not find half of each text.
        length_word.store(0, Ordering::Relaxed);
        compiler_fence(Ordering::Release);
        write_text(start, header::ARGUMENTS, arguments);
        compiler_fence(Ordering::Release);
        length_word.store(arguments.len() as u64, Ordering::Relaxed);
    }
}

fn write_text(start: *mut u8, place: usize, text: &[u8]) {
    // SAFETY: within the header, which has room for the longest; only this process writes there.
    unsafe { start.wrapping_add(place).copy_from_nonoverlapping(text.as_ptr(), text.len()) };
}

/// As many as the program was called with. What follows them is what setproctitle left.
fn only_arguments(text: &[u8]) -> &[u8] {
    let count = config::arguments();
    let mut ends = text.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(place, _)| place + 1);
    let end = if count == 0 { None } else { ends.nth(count - 1) };
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

/// For a directory that root makes: every user may add files to it and open their own by name, only
/// root may list it, and no user may remove another's (the sticky bit). A server that gives up
/// root's rights writes its recordings as its new user.
const DROP_BOX: u32 = 0o1733;

/// Whether a directory can take recordings, as far as that can be known. Creates it if it does not
/// exist. An inherited filter's refusal is no answer: then the first call of the program shows it,
/// and the report says so.
pub fn prepare_directory(directory: &CStr) -> sys::Result<()> {
    let is_answer = |error: &i32| !(seccomp::is_inherited() && matches!(*error, libc::EPERM | libc::ENOSYS));
    let is_new = match sys::make_directory(directory, 0o700) {
        Ok(()) => true,
        Err(libc::EEXIST) => false,
        Err(error) if is_answer(&error) => return Err(error),
        Err(_) => false,
    };
    let prepared = sigsafe::unshared(|files| {
        if is_new && sys::geteuid() == 0 {
            open_to_all(files, directory);
        }
        // Opened for lookups only: a process that writes into a drop box cannot read it.
        let fd = place::open_directory(files, directory)?;
        let prepared = sys::may_write_in(fd);
        files.close(fd);
        prepared
    });
    prepared.unwrap_or(Err(libc::ENOMEM)).or_else(|error| if is_answer(&error) { Err(error) } else { Ok(()) })
}

/// Done afterwards, since the program's umask removes bits from the mode of a mkdir. On a file
/// system that has no such modes it stays root's own.
fn open_to_all(files: Files, directory: &CStr) {
    if let Ok(fd) = files.open(directory, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0) {
        let _ = sys::set_mode(fd, DROP_BOX);
        files.close(fd);
    }
}
