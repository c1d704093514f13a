//! The calls that create descriptors: a record for each place (call site) and kind, with how many
//! descriptors were created there and how their number grew.

pub use super::table::PLACES;
use crate::sync::{AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering};

use epollshim_format::census::{Kind, Row};
use epollshim_format::recording::census::place;

use super::lingering;
use super::mirror::{self, Above};
use crate::above::Library;
use crate::{clock, sys};

/// A call of the program that creates descriptors of a kind. All-zero is a valid, unused one.
#[repr(C, align(64))]
pub struct Place {
    /// The site in 48 bits, the kind above, and a bit that is set if in use ([`place::key`]); 0:
    /// not in use.
    key: AtomicU64,
    /// The number of open ones in the lower 28 bits (the kernel's numbers have 30, but there is no
    /// memory for so many). Above: the number of closed ones. When that reaches the highest bit, it
    /// is carried into `more`.
    counts: AtomicU64,
    more: AtomicU64,
    /// Open when this process began.
    base: AtomicU64,
    peak: AtomicU64,
    /// The lowest number of open ones since creations last reached a power of two.
    floor: AtomicU64,
    /// The same for the four spans before that, the newest first.
    floors: [AtomicU64; 4],
    /// CLOCK_MONOTONIC when creations reached the last two powers of two.
    turned: AtomicU64,
    turned_before: AtomicU64,
    /// How many had lost their other end at these moments: 16 bits each, the newest lowest
    /// (lingering.rs).
    gone: AtomicU64,
    /// How many waits the process had made by then. Not in recordings.
    rounds: AtomicU64,
}

const CLOSED: u32 = place::CLOSED;
const ALIVE: u64 = (1 << CLOSED) - 1;
const OVERFULL: u64 = 1 << 63;

// A recording has the same words in the same order.
const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Place>() == place::SIZE);
    assert!(offset_of!(Place, key) == place::KEY && offset_of!(Place, counts) == place::COUNTS);
    assert!(offset_of!(Place, more) == place::MORE && offset_of!(Place, base) == place::BASE);
    assert!(offset_of!(Place, peak) == place::PEAK && offset_of!(Place, floor) == place::FLOOR);
    assert!(offset_of!(Place, floors) == place::FLOORS && offset_of!(Place, turned) == place::TURNED);
    assert!(offset_of!(Place, turned_before) == place::TURNED_BEFORE);
    assert!(offset_of!(Place, gone) == place::GONE);
    assert!(place::GONE + 8 == place::WORDS * 8 && CHUNK == place::ENTRIES);
};

/// Records in a chunk. Chunks are mapped when needed, and stay mapped. The Release in `map` pairs
/// with the Acquire in `at`: the kernel has zeroed the chunk before.
pub const CHUNK: usize = 256;
static ALL: [AtomicPtr<Place>; PLACES / CHUNK] = [const { AtomicPtr::new(core::ptr::null_mut()) }; PLACES / CHUNK];
static NOWHERE: Place = Place::new();

impl Place {
    const fn new() -> Place {
        Place {
            key: AtomicU64::new(0),
            counts: AtomicU64::new(0),
            more: AtomicU64::new(0),
            base: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            floors: [const { AtomicU64::new(0) }; 4],
            turned: AtomicU64::new(0),
            turned_before: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
        }
    }

    /// The return address, or a stack's; 0: no hook saw it.
    pub fn site(&self) -> usize {
        place::site(self.key.load(Ordering::Relaxed)) as usize
    }

    pub fn kind(&self) -> Kind {
        place::kind(self.key.load(Ordering::Relaxed))
    }

    pub fn live(&self) -> u64 {
        self.counts.load(Ordering::Relaxed) & ALIVE
    }

    pub fn closed(&self) -> u64 {
        self.more.load(Ordering::Relaxed) + (self.counts.load(Ordering::Relaxed) >> CLOSED)
    }

    /// How many were ever open, without those carried into `more`.
    #[inline(always)]
    pub fn made(&self) -> u64 {
        let counts = self.counts.load(Ordering::Relaxed);
        (counts & ALIVE) + (counts >> CLOSED)
    }

    /// How many this process has created.
    pub fn born(&self) -> u64 {
        (self.live() + self.closed()).saturating_sub(self.base.load(Ordering::Relaxed))
    }

