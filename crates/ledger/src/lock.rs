//! The ledger's lock: one writer at a time, and no thread blocks.
//!
//! The lock is a try-lock. A thread that finds it taken spins for a moment (docs/performance.md,
//! "The ledger's lock"), and then appends its change to the queue (queue.rs). The holder empties
//! the queue before it unlocks (lock_protocol.rs).
//!
//! A holder may never come back: its frame was jumped out of (`siglongjmp`), its thread ended in a
//! signal handler (`pthread_exit`), or the process forked and the child does not have the holder's
//! thread. The lock word therefore names the holder's thread, and where its frame lies on the stack
//! ([`Hold`]). From that a later thread judges whether the holder is gone, and takes the lock from
//! it ([`Lock::break_lock`]). The judgement may be wrong for a frame that was only suspended.
//! [`Lock::unlock`] notices that, and the records are rebuilt.

use crate::sync::{AtomicU64, Ordering};

/// Set while changes are in the queue. The flags of [`Lock::set_slow_path`] are the upper half.
const QUEUED: u64 = 1;
const FLAGS: u32 = 32;

/// Prefetches the cache line of any address. On processors other than x86-64 it does nothing.
#[inline(always)]
pub fn fetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing, and every x86-64 processor has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// The reasons why changes may not take the fast path.
pub mod flags {
    /// Limits or a recording follow each change.
    pub const FOLLOWED: u32 = 1;
    /// This is the child of a fork: the first use of each older instance is to be noticed.
    pub const FIRST_USES: u32 = 2;
    /// The holder has noted events that are to be delivered.
    pub const EVENTS: u32 = 4;
    /// The thread that unlocks next gets memory for more records.
    pub const MEMORY: u32 = 8;
    /// The thread that unlocks next rebuilds the records.
    pub const REBUILD: u32 = 1 << 31;
}

/// A frame that holds the lock, or owns an entry of the queue: its thread, and where it lies on its
/// stack.
///
/// ```text
/// bits 20..63   the thread's token (thread.rs): the low 44 bits of an 8-byte aligned address
/// bits  0..19   the stack pointer in units of 32 bytes, modulo 32 MiB
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hold(u64);

const STACK_BITS: u32 = 20;
const STACK: u64 = (1 << STACK_BITS) - 1;
/// The least size of a signal frame: the red zone, and what the kernel saves (x86-64 psABI; Linux
/// v6.1 arch/x86/kernel/signal.c). A frame of the same thread that is deeper by less than this does
/// not belong to a handler that interrupted the other.
const SIGNAL_FRAME: u64 = 1024 / 32;

impl Hold {
    /// `token` is the thread's token, which is never 0.
    #[inline(always)]
    pub fn new(token: usize, stack: usize) -> Hold {
        Hold(Self::thread(token) | (stack as u64 >> 5) & STACK)
    }

    /// The lower bits are zero: a thread control block is aligned (x86-64 psABI, thread-local
    /// storage).
    #[inline(always)]
    fn thread(token: usize) -> u64 {
        (token as u64) << (STACK_BITS - 3)
    }

    pub fn from_word(word: u64) -> Option<Hold> {
        (word & !STACK != 0).then_some(Hold(word))
    }

