//! What the open descriptors are when none is free. This is judged at the first call that fails
//! with EMFILE or ENFILE, and kept: later, the descriptors are closed or the process is gone.
//!
//! With a census, every call that creates descriptors reports such a failure to [`met`]. Without
//! one, only those that the ledger follows do (`epoll_create`, `dup`, `fcntl`), and a report that
//! finds no free number. Failures by an injected fault or a limit of the library are not reported
//! to it.

use epollshim_format::census::Kind;
use epollshim_format::findings::thresholds::{EXHAUSTED_PAUSE, EXHAUSTED_ROW};
use epollshim_format::findings::{Held, Id, Severity};

use super::{is_looked_after, places, table};
use crate::findings::{Note, note, raise};
use crate::sigsafe::on_own_stack;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use crate::{census, clock, procfs, seccomp, sys};

/// The judgement. The severity is stored last; 0: no call has failed yet.
static SEVERITY: AtomicU64 = AtomicU64::new(0);
static CREATED_AT: AtomicUsize = AtomicUsize::new(0);
static DETAIL: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// The failures of one call in a row, each soon after the one before: the call site, the time of
/// the last failure, and their number. Threads that fail at the same time may break a row, or
/// lengthen it by a few.
static ROW_SITE: AtomicUsize = AtomicUsize::new(0);
static ROW_TIME: AtomicU64 = AtomicU64::new(0);
static ROW: AtomicU64 = AtomicU64::new(0);
/// The value of [`changes`] when the row began.
static ROW_CHANGES: AtomicU64 = AtomicU64::new(0);

/// The most numbers that are examined. A readlink of each takes a microsecond.
const LOOKED_AT: i32 = 16_384;
const KINDS: usize = 16;

/// Called in the child of a fork, which has reached no limit itself.
pub fn after_fork() {
    SEVERITY.store(0, Ordering::Relaxed);
    ROW.store(0, Ordering::Relaxed);
}

/// Called after the kernel has refused to create a descriptor.
#[cold]
#[inline(never)]
pub fn met(error: i32, site: usize) {
    if !matches!(error, libc::EMFILE | libc::ENFILE) || census::local::is_borrowed() {
        return;
    }
    // Acquire: pairs with the Release in `judge`, before which the rest was stored.
    if SEVERITY.load(Ordering::Acquire) == 0 {
        judge(error);
    }
    let found = || {
        let [first, second, third, fourth] = &DETAIL;
        Note {
            variant: error as u8,
            site,
            other: CREATED_AT.load(Ordering::Relaxed),
            detail: [first, second, third, fourth].map(|word| word.load(Ordering::Relaxed)),
            ..Note::of(Id::Exhausted, Severity::from_number(SEVERITY.load(Ordering::Relaxed)).unwrap_or(Severity::Info))
        }
    };
    note(&found());
    if is_called_on_and_on(site) && SEVERITY.swap(Severity::Error as u64, Ordering::Relaxed) != Severity::Error as u64 {
        raise(&found());
        blame(most(), Held::of_detail(&found().detail).open);
    }
}

/// Whether the program repeats the failing call without doing anything about it. A program that
/// handles the failure waits a while, or closes something, before it tries again.
fn is_called_on_and_on(site: usize) -> bool {
    let now = clock::monotonic();
    let pause = now.wrapping_sub(ROW_TIME.swap(now, Ordering::Relaxed));
    let goes_on = ROW_SITE.swap(site, Ordering::Relaxed) == site && pause <= EXHAUSTED_PAUSE;
    let row = if goes_on { ROW.load(Ordering::Relaxed) } else { 0 };
    ROW.store(row + 1, Ordering::Relaxed);
    if row == 0 {
        ROW_CHANGES.store(changes(), Ordering::Relaxed);
    }
    if site == 0 || row + 1 < EXHAUSTED_ROW {
        return false;
    }
    ROW.store(0, Ordering::Relaxed);
    ROW_CHANGES.load(Ordering::Relaxed) == changes()
}

/// A number that changes with each descriptor that is created or closed.
fn changes() -> u64 {
    places::all().fold(0, |sum, (_, place)| sum.wrapping_add(place.live()).wrapping_add(2 * place.closed()))
}

