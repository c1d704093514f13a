//! How a change of the ledger is made: at once by whoever gets the lock, or later by the holder that finds it in the queue.
//!
//! A holder that never comes back is noticed by whoever needs the lock next, which breaks it and rebuilds the records
//! (`Core::rebuild`). The changes in the queue stay.
//!
//! | the holder is | judged gone |
//! |---|---|
//! | the caller's own thread, in a frame that is not deeper | at once: a handler's frame would be deeper (lock.rs) |
//! | the caller's own thread, in a frame that is deeper, or on an alternate signal stack | after [`MOST_OWN`] of its changes had to wait; at the end of the process at once |
//! | a thread that has ended | at once |
//! | another thread | after [`MOST_STUCK`] changes found it at the same entry, and each gave up its processor |
//!
//! The last two may be wrong. The frame that goes on all the same finds that out when it unlocks, and has the records
//! rebuilt once more.

use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::changes::{Change, apply};
use super::followers::{is_followed, tell_totals};
use super::lock::Hold;
use super::{CORE, LOCKED};
use crate::{sys, thread};

/// Among the flags of the slow path: the records are to be rebuilt by whoever unlocks next. (The others are followers.rs's.)
const REBUILD: u32 = 1 << 31;
/// Changes that a thread queues under its own, perhaps suspended, frame before that is taken for gone.
const MOST_OWN: u32 = 4096;
/// An answer to the program that had to do without the lock counts as so many of them.
const OF_A_READER: u32 = 64;
/// From so many waiting changes on, whoever adds one gives up its processor: the holder may need it.
const CROWDED: u32 = 4096;
const MOST_STUCK: u32 = 8192;

/// The calling frame.
#[inline(always)]
pub(super) fn hold() -> Hold {
    Hold::new(thread::token(), thread::stack_pointer())
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
    if lock_for_change(tried) {
        make();
        unlock();
    } else {
        enqueue(change());
    }
}

#[cold]
#[inline(never)]
pub(super) fn enqueue(change: Change) {
    let hold = hold();
    if LOCKED.queue.len() > CROWDED && !LOCKED.lock.is_held_by(thread::token()) {
        give_way(hold);
    }
    if !LOCKED.enqueue(change, hold) {
        if lock_or_break(Here::In(hold)) {
            unlock();
        }
        if !LOCKED.enqueue(change, hold) {
            CORE.totals.lost.add(1);
            return;
        }
    }
    if LOCKED.lock(hold) || own_hold_is_gone(hold, Here::In(hold), 1) {
        unlock();
    }
}

/// Many changes wait: the holder needs a processor, or it will never come back.
#[cold]
#[inline(never)]
fn give_way(hold: Hold) {
    /// How many changes had been consumed when somebody looked last, and how many looks have found the same since.
    static CONSUMED: AtomicU32 = AtomicU32::new(0);
    static LOOKS: AtomicU32 = AtomicU32::new(0);
    let consumed = LOCKED.queue.consumed();
    if CONSUMED.swap(consumed, Ordering::Relaxed) != consumed {
        LOOKS.store(0, Ordering::Relaxed);
    }
    let looks = LOOKS.fetch_add(1, Ordering::Relaxed);
    if let Some(holder) = LOCKED.lock.holder()
        && (looks > MOST_STUCK || looks == 0 && thread::is_gone(holder))
        && break_lock(holder, hold)
    {
        return unlock();
    }
    sys::yield_now();
}

/// Has the changes that wait made, by this thread or by the holder. For callers that try again; at last it breaks the lock.
/// False: a frame below the caller holds the lock, and goes on only when the caller has returned.
pub(super) fn settle() -> bool {
    let hold = hold();
    if LOCKED.lock(hold) || own_hold_is_gone(hold, Here::In(hold), OF_A_READER) {
        unlock();
        return true;
    }
    let is_ours = is_interrupted();
    if !is_ours {
        give_way(hold);
    }
    !is_ours
}

