//! What limits ask of the ledger, and how it is made true before a call is refused for what is gone.

use epollshim_ledger::Change;
use epollshim_ledger::lock_protocol::Here;
use epollshim_ledger::records::Instance;

use super::access::{change, drain, lock, lock_or_break, settle, unlock_out_of_line};
use super::events::{done_closing, forget_if_gone};
use super::followers::follow;
use super::reconcile::reconcile;
use super::reservations;
use super::state::{CORE, LOCKED};
use crate::thread::Block;
use crate::{clock, process, procfs, sys, thread};

/// How often a rare call lets other threads run before it gives up: a second at least, where they do.
const PATIENCE: u32 = 100_000;

/// Begins to charge what limits count. False: another thread has the lock all the time.
pub fn track(user: bool) -> bool {
    for _ in 0..PATIENCE {
        if lock_or_break(Here::Elsewhere(0)) {
            drain();
            if !CORE.lock.is_quiet() {
                // Memory is wanted first.
                unlock_out_of_line();
                continue;
            }
            if !reservations::tracks() {
                follow();
                CORE.track();
            }
            if user && !reservations::tracks_user() {
                reservations::track_user_too();
                CORE.pay();
            }
            unlock_out_of_line();
            return true;
        }
        sys::yield_now();
    }
    false
}

/// What a descriptor is to a limit.
pub enum Sought {
    NoEpoll,
    /// Its record.
    Known(u32, &'static Instance),
    /// An epoll, whose record cannot be looked at now.
    NotNow,
}

/// The instance of a descriptor, for a limit: taken into the ledger first, if it came out of sight.
pub fn instance_for_limit(epfd: i32) -> Sought {
    let known = || {
        let slot = CORE.descriptors.get(epfd);
        CORE.instance_at(slot.instance()).map(|instance| Sought::Known(slot.instance(), instance))
    };
    for _ in 0..PATIENCE {
        if let Some(known) = known() {
            return known;
        }
        // A change about it may wait.
        if CORE.lock.is_quiet() || !settle() {
            break;
        }
    }
    if !process::is_own() || !crate::procfs::is_epoll(epfd) {
        return Sought::NoEpoll;
    }
    change(Change::Adopted { fd: epfd });
    known().unwrap_or(Sought::NotNow)
}

/// Tries to charge something until that succeeds, or fails at a moment when nothing that is to be given back waits in the
/// lock's queue. (A close of this very thread may have left a note there.)
pub fn when_settled<T>(charge: impl Fn() -> Result<T, ()>) -> Result<T, ()> {
    for _ in 0..PATIENCE {
        let appended = LOCKED.queued();
        let was_quiet = CORE.lock.is_quiet();
        if let Ok(charged) = charge() {
            return Ok(charged);
        }
        if was_quiet && LOCKED.queued() == appended {
            break;
        }
        if !settle() {
            break;
        }
    }
    Err(())
}

/// Before a refusal: whether the descriptors that the ledger knows are still open, as the kernel says. Those that are not
/// were closed out of sight (fclose, a system call of the program's own), and what they were charged is given back. So is
/// what a thread was closing that ended meanwhile. True: there was something.
///
/// Takes a system call a descriptor, hence no more than a small part of the program's time: what is left is found later.
#[cold]
#[inline(never)]
pub fn look_for_the_gone() -> bool {
    static TURN: clock::Turn = clock::Turn::new();
    if !process::is_own() {
        return false;
    }
    let Some(began) = TURN.begin() else { return false };
    let mut found = false;
    for block in thread::all().filter(|block| !block.pending_release.is_empty() && thread::has_ended(block)) {
        left_closing(block);
        found = true;
    }
    for fd in 0..=CORE.descriptors.highest() {
        let slot = CORE.descriptors.get(fd);
        found |= slot.is_known() && forget_if_gone(fd, |slot| !is_there(fd, slot.instance() != 0));
    }
    TURN.end(began);
    found
}

/// Whether a descriptor is open, and may be an epoll instance if `is_epoll`.
fn is_there(fd: i32, is_epoll: bool) -> bool {
    sys::is_open(fd) && (!is_epoll || procfs::may_be_epoll(fd))
}

/// The thread of this block ended in a close (cancelled, it may be), before the kernel had made it or after: the kernel is
/// asked.
pub fn left_closing(block: &'static Block) {
    reservations::was_paid(&block.pending_release);
    done_closing(block);
    let here = super::access::place();
    // Aside: a hook's frame may be left by pthread_exit in a handler at any instruction, what reads /proc may not.
    let compared = crate::sigsafe::on_own_stack(|| reconcile(here));
    if compared.is_some_and(|compared| compared.agrees) && reservations::tracks_user() && lock() {
        CORE.pay();
        unlock_out_of_line();
    }
}

/// Gives back what was charged ahead for a call, and not needed.
pub fn give_back(prepaid: reservations::Prepaid) {
    CORE.reservations.give_back_prepaid(prepaid, CORE.instance_at(prepaid.of));
}
