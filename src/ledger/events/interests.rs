//! Interests: before and after an ADD; a DEL; what the kernel refused.

use epollshim_ledger::core::{QUEUED, Registration, Ticket};
use epollshim_ledger::lock_protocol::FastPath;

use crate::sync::{AtomicU32, Ordering};

use super::descriptors::forget_closed;
use crate::ledger::access::{
    change, enqueue, finish, lock_for_change, try_lock_fast, unlock, unlock_fast, unlock_out_of_line, unlock_unapplied,
};
use crate::ledger::followers::{is_followed, used_by_ctl};
use crate::ledger::state::CORE;
use crate::process;
use crate::thread::Block;
use epollshim_ledger::Change;

/// Fast path before the real `EPOLL_CTL_ADD`. The interest is noted before the call: another thread
/// may get its events and close the descriptor before this call returns, and the ledger must record
/// the ADD before that close. `keep` is given the word of the interest's ticket.
///
/// Returns [`FastPath::Done`] or [`FastPath::DoneSlowPathPending`] if the interest was noted. For
/// any other result the caller must continue with [`adding`].
#[inline(always)]
pub fn adding_fast(epfd: i32, fd: i32, site: &usize, block: &Block, keep: impl FnOnce(u64)) -> FastPath {
    // Not a closure of a common function: the compiler might not inline it, and the call costs more
    // than the change (docs/performance.md, "Branches after a system call").
    CORE.descriptors.approach(fd);
    let tried = try_lock_fast();
    if tried != FastPath::Done {
        return tried;
    }
    let Some(ticket) = CORE.reserve_at_once(epfd, fd, site, &block.last_used) else { return FastPath::Locked };
    keep(ticket);
    unlock_fast()
}

/// Slow path of [`adding_fast`].
#[inline(always)]
pub fn adding(registration: &Registration, tried: FastPath, block: &Block, keep: impl FnOnce(u64)) {
    // Only the watched descriptor is prepared: an interest is noted before the real call only if
    // its instance is known already.
    if CORE.wants_preparation(registration.fd) {
        prepare_and_add(registration, tried, block, keep);
    } else {
        add(registration, tried, block, keep);
    }
}

#[cold]
#[inline(never)]
fn prepare_and_add(registration: &Registration, tried: FastPath, block: &Block, keep: impl FnOnce(u64)) {
    // No memory may be mapped under the lock, and the kernel may not be asked.
    unlock_unapplied(tried);
    let answers = CORE.prepare(&[registration.fd]);
    if !lock_for_change(FastPath::NotTried) {
        return keep(adding_later(registration, block));
    }
    CORE.set_last_used(registration.epfd, &block.last_used);
    let reserve = || CORE.with_answers(Some(answers.rings()), || CORE.reserve(registration));
    keep(CORE.charged(block.take_prepaid(), reserve));
    unlock_out_of_line();
}

#[inline(always)]
fn add(registration: &Registration, tried: FastPath, block: &Block, keep: impl FnOnce(u64)) {
    if !lock_for_change(tried) {
        return keep(adding_later(registration, block));
    }
    if CORE.set_last_used(registration.epfd, &block.last_used)
        && !is_followed()
        && let Some(ticket) =
            CORE.reserve_at_once(registration.epfd, registration.fd, &registration.site, &block.last_used)
    {
        keep(ticket);
        return unlock();
    }
    if !is_followed() && CORE.find(registration.epfd, registration.fd).is_some() {
        // Known already: the kernel will refuse it.
        keep(Ticket::None.to_word());
        return unlock();
    }
    keep(CORE.charged(block.take_prepaid(), || CORE.reserve(registration)));
    unlock();
}

#[cold]
#[inline(never)]
fn adding_later(registration: &Registration, block: &Block) -> u64 {
    static PROMISED: AtomicU32 = AtomicU32::new(0);
    // Relaxed: the values only need to differ.
    let serial = PROMISED.fetch_add(1, Ordering::Relaxed) | QUEUED;
    enqueue(Change::Adding(*registration, serial, block.take_prepaid()));
    Ticket::Queued { serial }.to_word()
}

/// After an ADD that succeeded, if it was not noted before the call.
#[cold]
#[inline(never)]
pub fn added_late(registration: &Registration, ticket: Ticket) {
    if matches!(ticket, Ticket::Queued { .. }) {
        change(Change::Confirmed(*registration));
    } else if CORE.instance_of(registration.epfd).is_some() || process::is_own() {
        change(Change::Added(*registration));
    }
}

/// After an ADD that failed. `ticket` is the word of the interest's ticket.
#[cold]
pub fn not_added(registration: &Registration, ticket: u64, error: i32) {
    used_by_ctl(registration.epfd, registration.site);
    if !Ticket::is_any(ticket) {
        if error == libc::EEXIST && CORE.find(registration.epfd, registration.fd).is_none() && process::is_own() {
            change(Change::Found(*registration));
        }
    } else {
        undo(registration, Ticket::from_word(ticket), error);
    }
    if error == libc::EBADF {
        forget_closed(registration.epfd, registration.fd);
    }
}

#[cold]
#[inline(never)]
fn undo(registration: &Registration, ticket: Ticket, error: i32) {
    change(match error {
        libc::EEXIST => Change::Existed(*registration, ticket),
        _ => Change::Undone(*registration, ticket),
    });
}

/// Fast path after an `EPOLL_CTL_DEL` that succeeded. Unless it returns [`FastPath::Done`], the
/// caller must continue with [`deleted`].
#[inline(always)]
pub fn deleted_fast(epfd: i32, fd: i32, block: &Block) -> FastPath {
    CORE.descriptors.approach(fd);
    let tried = try_lock_fast();
    if tried != FastPath::Done {
        return tried;
    }
    if !CORE.deleted_at_once(epfd, fd, &block.last_used) {
        return FastPath::Locked;
    }
    unlock_fast()
}

/// Slow path of [`deleted_fast`].
#[cold]
pub fn deleted(epfd: i32, fd: i32, site: usize, block: &Block, tried: FastPath) {
    if matches!(tried, FastPath::Done | FastPath::DoneSlowPathPending) {
        return finish(tried);
    }
    if !lock_for_change(tried) {
        return deleted_later(epfd, fd);
    }
    if CORE.instance_of(epfd).is_none() {
        unlock();
        return deleted_unknown(epfd, fd);
    }
    used_by_ctl(epfd, site);
    if CORE.set_last_used(epfd, &block.last_used) && !is_followed() && CORE.deleted_at_once(epfd, fd, &block.last_used)
    {
        return unlock();
    }
    CORE.changes();
    CORE.deleted(epfd, fd);
    unlock();
}

#[cold]
#[inline(never)]
fn deleted_later(epfd: i32, fd: i32) {
    if CORE.instance_of(epfd).is_none() {
        deleted_unknown(epfd, fd);
    } else {
        enqueue(Change::Deleted { epfd, fd });
    }
}

fn deleted_unknown(epfd: i32, fd: i32) {
    if process::is_own() {
        change(Change::Deleted { epfd, fd });
    }
}

/// An `EPOLL_CTL_MOD` or `EPOLL_CTL_DEL` failed.
#[cold]
pub fn not_changed(epfd: i32, fd: i32, error: i32, site: usize) {
    used_by_ctl(epfd, site);
    match error {
        // The kernel does not know the pair that the ledger knows: the number refers to another
        // file now.
        libc::ENOENT if CORE.find(epfd, fd).is_some() && process::is_own() => change(Change::Gone { epfd, fd }),
        libc::EBADF => forget_closed(epfd, fd),
        _ => {}
    }
}
