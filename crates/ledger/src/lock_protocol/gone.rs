//! Holders that never come back: when a holder is judged gone, and how the lock is taken from it.
//! The thread that breaks the lock has the records rebuilt ([`Guarded::rebuild`]).
//!
//! When a holder is judged gone:
//!
//! - It is a frame of the caller's own thread and stack, and the caller is not deeper: at once. A
//!   handler that interrupted the holder would be deeper (lock.rs).
//! - It is such a frame, and the caller is deeper: at once, if no signal handler in between has
//!   interrupted a hook. Otherwise as in the next case.
//! - It is a frame of the caller's own thread, on another stack or in doubt: after [`MOST_OWN`] of
//!   the thread's changes had to wait, and [`LONG`] has passed or the queue is nearly full. When
//!   the process ends: at once.
//! - Its thread has ended: at once.
//! - It is a frame of another thread: after [`MOST_STUCK`] changes found it at the same entry and
//!   yielded their processor, and [`LONG`] has passed.
//!
//! The third and the last judgement may be wrong: the frame may be suspended, by handlers that
//! follow each other without a break, or by the scheduler. A frame that continues nevertheless
//! notices that when it unlocks, and has the records rebuilt once more. But the change that it was
//! making may be lost. So neither judgement rests on a count alone, which is reached fast: unless
//! the queue is nearly full, each also requires more time than any frame that will continue stays
//! suspended.

use super::{Guarded, Here, Locked, View};
use crate::Memory;
use crate::lock::Hold;
use crate::queue;
use crate::sync::{AtomicU64, Ordering};

/// How many changes a thread queues above its own, perhaps suspended, frame before that frame is
/// judged gone. (The numbers are small in the models, here and below, so that frames that continue
/// are judged gone as well.)
const MOST_OWN: u32 = if cfg!(test) { 200 } else { 4096 };
/// A read that could not get the lock counts as this many changes.
const OF_A_READER: u32 = 64;
const MOST_STUCK: u32 = if cfg!(test) { 1 } else { 8192 };
/// 3 s, in nanoseconds. That is longer than a thread waits for a processor, even if a thousand
/// others are ready to run, and longer than signals keep a frame from executing an instruction.
const LONG: u64 = 3_000_000_000;
/// From this many waiting changes on the queue is nearly full, and changes are about to be lost.
const NEARLY_FULL: u32 = queue::ENTRIES - queue::ENTRIES / 8;

impl<G: Guarded<T>, T: Copy + Send + 'static, M: Memory> Locked<G, T, M> {
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

    /// Has the waiting changes made, by this thread or by the holder. A caller that tries
    /// repeatedly breaks the lock eventually. False: a frame below the caller holds the lock, and
    /// continues only when the caller has returned.
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

    /// Called when many changes wait: the holder needs a processor, or will never come back.
    #[cold]
    #[inline(never)]
    pub(super) fn give_way(&self, hold: Hold) {
        let consumed = self.queue.consumed().wrapping_add(1);
        // Acquire: pairs with the store below.
        if self.consumed.load(Ordering::Acquire) != consumed {
            self.looks.store(0, Ordering::Relaxed);
            self.since.store(self.guarded.now(), Ordering::Relaxed);
            // Release: a thread that loads this value sees the two stores above, or what was
            // counted since. A thread that does not restarts the count itself.
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
    pub(super) fn own_hold_is_gone(&self, here: Here, hold: Hold, weight: u32) -> bool {
        let Some(holder) = self.guarded.lock().holder().filter(|holder| holder.is_beside(hold)) else { return false };
        let is_gone = match here {
            Here::In(hold, view) => {
                // A change searches the stack only now and then. A handler that was found may have
                // jumped away since.
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
        // The holder's frame does nothing while this one runs: both belong to one thread.
        is_gone && self.break_lock(holder, hold, true)
    }

    /// Counts `weight` more changes of the calling thread that have to wait for its own `holder`.
    /// Returns how many changes and reads have waited.
    fn wait_under(&self, holder: Hold, weight: u32) -> u32 {
        // One thread's frames lie at the same places repeatedly. The version of the records
        // distinguishes them. Relaxed: only the holder's own thread calls this.
        let this = holder.to_word() ^ self.guarded.version().rotate_right(20);
        if self.waited_under.load(Ordering::Relaxed) != this {
            self.waited.store(0, Ordering::Relaxed);
            self.waited_since.store(self.guarded.now(), Ordering::Relaxed);
            // Release: a handler that interrupts this function sees the two stores above, or
            // restarts the count itself.
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

    /// Whether the `holder`'s frame was left, although a handler that interrupted it would lie
    /// where the frame `hold` lies: nothing between the two has interrupted a hook.
    fn was_left(&self, holder: Hold, hold: Hold, view: View) -> bool {
        !self.guarded.is_on_another_stack() && !self.guarded.is_amid_a_hook(view, holder.height_above(hold))
    }

    /// Takes the lock from a holder that was judged gone. `is_still`: no frame of its thread at
    /// this place of the stack continues at the same time.
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
            // A thread that was created in the child got the lock first. It holds it for a moment.
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
}