/// From where a frame of the calling thread that holds the lock is judged.
#[derive(Clone, Copy)]
pub enum Here {
    /// A call of the program's, whose frame this is.
    In(Hold),
    /// Work on a stack of our own (aside.rs): where the program's frames lie is not known.
    Aside,
    /// The process ends: no frame below will ever go on.
    AtEnd,
}

impl Here {
    /// To be taken on the program's own stack.
    #[inline(always)]
    pub fn now() -> Here {
        Here::In(hold())
    }

    fn is_beyond(self, holder: Hold) -> bool {
        match self {
            Here::In(hold) => holder.is_left_behind(hold) && !sys::is_on_alternate_stack(),
            Here::Aside => false,
            Here::AtEnd => true,
        }
    }
}

/// Locks, also where the holder is gone.
pub(super) fn lock_or_break(here: Here) -> bool {
    let hold = hold();
    if LOCKED.lock(hold) || own_hold_is_gone(hold, here, OF_A_READER) {
        return true;
    }
    match LOCKED.lock.holder() {
        Some(holder) => !holder.is_beside(hold) && thread::is_gone(holder) && break_lock(holder, hold),
        None => LOCKED.lock(hold),
    }
}

/// Whether the lock was held by a frame of the calling thread that is gone. The caller holds it now.
fn own_hold_is_gone(hold: Hold, here: Here, weight: u32) -> bool {
    /// The holder under which changes had to wait, and how many.
    static WAITED_UNDER: AtomicU64 = AtomicU64::new(0);
    static WAITED: AtomicU32 = AtomicU32::new(0);
    let Some(holder) = LOCKED.lock.holder().filter(|holder| holder.is_beside(hold)) else { return false };
    // Relaxed: only the holder's own thread comes here.
    if WAITED_UNDER.swap(holder.to_word(), Ordering::Relaxed) != holder.to_word() {
        WAITED.store(0, Ordering::Relaxed);
    }
    let is_gone = here.is_beyond(holder) || WAITED.fetch_add(weight, Ordering::Relaxed) > MOST_OWN;
    is_gone && break_lock(holder, hold)
}

/// Takes the lock from a holder that was judged gone.
#[cold]
#[inline(never)]
fn break_lock(holder: Hold, hold: Hold) -> bool {
    if !LOCKED.lock.break_lock(holder, hold) {
        return false;
    }
    LATE.store(false, Ordering::Relaxed);
    LOCKED.queue.reclaim(|owner| owner == holder);
    CORE.rebuild();
    true
}

/// Unlocks, after the changes that wait. Those that come in between are looked for again.
#[inline(always)]
pub(super) fn unlock() {
    let token = thread::token();
    if LOCKED.lock.wants_slow_path() {
        finish_slow(token);
    }
    if !LOCKED.lock.unlock(token) {
        return was_broken();
    }
    if !LOCKED.lock.is_quiet() {
        drain_again();
    }
}

#[cold]
#[inline(never)]
fn finish_slow(token: usize) {
    if LOCKED.lock.slow_path_flags() & REBUILD != 0 {
        LOCKED.lock.clear_slow_path(REBUILD);
        CORE.rebuild();
    }
    if !LOCKED.lock.is_quiet() {
        drain(token);
    }
    if is_followed() {
        tell_totals();
    }
}

/// The calling frame held the lock, and somebody took it for gone: both have changed the records.
#[cold]
#[inline(never)]
fn was_broken() {
    LOCKED.lock.set_slow_path(REBUILD);
    if LOCKED.lock(hold()) {
        unlock();
    }
}

/// How far a hook has come with a change that it tried to make by the fast path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FastPath {
    /// It is made, and the lock released.
    Done,
    /// The same, and [`finish`] has something to do.
    DoneSlowPathPending,
    /// It is not made, and the calling thread holds the lock. Changes may wait.
    Locked,
    /// It is not made: the lock was taken.
    Busy,
    NotTried,
}

