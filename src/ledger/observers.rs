//! Who hears of the ledger's changes: findings and the recording. They lie above it, and say here what they want to hear.

use crate::sync::{AtomicBool, AtomicPtr, Ordering};

use epollshim_ledger::core::{Registration, Totals};
use epollshim_ledger::{Event, Events, Observer, Rows};
use libc::epoll_event;

use super::counters::WaitEnd;
use super::fork_shared::Shared;
use super::records::{Instance, Interest};
use super::{followers, fork_shared};
use crate::thread::{self, Block};

/// What findings hear. None of it is told while the lock is held.
pub struct Findings {
    /// An instance, with this descriptor, has held more interests than its size: where it was made, its peak, its size.
    pub outgrown: fn(i32, usize, u64, u64),
    /// An instance's descriptor is closed, at this return address, under the thread of this block, which waits on it.
    pub instance_closed: fn(&Block, i32, usize),
    /// A descriptor is closed, at this return address, which the instance of this index watches; the thread of this block may
    /// wait on it.
    pub watched_closed: fn(&Block, u32, i32, usize),
    /// The calling thread is about to add a number under which a file is watched whose descriptor was closed.
    pub adding_over_ghost: fn(&Registration),
    /// A wait brought events, of which this is the first, on an instance that several threads wait on.
    pub waited_amid_others: fn(&Instance, i32, *const epoll_event),
    /// So many events were forgotten, since there were too many at once.
    pub missed: fn(u32),
}

/// What the recording hears, where it has tables. By the holder of the lock, but for the last two.
pub struct Recording {
    pub instance_noted: fn(u32, &Instance, i32),
    pub instance_gone: fn(u32),
    pub interest_noted: fn(u32, &Interest, u64),
    pub interest_gone: fn(u32, u32, u64),
    /// True: nothing is in the tables yet, and everything is to be written.
    pub totals_changed: fn(&Totals, u64, u64) -> bool,
    /// Whether `grow_tables` has something to do.
    pub wants_parts: &'static AtomicBool,
    /// Makes what the tables lack, and says which entries belong there. True: there are tables from now on.
    pub grow_tables: fn(&mut dyn FnMut(Rows)) -> bool,
    /// A wait on an instance ended; whether by the thread that counts by itself.
    pub waited: fn(u32, WaitEnd, bool),
}

/// Null until the library has read its options: nobody listens before. Acquire and Release, though what they point to is constant.
static FINDINGS: AtomicPtr<Findings> = AtomicPtr::new(core::ptr::null_mut());
static RECORDING: AtomicPtr<Recording> = AtomicPtr::new(core::ptr::null_mut());

/// Findings listen from now on.
pub fn tell_findings(findings: &'static Findings) {
    FINDINGS.store(core::ptr::from_ref(findings).cast_mut(), Ordering::Release);
}

/// The recording listens from now on.
pub fn tell_recording(recording: &'static Recording) {
    RECORDING.store(core::ptr::from_ref(recording).cast_mut(), Ordering::Release);
}

pub(super) fn findings() -> Option<&'static Findings> {
    // SAFETY: null, or what `tell_findings` was given, which is constant.
    unsafe { FINDINGS.load(Ordering::Acquire).as_ref() }
}

pub(super) fn recording() -> Option<&'static Recording> {
    // SAFETY: null, or what `tell_recording` was given, which is constant.
    unsafe { RECORDING.load(Ordering::Acquire).as_ref() }
}

/// All of them.
pub struct Observers;

impl Observer for Observers {
    fn instance_noted(index: u32, instance: &Instance, epfd: i32) {
        if let Some(recording) = recording() {
            (recording.instance_noted)(index, instance, epfd);
        }
    }

    fn instance_gone(index: u32) {
        if let Some(recording) = recording() {
            (recording.instance_gone)(index);
        }
    }

    #[inline(always)]
    fn interest_noted(index: u32, interest: &Interest, watches: u64) {
        if let Some(recording) = recording() {
            (recording.interest_noted)(index, interest, watches);
        }
    }

    #[inline(always)]
    fn interest_gone(index: u32, instance: u32, watches: u64) {
        if let Some(recording) = recording() {
            (recording.interest_gone)(index, instance, watches);
        }
    }

    #[inline(always)]
    fn totals_changed(totals: &Totals, watches: u64, bytes: u64) -> bool {
        recording().is_some_and(|recording| (recording.totals_changed)(totals, watches, bytes))
    }

    #[inline(always)]
    fn is_waiting(block: usize) -> bool {
        // SAFETY: the owner of an instance's counters is the address of a block, or 0.
        unsafe { thread::waiting_block(block) }.is_some()
    }

    #[inline(always)]
    fn is_waited_on(epfd: i32) -> bool {
        thread::all().any(|block| block.waits_on() == Some(epfd))
    }

    fn happened(events: &Events) {
        events.iter().for_each(deliver);
        if events.missed != 0
            && let Some(findings) = findings()
        {
            (findings.missed)(events.missed);
        }
    }

    #[inline(always)]
    fn unlocked() {
        followers::unlocked();
    }
}

#[inline(never)]
fn deliver(event: Event) {
    match event {
        Event::Ended { id, maker, waits } => return fork_shared::compare(id, maker, waits),
        Event::EndedUnused => return followers::expect_one_use_less(),
        Event::FirstUse { id, maker, epfd, made_at, waits, at } => {
            fork_shared::tell_use(&Shared { id, maker, made_at, waits_before: waits }, epfd, at);
            return followers::expect_one_use_less();
        }
        _ => {}
    }
    let Some(findings) = findings() else { return };
    match event {
        Event::InstanceClosed { epfd, at } => {
            for block in thread::all().filter(|block| block.waits_on() == Some(epfd)) {
                (findings.instance_closed)(block, epfd, at);
            }
        }
        Event::WatchedClosed { waiter, instance, fd, at } => {
            // SAFETY: the event names the owner of an instance's counters: the address of a block.
            if let Some(waiter) = unsafe { thread::waiting_block(waiter) } {
                (findings.watched_closed)(waiter, instance, fd, at);
            }
        }
        Event::AddingOverGhost(registration) => (findings.adding_over_ghost)(&registration),
        Event::Outgrown { epfd, site, peak, size } => (findings.outgrown)(epfd, site, peak, size),
        Event::Ended { .. } | Event::EndedUnused | Event::FirstUse { .. } => {}
    }
}
