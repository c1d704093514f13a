//! What limits ask the ledger, and how it is brought up to date before a call is refused.

use epollshim_ledger::Change;
use epollshim_ledger::lock_protocol::{Here, View};
use epollshim_ledger::records::Instance;

use super::access::{change, drain, lock, lock_or_break, settle, unlock_out_of_line};
use super::events::{done_closing, forget_if_gone};
use super::followers::follow;
use super::reconcile::reconcile;
use super::reservations;
use super::state::{CORE, LOCKED};
use crate::thread::Block;
use crate::{clock, process, procfs, sys, thread};

/// How often a rare call yields to other threads before it gives up: at least a second, if others
/// run.
const PATIENCE: u32 = 100_000;

/// Starts counting what limits need. False: another thread holds the lock all the time.
pub fn track(user: bool) -> bool {
    for _ in 0..PATIENCE {
        if lock_or_break(Here::Elsewhere(View::OF_THE_CALLER)) {
            drain();
            if !CORE.lock.is_quiet() {
                // Draining stopped: memory must be mapped first, which unlocking does.
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

/// What a descriptor is, for a limit.
pub enum Sought {
    NoEpoll,
    /// Its record.
    Known(u32, &'static Instance),
    /// An epoll whose record cannot be read now.
    NotNow,
}

/// The instance of a descriptor, for a limit. If no hook saw its creation, it is added to the
/// ledger first.
pub fn instance_for_limit(epfd: i32) -> Sought {
    let known = || {
        let slot = CORE.descriptors.get(epfd);
        CORE.instance_at(slot.instance()).map(|instance| Sought::Known(slot.instance(), instance))
    };
    for _ in 0..PATIENCE {
        if let Some(known) = known() {
            return known;
        }
        // A change of this descriptor may be queued.
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

/// Tries to reserve something. Tries again as long as changes that release something are queued.
/// (One may be a close by this very thread.)
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

/// Before a refusal: asks the kernel whether the descriptors that the ledger knows are still open.
/// Those that are not were closed where no hook saw it (fclose, a system call that the program made
/// itself), and their reservations are released. The same is done for closes of threads that have
/// ended during the call. True: something was released.
///
/// It makes one system call per descriptor, so it is limited to a small part of the program's time.
/// The rest is found later.
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

/// The thread of this block ended during a close (it may have been cancelled), before or after the
/// kernel made it. Asks the kernel.
pub fn left_closing(block: &'static Block) {
    reservations::was_paid(&block.pending_release);
    done_closing(block);
    let here = super::access::place();
    // On a stack of its own: a handler may leave a hook's frame at any instruction by pthread_exit,
    // but not a frame that reads /proc.
    let compared = crate::sigsafe::on_own_stack(|| reconcile(here));
    if compared.is_some_and(|compared| compared.agrees) && reservations::tracks_user() && lock() {
        CORE.pay();
        unlock_out_of_line();
    }
}

/// Releases what was reserved for a call that did not need it.
pub fn give_back(prepaid: reservations::Prepaid) {
    CORE.reservations.give_back_prepaid(prepaid, CORE.instance_at(prepaid.of));
}
