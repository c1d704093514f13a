//! The ledger's lock as hooks use it: the one [`Locked`] of the process, and the calling frame.

use super::changes::{Change, apply};
use super::core::Core;
use super::followers::{self, tell_totals};
use super::lock::Hold;
use super::lock_protocol::{FastPath, Guarded, Here};
use super::{CORE, LOCKED};
use crate::{clock, interrupted, registers, sys, thread};

impl Guarded<Change> for Core {
    fn apply(&self, change: Change) {
        apply(change);
    }

    fn rebuild(&self) {
        Core::rebuild(self);
    }

    fn version(&self) -> u64 {
        Core::version(self)
    }

    fn before_unlock(&self) {
        tell_totals();
    }

    fn unlocked(&self) {
        followers::unlocked();
    }

    fn lose(&self, _: Change) {
        self.totals.lost.add(1);
    }

    fn has_ended(&self, hold: Hold) -> bool {
        thread::has_owner_ended(hold)
    }

    fn is_on_another_stack(&self) -> bool {
        sys::is_on_alternate_stack()
    }

    fn now(&self) -> u64 {
        clock::monotonic()
    }

    fn give_way(&self, is_nearly_full: bool) {
        if is_nearly_full { sys::sleep(200_000) } else { sys::yield_now() }
    }
}

impl Hold {
    /// The calling frame.
    #[inline(always)]
    pub fn here() -> Hold {
        Hold::new(registers::token(), registers::stack_pointer())
    }
}

impl Here {
    /// To be taken on the program's own stack.
    #[inline(always)]
    pub fn now() -> Here {
        let stack = registers::stack_pointer();
        if sys::is_on_alternate_stack() { Here::Elsewhere(stack) } else { Here::In(Hold::here(), stack) }
    }

    /// Whether a hook below this place has made its real call, and not yet noted what came of it.
    pub fn is_amid_a_hook(self) -> bool {
        match self {
            Here::In(_, stack) | Here::Elsewhere(stack) => stack != 0 && interrupted::a_hook(stack),
            Here::AtEnd => false,
        }
    }
}

/// Makes a change, after those that wait; or lets it wait itself.
pub(super) fn change(change: Change) {
    change_by(|| apply(change), || change);
}

/// The same. `make` does what `apply` does of the `change`, which need be put into words only if it has to wait.
#[inline(always)]
pub(super) fn change_by(make: impl FnOnce(), change: impl FnOnce() -> Change) {
    change_on(FastPath::NotTried, make, change);
}

/// The same after the fast path was tried.
#[inline(always)]
pub(super) fn change_on(tried: FastPath, make: impl FnOnce(), change: impl FnOnce() -> Change) {
    LOCKED.change(tried, Hold::here(), make, change);
}

/// [`Locked::enqueue`](super::lock_protocol::Locked::enqueue).
#[cold]
#[inline(never)]
pub(super) fn enqueue(change: Change) {
    LOCKED.enqueue(change, Hold::here());
}

#[inline(always)]
pub(super) fn try_lock_fast() -> FastPath {
    LOCKED.try_lock_fast(Hold::here())
}

#[inline(always)]
pub(super) fn unlock_fast() -> FastPath {
    LOCKED.unlock_fast(Hold::here())
}

pub(super) fn lock_for_change(tried: FastPath) -> bool {
    LOCKED.lock_for_change(tried, Hold::here())
}

/// Locks, after a short spin.
pub(super) fn lock() -> bool {
    LOCKED.lock(Hold::here())
}

/// Locks, also where the holder is gone.
pub(super) fn lock_or_break(here: Here) -> bool {
    LOCKED.lock_or_break(here, Hold::here())
}

#[inline(always)]
pub(super) fn unlock() {
    LOCKED.unlock(Hold::here());
}

/// The same for callers that are not in a hurry: it is there once.
#[cold]
#[inline(never)]
pub(super) fn unlock_out_of_line() {
    unlock();
}

/// Applies the changes that wait. By the holder.
pub(super) fn drain() {
    LOCKED.drain(Hold::here());
}

/// [`Locked::settle`](super::lock_protocol::Locked::settle).
pub(super) fn settle() -> bool {
    LOCKED.settle(Hold::here())
}

/// Unlocks without a change, if the fast path has left the lock held.
#[cold]
pub fn unlock_unapplied(tried: FastPath) {
    LOCKED.unlock_unapplied(tried, Hold::here());
}

/// What is left to do of a change that the fast path has made.
pub fn finish(tried: FastPath) {
    LOCKED.finish(tried, Hold::here());
}

/// Whether the change that is being applied happens now: it did not wait in the queue.
pub(super) fn is_timely() -> bool {
    LOCKED.is_timely()
}

/// Whether the calling thread holds the lock: a frame below holds it, or held it when it was jumped out of.
pub fn is_interrupted() -> bool {
    LOCKED.lock.is_held_beside(Hold::here())
}

/// In the child of a fork, before any other change.
pub fn after_fork() {
    LOCKED.after_fork(Hold::here(), || CORE.after_fork());
}
