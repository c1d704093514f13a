//! How a change is made under the ledger's lock. A thread that gets the lock makes its change at
//! once. Otherwise the change waits in the queue, and the holder makes it.
//!
//! A holder may never come back. The next thread that needs the lock notices that and breaks the
//! lock (gone.rs). The changes in the queue stay.

mod gone;
mod guarded;

use crate::sync::{AtomicU32, AtomicU64, Ordering};

use crate::Memory;
use crate::lock::{Hold, flags};
use crate::queue::Queue;

pub use guarded::{Guarded, View};

/// How often a thread tries the lock before it queues its change. A plain change takes less time
/// than that (docs/performance.md, "The ledger's lock").
const SPINS: u32 = if cfg!(test) { 1 } else { 100 };
/// The same while many changes wait: the holder is not about to unlock.
const SPINS_WHILE_STUCK: u32 = 4;
/// How many waiting changes are many.
const STUCK: u32 = 64;
/// From this many waiting changes on, a thread that appends one yields its processor: the holder
/// may need it.
const CROWDED: u32 = if cfg!(test) { 0 } else { 4096 };

/// What the lock guards, and the changes that wait for it. Readers need not lock.
///
/// It is aligned to a page, so that its place in the caches does not depend on the rest of the
/// library.
#[repr(C, align(4096))]
pub struct Locked<G, T: 'static, M: Memory> {
    pub guarded: G,
    queue: Queue<T, M>,
    /// The hold of the lock under which changes of the holder's own thread had to wait, and how
    /// many had to. Only that thread writes these two.
    waited_under: AtomicU64,
    waited: AtomicU32,
    /// When the first of these changes had to wait.
    waited_since: AtomicU64,
    /// `consumed` is one more than the number of changes that had been consumed at the last look;
    /// 0: there was no look. `looks` counts the looks that have found the same number since.
    consumed: AtomicU32,
    looks: AtomicU32,
    /// When the first of these looks was made, in CLOCK_MONOTONIC nanoseconds.
    since: AtomicU64,
}

/// The caller's place on the stack, from which it judges whether a frame of its own thread that
/// holds the lock is gone.
#[derive(Clone, Copy)]
pub enum Here {
    /// A call of the program: its frame, and what it sees of the stack.
    In(Hold, View),
    /// A call on another stack than the frames that it may have interrupted.
    Elsewhere(View),
    /// The process ends: no frame below will continue.
    AtEnd,
}

/// How far a hook has come with a change that it tried on the fast path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FastPath {
    /// The change is made, and the lock is released.
    Done,
    /// The same, but the caller must call [`Locked::finish`].
    DoneSlowPathPending,
    /// The change is not made, and the calling thread holds the lock. Changes may wait.
    Locked,
    /// The change is not made: the lock was taken.
    Busy,
    NotTried,
}

