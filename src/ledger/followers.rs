//! Who follows the ledger's changes: limits, a recording, and, in the child of a fork, the first use of each instance that
//! was there before. Where nobody does, changes take short ways.

use crate::sync::{AtomicU32, Ordering};

use super::access::{change, lock, unlock_out_of_line};
use super::changes::Change;
use super::counters::WaitEnd;
use super::records::{Instance, Interest};
use super::{CORE, LOCKED, fork_shared};
use crate::record;
use crate::thread::Block;

/// By limits, by a recording.
const FOLLOWER: u32 = 1;
/// In the child of a fork: instances are there from before whose first use is to be noticed.
const USES: u32 = 2;

/// Whether changes are followed by others than the ledger itself. Its short ways are not taken then: the lock says so, by the word that
/// also says whether notes wait.
#[inline(always)]
pub(super) fn is_followed() -> bool {
    LOCKED.lock.slow_path_flags() != 0
}

/// For good.
pub fn follow() {
    LOCKED.lock.set_slow_path(FOLLOWER);
}

/// How many instances from before the fork this process has neither used nor closed.
static UNUSED: AtomicU32 = AtomicU32::new(0);

/// The next use of so many instances is to be noticed.
pub(super) fn expect_uses(count: u32) {
    UNUSED.store(count, Ordering::Relaxed);
    if count == 0 {
        LOCKED.lock.clear_slow_path(USES);
    } else {
        LOCKED.lock.set_slow_path(USES);
    }
}

#[cold]
pub(super) fn expect_one_use_less() {
    let _ = UNUSED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
    if UNUSED.load(Ordering::Relaxed) == 0 {
        expect_uses(0);
    }
}

/// An instance is used in the child of a fork.
#[cold]
#[inline(never)]
pub(super) fn used(instance: &Instance, epfd: i32, site: usize) {
    let (from, to) = (Instance::FROM_BEFORE, Instance::USED_SINCE);
    if instance.forked.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        fork_shared::tell_use(instance, epfd, site);
        expect_one_use_less();
    }
}

/// The same of a call of `epoll_ctl`.
#[inline(always)]
pub(super) fn used_by_ctl(epfd: i32, site: usize) {
    if is_followed() {
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

/// An interest was noted: those who follow are told.
#[cold]
#[inline(never)]
pub(super) fn tell_interest(index: u32, interest: &Interest, instance: &Instance, epfd: i32) {
    // What reconciliation finds has no site: nobody uses anything then.
    if interest.site() != 0 {
        used(instance, epfd, interest.site() as usize);
    }
    if record::has_tables() {
        record::noted_interest(index, interest, instance.watches.get());
    }
}

#[cold]
#[inline(never)]
pub(super) fn tell_totals() {
    if record::take_up_tables() {
        CORE.mirror();
    }
    if record::has_tables() {
        record::changed_totals(&CORE.totals, CORE.live_watches(), CORE.memory());
    }
}

/// A recording has begun: all that is known goes into it as soon as the lock is free. (Not now, if this is a handler that has
/// interrupted its holder: then when that leaves.)
pub fn mirror_soon() {
    // The first time the tables are made; the second time they are written into.
    for _ in 0..2 {
        if lock() {
            unlock_out_of_line();
        }
    }
}

/// The lock is free again, and a recording may follow.
#[inline(always)]
pub(super) fn unlocked() {
    if record::wants_parts() {
        make_room();
    }
}

#[cold]
#[inline(never)]
fn make_room() {
    let is_new = record::grow_tables(&mut |rows| change(Change::Recorded(rows)));
    if is_new {
        mirror_soon();
    }
}

/// A wait on an instance ended, for the recording.
#[inline(always)]
pub fn recorded_wait(epfd: i32, end: WaitEnd, block: &Block) {
    if let Some(instance) = block.last_used.instance_of(epfd).or_else(|| CORE.instance_of(epfd)) {
        record::instance_waited(instance.index.get(), end, instance.owner.block() == block.address());
    }
}
