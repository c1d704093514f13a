//! The census in this process's recording, brought up to date with each change: so it is there
//! after any end of the process.
//!
//! What is in the file are copies of the words of places.rs and table.rs, and not these themselves:
//! the child of a fork would share them with its parent. Where the copies lie is in the page that
//! the kernel wipes at fork. (A child that is forked by a handler amid [`follow`] may still write
//! one word of its parent's file, with a value that the parent's word had a moment ago.)
//!
//! Invariant: a copy equals its word once no thread is between a change of the word and the return
//! of the [`changed`] that follows it. Each thread that changes a word compares afterwards, and
//! whoever has written a copy looks whether the word still is what it wrote.

use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence};

use epollshim_format::recording::census::{self as layout, number, place};
use epollshim_format::recording::kind;

use super::places::{self, CHUNK, PLACES};
use super::{AT_START, CORRECTED, HAS_MET_THE_LIMIT, PEAK, table};
use crate::above::Library;
use crate::{clock, process};

/// What this module needs of those above it.
pub trait Above {
    /// Begins the recording of this process, which calls [`begin`]. False: there will be none.
    fn begin_recording() -> bool;
    /// Reserves a part of the file, and stores in `place` where it is mapped, if nothing is there
    /// yet. Ok(false): there was. Err: no space, which the file says.
    fn census_part(kind: u64, bytes: usize, first: u64, place: &AtomicPtr<u8>) -> Result<bool, i32>;
    /// A place was used for the first time.
    fn new_site(site: usize);
    /// It is `now` (CLOCK_MONOTONIC): something may be due.
    fn look_at_time(now: u64);
}

/// Where the copies lie: null: nowhere yet; [`absent`]: there is no space. Release when a part is
/// mapped and zero, Acquire by those who write there.
#[repr(C)]
pub struct Mirror {
    totals: AtomicPtr<u8>,
    places: [AtomicPtr<u8>; PLACES / CHUNK],
    numbers: [AtomicPtr<u8>; number::SEGMENTS],
}

/// A recording is wanted.
static IS_FOLLOWED: AtomicBool = AtomicBool::new(false);

fn absent() -> *mut u8 {
    core::ptr::without_provenance_mut(1)
}

/// Recordings shall have the census. Called before there is one.
pub fn follow_all() {
    IS_FOLLOWED.store(true, Ordering::Relaxed);
}

#[inline(always)]
pub fn is_followed() -> bool {
    IS_FOLLOWED.load(Ordering::Relaxed)
}

/// A number and its place were changed by the caller.
#[inline(never)]
pub fn changed(fd: i32, index: u16) {
    let Some(mirror) = process::part::<Mirror>() else { return };
    let Some(totals) = mirror.totals_or_begin() else { return };
    follow(&PEAK, totals, layout::PEAK);
    mirror.follow_place(index);
    mirror.follow_number(fd);
    // Reading the clock takes as long as the rest.
    const EACH: u64 = 16;
    if places::at(index).made().is_multiple_of(EACH) {
        Library::look_at_time(clock::monotonic());
    }
}

/// The place was changed by the caller, and no number.
pub fn changed_place(index: u16) {
    if let Some(mirror) = process::part::<Mirror>().filter(|mirror| is_there(&mirror.totals)) {
        mirror.follow_place(index);
    }
}

/// The totals were changed by the caller.
pub fn changed_totals() {
    if is_followed()
        && let Some(totals) = process::part::<Mirror>().and_then(|mirror| start_of(&mirror.totals))
    {
        follow_totals(totals);
    }
}

/// The recording of this process has begun.
#[cold]
pub fn begin() {
    let Some(mirror) = process::part::<Mirror>().filter(|_| super::is_on()) else { return };
    if Library::census_part(kind::CENSUS, layout::HAS_MET_THE_LIMIT + 8, 0, &mirror.totals).is_err() {
        let _ = mirror.totals.compare_exchange(core::ptr::null_mut(), absent(), Ordering::Relaxed, Ordering::Relaxed);
    }
    // SeqCst: pairs with the fence in `totals_or_begin`. A thread that has changed something and
    // found no totals has changed it before what is looked at here.
    fence(Ordering::SeqCst);
    // Now, while there is room: at the end there may be no descriptor free.
    refresh();
    for (_, place) in places::all() {
        Library::new_site(place.site());
    }
}

/// Brings all copies up to date.
#[cold]
pub fn refresh() {
    let Some(mirror) = process::part::<Mirror>() else { return };
    let Some(totals) = start_of(&mirror.totals) else { return };
    follow_totals(totals);
    for chunk in 0..(places::used() as usize).div_ceil(CHUNK) {
        mirror.refresh_places(chunk);
    }
    for segment in 0..number::SEGMENTS {
        if segment == 0 || number::range(segment).0 as i32 <= table::highest() {
            mirror.refresh_numbers(segment);
        }
    }
}

fn is_there(place: &AtomicPtr<u8>) -> bool {
    start_of(place).is_some()
}

#[inline(always)]
fn start_of(place: &AtomicPtr<u8>) -> Option<*mut u8> {
    let start = place.load(Ordering::Acquire);
    (start.addr() > 1).then_some(start)
}

fn follow_totals(totals: *mut u8) {
    let set = |place: usize, value: u64| {
        // SAFETY: a word of the totals' page, which is mapped for good.
        unsafe { word(totals, place) }.store(value, Ordering::Relaxed);
    };
    follow(&PEAK, totals, layout::PEAK);
    follow(&CORRECTED, totals, layout::CORRECTED);
    // These change once, or not while the process runs.
    let is_first = super::generation() == 0;
    set(layout::AT_START, if is_first { u64::from(AT_START.load(Ordering::Relaxed)) } else { 0 });
    set(layout::GENERATION, u64::from(super::generation()));
    set(layout::HAS_MET_THE_LIMIT, u64::from(HAS_MET_THE_LIMIT.load(Ordering::Relaxed)));
}

