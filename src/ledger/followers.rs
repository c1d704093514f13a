//! What follows the ledger's changes: limits, a recording, and, in the child of a fork, the first
//! use of each instance that existed before. If there is none of these, changes take the fast path.

use crate::sync::{AtomicU32, Ordering};

use epollshim_ledger::Change;
use epollshim_ledger::lock::flags;
use epollshim_ledger::records::Instance;

use super::access::{change, here, lock, unlock_out_of_line};
use super::fork_shared::{self, Shared};
use super::observers::Above;
use super::state::{CORE, LOCKED};
use crate::above::Library;
use crate::counters::WaitEnd;
use crate::thread::Block;

/// Whether anything besides the ledger follows changes. If so, the fast path is not taken. The flag
/// is in the same word of the lock that says whether changes are queued.
#[inline(always)]
pub(super) fn is_followed() -> bool {
    CORE.lock.is_followed()
}

/// Makes all changes take the slow path, permanently.
pub fn follow() {
    CORE.lock.set_slow_path(flags::FOLLOWED);
}

/// How many instances from before the fork this process has neither used nor closed.
static UNUSED: AtomicU32 = AtomicU32::new(0);

/// The next use of each of these instances must be noticed.
pub(super) fn expect_uses(count: u32) {
    UNUSED.store(count, Ordering::Relaxed);
    if count == 0 {
        CORE.lock.clear_slow_path(flags::FIRST_USES);
    } else {
        CORE.lock.set_slow_path(flags::FIRST_USES);
    }
}

#[cold]
pub(super) fn first_use_done() {
    let _ = UNUSED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
    if UNUSED.load(Ordering::Relaxed) == 0 {
        expect_uses(0);
    }
}

/// An instance is used in the child of a fork.
#[cold]
#[inline(never)]
pub(super) fn used(instance: &Instance, epfd: i32, site: usize) {
    if instance.is_first_use() {
        fork_shared::note_use(&Shared::of(instance), epfd, site);
        first_use_done();
    }
}

/// The same for a call of `epoll_ctl`.
#[inline(always)]
pub(super) fn used_by_ctl(epfd: i32, site: usize) {
    if is_followed() && UNUSED.load(Ordering::Relaxed) != 0 {
        used_by_number(epfd, site);
    }
}

#[cold]
#[inline(never)]
fn used_by_number(epfd: i32, site: usize) {
    if let Some(instance) = CORE.instance_of(epfd) {
        used(instance, epfd, site);
    }
}

/// A recording has begun: everything known is written into it as soon as the lock is free. (If this
/// is a handler that has interrupted the holder, that is when the holder unlocks.)
pub fn mirror_soon() {
    // The first round makes the tables. The second writes into them.
    for _ in 0..2 {
        if lock() {
            unlock_out_of_line();
        }
    }
}

/// The lock is free again: does what a recording needs.
#[inline(always)]
pub fn unlocked() {
    if <Library as Above>::wants_parts() {
        make_room();
    }
}

#[cold]
#[inline(never)]
fn make_room() {
    let is_new = <Library as Above>::grow_tables(&mut |rows| change(Change::Recorded(rows)));
    if is_new {
        mirror_soon();
    }
}

/// Records the end of a wait on an instance.
#[inline(always)]
pub fn recorded_wait(epfd: i32, end: WaitEnd, block: &Block) {
    if let Some(instance) = block.last_used.instance_of(epfd).or_else(|| CORE.instance_of(epfd)) {
        <Library as Above>::waited(instance.index.get(), end, instance.owner.block() == block.address());
    }
}

/// The child of a fork calls it before any other change.
pub fn after_fork() {
    LOCKED.after_fork(here(), || {
        fork_shared::forked(CORE.totals.newest_id());
        expect_uses(CORE.after_fork());
    });
}
