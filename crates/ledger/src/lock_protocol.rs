//! How a change is made under the ledger's lock: at once by whoever gets the lock, or later by the holder that finds it in
//! the queue.
//!
//! A holder that never comes back is noticed by whoever needs the lock next, which breaks it and has the records rebuilt
//! ([`Guarded::rebuild`]). The changes in the queue stay.
//!
//! | the holder is | judged gone |
//! |---|---|
//! | the caller's own thread, in a frame that is not deeper | at once: a handler's frame would be deeper (lock.rs) |
//! | the caller's own thread, in a frame that is deeper, or the caller is on another stack | after [`MOST_OWN`] of its changes had to wait, and [`LONG`] has passed or the queue is nearly full; at the end of the process at once |
//! | a thread that has ended | at once |
//! | another thread | after [`MOST_STUCK`] changes found it at the same entry and gave up their processor, and [`LONG`] has passed |
//!
//! The second and the last may be wrong: the frame may be suspended, by handlers that follow each other without a break or by
//! the scheduler. The frame that goes on all the same finds that out when it unlocks, and has the records rebuilt once more. But
//! the change that it was making may be lost, or spoilt. So both judgements need more than counts, which pass fast: they also
//! need more time than a frame that will go on is suspended for.

use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::Memory;
use crate::lock::{Hold, Lock, flags};
use crate::queue::{self, Queue};

/// How often a thread looks again before it queues its change: about a microsecond.
const SPINS: u32 = if cfg!(test) { 1 } else { 100 };
/// The same where many changes wait: the holder is not about to unlock.
const SPINS_WHILE_STUCK: u32 = 4;
/// So many changes are many.
const STUCK: u32 = 64;
/// Changes that a thread queues under its own, perhaps suspended, frame before that may be taken for gone. (Few in the models,
/// here and below, so that frames that go on are taken for gone as well.)
const MOST_OWN: u32 = if cfg!(test) { 200 } else { 4096 };
/// An answer to the program that had to do without the lock counts as so many of them.
const OF_A_READER: u32 = 64;
/// From so many waiting changes on, whoever adds one gives up its processor: the holder may need it.
const CROWDED: u32 = if cfg!(test) { 0 } else { 4096 };
const MOST_STUCK: u32 = if cfg!(test) { 1 } else { 8192 };
/// Longer than a thread waits for a processor, also where a thousand others do, and longer than signals keep a frame from each
/// instruction: 3 s, in nanoseconds.
const LONG: u64 = 3_000_000_000;
/// From so many waiting changes on, the queue is nearly full.
const NEARLY_FULL: u32 = queue::ENTRIES / 2;

/// What the lock guards.
pub trait Guarded<T> {
    /// The lock itself.
    fn lock(&self) -> &Lock;
    /// Makes a change. By the holder.
    fn apply(&self, change: T);
    /// Makes everything agree again, after a change that was left half-made or was made by two at once. By the holder.
    fn rebuild(&self);
    /// Changes with every change that is made.
    fn version(&self) -> u64;
    /// That a waiting change is being applied: its numbers may have changed hands since it was queued. Written by the holder.
    fn late(&self) -> &AtomicBool;
    /// What the holder has noted while it held the lock, and others hear when it is free.
    /// Whoever notes something sets [`flags::EVENTS`].
    type Events;
    /// By the holder before it unlocks, unless that goes by the fast path.
    fn before_unlock(&self);
    /// Takes what the holder has noted.
    fn take_events(&self) -> Self::Events;
    /// By who was the holder, when the lock is free: others hear of it.
    fn deliver(&self, events: Self::Events);
    /// The same after each unlocking that was not by the fast path: what takes longer than others may wait for the lock.
    fn unlocked(&self);
    /// A change could neither be made nor queued.
    fn lose(&self, change: T);
    /// Whether the thread of a frame has ended.
    fn has_ended(&self, hold: Hold) -> bool;
    /// Whether the caller runs on another stack than the frames that it may have interrupted.
    fn is_on_another_stack(&self) -> bool;
    /// CLOCK_MONOTONIC, in nanoseconds.
    fn now(&self) -> u64;
    /// Lets other threads run; for longer where the queue `is_nearly_full`.
    fn give_way(&self, is_nearly_full: bool);
}