impl<G: Guarded<T>, T: Copy + Send + 'static, M: Memory> Locked<G, T, M> {
    pub const fn new(guarded: G) -> Self {
        Locked {
            guarded,
            queue: Queue::new(),
            waited_under: AtomicU64::new(0),
            waited: AtomicU32::new(0),
            waited_since: AtomicU64::new(0),
            consumed: AtomicU32::new(0),
            looks: AtomicU32::new(0),
            since: AtomicU64::new(0),
        }
    }

    /// Makes a change after those that wait, or queues it. `make` does what [`Guarded::apply`] does
    /// for `change`, whose value is built only if it is queued. `tried`: how far the fast path
    /// came.
    #[inline(always)]
    pub fn change(&self, tried: FastPath, hold: Hold, make: impl FnOnce(), change: impl FnOnce() -> T) {
        if self.lock_for_change(tried, hold) {
            make();
            self.unlock(hold);
        } else {
            self.enqueue(change(), hold);
        }
    }

    // ---- the fast path ----

    /// Locks for a change that needs no slow path, if the lock is free. A caller that gets
    /// [`FastPath::Done`] makes its change, and then calls [`Locked::unlock_fast`].
    #[inline(always)]
    pub fn try_lock_fast(&self, hold: Hold) -> FastPath {
        self.guarded.lock().approach();
        if !self.guarded.lock().try_lock(hold) {
            return FastPath::Busy;
        }
        if self.guarded.lock().wants_slow_path() { FastPath::Locked } else { FastPath::Done }
    }

    #[inline(always)]
    pub fn unlock_fast(&self, hold: Hold) -> FastPath {
        let was_held = self.guarded.lock().unlock(hold);
        if !was_held | self.guarded.lock().wants_slow_path() {
            return self.after_unlock(was_held, hold);
        }
        FastPath::Done
    }

    #[cold]
    #[inline(never)]
    fn after_unlock(&self, was_held: bool, hold: Hold) -> FastPath {
        if !was_held {
            self.was_broken(hold);
        }
        FastPath::DoneSlowPathPending
    }

    /// Does what is left after a change that the fast path has made.
    pub fn finish(&self, tried: FastPath, hold: Hold) {
        if tried == FastPath::DoneSlowPathPending {
            self.drain_again(hold);
        }
    }

    /// Unlocks without a change, if the fast path has left the lock held.
    #[cold]
    pub fn unlock_unapplied(&self, tried: FastPath, hold: Hold) {
        if tried == FastPath::Locked {
            self.unlock(hold);
        }
    }

    // ---- the slow path ----

    /// True: the caller holds the lock, no change waits before its own, and it must call
    /// [`Locked::unlock`].
    #[inline(always)]
    pub fn lock_for_change(&self, tried: FastPath, hold: Hold) -> bool {
        if tried != FastPath::Locked {
            return self.guarded.lock().is_quiet() && self.lock(hold);
        }
        let is_first = self.guarded.lock().is_quiet();
        if !is_first {
            // The waiting changes are made only once the caller's own is in the queue, with what
            // was reserved for it. It does not matter whether the lock was broken: this frame has
            // changed nothing under it.
            self.guarded.lock().unlock(hold);
        }
        is_first
    }

    /// Locks, after a short spin. False: another thread holds the lock, or the calling thread
    /// itself does.
    #[inline(always)]
    pub fn lock(&self, hold: Hold) -> bool {
        self.guarded.lock().try_lock(hold) || self.lock_spinning(hold)
    }

    #[cold]
    #[inline(never)]
    fn lock_spinning(&self, hold: Hold) -> bool {
        self.guarded.lock().spin(hold, if self.queue.len() < STUCK { SPINS } else { SPINS_WHILE_STUCK })
    }

    /// Applies the waiting changes, and unlocks. Looks again for changes that came in between.
    #[inline(always)]
    pub fn unlock(&self, hold: Hold) {
        if self.guarded.lock().wants_slow_path() {
            return self.unlock_slow(hold);
        }
        if !self.guarded.lock().unlock(hold) {
            return self.was_broken(hold);
        }
        if !self.guarded.lock().is_quiet() {
            self.drain_again(hold);
        }
    }

    #[inline(never)]
    fn unlock_slow(&self, hold: Hold) {
        if !self.unlock_once(hold) {
            return self.was_broken(hold);
        }
        if !self.guarded.lock().is_quiet() {
            self.drain_again(hold);
        }
    }

    /// Does what is left to do under the lock, unlocks, and delivers the events. False: another
    /// thread judged the holder gone.
    fn unlock_once(&self, hold: Hold) -> bool {
        if self.guarded.lock().has_arrears() {
            self.catch_up(hold);
        }
        self.guarded.before_unlock();
        let was_held = if self.guarded.lock().slow_path_flags() & flags::EVENTS != 0 {
            self.unlock_and_deliver(hold)
        } else {
            self.guarded.lock().unlock(hold)
        };
        self.guarded.unlocked();
        was_held
    }

    #[cold]
    #[inline(never)]
    fn unlock_and_deliver(&self, hold: Hold) -> bool {
        self.guarded.lock().clear_slow_path(flags::EVENTS);
        let events = self.guarded.take_events();
        let was_held = self.guarded.lock().unlock(hold);
        self.guarded.deliver(events);
        was_held
    }

    #[cold]
    #[inline(never)]
    fn catch_up(&self, hold: Hold) {
        if self.guarded.lock().slow_path_flags() & flags::REBUILD != 0 {
            self.guarded.lock().clear_slow_path(flags::REBUILD);
            self.guarded.rebuild();
        }
        if !self.guarded.lock().is_quiet() {
            self.drain(hold);
        }
    }

    /// The calling frame held the lock, and another thread judged it gone: both have changed the
    /// records.
    #[cold]
    #[inline(never)]
    fn was_broken(&self, hold: Hold) {
        self.guarded.lock().set_slow_path(flags::REBUILD);
        if self.lock(hold) {
            self.unlock(hold);
        }
    }

    /// Queues a change, and applies it if the lock is free by now.
    #[cold]
    #[inline(never)]
    pub fn enqueue(&self, change: T, hold: Hold) {
        if self.queue.len() > CROWDED && !self.guarded.lock().is_held_beside(hold) {
            self.give_way(hold);
        }
        if !self.append(change, hold) {
            if self.lock_or_break(Here::In(hold, View::OF_THE_CALLER), hold) {
                self.unlock(hold);
            }
            if !self.append(change, hold) {
                return self.guarded.lose(change);
            }
        }
        if self.lock(hold) || self.own_hold_is_gone(Here::In(hold, View::OF_THE_CALLER), hold, 1) {
            self.unlock(hold);
        }
    }

    /// Appends a change to the queue. False: there is no room.
    fn append(&self, change: T, hold: Hold) -> bool {
        // The flag comes first: as soon as the entry is in the queue, this thread and its handlers
        // see the flag.
        self.guarded.lock().mark_queued();
        if !self.queue.push(change, hold) {
            return false;
        }
        // `drain` may have found the queue empty in between, and cleared the flag. SeqCst here and
        // in `drain`: either this look sees the cleared flag, or the look of `drain` at the queue
        // sees the entry.
        if !self.guarded.lock().is_marked_queued() {
            self.guarded.lock().mark_queued();
        }
        true
    }

    /// Applies every change that waits, oldest first. Only the holder calls it. It stops if the
    /// lock was broken, or if memory is short.
    pub fn drain(&self, hold: Hold) {
        self.guarded.late().store(true, Ordering::Relaxed);
        while self.guarded.lock().is_held_beside(hold) && !self.guarded.is_nearly_out() {
            if self.queue.apply_next(|change| self.guarded.apply(change)) {
                continue;
            }
            self.guarded.lock().mark_drained();
            if self.queue.is_empty() {
                break;
            }
            // An entry was appended before the flag was cleared.
            self.guarded.lock().mark_queued();
        }
        self.guarded.late().store(false, Ordering::Relaxed);
    }

    #[cold]
    #[inline(never)]
    fn drain_again(&self, hold: Hold) {
        while !self.guarded.lock().is_quiet() && self.guarded.lock().try_lock(hold) {
            if !self.unlock_once(hold) {
                return self.was_broken(hold);
            }
        }
    }

    /// Whether the change that is being applied happens now, and did not wait in the queue.
    pub fn is_timely(&self) -> bool {
        !self.guarded.late().load(Ordering::Relaxed)
    }

    /// How many changes were ever queued.
    pub fn queued(&self) -> u32 {
        self.queue.appended()
    }

    /// How many nodes of the queue are in use.
    #[cfg(test)]
    pub fn nodes_in_use(&self) -> usize {
        self.queue.owned()
    }

    /// Whether a change waits.
    #[cfg(test)]
    pub fn has_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// How many nodes belong to a frame.
    #[cfg(test)]
    pub fn nodes_of(&self, hold: Hold) -> usize {
        self.queue.owned_by(hold)
    }
}