    /// How many were open when this process was forked.
    pub fn base(&self) -> u64 {
        self.base.load(Ordering::Relaxed)
    }

    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub fn count_birth(&self, index: u16) {
        let before = self.counts.fetch_add(1, Ordering::Relaxed);
        let live = (before & ALIVE) + 1;
        if live > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(live, Ordering::Relaxed);
        }
        let made = live + (before >> CLOSED) + self.more.load(Ordering::Relaxed);
        let born = made.wrapping_sub(self.base.load(Ordering::Relaxed));
        if born & born.wrapping_sub(1) == 0 {
            self.turn(index, live, born);
        }
    }

    /// Called when creations have reached a power of two. One thread reaches each.
    #[cold]
    #[inline(never)]
    fn turn(&self, index: u16, live: u64, born: u64) {
        let mut floor = self.floor.swap(live, Ordering::Relaxed);
        let gone = lingering::look(index, self.kind(), live, born, &self.rounds).min(0xffff);
        self.gone.store(self.gone.load(Ordering::Relaxed) << 16 | gone, Ordering::Relaxed);
        for place in &self.floors {
            floor = place.swap(floor, Ordering::Relaxed);
        }
        self.turned_before.store(self.turned.load(Ordering::Relaxed), Ordering::Relaxed);
        // Release: pairs with the Acquire in `copy_place` of mirror.rs. A thread that sees this
        // change sees the others.
        self.turned.store(clock::monotonic(), Ordering::Release);
    }

    #[inline(always)]
    pub fn died(&self) {
        let before = self.counts.fetch_add((1 << CLOSED) - 1, Ordering::Relaxed);
        let live = (before & ALIVE).saturating_sub(1);
        if live < self.floor.load(Ordering::Relaxed) {
            self.floor.store(live, Ordering::Relaxed);
        }
        if before & OVERFULL != 0 {
            self.carry();
        }
    }

    #[cold]
    #[inline(never)]
    fn carry(&self) {
        // Only one of the threads that see the bit clears it.
        if self.counts.fetch_and(!OVERFULL, Ordering::Relaxed) & OVERFULL != 0 {
            self.more.fetch_add(OVERFULL >> CLOSED, Ordering::Relaxed);
        }
    }

    /// Its words, in the order of the layout of recordings.
    pub fn words(&self) -> &[AtomicU64; place::WORDS] {
        // SAFETY: a `Place` begins with WORDS atomics of one word, as the assertions above check.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    pub fn row(&self) -> Row {
        Row::read(|at| self.words().get(at / 8).map_or(0, |word| word.load(Ordering::Relaxed)))
    }

    fn after_fork(&self) {
        let live = self.live();
        self.base.store(live, Ordering::Relaxed);
        self.counts.store(live, Ordering::Relaxed);
        self.more.store(0, Ordering::Relaxed);
        self.peak.store(live, Ordering::Relaxed);
        self.floor.store(0, Ordering::Relaxed);
        for word in self.floors.iter().chain([&self.gone, &self.rounds]) {
            word.store(0, Ordering::Relaxed);
        }
    }
}

/// The chunk of a record, mapped if it is missing. False: no memory.
fn prepare(index: u16) -> bool {
    let Some(chunk) = ALL.get(index as usize / CHUNK) else { return false };
    !chunk.load(Ordering::Acquire).is_null() || map(chunk)
}

#[cold]
#[inline(never)]
fn map(chunk: &AtomicPtr<Place>) -> bool {
    let bytes = CHUNK * size_of::<Place>();
    let Ok(start) = sys::map(bytes) else { return false };
    if chunk.compare_exchange(core::ptr::null_mut(), start.cast(), Ordering::Release, Ordering::Relaxed).is_err() {
        // SAFETY: another thread stored a chunk first. No other thread has seen this one.
        unsafe { sys::unmap(start, bytes) };
    }
    true
}

/// The record of a number that [`of`] returned.
#[inline(always)]
pub fn at(index: u16) -> &'static Place {
    let start = ALL.get(index as usize / CHUNK).map_or(core::ptr::null_mut(), |chunk| chunk.load(Ordering::Acquire));
    if start.is_null() {
        return &NOWHERE;
    }
    // SAFETY: `map` stored a mapping of CHUNK records, which is never unmapped. Zero is a valid
    // record.
    unsafe { &*start.add(index as usize % CHUNK) }
}

/// The record of a place and a kind. It is created if there is none.
#[inline(always)]
pub fn of(site: usize, kind: Kind) -> (u16, &'static Place) {
    let key = place::key(site as u64, kind);
    let index = FOUND.get(first(key)).map_or(0, |index| index.load(Ordering::Relaxed));
    let place = at(index);
    if place.key.load(Ordering::Relaxed) == key { (index, place) } else { look_on(key) }
}

#[inline(always)]
fn first(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50) as usize
}

/// How many records are in use. The first one is for descriptors that find no other. Records are
/// taken in order, so that a walk of all of them is short.
static USED_UP_TO: AtomicU32 = AtomicU32::new(1);
/// A hash table from keys to the numbers of records; 0: free.
static FOUND: [AtomicU16; 2 * PLACES] = [const { AtomicU16::new(0) }; 2 * PLACES];

#[cold]
#[inline(never)]
fn look_on(key: u64) -> (u16, &'static Place) {
    if !prepare(0) {
        return (0, &NOWHERE);
    }
    for step in 0..2 * PLACES {
        let Some(found) = FOUND.get((first(key) + step) % (2 * PLACES)) else { break };
        let mut index = found.load(Ordering::Acquire);
        if index == 0 {
            let Some(taken) = take(key) else { break };
            // Release: pairs with the Acquire above. A reader that finds the record sees its key.
            // If another thread was first, this record stays unused.
            match found.compare_exchange(0, taken, Ordering::Release, Ordering::Acquire) {
                Ok(_) => {
                    if mirror::is_followed() {
                        Library::new_site(place::site(key) as usize);
                    }
                    return (taken, at(taken));
                }
                Err(other) => index = other,
            }
        }
        let place = at(index);
        if place.key.load(Ordering::Relaxed) == key {
            return (index, place);
        }
    }
    (0, at(0))
}

fn take(key: u64) -> Option<u16> {
    let next = |used: u32| (used < PLACES as u32).then_some(used + 1);
    let index = USED_UP_TO.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()? as u16;
    if !prepare(index) {
        return None;
    }
    at(index).key.store(key, Ordering::Relaxed);
    Some(index)
}

/// How many records are in use: those with numbers below it.
pub fn used() -> u32 {
    USED_UP_TO.load(Ordering::Relaxed)
}

/// All records in which something was counted.
pub fn all() -> impl Iterator<Item = (u16, &'static Place)> {
    let count = USED_UP_TO.load(Ordering::Relaxed);
    (0..count)
        .map(|index| (index as u16, at(index as u16)))
        .filter(|(_, place)| !core::ptr::eq(*place, &NOWHERE))
        .filter(|(_, place)| place.counts.load(Ordering::Relaxed) | place.more.load(Ordering::Relaxed) != 0)
}

pub fn after_fork() {
    all().for_each(|(_, place)| place.after_fork());
}