/// What the lock guards, and the changes that wait for it. Readers need not lock.
///
/// It begins a page, so that the place of its lines in the caches does not depend on what else the library has.
#[repr(C, align(4096))]
pub struct Locked<G, T: 'static, M: Memory> {
    pub guarded: G,
    queue: Queue<T, M>,
    /// For which hold of the lock changes of the holder's own thread had to wait, and how many. Written by that thread.
    waited_under: AtomicU64,
    waited: AtomicU32,
    /// When the first of these changes had to wait.
    waited_since: AtomicU64,
    /// One more than how many changes had been consumed when somebody looked last (0: nobody has looked), and how many looks have
    /// found the same since.
    consumed: AtomicU32,
    looks: AtomicU32,
    /// When the first of these looks was.
    since: AtomicU64,
}

/// From where a frame of the calling thread that holds the lock is judged.
#[derive(Clone, Copy)]
pub enum Here {
    /// A call of the program's: its frame, and its stack pointer in full.
    In(Hold, usize),
    /// A call on another stack than the frames that it may have interrupted, by its stack pointer; 0: not known.
    Elsewhere(usize),
    /// The process ends: no frame below will ever go on.
    AtEnd,
}

/// How far a hook has come with a change that it tried to make by the fast path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FastPath {
    /// It is made, and the lock released.
    Done,
    /// The same, and [`Locked::finish`] has something to do.
    DoneSlowPathPending,
    /// It is not made, and the calling thread holds the lock. Changes may wait.
    Locked,
    /// It is not made: the lock was taken.
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

    /// Makes a change, after those that wait; or lets it wait itself. `make` does what [`Guarded::apply`] does of the
    /// `change`, which need be put into words only if it has to wait. `tried`: how far the fast path came.
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

    /// Locks for a change that needs no slow path, if the lock is free. A caller that gets [`FastPath::Done`] makes the
    /// change, and then calls [`Locked::unlock_fast`].
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

    /// What is left to do of a change that the fast path has made.
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

    /// Whether the caller holds the lock now, with no change before its own, and must [`Locked::unlock`].
    pub fn lock_for_change(&self, tried: FastPath, hold: Hold) -> bool {
        if tried != FastPath::Locked {
            return self.guarded.lock().is_quiet() && self.lock(hold);
        }
        let is_first = self.guarded.lock().is_quiet();
        if !is_first {
            // The changes that wait are made only when the caller's own is in the queue, with what was reserved for it. Whether
            // the lock was broken does not matter: this frame has changed nothing under it.
            self.guarded.lock().unlock(hold);
        }
        is_first
    }

    /// Locks, after a short spin. False: somebody else holds the lock, or the calling thread itself does.
    #[inline(always)]
    pub fn lock(&self, hold: Hold) -> bool {
        self.guarded.lock().try_lock(hold) || self.lock_spinning(hold)
    }

    #[cold]
    #[inline(never)]
    fn lock_spinning(&self, hold: Hold) -> bool {
        self.guarded.lock().spin(hold, if self.queue.len() < STUCK { SPINS } else { SPINS_WHILE_STUCK })
    }

    /// Unlocks, after the changes that wait. Those that come in between are looked for again.
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

    /// Does what is left to do under the lock, unlocks, and delivers what was noted. False: somebody took the holder for gone.
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

    /// The calling frame held the lock, and somebody took it for gone: both have changed the records.
    #[cold]
    #[inline(never)]
    fn was_broken(&self, hold: Hold) {
        self.guarded.lock().set_slow_path(flags::REBUILD);
        if self.lock(hold) {
            self.unlock(hold);
        }
    }

    /// Lets a change wait, and makes it if the lock is free by now.
    #[cold]
    #[inline(never)]
    pub fn enqueue(&self, change: T, hold: Hold) {
        if self.queue.len() > CROWDED && !self.guarded.lock().is_held_beside(hold) {
            self.give_way(hold);
        }
        if !self.append(change, hold) {
            if self.lock_or_break(Here::In(hold, 0), hold) {
                self.unlock(hold);
            }
            if !self.append(change, hold) {
                return self.guarded.lose(change);
            }
        }
        if self.lock(hold) || self.own_hold_is_gone(Here::In(hold, 0), hold, 1) {
            self.unlock(hold);
        }
    }

    /// Appends a change to the queue. False: there is no room.
    fn append(&self, change: T, hold: Hold) -> bool {
        // The flag comes first: from the moment the entry is in the queue, this thread and its handlers see that.
        self.guarded.lock().mark_queued();
        if !self.queue.push(change, hold) {
            return false;
        }
        // `drain` may have found the queue empty in between, and have cleared the flag. SeqCst, with `drain`: either this
        // look sees that it did, or its look at the queue sees the entry.
        if !self.guarded.lock().is_marked_queued() {
            self.guarded.lock().mark_queued();
        }
        true
    }

    /// Applies every change that waits, oldest first. By the holder; it stops where the lock was broken.
    pub fn drain(&self, hold: Hold) {
        self.guarded.late().store(true, Ordering::Relaxed);
        while self.guarded.lock().is_held_beside(hold) {
            if self.queue.apply_next(|change| self.guarded.apply(change)) {
                continue;
            }
            self.guarded.lock().mark_drained();
            if self.queue.is_empty() {
                break;
            }
            // An entry came before the flag was cleared.
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

    /// Whether the change that is being applied happens now: it did not wait in the queue.
    pub fn is_timely(&self) -> bool {
        !self.guarded.late().load(Ordering::Relaxed)
    }

    /// How many changes were ever queued.
    pub fn queued(&self) -> u32 {
        self.queue.appended()
    }

    // ---- holders that are gone ----

    /// Locks, also where the holder is gone.
    pub fn lock_or_break(&self, here: Here, hold: Hold) -> bool {
        if self.lock(hold) || self.own_hold_is_gone(here, hold, OF_A_READER) {
            return true;
        }
        match self.guarded.lock().holder() {
            Some(holder) => {
                !holder.is_beside(hold) && self.is_gone(holder, hold) && self.break_lock(holder, hold, true)
            }
            None => self.lock(hold),
        }
    }

    /// Has the changes that wait made, by this thread or by the holder. For callers that try again; at last it breaks the
    /// lock. False: a frame below the caller holds the lock, and goes on only when the caller has returned.
    pub fn settle(&self, hold: Hold) -> bool {
        if self.lock(hold) || self.own_hold_is_gone(Here::In(hold, 0), hold, OF_A_READER) {
            self.unlock(hold);
            return true;
        }
        let is_ours = self.guarded.lock().is_held_beside(hold);
        if !is_ours {
            self.give_way(hold);
        }
        !is_ours
    }

    /// Many changes wait: the holder needs a processor, or it will never come back.
    #[cold]
    #[inline(never)]
    fn give_way(&self, hold: Hold) {
        let consumed = self.queue.consumed().wrapping_add(1);
        // Acquire: pairs with the store below.
        if self.consumed.load(Ordering::Acquire) != consumed {
            self.looks.store(0, Ordering::Relaxed);
            self.since.store(self.guarded.now(), Ordering::Relaxed);
            // Release: who finds this finds the two stores above, or what was counted since; and who does not begins anew itself.
            self.consumed.store(consumed, Ordering::Release);
        }
        let is_long = || self.is_long_since(&self.since);
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        if let Some(holder) = self.guarded.lock().holder().filter(|holder| !holder.is_beside(hold)) {
            let is_gone = looks == 0 && self.is_gone(holder, hold);
            if (is_gone || looks > MOST_STUCK && is_long()) && self.break_lock(holder, hold, is_gone) {
                return self.unlock(hold);
            }
        }
        self.guarded.give_way(self.is_nearly_full());
    }

    fn is_long_since(&self, moment: &AtomicU64) -> bool {
        self.guarded.now().saturating_sub(moment.load(Ordering::Relaxed)) > LONG
    }

    fn is_nearly_full(&self) -> bool {
        self.queue.len() > NEARLY_FULL
    }

    /// Whether a holder will certainly not come back.
    fn is_gone(&self, holder: Hold, hold: Hold) -> bool {
        holder.is_gone(hold, |holder| self.guarded.has_ended(holder), || self.guarded.is_on_another_stack())
    }

    /// Whether the lock was held by a frame of the calling thread that is gone. The caller holds it now.
    fn own_hold_is_gone(&self, here: Here, hold: Hold, weight: u32) -> bool {
        let Some(holder) = self.guarded.lock().holder().filter(|holder| holder.is_beside(hold)) else { return false };
        let is_beyond = match here {
            Here::In(hold, _) => self.is_gone(holder, hold),
            Here::Elsewhere(_) => false,
            Here::AtEnd => true,
        };
        let is_gone = is_beyond || self.own_hold_is_stuck(holder, weight);
        // A frame of this thread does nothing while this one runs.
        is_gone && self.break_lock(holder, hold, true)
    }

    /// One more change of the calling thread has to wait for its own `holder`, or as many as `weight` says. Whether they have
    /// become so many, for so long, that the holder is taken for gone.
    fn own_hold_is_stuck(&self, holder: Hold, weight: u32) -> bool {
        // One thread's frames lie at the same places again and again: what they have changed tells one from the next. Relaxed:
        // only the holder's own thread comes here.
        let this = holder.to_word() ^ self.guarded.version().rotate_right(20);
        if self.waited_under.load(Ordering::Relaxed) != this {
            self.waited.store(0, Ordering::Relaxed);
            self.waited_since.store(self.guarded.now(), Ordering::Relaxed);
            // Release: a handler that interrupts this finds the two stores above, or begins anew itself.
            self.waited_under.store(this, Ordering::Release);
        }
        self.waited.fetch_add(weight, Ordering::Relaxed) > MOST_OWN
            && (self.is_nearly_full() || self.is_long_since(&self.waited_since))
    }

    /// Takes the lock from a holder that was judged gone. `is_still`: nothing that its thread does at this place of its stack goes
    /// on meanwhile.
    #[cold]
    #[inline(never)]
    fn break_lock(&self, holder: Hold, hold: Hold, is_still: bool) -> bool {
        if !self.guarded.lock().break_lock(holder, hold) {
            return false;
        }
        // The holder may have stopped between the two looks of `drain`: then changes wait, and nothing says so.
        self.guarded.lock().mark_queued();
        self.guarded.late().store(false, Ordering::Relaxed);
        if is_still {
            self.queue.reclaim(|owner| owner == holder);
        }
        self.guarded.rebuild();
        true
    }

    /// In the child of a fork, before any other change. The other threads do not exist there, whatever they were doing. `child`
    /// makes what is guarded the child's.
    pub fn after_fork(&self, hold: Hold, child: impl FnOnce()) {
        let holder = self.guarded.lock().holder();
        if holder.is_some_and(|holder| holder.is_beside(hold)) {
            // A signal handler that interrupted this thread inside the lock has forked: that frame will go on, and unlock.
            return child();
        }
        let is_locked = match holder {
            Some(holder) => self.guarded.lock().break_lock(holder, hold),
            None => self.lock(hold),
        };
        if !is_locked {
            // A thread that was made in the child was faster; it holds the lock for a moment.
            return child();
        }
        self.guarded.late().store(false, Ordering::Relaxed);
        self.queue.reclaim(|owner| !owner.is_beside(hold));
        if holder.is_some() {
            self.guarded.rebuild();
        }
        self.drain(hold);
        child();
        self.unlock(hold);
    }

    /// Nodes of the queue that are in use.
    #[cfg(test)]
    pub fn nodes_in_use(&self) -> usize {
        self.queue.owned()
    }

    /// Whether a change waits.
    #[cfg(test)]
    pub fn has_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Those of a frame.
    #[cfg(test)]
    pub fn nodes_of(&self, hold: Hold) -> usize {
        self.queue.owned_by(hold)
    }
}
