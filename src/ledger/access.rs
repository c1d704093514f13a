//! The ledger's lock as hooks use it: the `Locked` of this process, with the calling frame.

use epollshim_ledger::lock::Hold;
use epollshim_ledger::lock_protocol::{FastPath, Here, View};
use epollshim_ledger::{Change, Ring};

use super::state::{CORE, LOCKED};
use crate::{interrupted, registers, sys};

/// The signals that this thread blocks. If a filter forbids asking: all.
pub(super) fn blocked_signals() -> sys::SignalSet {
    sys::blocked_signals().unwrap_or(sys::SignalSet::MAX)
}

/// The calling frame.
#[inline(always)]
pub fn here() -> Hold {
    Hold::new(registers::token(), registers::stack_pointer())
}

/// The same for a caller that may have interrupted a hook. Must be called on the program's own
/// stack.
#[inline(always)]
pub fn place() -> Here {
    let view = View { stack: registers::stack_pointer(), blocked: blocked_signals() };
    if sys::is_on_alternate_stack() { Here::Elsewhere(view) } else { Here::In(here(), view) }
}

/// Whether a hook below this place has made its real call and not yet noted the result.
pub fn is_amid_a_hook(place: Here) -> bool {
    match place {
        Here::In(_, view) | Here::Elsewhere(view) => view.stack != 0 && interrupted::a_hook(view),
        Here::AtEnd => false,
    }
}

/// Makes a change after those that are queued, or enqueues it.
pub(super) fn change(change: Change) {
    let numbers = change.numbers();
    let [first, second] = numbers;
    if !CORE.wants_preparation(first) && !CORE.wants_preparation(second) {
        return change_prepared(change, None);
    }
    // No memory may be mapped under the lock, and the kernel may not be asked.
    change_prepared(change, Some(CORE.prepare(&numbers).rings()));
}

#[inline(never)]
fn change_prepared(change: Change, answers: Option<&[Ring]>) {
    change_by(|| CORE.with_answers(answers, || CORE.make(change)), || change);
}

/// The same. `make` must do what `apply` does for the change. `change` builds the value, only if it
/// is enqueued.
#[inline(always)]
pub(super) fn change_by(make: impl FnOnce(), change: impl FnOnce() -> Change) {
    change_on(FastPath::NotTried, make, change);
}

/// The same after the fast path was tried.
#[inline(always)]
pub(super) fn change_on(tried: FastPath, make: impl FnOnce(), change: impl FnOnce() -> Change) {
    LOCKED.change(tried, here(), make, change);
}

/// `Locked::enqueue` (`epollshim_ledger::lock_protocol`).
#[cold]
#[inline(never)]
pub(super) fn enqueue(change: Change) {
    LOCKED.enqueue(change, here());
}

#[inline(always)]
pub(super) fn try_lock_fast() -> FastPath {
    LOCKED.try_lock_fast(here())
}

#[inline(always)]
pub(super) fn unlock_fast() -> FastPath {
    LOCKED.unlock_fast(here())
}

#[inline(always)]
pub(super) fn lock_for_change(tried: FastPath) -> bool {
    LOCKED.lock_for_change(tried, here())
}

/// Locks, after a short spin.
pub(super) fn lock() -> bool {
    LOCKED.lock(here())
}

/// Locks, even if the holder is gone.
pub(super) fn lock_or_break(place: Here) -> bool {
    LOCKED.lock_or_break(place, here())
}

#[inline(always)]
pub(super) fn unlock() {
    LOCKED.unlock(here());
}

/// The same for callers that are not hot: one copy of the code, not inlined.
#[cold]
#[inline(never)]
pub(super) fn unlock_out_of_line() {
    unlock();
}

/// Applies the queued changes. Only the holder of the lock may call it.
pub(super) fn drain() {
    LOCKED.drain(here());
}

/// `Locked::settle` (`epollshim_ledger::lock_protocol`).
pub(super) fn settle() -> bool {
    LOCKED.settle(here())
}

/// Unlocks without a change, if the fast path has left the lock held.
#[cold]
pub fn unlock_unapplied(tried: FastPath) {
    LOCKED.unlock_unapplied(tried, here());
}

/// Finishes a change that the fast path has made.
pub fn finish(tried: FastPath) {
    LOCKED.finish(tried, here());
}

/// Whether the calling thread holds the lock: a frame below holds it, or held it when a jump
/// skipped that frame.
pub fn is_interrupted() -> bool {
    CORE.lock.is_held_beside(here())
}
