//! Keeps each record (`EPOLLSHIM_RECORD_RING=full`) in areas of records, one after the other. Each
//! area is reserved before it is touched.
//!
//! ```text
//! block.area ──▶ head: taken, first │ record │ record │ ...  (first area: in the thread's segment)
//!                  │
//!                  └─ one instruction takes a place: a handler runs before or after it
//! ```
//!
//! A place after the last means that the area is full. Then another area is reserved, twice as
//! large, and the pointer is moved, with all signals blocked. Each record gets its place by one
//! instruction, whatever interrupts the thread, so nothing waits for a handler or for a frame below
//! it. A full area is unmapped, unless a frame below a handler may still be writing into it.
//!
//! A record that finds no place is dropped, and counted on the thread's page. So each call either
//! takes a place or is counted there, once.

use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering, own_increment};

use epollshim_format::recording::{PAGE, area, record};

use super::file::{NoRoom, State, word};
use super::threads::{CallRecord, PerThread, put};
use crate::thread::Block;
use crate::{sigsafe, sys};

/// Where the records of a thread go. It lies in the thread's block, which the kernel wipes at fork.
/// All-zero: nowhere.
#[repr(C)]
pub struct Records {
    /// An [`Area`]. 0: none.
    area: AtomicUsize,
    /// How many frames of the thread are writing a record: more than one if a handler has
    /// interrupted one. A frame that was left by a jump stays counted, and then nothing is unmapped
    /// any more.
    writing: AtomicU32,
    /// The place of the thread's segment in the directory.
    thread: AtomicU32,
}

/// The start of an area, and in the low bits the exponent of its size, a power of two. (An area
/// begins on a page boundary.) Both are in one word, so that a handler changes both or neither.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Area(usize);

impl Area {
    fn new(start: *mut u8, bytes: usize) -> Area {
        Area(start as usize | bytes.trailing_zeros() as usize)
    }

    fn start(self) -> *mut u8 {
        (self.0 & !(PAGE - 1)) as *mut u8
    }

    fn bytes(self) -> usize {
        1 << (self.0 & (PAGE - 1))
    }

    fn places(self) -> u64 {
        ((self.bytes() - area::RECORDS) / record::SIZE) as u64
    }

    fn word(self, place: usize) -> &'static AtomicU64 {
        // SAFETY: callers pass an aligned offset in the head of the area. The area stays mapped as
        // long as `Records::writing` counts a frame that found it, and the caller is one.
        unsafe { word(self.start(), place) }
    }
}

/// The size of the largest area: 65,535 records. Larger ones are created as the directory fills
/// (file/segments.rs).
pub const LARGEST: usize = 4 << 20;
/// For how many nanoseconds records are dropped before the file is asked to grow again.
const AGAIN: u64 = 100_000_000;
/// The same if another process holds the turn to create segments and never ends it (a child of
/// vfork that was killed): each attempt takes two seconds.
const MUCH_LATER: u64 = 60_000_000_000;

impl Records {
    /// Sets the first area, in the thread's own segment, whose place in the directory is `thread`.
    pub fn begin(&self, start: *mut u8, thread: u32) {
        self.thread.store(thread, Ordering::Relaxed);
        self.area.store(Area::new(start, area::IN_THREAD).0, Ordering::Relaxed);
    }

    /// The block now belongs to another thread, no frame of which is writing.
    pub fn pass_on(&self) {
        self.writing.store(0, Ordering::Relaxed);
    }

    pub fn is_on(&self) -> bool {
        self.area.load(Ordering::Relaxed) != 0
    }
}

/// Keeps a record of a call, or counts it as dropped.
pub fn write(block: &Block, call: &CallRecord, time: u64) {
    let records = &block.part::<PerThread>().records;
    // Counted before the area is looked up, so that the area stays mapped.
    step(&records.writing, true);
    match place(records, call.ended) {
        Some((at, number)) => {
            // SAFETY: `place` returned an unused place in an area of this thread. The area stays
            // mapped until the last frame that writes has returned.
            unsafe { put(at, number, call, time) };
        }
        None => dropped(block),
    }
    step(&records.writing, false);
}

/// Takes a place. Returns its address and the number of the record. None: there is no place.
#[inline(always)]
fn place(records: &Records, now: u64) -> Option<(*mut u8, u64)> {
    let mut area = Area(records.area.load(Ordering::Relaxed));
    loop {
        if area.0 == 0 {
            return None;
        }
        let place = own_increment(area.word(area::TAKEN));
        if place < area.places() {
            let at = area.start().wrapping_add(area::RECORDS + place as usize * record::SIZE);
            return Some((at, area.word(area::FIRST).load(Ordering::Relaxed).wrapping_add(place)));
        }
        area = grow(records, area, now)?;
    }
}

/// The area that follows a full one.
#[cold]
#[inline(never)]
fn grow(records: &Records, full: Area, now: u64) -> Option<Area> {
    let state = State::of_this_process()?;
    if records.area.load(Ordering::Relaxed) == full.0 && now < state.again.load(Ordering::Relaxed) {
        return None;
    }
    let grown = sigsafe::on_own_stack(|| {
        // No handler runs from here on. One may have run before, and may have replaced the full
        // area.
        let current = Area(records.area.load(Ordering::Relaxed));
        if current != full {
            return Some(current);
        }
        let first = full.word(area::FIRST).load(Ordering::Relaxed).wrapping_add(full.places());
        let wanted = (full.bytes() * 2).clamp(area::IN_THREAD, LARGEST);
        match state.grow(records.thread.load(Ordering::Relaxed), wanted, first) {
            Ok((start, bytes)) => {
                let new = Area::new(start, bytes);
                records.area.store(new.0, Ordering::Relaxed);
                let is_in_thread = first == full.places();
                if records.writing.load(Ordering::Relaxed) == 1 && !is_in_thread {
                    // SAFETY: the area is a whole mapping of `State::grow`. `writing` is 1, so no
                    // other frame of the thread refers to it, and no other thread does.
                    unsafe { sys::unmap(full.start(), full.bytes()) };
                }
                Some(new)
            }
            Err(why) => {
                let again = match why {
                    NoRoom::ForGood => u64::MAX,
                    NoRoom::ForNow(libc::EBUSY) => now.saturating_add(MUCH_LATER),
                    NoRoom::ForNow(_) => now.saturating_add(AGAIN),
                };
                state.again.store(again, Ordering::Relaxed);
                None
            }
        }
    });
    if grown.is_none() {
        // There was no memory for a stack of its own.
        state.again.store(now.saturating_add(AGAIN), Ordering::Relaxed);
    }
    grown.flatten()
}

#[cold]
fn dropped(block: &Block) {
    // In the child of a fork, whose block was wiped in the meantime, the count would be the
    // parent's.
    if block.part::<PerThread>().records.is_on() {
        own_increment(super::threads::dropped_of(block));
    }
}

/// Adds or subtracts 1 by one instruction: a handler subtracts what it has added before the thread
/// continues.
#[inline(always)]
fn step(count: &AtomicU32, more: bool) {
    // SAFETY: a reference is a valid, aligned word. Only this thread writes it.
    unsafe { crate::arch::counters::step(count.as_ptr(), more) }
}