/// # Safety
/// `start + place` must be an aligned word of a mapping that lasts.
unsafe fn word<'a>(start: *mut u8, place: usize) -> &'a AtomicU64 {
    // SAFETY: the caller promises such a word.
    unsafe { &*start.wrapping_add(place).cast::<AtomicU64>() }
}

/// Brings the copy of a word up to date, which lies at `place` of a part of the file.
#[inline(always)]
fn follow(source: &AtomicU64, start: *mut u8, place: usize) {
    // SAFETY: a word of a part that is mapped for good: the callers' places are within it.
    let copy = unsafe { word(start, place) };
    // Whoever changes the word later compares too.
    if copy.load(Ordering::Relaxed) != source.load(Ordering::Relaxed) {
        write(source, copy);
    }
}

#[inline(never)]
fn write(source: &AtomicU64, copy: &AtomicU64) {
    /// Only a thread that changes the word takes another turn from this one.
    const TURNS: usize = 100;
    let mut value = source.load(Ordering::Relaxed);
    for _ in 0..TURNS {
        // SeqCst, and no plain store, which may become visible after the look at the word below,
        // and would then leave an older value there than another thread wrote meanwhile.
        copy.swap(value, Ordering::SeqCst);
        let now = source.load(Ordering::SeqCst);
        if now == value {
            return;
        }
        value = now;
    }
}

impl Mirror {
    #[inline(always)]
    fn totals_or_begin(&self) -> Option<*mut u8> {
        let start = self.totals.load(Ordering::Acquire);
        if start.addr() > 1 { Some(start) } else { self.begin_if_new(start) }
    }

    #[cold]
    #[inline(never)]
    fn begin_if_new(&self, start: *mut u8) -> Option<*mut u8> {
        if !start.is_null() {
            return None;
        }
        // SeqCst: pairs with the fence in `begin`.
        fence(Ordering::SeqCst);
        if self.totals.load(Ordering::Acquire).is_null() && !Library::begin_recording() {
            let null = core::ptr::null_mut();
            let _ = self.totals.compare_exchange(null, absent(), Ordering::Relaxed, Ordering::Relaxed);
        }
        start_of(&self.totals)
    }

    #[inline(always)]
    fn follow_place(&self, index: u16) {
        let chunk = index as usize / CHUNK;
        match self.places.get(chunk).and_then(start_of) {
            Some(start) => copy_place(index, start),
            None => self.refresh_places(chunk),
        }
    }

    #[inline(always)]
    fn follow_number(&self, fd: i32) {
        let segment = number::segment(fd as u32);
        match self.numbers.get(segment).and_then(start_of) {
            Some(start) => copy_number(fd, segment, start),
            None => self.refresh_numbers(segment),
        }
    }

    #[cold]
    #[inline(never)]
    fn refresh_places(&self, chunk: usize) {
        let Some(place) = self.places.get(chunk) else { return };
        if let Some(start) = part(place, kind::PLACES, CHUNK * place::SIZE, (chunk * CHUNK) as u64) {
            let end = ((chunk + 1) * CHUNK).min(places::used() as usize);
            (chunk * CHUNK..end).for_each(|index| copy_whole(index as u16, start));
        }
    }

    #[cold]
    #[inline(never)]
    fn refresh_numbers(&self, segment: usize) {
        let Some(place) = self.numbers.get(segment) else { return };
        let (first, count) = number::range(segment);
        if let Some(start) = part(place, kind::NUMBERS, count as usize * 8, u64::from(first)) {
            let end = (first + count).min(table::highest().wrapping_add(1) as u32);
            (first..end).for_each(|fd| copy_number(fd as i32, segment, start));
        }
    }
}

/// Where a part lies; it is made if it is missing, and not known to have no space.
fn part(place: &AtomicPtr<u8>, kind: u64, bytes: usize, first: u64) -> Option<*mut u8> {
    let null = core::ptr::null_mut();
    if place.load(Ordering::Acquire).is_null() && Library::census_part(kind, bytes, first, place).is_err() {
        let _ = place.compare_exchange(null, absent(), Ordering::Relaxed, Ordering::Relaxed);
    }
    // SeqCst: what another thread changes after this, it copies itself.
    fence(Ordering::SeqCst);
    start_of(place)
}

/// Of a row, what creations and ends change. Its other words change when creations reach a power of
/// two, and before `turned` does (Acquire: pairs with the Release there).
#[inline(always)]
fn copy_place(index: u16, start: *mut u8) {
    let words = places::at(index).words();
    let at = index as usize % CHUNK * place::SIZE;
    let [_, counts, more, _, peak, floor, _, _, _, _, turned, ..] = words;
    // SAFETY: as in `follow`.
    let copy = unsafe { word(start, at + place::TURNED) };
    if copy.load(Ordering::Relaxed) != turned.load(Ordering::Acquire) {
        return copy_whole(index, start);
    }
    follow(counts, start, at + place::COUNTS);
    follow(more, start, at + place::MORE);
    follow(peak, start, at + place::PEAK);
    follow(floor, start, at + place::FLOOR);
}

#[cold]
#[inline(never)]
fn copy_whole(index: u16, start: *mut u8) {
    let at = index as usize % CHUNK * place::SIZE;
    for (number, source) in places::at(index).words().iter().enumerate() {
        follow(source, start, at + number * 8);
    }
}

#[inline(always)]
fn copy_number(fd: i32, segment: usize, start: *mut u8) {
    let (first, _) = number::range(segment);
    if let Some(source) = table::word(fd) {
        follow(source, start, (fd as u32 - first) as usize * 8);
    }
}
