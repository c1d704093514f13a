//! Descriptors: closed, duplicated, found not to be open.

use epollshim_ledger::descriptors::FdState;
use epollshim_ledger::lock_protocol::FastPath;

use crate::above::Library;
use crate::ledger::access::{change, change_by, change_on, finish, try_lock_fast, unlock_fast};
use crate::ledger::observers::Above;
use crate::ledger::reservations;
use crate::ledger::state::CORE;
use crate::thread::Block;
use crate::{process, sys, thread};
use epollshim_ledger::Change;

/// Whether [`closing`] must note the close of a descriptor before it is made.
#[inline(always)]
fn concerns(fd: i32) -> bool {
    // The lock is read first: once its queue is empty, everything that this thread noted is in the
    // table.
    !CORE.lock.is_quiet() || CORE.descriptors.get(fd).is_known()
}

/// The same, but also true if finding out would take longer. One branch answers both questions.
#[inline(always)]
pub fn may_concern(fd: i32) -> bool {
    let Some(place) = CORE.descriptors.low(fd) else { return fd >= 0 };
    let notes_wait = !CORE.lock.is_quiet();
    notes_wait | place.get().is_known()
}

/// Before the real close of a descriptor that [`may_concern`]: a thread that gets the number next
/// must find it free. `at` is the return address of the call.
#[inline(never)]
#[unsafe(link_section = ".text.hot.epollshim.more")]
pub fn closing(fd: i32, at: usize) {
    if CORE.descriptors.low(fd).is_none() && !concerns_high(fd) {
        return;
    }
    if !process::is_own() {
        return;
    }
    let at = crate::stacks::site(at);
    if thread::block_with_nothing_open().is_none() {
        closing_in_batch(fd, at);
    }
    let tried = try_lock_fast();
    if tried != FastPath::Done {
        return closing_slow(fd, at, tried);
    }
    if !CORE.closed_at_once(fd, at) {
        return closing_slow(fd, at, FastPath::Locked);
    }
    let tried = unlock_fast();
    if tried != FastPath::Done {
        closing_slow(fd, at, tried);
    }
}

#[cold]
#[inline(never)]
fn closing_in_batch(fd: i32, at: usize) {
    if let Some(block) = thread::block_at_hand() {
        <Library as Above>::closing_in_batch(block, fd, at);
    }
}

#[cold]
fn concerns_high(fd: i32) -> bool {
    concerns(fd)
}

/// Slow path of [`closing`].
#[cold]
#[inline(never)]
fn closing_slow(fd: i32, at: usize, tried: FastPath) {
    let make = || {
        CORE.changes();
        CORE.closed(fd, Some(at));
    };
    match tried {
        FastPath::Done | FastPath::DoneSlowPathPending => finish(tried),
        tried => change_on(tried, make, || Change::Closed { fd, at }),
    }
}

/// Before the real close of a range of descriptors, both ends included. `is_deferred`: limits count
/// what it closes until the caller calls [`closed`]. `at` is the return address of the call; 0: not
/// known.
pub fn closing_range(first: u32, last: u32, is_deferred: bool, at: usize) {
    let bound = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let (first, last) = (bound(first), bound(last));
    if (!CORE.lock.is_quiet() || first <= CORE.descriptors.highest()) && process::is_own() {
        match thread::block() {
            Some(block) if is_deferred && reservations::tracks() => {
                change(Change::ClosedFor { first, last, at, closer: &block.pending_release });
            }
            _ => change(Change::ClosedRange { first, last, at }),
        }
    }
}

/// Before the real close of a descriptor whose caller will call [`closed`].
#[inline(always)]
pub fn closing_deferred(fd: i32, at: usize) {
    if fd >= 0 && concerns(fd) {
        closing_range(fd as u32, fd as u32, true, crate::stacks::site(at));
    }
}

/// After the real close.
#[inline(always)]
pub fn closed() {
    if reservations::tracks() {
        settle_closed();
    }
}

#[cold]
#[inline(never)]
fn settle_closed() {
    if let Some(block) = thread::block()
        && (!CORE.lock.is_quiet() || !block.pending_release.is_empty())
    {
        done_closing(block);
    }
}

/// The thread of this block has made its close.
pub fn done_closing(block: &'static Block) {
    change(Change::DoneClosing { closer: &block.pending_release });
}

/// Whether it is already known that a number was a duplicate of another, and neither is known for
/// anything else. May return false negatives.
#[inline(always)]
pub fn are_joined(old: i32, new: i32) -> bool {
    CORE.lock.is_idle() && CORE.descriptors.are_joined(old, new)
}

/// `new` is a duplicate of `old`: dup, dup2, dup3 or F_DUPFD has returned to `at`.
#[inline(always)]
pub fn duplicated(old: i32, new: i32, at: &usize) {
    // The lock is read first. Otherwise this could miss that its holder makes `old` known while
    // `new` is still unknown. Once the lock is idle, everything that a holder made known is in the
    // table.
    if !CORE.lock.is_idle() || !CORE.descriptors.join(old, new, || CORE.lock.is_idle()) {
        duplicated_known(old, new, *at);
    }
}

#[cold]
#[inline(never)]
fn duplicated_known(old: i32, new: i32, at: usize) {
    if old != new && process::is_own() {
        if CORE.descriptors.may_miss_either(old, new) {
            CORE.descriptors.prepare(old);
            CORE.descriptors.prepare(new);
        }
        let make = || {
            CORE.changes();
            CORE.duplicated(old, new, at);
        };
        change_by(make, || Change::Duplicated { old, new, at });
    }
}

/// The kernel says that one of two descriptors is not open. Corrects the one that the ledger
/// believes to be open.
#[inline(always)]
pub(super) fn forget_closed(epfd: i32, fd: i32) {
    let look = |fd: i32| {
        if CORE.descriptors.get(fd).is_known() {
            forget_if_closed(fd);
        }
    };
    look(epfd);
    look(fd);
}

#[cold]
#[inline(never)]
fn forget_if_closed(fd: i32) {
    if process::is_own() {
        forget_if_gone(fd, |_| !sys::is_open(fd));
    }
}

/// Makes the ledger forget a number if `is_gone` says that it is not open, and returns what
/// `is_gone` said last. The answer counts only if no other thread has changed the ledger in the
/// meantime; otherwise the kernel is asked again, up to `TRIES` times.
pub fn forget_if_gone(fd: i32, is_gone: impl Fn(FdState) -> bool) -> bool {
    const TRIES: u32 = 16;
    for _ in 0..TRIES {
        let version = CORE.version();
        let slot = CORE.descriptors.get(fd);
        if !slot.is_known() || !is_gone(slot) {
            return false;
        }
        change(Change::NotThere { fd, slot, version });
        if CORE.descriptors.get(fd) != slot {
            break;
        }
    }
    true
}
