//! How a change is made under the ledger's lock. A thread that gets the lock makes its change at
//! once. Otherwise the change waits in the queue, and the holder makes it.
//!
//! The next thread that needs the lock notices a holder that never comes back. It breaks the lock
//! and has the records rebuilt ([`Guarded::rebuild`]). The changes in the queue stay.
//!
//! | the holder is | judged gone |
//! |---|---|
//! | the caller's own thread, in a frame that is not deeper | at once: a handler's frame would be deeper (lock.rs) |
//! | the same, in a frame that is deeper | at once, if no signal handler in between has interrupted a hook; else as below |
//! | the same, or the caller is on another stack | after [`MOST_OWN`] of its changes had to wait, and [`LONG`] has passed or the queue is nearly full; at the end of the process at once |
//! | a thread that has ended | at once |
//! | another thread | after [`MOST_STUCK`] changes found it at the same entry and yielded their processor, and [`LONG`] has passed |
//!
//! The third and the last judgement may be wrong: the frame may be suspended, by handlers that follow each other without a
//! break, or by the scheduler. A frame that continues nevertheless notices that when it unlocks, and has the records rebuilt once
//! more. But the change that it was making may be lost. So neither judgement rests on a count alone, which passes fast: it also
//! needs more time than a frame is suspended for that will continue.

use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::Memory;
use crate::lock::{Hold, Lock, flags};
use crate::queue::{self, Queue};

/// How often a thread looks at the lock before it queues its change. A plain change is shorter than
/// that (docs/performance.md, "The ledger's lock").
const SPINS: u32 = if cfg!(test) { 1 } else { 100 };
/// The same while many changes wait: the holder is not about to unlock.
const SPINS_WHILE_STUCK: u32 = 4;
/// How many waiting changes are many.
const STUCK: u32 = 64;
/// How many changes a thread queues above its own, perhaps suspended, frame before that frame is
/// judged gone. (The models have few, here and below, so that frames that continue are judged gone
/// as well.)
const MOST_OWN: u32 = if cfg!(test) { 200 } else { 4096 };
/// A read that had to do without the lock counts as this many changes.
const OF_A_READER: u32 = 64;
/// From this many waiting changes on, a thread that appends one yields its processor: the holder
/// may need it.
const CROWDED: u32 = if cfg!(test) { 0 } else { 4096 };
const MOST_STUCK: u32 = if cfg!(test) { 1 } else { 8192 };
/// 3 s, in nanoseconds: longer than a thread waits for a processor, even where a thousand others
/// are ready to run, and longer than signals keep a frame from each instruction.
const LONG: u64 = 3_000_000_000;
/// From so many waiting changes on, the queue is nearly full, and changes are about to be lost.
const NEARLY_FULL: u32 = queue::ENTRIES - queue::ENTRIES / 8;

/// What the lock guards.
pub trait Guarded<T> {
    /// The lock itself.
    fn lock(&self) -> &Lock;
    /// Makes a change. Only the holder calls it.
    fn apply(&self, change: T);
    /// Makes all records consistent again, after a change that was left half-made or was made by
    /// two threads at once. Only the holder calls it.
    fn rebuild(&self);
    /// Differs after every change.
    fn version(&self) -> u64;
    /// Set while a change that waited is being applied: its numbers may refer to something else
    /// since it was queued. Only the holder writes it.
    fn late(&self) -> &AtomicBool;
    /// What the holder notes while it holds the lock, and what is delivered when the lock is free.
    /// A holder that notes something sets [`flags::EVENTS`].
    type Events;
    /// The holder calls it before it unlocks, except on the fast path.
    fn before_unlock(&self);
    /// Takes what the holder has noted.
    fn take_events(&self) -> Self::Events;
    /// Whether so little memory is left that the changes that wait may need more: whoever unlocks gets it before they are made.
    fn is_nearly_out(&self) -> bool;
    /// By who was the holder, when the lock is free: others hear of it.
    fn deliver(&self, events: Self::Events);
    /// Called after each unlock that was not on the fast path, for work that takes longer than
    /// others may wait for the lock.
    fn unlocked(&self);
    /// A change could neither be made nor queued.
    fn lose(&self, change: T);
    /// Whether the thread of a frame has ended.
    fn has_ended(&self, hold: Hold) -> bool;
    /// Whether the caller runs on another stack than the frames that it may have interrupted.
    fn is_on_another_stack(&self) -> bool;
    /// Whether a signal handler runs in the `bytes` above a frame of the calling thread, and has
    /// interrupted a hook. True also where that is not known.
    fn is_amid_a_hook(&self, view: View, bytes: usize) -> bool;
    /// CLOCK_MONOTONIC, in nanoseconds.
    fn now(&self) -> u64;
    /// Yields the processor; for longer if the queue `is_nearly_full`.
    fn give_way(&self, is_nearly_full: bool);
}

