//! Interests: an ADD, before it and after; a DEL; what the kernel refused.

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

/// Before the real `EPOLL_CTL_ADD`. The interest is noted first: another thread that already gets
/// its events, and closes the descriptor, must come second in the ledger too. `keep` is given its
/// ticket's word.
///
/// Unless it returns [`FastPath::Done`] or [`FastPath::DoneSlowPathPending`], the caller must
/// continue with [`adding`].
#[inline(always)]
pub fn adding_fast(epfd: i32, fd: i32, site: &usize, block: &Block, keep: impl FnOnce(u64)) -> FastPath {
    // Written out, and not as a closure of a common function: the compiler may leave a closure out
    // of line, and the call costs more than the change (docs/performance.md, "Branches after a
    // system call").
    CORE.descriptors.approach(fd);
    let tried = try_lock_fast();
    if tried != FastPath::Done {
        return tried;
    }
    let Some(ticket) = CORE.reserve_at_once(epfd, fd, site, &block.last_used) else { return FastPath::Locked };
    keep(ticket);
    unlock_fast()
}

/// The same in every other case.
#[inline(always)]
pub fn adding(registration: &Registration, tried: FastPath, block: &Block, keep: impl FnOnce(u64)) {
    // Only of the watched descriptor: an interest is noted before the real call only if its instance is known already.
    if CORE.wants_preparation(registration.fd) {
        prepare_and_add(registration, tried, block, keep);
    } else {
        add(registration, tried, block, keep);
    }
}

#[cold]
#[inline(never)]
fn prepare_and_add(registration: &Registration, tried: FastPath, block: &Block, keep: impl FnOnce(u64)) {
    // No memory is mapped under the lock, and the kernel is not asked.
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

/// After it, if it succeeded and the record was not made at once.
#[cold]
#[inline(never)]
pub fn added_late(registration: &Registration, ticket: Ticket) {
    if matches!(ticket, Ticket::Queued { .. }) {
        change(Change::Confirmed(*registration));
    } else if CORE.instance_of(registration.epfd).is_some() || process::is_own() {
        change(Change::Added(*registration));
    }
}

/// After it, if it failed. `ticket`: its word.
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

/// An `EPOLL_CTL_DEL` succeeded. Unless it returns [`FastPath::Done`], the caller must continue
/// with [`deleted`].
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

/// The same in every other case.
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