/// Locks for a change that nobody follows, if the lock is free. A caller that gets [`FastPath::Done`] makes the change,
/// and then calls [`unlock_fast`].
#[inline(always)]
pub(super) fn try_lock_fast() -> FastPath {
    LOCKED.lock.approach();
    if !LOCKED.lock.try_lock(hold()) {
        return FastPath::Busy;
    }
    if LOCKED.lock.wants_slow_path() { FastPath::Locked } else { FastPath::Done }
}

#[inline(always)]
pub(super) fn unlock_fast() -> FastPath {
    let was_held = LOCKED.lock.unlock(thread::token());
    if !was_held | LOCKED.lock.wants_slow_path() {
        return after_unlock(was_held);
    }
    FastPath::Done
}

#[cold]
#[inline(never)]
fn after_unlock(was_held: bool) -> FastPath {
    if !was_held {
        was_broken();
    }
    FastPath::DoneSlowPathPending
}

/// Whether the caller holds the lock now, with no change before its own, and must [`unlock`].
pub(super) fn lock_for_change(tried: FastPath) -> bool {
    if tried != FastPath::Locked {
        return LOCKED.lock.is_quiet() && LOCKED.lock(hold());
    }
    let is_first = LOCKED.lock.is_quiet();
    if !is_first && !LOCKED.lock.unlock(thread::token()) {
        // The changes that wait are made only when the caller's own is in the queue, with what was reserved for it.
        was_broken();
    }
    is_first
}

/// Unlocks without a change, if the fast path has left the lock held.
#[cold]
pub fn unlock_unapplied(tried: FastPath) {
    if tried == FastPath::Locked {
        unlock();
    }
}

/// What is left to do of a change that the fast path has made.
pub fn finish(tried: FastPath) {
    if tried == FastPath::DoneSlowPathPending {
        drain_again();
    }
}

/// Applies the changes that wait. By the holder.
pub(super) fn drain_all() {
    drain(thread::token());
}

#[cold]
#[inline(never)]
fn drain(token: usize) {
    LATE.store(true, Ordering::Relaxed);
    LOCKED.drain(token, apply);
    LATE.store(false, Ordering::Relaxed);
}

#[cold]
#[inline(never)]
fn drain_again() {
    let token = thread::token();
    while !LOCKED.lock.is_quiet() && LOCKED.lock.try_lock(hold()) {
        drain(token);
        if !LOCKED.lock.unlock(token) {
            return was_broken();
        }
    }
}

/// A waiting change is being applied: its numbers may have changed hands since it was queued. Written by the holder.
static LATE: AtomicBool = AtomicBool::new(false);

/// Whether what is told happens now.
pub(super) fn is_timely() -> bool {
    !LATE.load(Ordering::Relaxed)
}

/// Whether the calling thread holds the lock: a frame below holds it, or held it when it was jumped out of.
pub fn is_interrupted() -> bool {
    LOCKED.lock.is_held_by(thread::token())
}

/// In the child of a fork, before anything else is told. The other threads are gone, whatever they were doing.
pub fn after_fork() {
    let hold = hold();
    let holder = LOCKED.lock.holder();
    if holder.is_some_and(|holder| holder.is_beside(hold)) {
        // A signal handler that interrupted this thread inside the lock has forked: that frame will go on, and unlock.
        return CORE.after_fork();
    }
    let is_locked = match holder {
        Some(holder) => LOCKED.lock.break_lock(holder, hold),
        None => LOCKED.lock(hold),
    };
    if !is_locked {
        // A thread that was made in the child was faster; it holds the lock for a moment.
        return CORE.after_fork();
    }
    LATE.store(false, Ordering::Relaxed);
    LOCKED.queue.reclaim(|owner| !owner.is_beside(hold));
    if holder.is_some() {
        CORE.rebuild();
    }
    drain_all();
    CORE.after_fork();
    unlock();
}