/// What the lock guards, and the changes that wait for it. Readers need not lock.
///
/// It begins a page, so that its place in the caches does not depend on the rest of the library.
#[repr(C, align(4096))]
pub struct Locked<G, T: 'static, M: Memory> {
    pub guarded: G,
    queue: Queue<T, M>,
    /// For which hold of the lock changes of the holder's own thread had to wait, and how many.
    /// Only that thread writes them.
    waited_under: AtomicU64,
    waited: AtomicU32,
    /// When the first of these changes had to wait.
    waited_since: AtomicU64,
    /// One more than how many changes had been consumed at the last look (0: there was none), and how
    /// many looks have found the same number since.
    consumed: AtomicU32,
    looks: AtomicU32,
    /// When the first of these looks was made.
    since: AtomicU64,
}

/// A frame from which the stack above is searched for signal handlers that run.
#[derive(Clone, Copy)]
pub struct View {
    /// Its stack pointer; 0: that of the caller.
    pub stack: usize,
    /// The signals that the thread blocked there (only where `stack` is not 0).
    pub blocked: u64,
}

impl View {
    pub const OF_THE_CALLER: View = View { stack: 0, blocked: 0 };
}

/// Who judges whether a frame of the calling thread that holds the lock is gone.
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
        // `drain` may have found the queue empty in between, and have cleared the flag. SeqCst here
        // and in `drain`: either this look sees the cleared flag, or the look of `drain` at the
        // queue sees the entry.
        if !self.guarded.lock().is_marked_queued() {
            self.guarded.lock().mark_queued();
        }
        true
    }

    /// Applies every change that waits, oldest first. By the holder; it stops where the lock was broken, or memory is short.
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

    // ---- holders that are gone ----

    /// Locks, even if the holder is gone.
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

    /// Has the waiting changes made, by this thread or by the holder. For callers that try
    /// repeatedly: eventually it breaks the lock. False: a frame below the caller holds the lock,
    /// and continues only when the caller has returned.
    pub fn settle(&self, hold: Hold) -> bool {
        if self.lock(hold) || self.own_hold_is_gone(Here::In(hold, View::OF_THE_CALLER), hold, OF_A_READER) {
            self.unlock(hold);
            return true;
        }
        let is_ours = self.guarded.lock().is_held_beside(hold);
        if !is_ours {
            self.give_way(hold);
        }
        !is_ours
    }

    /// Many changes wait: the holder needs a processor, or will never come back.
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
        self.guarded.give_way(self.queue.len() > queue::ENTRIES / 2);
    }

    fn is_long_since(&self, moment: &AtomicU64) -> bool {
        self.guarded.now().saturating_sub(moment.load(Ordering::Relaxed)) > LONG
    }

    /// Whether a holder will certainly not come back.
    fn is_gone(&self, holder: Hold, hold: Hold) -> bool {
        holder.is_gone(hold, |holder| self.guarded.has_ended(holder), || self.guarded.is_on_another_stack())
    }

    /// Whether a frame of the calling thread that is gone held the lock. If so, the caller holds it
    /// now.
    fn own_hold_is_gone(&self, here: Here, hold: Hold, weight: u32) -> bool {
        let Some(holder) = self.guarded.lock().holder().filter(|holder| holder.is_beside(hold)) else { return false };
        let is_gone = match here {
            Here::In(hold, view) => {
                // A change looks again now and then: the handler that was found may have jumped away.
                let looks = |waited: u32| weight == OF_A_READER || waited.is_power_of_two();
                self.is_gone(holder, hold)
                    || looks(self.wait_under(holder, weight)) && self.was_left(holder, hold, view)
                    || self.own_hold_is_stuck()
            }
            Here::Elsewhere(_) => {
                self.wait_under(holder, weight);
                self.own_hold_is_stuck()
            }
            Here::AtEnd => true,
        };
        // A frame of this thread does nothing while this one runs.
        is_gone && self.break_lock(holder, hold, true)
    }

    /// One more change of the calling thread has to wait for its own `holder`, or as many as
    /// `weight` says. Returns how many have waited, of changes and of reads.
    fn wait_under(&self, holder: Hold, weight: u32) -> u32 {
        // One thread's frames lie at the same places again and again. The count of changes
        // distinguishes them. Relaxed: only the holder's own thread comes here.
        let this = holder.to_word() ^ self.guarded.version().rotate_right(20);
        if self.waited_under.load(Ordering::Relaxed) != this {
            self.waited.store(0, Ordering::Relaxed);
            self.waited_since.store(self.guarded.now(), Ordering::Relaxed);
            // Release: a handler that interrupts this finds the two stores above, or begins anew itself.
            self.waited_under.store(this, Ordering::Release);
        }
        self.waited.fetch_add(weight, Ordering::Relaxed).saturating_add(weight)
    }

    /// Whether so many changes have waited for a frame of the calling thread, and for so long, that
    /// it is judged gone.
    fn own_hold_is_stuck(&self) -> bool {
        self.waited.load(Ordering::Relaxed) > MOST_OWN
            && (self.queue.len() > NEARLY_FULL || self.is_long_since(&self.waited_since))
    }

    /// Whether the `holder`'s frame was left, although a handler that interrupted it would lie where
    /// the frame `hold` lies: nothing between the two has interrupted a hook.
    fn was_left(&self, holder: Hold, hold: Hold, view: View) -> bool {
        !self.guarded.is_on_another_stack() && !self.guarded.is_amid_a_hook(view, holder.height_above(hold))
    }

    /// Takes the lock from a holder that was judged gone. `is_still`: nothing that its thread does
    /// at this place of its stack continues at the same time.
    #[cold]
    #[inline(never)]
    fn break_lock(&self, holder: Hold, hold: Hold, is_still: bool) -> bool {
        if !self.guarded.lock().break_lock(holder, hold) {
            return false;
        }
        // The holder may have stopped between the two looks of `drain`. Then changes wait, and no
        // flag is set.
        self.guarded.lock().mark_queued();
        self.guarded.late().store(false, Ordering::Relaxed);
        if is_still {
            self.queue.reclaim(|owner| owner == holder);
        }
        self.guarded.rebuild();
        true
    }

    /// The child of a fork calls it before any other change. The other threads do not exist there,
    /// whatever they were doing. `child` makes what is guarded the child's.
    pub fn after_fork(&self, hold: Hold, child: impl FnOnce()) {
        let holder = self.guarded.lock().holder();
        if holder.is_some_and(|holder| holder.is_beside(hold)) {
            // A signal handler that interrupted this thread inside the lock has forked. That frame
            // will continue, and unlock.
            return child();
        }
        let is_locked = match holder {
            Some(holder) => self.guarded.lock().break_lock(holder, hold),
            None => self.lock(hold),
        };
        if !is_locked {
            // A thread that was created in the child came first. It holds the lock for a moment.
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
