//! Delivers the events of the ledger to their observers. The lock is free.

use epollshim_ledger::{Event, Events};

use super::fork_shared::Shared;
use super::observers::Above;
use super::{followers, fork_shared};
use crate::above::Library;
use crate::thread;

pub use followers::unlocked;

/// Delivers the events of the lock's former holder.
pub fn happened(events: &Events) {
    events.iter().for_each(deliver);
    if events.missed != 0 {
        <Library as Above>::missed(events.missed);
    }
}

#[inline(never)]
fn deliver(event: Event) {
    match event {
        Event::InstanceClosed { epfd, at } => {
            for block in thread::all().filter(|block| block.waits_on() == Some(epfd)) {
                <Library as Above>::instance_closed(block, epfd, at);
            }
        }
        Event::WatchedClosed { waiter, instance, fd, at } => {
            // SAFETY: the event names the owner of an instance's counters, which is the address of
            // a block, or 0.
            let owner = unsafe { thread::waiting_block(waiter) };
            // No wait on the instance has returned yet. Any thread that waits may be in the first
            // one.
            let others = thread::some().filter(|block| waiter == 0 && block.waits_on().is_some());
            owner
                .into_iter()
                .chain(others)
                .for_each(|block| <Library as Above>::watched_closed(block, instance, fd, at));
        }
        Event::AddingOverGhost(registration) => <Library as Above>::adding_over_ghost(&registration),
        Event::Outgrown { epfd, site, peak, size } => <Library as Above>::outgrown(epfd, site, peak, size),
        Event::Ended { id, maker, waits } => fork_shared::compare(id, maker, waits),
        Event::EndedUnused => followers::first_use_done(),
        Event::FirstUse { id, maker, epfd, made_at, waits, at } => {
            fork_shared::note_use(&Shared { id, maker, made_at, waits_before: waits }, epfd, at);
            followers::first_use_done();
        }
    }
}