    pub fn to_word(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub fn is_of(self, token: usize) -> bool {
        (self.0 ^ Self::thread(token)) >> STACK_BITS == 0
    }

    /// Whether both are frames of one thread.
    #[inline(always)]
    pub fn is_beside(self, other: Hold) -> bool {
        (self.0 ^ other.0) >> STACK_BITS == 0
    }

    /// Whether this frame is gone, as seen by a frame `now` of the same thread on the same stack: a
    /// handler that interrupted this frame would lie deeper. False also where that cannot be known.
    pub fn is_left_behind(self, now: Hold) -> bool {
        let depth = self.0.wrapping_sub(now.0) & STACK;
        self.is_beside(now) && !(SIGNAL_FRAME..=STACK / 2).contains(&depth)
    }

    /// How many bytes this frame lies above a frame `now` of the same thread, if both are on one
    /// stack. Both places are known to 32 bytes.
    pub fn height_above(self, now: Hold) -> usize {
        ((self.0.wrapping_sub(now.0) & STACK) as usize + 1) << 5
    }

    /// Whether this frame will certainly not continue, as far as the frame `now` can know: its
    /// thread has ended, or it is a frame of the caller's own thread, on the same stack, that was
    /// left.
    pub fn is_gone(
        self,
        now: Hold,
        has_ended: impl FnOnce(Hold) -> bool,
        is_on_another_stack: impl FnOnce() -> bool,
    ) -> bool {
        if self.is_beside(now) { self.is_left_behind(now) && !is_on_another_stack() } else { has_ended(self) }
    }
}

/// The lock word, and the word that keeps changes from the fast path.
#[repr(C)]
pub struct Lock {
    /// The holder ([`Hold`]); 0: free. Locking is Acquire and unlocking is Release, so that a
    /// holder sees its predecessor's records.
    holder: AtomicU64,
    slow_path: AtomicU64,
}

impl Default for Lock {
    fn default() -> Self {
        Self::new()
    }
}

impl Lock {
    pub const fn new() -> Lock {
        Lock { holder: AtomicU64::new(0), slow_path: AtomicU64::new(0) }
    }

    /// Prefetches the lock word for a thread that is about to lock.
    #[inline(always)]
    pub fn approach(&self) {
        fetch(&raw const self.holder);
    }

