//! A coarse series of the whole run: at most one row per second, and fewer in a long run
//! (`epollshim_format::recording::series`).
//!
//! Whether a row is due is checked where the clock was read anyway ([`look`]): after recorded calls
//! and, with a census, after some creations and closes. So there are no rows while a process is
//! idle, and nothing changes then.

use crate::sync::{AtomicU64, Ordering};

use epollshim_format::recording::{kind, series as layout, totals};

use super::file::{State, word};
use super::threads::note_time;
use crate::census::places;
use crate::findings::evaluation;
use crate::{clock, process, sigsafe, thread};

/// CLOCK_MONOTONIC when the next row is due. It is not wiped at fork: the first row of a child is
/// due when the next one of its parent would have been.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Adds a row if one is due. `now`: CLOCK_MONOTONIC.
#[inline(always)]
pub fn look(now: u64) {
    if now >= NEXT.load(Ordering::Relaxed) {
        look_closely(now);
    }
}

#[cold]
#[inline(never)]
fn look_closely(now: u64) {
    add(now);
    evaluation::at_times(now);
}

/// Adds a row. It needs only a few words of the present stack.
pub fn add(now: u64) {
    let Some(state) = State::of_this_process().filter(|state| state.is_on()) else { return };
    let Some(start) = of_file(state) else { return };
    // Acquire pairs with the Release below: one row is complete before the next is begun.
    if state.series_busy.swap(1, Ordering::Acquire) == 0 {
        let step = write(start, state, now);
        NEXT.store(now.saturating_add(step), Ordering::Relaxed);
        state.series_busy.store(0, Ordering::Release);
    }
}

/// Adds the last row.
pub fn end() {
    add(clock::monotonic());
}

fn of_file(state: &State) -> Option<*mut u8> {
    if state.series.load(Ordering::Acquire).is_null() {
        // Once, at the beginning of the recording. Not in memory that belongs to another process.
        let make = || state.part(kind::SERIES, layout::SIZE, 0, &state.series, &|| ()).is_ok();
        if !(process::is_owner() && make()) {
            NEXT.store(u64::MAX, Ordering::Relaxed);
            return None;
        }
    }
    Some(state.series.load(Ordering::Acquire)).filter(|start| !start.is_null())
}

/// Writes a row. Returns after how many nanoseconds the next is due.
fn write(start: *mut u8, state: &State, now: u64) -> u64 {
    // SAFETY: aligned words of the part, which has `ROWS` rows after its head and is never
    // unmapped.
    let at = |place: usize| unsafe { word(start, place) };
    let of_row = |row: usize, number: usize| at(layout::FIRST + row * layout::ROW + number * 8);
    let mut count = (at(layout::COUNT).load(Ordering::Relaxed) as usize).min(layout::ROWS);
    let mut step = at(layout::STEP).load(Ordering::Relaxed).max(layout::FIRST_STEP);
    if count == layout::ROWS {
        // Every second row stays. If the process is killed here, some rows are there twice.
        for row in 0..layout::ROWS / 2 {
            for number in 0..layout::ROW / 8 {
                of_row(row, number).store(of_row(row * 2 + 1, number).load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        count = layout::ROWS / 2;
        step = step.saturating_mul(2);
        at(layout::STEP).store(step, Ordering::Relaxed);
        at(layout::COUNT).store(count as u64, Ordering::Relaxed);
    }
    let set = |number: usize, value: u64| of_row(count, number).store(value, Ordering::Relaxed);
    // The time is written last: a row without a time is ignored.
    set(layout::AT, 0);
    (layout::KINDS..layout::ROW / 8).for_each(|number| set(number, 0));
    let (mut calls, mut waits) = (0u64, 0u64);
    for block in thread::all() {
        calls = calls.wrapping_add(block.counters.waits()).wrapping_add(block.counters.changes());
        waits = waits.wrapping_add(block.counters.waits());
        note_time(block);
    }
    set(layout::CALLS, calls);
    set(layout::WAITS, waits);
    let totals = state.totals.load(Ordering::Acquire);
    if !totals.is_null() {
        // SAFETY: aligned words of the totals' page, which is never unmapped.
        let of = |place| unsafe { word(totals, place) }.load(Ordering::Relaxed);
        set(layout::INSTANCES, of(totals::INSTANCES));
        set(layout::WATCHES, of(totals::WATCHES));
    }
    if crate::census::is_on() {
        for (_, place) in places::all() {
            let of_kind = of_row(count, layout::KINDS + place.kind() as usize);
            of_kind.store(of_kind.load(Ordering::Relaxed).wrapping_add(place.live()), Ordering::Relaxed);
        }
    }
    of_row(count, layout::AT).store(now, Ordering::Release);
    at(layout::COUNT).store(count as u64 + 1, Ordering::Relaxed);
    step
}

/// Adds the first row of a recording, while there is room.
pub fn begin() {
    let _ = sigsafe::on_own_stack(|| add(clock::monotonic()));
}