/// The place with the most open descriptors.
fn most() -> Option<&'static places::Place> {
    places::all().map(|(_, place)| place).filter(|place| place.site() != 0).max_by_key(|place| place.live())
}

/// For a report: checks whether a number is free, if no call was seen to fail.
pub fn evaluate() {
    if seccomp::hinders() {
        return;
    }
    let Ok(limit) = sys::descriptor_limit() else { return };
    let is_out = || (0..limit.rlim_cur as i32).rev().all(sys::is_open);
    if SEVERITY.load(Ordering::Acquire) == 0 && (1..=LOOKED_AT as u64).contains(&limit.rlim_cur) && is_out() {
        met(libc::EMFILE, 0);
    }
}

/// How many descriptors of each kind are open, and how many of these no epoll instance watches.
#[derive(Default)]
struct Count {
    open: [u32; KINDS],
    unattended: [u32; KINDS],
}

impl Count {
    fn add(&mut self, fd: i32, kind: Kind) {
        if let (Some(open), Some(unattended)) =
            (self.open.get_mut(kind as usize), self.unattended.get_mut(kind as usize))
        {
            *open += 1;
            *unattended += u32::from(!is_looked_after(fd));
        }
    }

    /// Takes out the kind of which most are open.
    fn take_most(&mut self) -> (u8, u64) {
        let most = self.open.iter_mut().enumerate().max_by_key(|(_, count)| **count);
        most.map_or((0, 0), |(kind, count)| (kind as u8, u64::from(core::mem::take(count))))
    }
}

fn judge(error: i32) {
    // A seccomp filter of the program may kill it for these system calls.
    let may_ask = !seccomp::hinders();
    let limit = if may_ask { sys::descriptor_limit().map_or(0, |limit| limit.rlim_cur) } else { 0 };
    let mut count = Count::default();
    let mut top = None;
    if !may_ask {
        // Nothing is known but the error.
    } else if census::is_on() {
        table::each_alive().take(LOOKED_AT as usize).for_each(|(fd, entry)| count.add(fd, entry.kind()));
        top = most();
    } else {
        let end = LOOKED_AT.min(i32::try_from(limit).unwrap_or(LOOKED_AT));
        on_own_stack(|| {
            for fd in 0..end {
                let mut space = [0; 32];
                if let Some(target) = procfs::target_of(fd, &mut space) {
                    count.add(fd, Kind::of_target(target));
                }
            }
        });
    }
    let open = count.open.iter().fold(0, |sum, count| sum + u64::from(*count));
    let unattended = count.unattended.iter().copied().max().unwrap_or(0);
    // Watched connections are no leak: too many clients came. Descriptors that are not watched, or
    // have hung up, are one.
    let leaks = open != 0 && u64::from(unattended) * 2 >= open;
    let severity = if leaks { Severity::Error } else { Severity::Info };
    let held = Held {
        error: error as u8,
        limit,
        open,
        of_one: top.map_or(0, places::Place::live),
        kind: top.map_or(0, |place| place.kind() as u8),
        kinds: [count.take_most(), count.take_most(), count.take_most(), count.take_most()],
    };
    for (word, value) in DETAIL.iter().zip(held.to_detail()) {
        word.store(value, Ordering::Relaxed);
    }
    CREATED_AT.store(top.map_or(0, places::Place::site), Ordering::Relaxed);
    SEVERITY.store(severity as u64, Ordering::Release);
    if leaks {
        blame(top, open);
    }
}

/// Notes a leak at a place that has at least half of the `open` descriptors.
fn blame(place: Option<&places::Place>, open: u64) {
    let Some(place) = place.filter(|place| place.live() * 2 >= open) else { return };
    let is_one = |entry: &table::Entry| core::ptr::eq(places::at(entry.place()), place);
    let one = table::each_alive().find(|(_, entry)| is_one(entry));
    note(&Note {
        variant: place.kind() as u8,
        fd: one.map_or(-1, |(fd, _)| fd),
        site: place.site(),
        detail: [place.kind() as u64, place.live(), place.born(), 0],
        ..Note::of(Id::FdLeak, Severity::Error)
    });
}
