//! Interests: an ADD, before it and after; a DEL; what the kernel refused.

use core::sync::atomic::{AtomicU32, Ordering};

use super::descriptors::look_for_dead;
use crate::ledger::changes::{Change, charged};
use crate::ledger::core::{QUEUED, Registration, Ticket};
use crate::ledger::entrance::{change, leave, leave_unfollowed, queue};
use crate::ledger::followers::{is_followed, used_by_ctl};
use crate::ledger::{CORE, GATE};
use crate::{process, thread};

/// Before the real `EPOLL_CTL_ADD`: the interest is noted first, so that another thread that already gets its
/// events and closes the descriptor comes second in the ledger too. `keep` is given its ticket's word.
#[inline(always)]
pub fn adding(registration: &Registration, keep: impl FnOnce(u64)) {
    let token = thread::token();
    if !GATE.is_quiet() || !GATE.enter(token) {
        return keep(adding_later(registration, token));
    }
    if !is_followed()
        && let Some(ticket) = CORE.reserve_at_once(registration)
    {
        keep(ticket);
        return leave_unfollowed(token);
    }
    keep(adding_rarely(registration, token));
}

/// The same in every other case, by the holder of the gate.
#[cold]
#[inline(never)]
fn adding_rarely(registration: &Registration, token: usize) -> u64 {
    CORE.changes();
    let ahead = thread::block().map_or(0, |block| block.ahead.swap(0, Ordering::Relaxed));
    let ticket = if ahead == 0 { CORE.reserve(registration) } else { charged(ahead, || CORE.reserve(registration)) };
    leave(token);
    ticket
}

#[cold]
#[inline(never)]
fn adding_later(registration: &Registration, token: usize) -> u64 {
    static PROMISED: AtomicU32 = AtomicU32::new(0);
    // Relaxed: only that no two are the same matters.
    let serial = PROMISED.fetch_add(1, Ordering::Relaxed) | QUEUED;
    let ahead = thread::block().map_or(0, |block| block.ahead.swap(0, Ordering::Relaxed));
    queue(Change::Adding(*registration, serial, ahead), token);
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

/// After it, if it failed.
#[cold]
pub fn not_added(registration: &Registration, ticket: Ticket, error: i32) {
    used_by_ctl(registration.epfd, registration.site);
    match (ticket, error) {
        (Ticket::None, libc::EEXIST) if CORE.find(registration.epfd, registration.fd).is_none() => {
            if process::is_own() {
                change(Change::Found(*registration));
            }
        }
        (Ticket::None, _) => {}
        (ticket, libc::EEXIST) => change(Change::Existed(*registration, ticket)),
        (ticket, _) => change(Change::Undone(*registration, ticket)),
    }
    if error == libc::EBADF {
        look_for_dead(registration.epfd, registration.fd);
    }
}

/// An `EPOLL_CTL_DEL` succeeded.
#[inline(always)]
pub fn deleted(epfd: i32, fd: i32, site: usize) {
    let token = thread::token();
    if !GATE.is_quiet() || !GATE.enter(token) {
        return deleted_later(epfd, fd, token);
    }
    if !is_followed() && CORE.deleted_at_once(epfd, fd) {
        return leave_unfollowed(token);
    }
    deleted_rarely(epfd, fd, site, token);
}

/// The same in every other case, by the holder of the gate.
#[cold]
#[inline(never)]
fn deleted_rarely(epfd: i32, fd: i32, site: usize, token: usize) {
    if CORE.instance_of(epfd).is_none() {
        leave(token);
        return deleted_unknown(epfd, fd);
    }
    used_by_ctl(epfd, site);
    CORE.changes();
    CORE.deleted(epfd, fd);
    leave(token);
}

#[cold]
#[inline(never)]
fn deleted_later(epfd: i32, fd: i32, token: usize) {
    if CORE.instance_of(epfd).is_none() {
        deleted_unknown(epfd, fd);
    } else {
        queue(Change::Deleted { epfd, fd }, token);
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
        // The kernel does not know the pair that the ledger knows: the number has another file now.
        libc::ENOENT if CORE.find(epfd, fd).is_some() && process::is_own() => change(Change::Gone { epfd, fd }),
        libc::EBADF => look_for_dead(epfd, fd),
        _ => {}
    }
}
