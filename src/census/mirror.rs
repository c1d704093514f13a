//! The census in this process's recording, updated with each change. So it is complete, however the
//! process ends.
//!
//! The file has copies of the words of places.rs and table.rs, and not the words themselves,
//! because the child of a fork would share them with its parent. The addresses of the copies are in
//! the page that the kernel wipes at fork. (A child that is forked by a signal handler during
//! [`follow`] may still write one word of its parent's file, with a value that the parent's word
//! had a moment ago.)
//!
//! Invariant: a copy equals its word if no thread is between a change of the word and the return of
//! the [`changed`] that follows it. Each thread that changes a word compares the copy afterwards,
//! and a thread that has written a copy checks that the word still has the value that it wrote.

use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence};

use epollshim_format::recording::census::{self as layout, number, place};
use epollshim_format::recording::kind;

use super::places::{self, CHUNK, PLACES};
use super::{AT_START, CORRECTED, HAS_MET_THE_LIMIT, PEAK, table};
use crate::above::Library;
use crate::{clock, process};

/// What this module needs from the layers above.
pub trait Above {
    /// Begins the recording of this process, which calls [`begin`]. False: there will be none.
    fn begin_recording() -> bool;
    /// Reserves a part of the file, and stores in `place` where it is mapped, if nothing is there
    /// yet. Ok(false): there was. Err: there is no space, which is noted in the file.
    fn census_part(kind: u64, bytes: usize, first: u64, place: &AtomicPtr<u8>) -> Result<bool, i32>;
    /// A place was used for the first time.
    fn new_site(site: usize);
    /// Does what is due at `now` (CLOCK_MONOTONIC).
    fn look_at_time(now: u64);
}

/// The addresses of the copies. Null: none yet; [`absent`]: there is no space. `Above::census_part`
/// stores an address with Release when a part is mapped and zero; [`start_of`] reads it with
/// Acquire before a write to the part.
#[repr(C)]
pub struct Mirror {
    totals: AtomicPtr<u8>,
    places: [AtomicPtr<u8>; PLACES / CHUNK],
    numbers: [AtomicPtr<u8>; number::SEGMENTS],
}

/// Recordings have the census.
static IS_FOLLOWED: AtomicBool = AtomicBool::new(false);

fn absent() -> *mut u8 {
    core::ptr::without_provenance_mut(1)
}

/// Makes recordings have the census. Called before there is a recording.
pub fn follow_all() {
    IS_FOLLOWED.store(true, Ordering::Relaxed);
}

#[inline(always)]
pub fn is_followed() -> bool {
    IS_FOLLOWED.load(Ordering::Relaxed)
}

/// Updates the copies of a number and its place, which the caller has changed.
#[inline(never)]
pub fn changed(fd: i32, index: u16) {
    let Some(mirror) = process::part::<Mirror>() else { return };
    let Some(totals) = mirror.totals_or_begin() else { return };
    follow(&PEAK, totals, layout::PEAK);
    mirror.follow_place(index);
    mirror.follow_number(fd);
    // Read the clock rarely: that takes as long as everything else here.
    const EACH: u64 = 16;
    if places::at(index).made().is_multiple_of(EACH) {
        Library::look_at_time(clock::monotonic());
    }
}

/// Updates the copy of a place, which the caller has changed.
pub fn changed_place(index: u16) {
    if let Some(mirror) = process::part::<Mirror>().filter(|mirror| is_there(&mirror.totals)) {
        mirror.follow_place(index);
    }
}

/// Updates the copies of the totals, which the caller has changed.
pub fn changed_totals() {
    if is_followed()
        && let Some(totals) = process::part::<Mirror>().and_then(|mirror| start_of(&mirror.totals))
    {
        follow_totals(totals);
    }
}

/// Called when the recording of this process has begun.
#[cold]
pub fn begin() {
    let Some(mirror) = process::part::<Mirror>().filter(|_| super::is_on()) else { return };
    if Library::census_part(kind::CENSUS, layout::HAS_MET_THE_LIMIT + 8, 0, &mirror.totals).is_err() {
        let _ = mirror.totals.compare_exchange(core::ptr::null_mut(), absent(), Ordering::Relaxed, Ordering::Relaxed);
    }
    // SeqCst: pairs with the fence in `begin_if_new`. If a thread has changed a word and then found
    // no totals, `refresh` below sees the change.
    fence(Ordering::SeqCst);
    // Map all parts now: at the end no descriptor may be free.
    refresh();
    for (_, place) in places::all() {
        Library::new_site(place.site());
    }
}

/// Updates all copies.
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
        // SAFETY: `start_of` returned `totals`, a page of the file that `Above::census_part` mapped
        // and nothing unmaps. `place` is an aligned offset of the layout within it.
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
/// `start + place` must be an aligned word of a mapping that is never unmapped.
unsafe fn word<'a>(start: *mut u8, place: usize) -> &'a AtomicU64 {
    // SAFETY: the caller promises such a word.
    unsafe { &*start.wrapping_add(place).cast::<AtomicU64>() }
}

/// Updates the copy of a word. The copy is at offset `place` of a part of the file.
#[inline(always)]
fn follow(source: &AtomicU64, start: *mut u8, place: usize) {
    // SAFETY: callers pass a `start` from `start_of`, a part of the file that `Above::census_part`
    // mapped and nothing unmaps, and an aligned offset of the layout within that part.
    let copy = unsafe { word(start, place) };
    // A thread that changes the word later compares, too.
    if copy.load(Ordering::Relaxed) != source.load(Ordering::Relaxed) {
        write(source, copy);
    }
}

#[inline(never)]
fn write(source: &AtomicU64, copy: &AtomicU64) {
    /// A turn repeats only if another thread has changed the word in between.
    const TURNS: usize = 100;
    let mut value = source.load(Ordering::Relaxed);
    for _ in 0..TURNS {
        // SeqCst: a plain store may become visible after the load of the word below, and would then
        // replace a newer value that another thread wrote meanwhile.
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
        // SeqCst: pairs with the fence in `begin`. Either this thread sees the totals, or `begin`
        // sees the change that this thread has made.
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

/// The address of a part. It is created if it is missing, unless it is known that there is no
/// space.
fn part(place: &AtomicPtr<u8>, kind: u64, bytes: usize, first: u64) -> Option<*mut u8> {
    let null = core::ptr::null_mut();
    if place.load(Ordering::Acquire).is_null() && Library::census_part(kind, bytes, first, place).is_err() {
        let _ = place.compare_exchange(null, absent(), Ordering::Relaxed, Ordering::Relaxed);
    }
    // SeqCst: a thread that changes a word after this fence finds the part, and copies the word
    // itself.
    fence(Ordering::SeqCst);
    start_of(place)
}

/// Copies the words of a row that creations and closes change. Its other words change when
/// creations reach a power of two, before `turned` does. The Acquire load of `turned` pairs with
/// the Release in `Place::turn`.
#[inline(always)]
fn copy_place(index: u16, start: *mut u8) {
    let words = places::at(index).words();
    let at = index as usize % CHUNK * place::SIZE;
    let [_, counts, more, _, peak, floor, _, _, _, _, turned, ..] = words;
    // SAFETY: `start` is from `start_of`, a part of the file that `Above::census_part` mapped and
    // nothing unmaps, and has CHUNK rows. `at` is the offset of one of them.
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