    /// Locks if the lock is free. True: the caller holds the lock, and must `unlock`.
    #[inline(always)]
    pub fn try_lock(&self, hold: Hold) -> bool {
        self.holder.compare_exchange(0, hold.0, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Tries up to `spins` times. Returns false at once if the caller's own thread holds the lock.
    #[cold]
    #[inline(never)]
    pub fn spin(&self, hold: Hold, spins: u32) -> bool {
        for _ in 0..spins {
            match self.holder() {
                None => {
                    if self.try_lock(hold) {
                        return true;
                    }
                }
                Some(holder) if holder.is_beside(hold) => return false,
                Some(_) => core::hint::spin_loop(),
            }
        }
        false
    }

    /// Unlocks. False: the calling thread no longer holds the lock. Another thread judged it gone,
    /// and has changed the records in the meantime.
    #[inline(always)]
    pub fn unlock(&self, hold: Hold) -> bool {
        let is_holder = self.is_held_beside(hold);
        if is_holder {
            self.holder.store(0, Ordering::Release);
        }
        is_holder
    }

    /// Whether the thread of this frame holds the lock.
    #[inline(always)]
    pub fn is_held_beside(&self, hold: Hold) -> bool {
        // Relaxed: only this thread, or one that breaks the lock, changes the answer.
        Hold(self.holder.load(Ordering::Relaxed)).is_beside(hold)
    }

    pub fn holder(&self) -> Option<Hold> {
        Hold::from_word(self.holder.load(Ordering::Relaxed))
    }

    /// Takes the lock from a holder that was judged gone. False: the lock has another holder now,
    /// or none.
    pub fn break_lock(&self, holder: Hold, hold: Hold) -> bool {
        self.holder.compare_exchange(holder.0, hold.0, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Whether the queue is empty. A thread sees its own changes at once, and those of other
    /// threads perhaps later.
    #[inline(always)]
    pub fn is_quiet(&self) -> bool {
        // Acquire: pairs with the Release in `mark_drained`. A thread that sees the cleared flag
        // sees the changes that were applied before.
        self.slow_path.load(Ordering::Acquire) as u32 == 0
    }

    /// Whether a change waits, or a flag of [`Lock::set_slow_path`] is set.
    #[inline(always)]
    pub fn wants_slow_path(&self) -> bool {
        self.slow_path.load(Ordering::Acquire) != 0
    }

    /// Whether a change waits, or the records are to be rebuilt.
    #[inline(always)]
    pub fn has_arrears(&self) -> bool {
        // Acquire: pairs with the Release in `mark_drained`.
        self.slow_path.load(Ordering::Acquire) & (u64::from(u32::MAX) | u64::from(flags::REBUILD) << FLAGS) != 0
    }

    /// Keeps changes from the fast path from now on, for the reasons in `flags`. Every later holder
    /// sees it.
    pub fn set_slow_path(&self, flags: u32) {
        self.slow_path.fetch_or(u64::from(flags) << FLAGS, Ordering::Relaxed);
    }

    pub fn clear_slow_path(&self, flags: u32) {
        self.slow_path.fetch_and(!(u64::from(flags) << FLAGS), Ordering::Relaxed);
    }

    /// Whether limits, a recording or the detection of first uses follow each change.
    #[inline(always)]
    pub fn is_followed(&self) -> bool {
        self.slow_path_flags() & (flags::FOLLOWED | flags::FIRST_USES) != 0
    }

    #[inline(always)]
    pub fn slow_path_flags(&self) -> u32 {
        (self.slow_path.load(Ordering::Relaxed) >> FLAGS) as u32
    }

    /// Whether the lock is free, and no change waits.
    #[inline(always)]
    pub fn is_idle(&self) -> bool {
        // Acquire: pairs with the Release of `unlock`.
        self.holder.load(Ordering::Acquire) == 0 && self.is_quiet()
    }

    /// Called before a change is appended to the queue. SeqCst: see `Locked::append`.
    pub fn mark_queued(&self) {
        self.slow_path.fetch_or(QUEUED, Ordering::SeqCst);
    }

    pub fn is_marked_queued(&self) -> bool {
        self.slow_path.load(Ordering::SeqCst) & QUEUED != 0
    }

    /// The queue was empty a moment ago. Release (part of SeqCst): pairs with the Acquire in
    /// `is_quiet`.
    pub fn mark_drained(&self) {
        self.slow_path.fetch_and(!QUEUED, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::{Hold, Lock};

    const TOKEN: usize = 0x7f12_3456_7740;

    #[test]
    fn a_hold_names_its_thread_and_no_other() {
        let hold = Hold::new(TOKEN, 0x7ffe_0000_1234);
        assert!(hold.is_of(TOKEN) && !hold.is_of(TOKEN + 8) && !hold.is_of(TOKEN + (1 << 46)));
        assert_eq!(Hold::from_word(hold.to_word()), Some(hold));
        assert_eq!(Hold::from_word(0), None);
    }

    #[test]
    fn a_frame_is_gone_unless_a_handler_may_lie_above_it() {
        let at = |stack| Hold::new(TOKEN, stack);
        // Also where the stored bits of the stack pointer wrap around.
        for holder in [0x7ffe_1234_5000, 0x7ffe_0000_0100] {
            assert!(at(holder).is_left_behind(at(holder)), "the same depth");
            assert!(at(holder).is_left_behind(at(holder + 5000)), "shallower");
            assert!(at(holder).is_left_behind(at(holder - 512)), "too near for a signal frame between");
            assert!(!at(holder).is_left_behind(at(holder - 2000)), "deeper");
            assert!(!at(holder).is_left_behind(at(holder - (8 << 20))), "much deeper");
        }
        assert!(!at(0x7ffe_1234_5000).is_left_behind(Hold::new(TOKEN + 64, 0x7ffe_1234_6000)), "another thread's");
    }

    #[test]
    fn a_lock_that_has_changed_hands_is_not_broken_and_not_unlocked() {
        let lock = Lock::new();
        let [one, two, three] = [1, 2, 3].map(|number| Hold::new(TOKEN + 64 * number, 0x7000));
        assert!(lock.try_lock(one) && !lock.try_lock(two));
        assert!(lock.unlock(one));
        assert!(!lock.break_lock(one, two), "it is free");
        assert!(lock.try_lock(three) && !lock.break_lock(one, two));
        assert!(lock.break_lock(three, two) && lock.holder() == Some(two));
        assert!(!lock.unlock(three), "its former holder finds that out");
        assert!(lock.unlock(two) && lock.holder().is_none());
    }

    #[test]
    fn flags_of_the_slow_path_stay_until_they_are_cleared() {
        let lock = Lock::new();
        lock.set_slow_path(3);
        assert!(lock.is_quiet() && lock.wants_slow_path() && lock.slow_path_flags() == 3);
        lock.mark_queued();
        lock.clear_slow_path(1);
        assert!(!lock.is_quiet() && lock.slow_path_flags() == 2);
        lock.mark_drained();
        assert!(lock.is_quiet() && lock.wants_slow_path());
        lock.clear_slow_path(2);
        assert!(!lock.wants_slow_path());
    }
}
