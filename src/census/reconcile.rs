//! Compares the census with the list of open descriptors in /proc, at load and for reports.

use crate::sync::Ordering;

use epollshim_format::census::Kind;

use super::table::{self, Entry};
use super::{AT_START, CORRECTED, GENERATION, PEAK, ROOM, mirror, places};
use crate::buffer::Buffer;
use crate::{clock, loaded, process, procfs, registers, sys};

/// What reports show of all descriptors.
#[derive(Clone, Copy)]
pub struct Census {
    pub live: u64,
    pub peak: u64,
    pub born: u64,
    pub closed: u64,
    /// Open at load, or when this process was forked.
    pub at_start: u64,
    /// Created where no hook saw it, and found in /proc.
    pub unseen: u64,
    pub corrected: u64,
}

impl Census {
    /// The current census. None: there is none.
    pub fn of_now() -> Option<Census> {
        if !super::is_on() {
            return None;
        }
        let sum = |count: fn(&places::Place) -> u64| places::all().map(|(_, place)| count(place)).sum::<u64>();
        let live = sum(places::Place::live);
        let is_seen = |place: &places::Place| place.site() != 0;
        let unseen = sum(|place| if place.site() == 0 { place.born() } else { 0 });
        let is_first = GENERATION.load(Ordering::Relaxed) == 0;
        let at_load = if is_first { u64::from(AT_START.load(Ordering::Relaxed)) } else { 0 };
        Some(Census {
            live,
            peak: PEAK.load(Ordering::Relaxed).max(live),
            born: places::all().filter(|(_, place)| is_seen(place)).map(|(_, place)| place.born()).sum(),
            closed: sum(places::Place::closed),
            at_start: at_load + sum(places::Place::base),
            // Descriptors that were open at load were noted as if they were created then.
            unseen: unseen.saturating_sub(at_load),
            corrected: CORRECTED.load(Ordering::Relaxed),
        })
    }
}

/// Notes the descriptors that are open at load.
pub fn take_stock() {
    procfs::each_descriptor(|fd, target| {
        AT_START.fetch_add(1, Ordering::Relaxed);
        let mut entry = found(fd, target);
        entry.set(Entry::AT_START, true);
        table::exchange(fd, Entry::UNKNOWN, entry);
    });
    PEAK.store(ROOM.alive(), Ordering::Relaxed);
}

/// Counts a descriptor whose creation no hook saw, and returns its entry.
fn found(_: i32, target: &[u8]) -> Entry {
    let kind = Kind::of_target(target);
    let (number, place) = places::of(0, kind);
    place.count_birth(number);
    ROOM.begin();
    Entry::alive(number, kind, super::generation(), registers::token())
}

/// Corrects the census by the kernel's list. False: /proc could not be read. Not for hooks.
///
/// Other threads continue in the meantime. So a difference is corrected only if it is still there a
/// little later, and nothing was noted about that number since.
pub fn reconcile() -> bool {
    if !super::is_on() {
        return true;
    }
    Buffer::lend(|differing: &mut Buffer<(i32, Entry)>| {
        let complete = Buffer::lend(|open: &mut Buffer<i32>| {
            let complete = procfs::each_descriptor(|fd, _| {
                open.push(fd);
            });
            if complete {
                compare(open, differing);
            }
            complete
        });
        if !differing.as_slice().is_empty() && !procfs::has_one_thread() {
            sys::sleep(3_000_000);
        }
        for (fd, entry) in differing.as_slice() {
            correct(*fd, *entry);
        }
        complete
    })
}

/// For a hook: finds descriptors that were closed where no hook saw it (fclose, an inline system
/// call).
///
/// It makes a system call for each descriptor. So it is limited to a small part of the program's
/// time, and may do nothing. It also does nothing if other threads may run, because these may close
/// and reopen a number while it is checked; a report waits before its second check.
#[cold]
#[inline(never)]
pub fn look_for_the_gone() {
    static TURN: clock::Turn = clock::Turn::new();
    if !process::is_own() || loaded::may_have_threads() {
        return;
    }
    let Some(began) = TURN.begin() else { return };
    for (fd, entry) in table::each_alive() {
        correct(fd, entry);
    }
    TURN.end(began);
}

fn compare(open: &mut Buffer<i32>, differing: &mut Buffer<(i32, Entry)>) {
    crate::buffer::sort_by_key(open.as_mut_slice(), |fd| *fd);
    let is_open = |fd: i32| open.as_slice().binary_search(&fd).is_ok();
    for (fd, entry) in table::each_alive() {
        if !is_open(fd) {
            differing.push((fd, entry));
        }
    }
    for fd in open.as_slice() {
        let entry = table::get(*fd);
        if !entry.is_alive() {
            differing.push((*fd, entry));
        }
    }
}

fn correct(fd: i32, entry: Entry) {
    if table::get(fd) != entry || sys::is_open(fd) == entry.is_alive() {
        return;
    }
    CORRECTED.fetch_add(1, Ordering::Relaxed);
    mirror::changed_totals();
    if entry.is_alive() {
        super::end(fd, 0, false);
        return;
    }
    let mut space = [0u8; 64];
    let now = found(fd, procfs::target_of(fd, &mut space).unwrap_or_default());
    if table::exchange(fd, entry, now) {
        PEAK.fetch_max(ROOM.alive(), Ordering::Relaxed);
    } else {
        // Another thread has changed it first.
        places::at(now.place()).died();
        ROOM.end();
    }
    if mirror::is_followed() {
        mirror::changed(fd, now.place());
    }
}
