//! The observers of the ledger's changes: findings and the recording, in the layers above.

use epollshim_ledger::core::{Registration, Totals};
use epollshim_ledger::records::{Instance, Interest};
use epollshim_ledger::{Events, Observer, Rows};
use libc::epoll_event;

use crate::above::Library;
use crate::counters::WaitEnd;
use crate::thread::{self, Block};

/// What the layers above do with the ledger's events.
pub trait Above {
    // Findings. None of these is called while the lock is held.

    /// An instance, with this descriptor, has held more interests than its size: where it was
    /// created, its peak, its size.
    fn outgrown(epfd: i32, site: usize, peak: u64, size: u64);
    /// An instance's descriptor is closed, at this return address, while the thread of this block
    /// waits on it.
    fn instance_closed(waiter: &Block, epfd: i32, at: usize);
    /// A descriptor is closed, at this return address, that the instance of this index watches. The
    /// thread of this block may wait on the instance.
    fn watched_closed(waiter: &'static Block, instance: u32, fd: i32, at: usize);
    /// The calling thread, whose block this is, is about to close a watched descriptor at this
    /// return address. Its last `epoll_ctl` or wait has left something for findings to complete.
    fn closing_in_batch(block: &Block, fd: i32, at: usize);
    /// The calling thread is about to add a number under which a file is still watched, though its
    /// descriptor was closed.
    fn adding_over_ghost(registration: &Registration);
    /// A wait on an instance that several threads wait on has returned events, of which this is the
    /// first.
    fn waited_amid_others(instance: &Instance, epfd: i32, first: *const epoll_event);
    /// The first wait on an instance has ended.
    fn waited_first(instance: &Instance);
    /// How many events were dropped because there were too many at once.
    fn missed(events: u32);

    // The recording, if it has tables. Only the holder of the lock calls these. They write only to
    // memory that is already mapped.

    fn instance_noted(index: u32, instance: &Instance, epfd: i32);
    fn instance_marked(index: u32, instance: &Instance);
    fn instance_gone(index: u32);
    fn interest_noted(index: u32, interest: &Interest, watches: u64);
    fn interest_gone(index: u32, instance: u32, watches: u64);
    /// Returns true if the tables are empty and everything must be written.
    fn totals_changed(totals: &Totals, watches: u64, bytes: u64) -> bool;

    // None of these is called while the lock is held.

    /// Events of the lock's former holder (delivery.rs).
    fn happened(events: &Events);
    /// The lock was released, and not on the fast path (followers.rs).
    fn unlocked();
    /// Whether `grow_tables` has something to do.
    fn wants_parts() -> bool;
    /// Makes the missing parts of the tables, and says which entries belong there. Returns true if
    /// the tables exist only now.
    fn grow_tables(made: &mut dyn FnMut(Rows)) -> bool;
    /// A wait on an instance ended. `is_alone`: the thread has its own set of counters there.
    fn waited(index: u32, end: WaitEnd, is_alone: bool);
}

/// All observers.
pub struct Observers;

/// For an instance from which no wait has returned: any thread may be in the first one.
#[cold]
#[inline(never)]
fn is_any_waiting() -> bool {
    thread::some().any(|block| block.waits_on().is_some())
}

impl Observer for Observers {
    fn instance_noted(index: u32, instance: &Instance, epfd: i32) {
        <Library as Above>::instance_noted(index, instance, epfd);
    }

    fn instance_marked(index: u32, instance: &Instance) {
        <Library as Above>::instance_marked(index, instance);
    }

    fn instance_gone(index: u32) {
        <Library as Above>::instance_gone(index);
    }

    #[inline(always)]
    fn interest_noted(index: u32, interest: &Interest, watches: u64) {
        <Library as Above>::interest_noted(index, interest, watches);
    }

    #[inline(always)]
    fn interest_gone(index: u32, instance: u32, watches: u64) {
        <Library as Above>::interest_gone(index, instance, watches);
    }

    #[inline(always)]
    fn totals_changed(totals: &Totals, watches: u64, bytes: u64) -> bool {
        <Library as Above>::totals_changed(totals, watches, bytes)
    }

    #[inline(always)]
    fn is_waiting(block: usize) -> bool {
        if block == 0 {
            return is_any_waiting();
        }
        // SAFETY: the owner of an instance's counters is the address of a block.
        unsafe { thread::waiting_block(block) }.is_some()
    }

    #[inline(always)]
    fn is_waited_on(epfd: i32) -> bool {
        thread::all().any(|block| block.waits_on() == Some(epfd))
    }

    fn happened(events: &Events) {
        <Library as Above>::happened(events);
    }

    #[inline(always)]
    fn unlocked() {
        <Library as Above>::unlocked();
    }
}
