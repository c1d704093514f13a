//! The file: its header, its directory, and its segments, which are reserved before they are
//! touched.

mod drop_box;
mod head;
mod open;
mod segments;

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use epollshim_format::control;
use epollshim_format::recording::{FIRST_SEGMENT, header, kind};

use self::head::{enter, write_header, write_names};
use self::open::with_file;
use super::losses::{self, Losses};
use crate::{clock, config, process, sigsafe, sys};

pub use self::drop_box::prepare_directory;
pub use self::head::word;
pub use self::open::path;

/// The recording of this process. It lies in the page that the kernel wipes at fork. All-zero: the
/// process has no recording yet.
#[repr(C)]
pub struct State {
    /// [`BEGINNING`], [`ON`] or [`OFF`]. 0: not begun.
    phase: AtomicU32,
    /// Only one segment is created at a time: `segments::FREE`, `segments::MAKING` or
    /// `segments::AWAITED`.
    making: AtomicU32,
    /// How many segments were finished. By it, a waiting thread sees that others make progress.
    turns: AtomicU32,
    /// How many segments the directory has.
    segments: AtomicU32,
    /// The errno of the first reservation that failed.
    trouble: AtomicU32,
    /// The length of the file.
    end: AtomicU64,
    /// The device and the inode of the file. Its name may later belong to another file.
    identity: [AtomicU64; 2],
    /// Space of the file that is mapped for later segments: its address, its offset in the file,
    /// and its length. Only the thread that creates a segment changes these.
    spare: AtomicPtr<u8>,
    spare_at: AtomicU64,
    spare_bytes: AtomicU64,
    /// How many calls were dropped before there was a header to count them in.
    early: AtomicU64,
    /// CLOCK_MONOTONIC from when on the file may be asked again to grow for records.
    pub again: AtomicU64,
    /// The header and the directory. `make` stores it with SeqCst when they are complete, and
    /// readers load it with Acquire.
    start: AtomicPtr<u8>,
    /// The totals. Changed under the ledger's lock.
    pub totals: AtomicPtr<u8>,
    /// The state of the tables of instances and interests (tables.rs).
    pub tables: AtomicU32,
    pub control: super::control::Steered,
    /// The series of the run, and whether a thread is writing a row of it.
    pub series: AtomicPtr<u8>,
    pub series_busy: AtomicU32,
    /// Where the parts of the arena of stacks are mapped. Null: not yet.
    pub stacks: [AtomicPtr<u8>; crate::stacks::PARTS],
}

/// Why there is no room for more records.
pub enum NoRoom {
    /// The file has its largest size, or the largest number of segments. Neither shrinks.
    ForGood,
    /// Because of this errno.
    ForNow(i32),
}

// Values of `State::phase`.
const BEGINNING: u32 = 1;
const ON: u32 = 2;
const OFF: u32 = 3;

impl State {
    /// None: there is no page that the kernel wipes at fork.
    #[inline(always)]
    pub fn of_this_process() -> Option<&'static State> {
        process::part()
    }

    #[inline(always)]
    pub fn is_on(&self) -> bool {
        self.phase.load(Ordering::Acquire) == ON
    }

    /// Whether the file could not be created.
    pub fn is_off(&self) -> bool {
        self.phase.load(Ordering::Acquire) == OFF
    }

    /// Creates the file, unless another thread has begun to. True: this call has created it.
    pub fn begin(&self) -> bool {
        let is_first = || self.phase.compare_exchange(0, BEGINNING, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if self.phase.load(Ordering::Relaxed) == 0 {
            // On a stack of its own, and before `phase` says that a thread creates the file.
            // Otherwise a handler that interrupted the thread in between would wait for the frame
            // below it, and all other threads for both. The present stack may also be a handler's
            // small one, and a frame that is left by a jump would leave a descriptor open.
            match sigsafe::on_own_stack(|| is_first().then(|| self.settle(self.make()))) {
                Some(Some(is_made)) => return is_made,
                Some(None) => {}
                None if is_first() => return self.settle(Err(libc::ENOMEM)),
                None => {}
            }
        }
        // Another thread creates the file (docs/performance.md, "Recorded calls").
        for _ in 0..2000 {
            if self.phase.load(Ordering::Acquire) != BEGINNING {
                break;
            }
            sys::sleep(100_000);
        }
        false
    }

    /// Stores whether the file could be created. True: there is a file.
    fn settle(&self, made: sys::Result<()>) -> bool {
        if let Err(error) = made {
            self.note_trouble(error);
            losses::has_no_file(error);
        }
        super::tables::want_tables();
        // Release: pairs with the Acquire in `is_on`. A thread that finds it on sees header and
        // directory.
        self.phase.store(if made.is_ok() { ON } else { OFF }, Ordering::Release);
        made.is_ok()
    }

    fn make(&self) -> sys::Result<()> {
        // The control pages are mapped through the same descriptor. The name might refer to another
        // file by now.
        let bytes = FIRST_SEGMENT + control::BYTES;
        let start = with_file(libc::O_CREAT | libc::O_EXCL, |fd| {
            let status = sys::status(fd)?;
            let [device, inode] = &self.identity;
            device.store(status.st_dev, Ordering::Relaxed);
            inode.store(status.st_ino, Ordering::Relaxed);
            sys::allocate(fd, 0, bytes)?;
            sys::map_part(fd, 0, bytes, None)
        })?;
        // SAFETY: the mapping has FIRST_SEGMENT + control::BYTES bytes, so that this aligned word
        // lies in it, and it is never unmapped.
        unsafe { word(start, FIRST_SEGMENT + control::IMPOSSIBLE) }
            .store(u64::from(config::allows_impossible()), Ordering::Relaxed);
        enter(start, 0, FIRST_SEGMENT as u64, control::BYTES as u64, 0, kind::CONTROL);
        write_header(start, super::threads::ring_length());
        self.end.store(bytes as u64, Ordering::Relaxed);
        self.segments.store(1, Ordering::Relaxed);
        self.start.store(start, Ordering::SeqCst);
        self.drop_calls(0);
        losses::has_file(start);
        Ok(())
    }

    /// The control pages, which are never unmapped. None: there is no file.
    pub fn control_pages(&self) -> Option<*mut u8> {
        let start = self.start.load(Ordering::Acquire);
        (self.is_on() && !start.is_null()).then(|| start.wrapping_add(FIRST_SEGMENT))
    }

    /// Notes a seed that faults got after the file was created.
    pub fn note_seed(&self, seed: u64) {
        if let (Some(place), Some(has)) = (self.header(header::SEED), self.header(header::HAS_SEED)) {
            place.store(seed, Ordering::Relaxed);
            has.store(1, Ordering::Relaxed);
        }
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
        // SAFETY: the places that callers pass are the aligned offsets of the header, which is
        // never unmapped.
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

    /// Counts calls that are missing in the file. They are counted in the header as soon as there
    /// is one.
    pub fn drop_calls(&self, calls: u64) {
        self.early.fetch_add(calls, Ordering::SeqCst);
        // SeqCst, as the store of `start` in `make`, which then calls this too: whichever of the
        // two threads is later sees what the other has stored.
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
