//! Keeps each record (`EPOLLSHIM_RECORD_RING=full`) in areas of records, one after the other. Each
//! area is reserved before it is touched.
//!
//! ```text
//! block.area ──▶ head: taken, first │ record │ record │ ...      the first lies in the thread's own segment
//!                  │
//!                  └─ one instruction takes a place: a handler on this thread comes before it or after it
//! ```
//!
//! A place after the last means that the area is full. Another area is reserved, twice as large,
//! and the pointer is moved, with all signals blocked. So one instruction gives a record its place
//! for good, whatever comes in between, and nothing waits for a handler or for a frame below it. A
//! full area is unmapped, unless a frame below a handler may still be writing into it.
//!
//! A record that finds no place is dropped, and counted on the thread's page. Every call takes a
//! place or is counted there, once.

use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering, own_increment};

use epollshim_format::recording::{PAGE, area, record};

use super::file::{NoRoom, State, word};
use super::threads::{CallRecord, PerThread, put};
use crate::thread::Block;
use crate::{sigsafe, sys};

/// Where a thread's records go, in its block (which the kernel wipes at fork): all zero means
/// nowhere.
#[repr(C)]
pub struct Records {
    /// An [`Area`]; 0: none.
    area: AtomicUsize,
    /// How many frames of the thread are writing a record: a handler may have interrupted one. A
    /// frame that was jumped out of stays counted, so that nothing is unmapped from then on.
    writing: AtomicU32,
    /// The place of the thread's segment in the directory.
    thread: AtomicU32,
}

/// The start of an area, and in the low bits (an area begins a page) the power of two that its size
/// is. In one word, so that a handler changes both or neither.
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
        // SAFETY: in the head of an area, which stays mapped while a frame that found it is
        // writing.
        unsafe { word(self.start(), place) }
    }
}

/// The largest area: 65,535 records. Where the directory fills, larger ones are made (file.rs).
pub const LARGEST: usize = 4 << 20;
/// How long a thread's records are dropped before the file is asked to grow again: nanoseconds.
const AGAIN: u64 = 100_000_000;
/// The same if another process holds the file and does not release it (a child of vfork that was
/// killed): each try takes two seconds.
const MUCH_LATER: u64 = 60_000_000_000;

impl Records {
    /// The first area, in the thread's own segment, which has that place in the directory.
    pub fn begin(&self, start: *mut u8, thread: u32) {
        self.thread.store(thread, Ordering::Relaxed);
        self.area.store(Area::new(start, area::IN_THREAD).0, Ordering::Relaxed);
    }

    /// Another thread takes over the block: no frame of it is writing.
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
    // Before the area is looked up: from here on it stays mapped.
    step(&records.writing, true);
    match place(records, call.ended) {
        Some((at, number)) => {
            // SAFETY: a place in an area of this thread, mapped until the last frame that writes
            // has returned.
            unsafe { put(at, number, call, time) };
        }
        None => dropped(block),
    }
    step(&records.writing, false);
}

/// Takes a place: its address, and the record's number. None: there is none.
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
        // From here on no handler comes. One may have come before, and also found the area full.
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
                    // SAFETY: a whole mapping of `grow`. No other frame of the thread can refer to
                    // it.
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
        // No memory for a stack of its own.
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

/// Adds or subtracts one, by one instruction: a handler subtracts what it added before the thread
/// continues.
#[inline(always)]
fn step(count: &AtomicU32, more: bool) {
    // SAFETY: the word is this thread's own; no other writes it.
    unsafe { crate::arch::counters::step(count.as_ptr(), more) }
}
