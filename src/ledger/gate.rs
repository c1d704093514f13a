//! One writer at a time, without anybody ever waiting for long: a try-lock whose loser leaves a note.
//!
//! The holder's work is some ten nanoseconds. Who finds the gate taken by another thread spins that long; who
//! finds it taken by itself (a signal handler interrupted the holder), or not free after the spin (the holder
//! lost its processor), puts the change into a queue that the holder empties. Nobody blocks, allocates or
//! makes a system call. What does not fit into the queue is counted as lost, and mended by reconciliation.
//!
//! Orderings: entering is Acquire, leaving Release, so that a holder sees its predecessor's records. A process of one
//! thread enters by the same locked instruction: asking glibc whether it is alone, and branching on the answer, costs
//! as much as it saves (a taken branch behind a system call is mispredicted); and where the hook's jump table chose the
//! way, without a branch, ADD and DEL were as long as before.

use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

/// How often a loser looks again before it leaves a note: about a microsecond.
const PATIENCE: u32 = 100;
/// Notes that fit: what other threads may do while the holder waits some tens of milliseconds for a processor.
/// (Zero memory: only what was ever used is backed by pages.)
const NOTES: usize = 1 << 16;
/// Where the flags begin that call for attention: there are fewer notes.
const CALLS: u32 = 32;
const _: () = assert!((NOTES as u64) < 1 << CALLS);

/// The gate, and what it guards: readers need not enter.
///
/// In this order: one cache line says whether it is free, and has what is changed first inside. It begins a page, so that which cache sets
/// its lines are in does not change with what else the library has (hooks/entry.rs says what that is worth).
#[repr(C, align(4096))]
pub struct Gate<G, N: 'static> {
    /// The holder's token; 0: free.
    holder: AtomicUsize,
    /// What keeps changes from the short way: how many notes wait, and above them the flags of [`Gate::call_for`].
    attention: AtomicU64,
    pub guarded: G,
    head: AtomicUsize,
    tail: AtomicUsize,
    notes: [Note<N>; NOTES],
}

struct Note<N> {
    /// Even: to be written in the lap `turn / 2`. Odd: filled. Release by the writer of the note, Acquire by its reader.
    turn: AtomicUsize,
    content: UnsafeCell<MaybeUninit<N>>,
}

// SAFETY: a note's content is touched only by the one thread that its turn names.
unsafe impl<G: Sync, N: Send> Sync for Gate<G, N> {}

/// Has a cache line fetched, of whatever address, while the processor goes on.
#[inline(always)]
pub fn fetch<T>(place: *const T) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing, and every x86-64 processor has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
}

impl<G, N: Copy + Send + 'static> Gate<G, N> {
    pub const fn new(guarded: G) -> Self {
        Gate {
            holder: AtomicUsize::new(0),
            attention: AtomicU64::new(0),
            guarded,
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            notes: [const { Note { turn: AtomicUsize::new(0), content: UnsafeCell::new(MaybeUninit::uninit()) } };
                NOTES],
        }
    }

    /// True: the caller holds the gate and must `leave`. `token` is the thread's own, never 0.
    #[inline(always)]
    pub fn enter(&self, token: usize) -> bool {
        self.enter_at_once(token) || self.insist(token)
    }

    /// Who is about to enter fetches the gate's cache line meanwhile: the processor begins a locked instruction only when all before it
    /// is done, and would fetch the line then (behind a system call 2 ns more).
    #[inline(always)]
    pub fn approach(&self) {
        fetch(&raw const self.holder);
    }

    /// The same where it is free now.
    #[inline(always)]
    pub fn enter_at_once(&self, token: usize) -> bool {
        self.holder.compare_exchange(0, token, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    #[inline(never)]
    fn insist(&self, token: usize) -> bool {
        for _ in 0..PATIENCE {
            match self.holder.load(Ordering::Relaxed) {
                0 => {
                    if self.holder.compare_exchange(0, token, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                        return true;
                    }
                }
                holder if holder == token => return false,
                _ => core::hint::spin_loop(),
            }
        }
        false
    }

    #[inline(always)]
    pub fn leave(&self) {
        self.holder.store(0, Ordering::Release);
    }

    pub fn holder(&self) -> usize {
        self.holder.load(Ordering::Relaxed)
    }

    /// Takes the gate from a holder that will never leave it: its frame was jumped out of, or its thread has ended. False: it has
    /// another holder now, or none. (The one that was asked about may have left before it ended.)
    pub fn seize(&self, holder: usize, token: usize) -> bool {
        self.holder.compare_exchange(holder, token, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// The same in the child of a fork, where no other thread is left.
    pub fn seize_alone(&self, token: usize) {
        self.holder.store(token, Ordering::Relaxed);
    }

    /// How many notes were ever applied.
    pub fn notes_applied(&self) -> usize {
        self.head.load(Ordering::Relaxed)
    }

    /// Whether no note waits. A thread sees its own notes; of another's it may learn later.
    #[inline(always)]
    pub fn is_quiet(&self) -> bool {
        // Acquire: who finds that a note was applied finds the change too (`apply_note`).
        self.attention.load(Ordering::Acquire) as u32 == 0
    }

    /// Whether a note waits, or somebody has [called](Self::call_for) for attention.
    #[inline(always)]
    pub fn wants_attention(&self) -> bool {
        self.attention.load(Ordering::Acquire) != 0
    }

    /// Changes are to be made with more attention from now on, for the reasons that `flags` stand for. It is heard by whoever enters
    /// the gate later.
    pub fn call_for(&self, flags: u32) {
        self.attention.fetch_or(u64::from(flags) << CALLS, Ordering::Relaxed);
    }

    /// For these reasons no more.
    pub fn call_off(&self, flags: u32) {
        self.attention.fetch_and(!(u64::from(flags) << CALLS), Ordering::Relaxed);
    }

    /// Whether it was called for.
    #[inline(always)]
    pub fn is_called_for(&self) -> bool {
        self.attention.load(Ordering::Relaxed) >> CALLS != 0
    }

    /// How many notes were ever left.
    pub fn notes_left(&self) -> usize {
        self.tail.load(Ordering::Relaxed)
    }

    /// Whether nobody holds it, and no note waits.
    #[inline(always)]
    pub fn is_idle(&self) -> bool {
        // Acquire: who finds that a holder has left finds what it did.
        self.holder.load(Ordering::Acquire) == 0 && self.is_quiet()
    }

    /// Whether a quarter of the room is taken.
    pub fn is_crowded(&self) -> bool {
        self.tail.load(Ordering::Relaxed).wrapping_sub(self.head.load(Ordering::Relaxed)) > NOTES / 4
    }

    /// Whether half of the room is taken.
    pub fn is_nearly_full(&self) -> bool {
        self.tail.load(Ordering::Relaxed).wrapping_sub(self.head.load(Ordering::Relaxed)) > NOTES / 2
    }

    /// False: no room.
    pub fn leave_note(&self, content: N) -> bool {
        let mut position = self.tail.load(Ordering::Relaxed);
        loop {
            let Some(note) = self.notes.get(position % NOTES) else { return false };
            let lap = position / NOTES;
            let turn = note.turn.load(Ordering::Acquire);
            if turn == 2 * lap {
                let next = position + 1;
                match self.tail.compare_exchange_weak(position, next, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => {
                        // Before the note is complete, so that it is counted when it is applied. Relaxed: this thread sees it.
                        self.attention.fetch_add(1, Ordering::Relaxed);
                        // SAFETY: the exchange made this thread the only writer of this note in this lap.
                        unsafe { (*note.content.get()).write(content) };
                        note.turn.store(2 * lap + 1, Ordering::Release);
                        return true;
                    }
                    Err(now) => position = now,
                }
            } else if turn < 2 * lap {
                return false;
            } else {
                position = self.tail.load(Ordering::Relaxed);
            }
        }
    }

    /// Whether the oldest note is complete. (A handler that interrupted a writer finds it not so.)
    pub fn has_note(&self) -> bool {
        let position = self.head.load(Ordering::Relaxed);
        self.notes
            .get(position % NOTES)
            .is_some_and(|note| note.turn.load(Ordering::Acquire) == 2 * (position / NOTES) + 1)
    }

    /// Gives the oldest complete note to `apply`. By the holder only. False: there is none.
    ///
    /// It leaves the queue after it was applied: till then the gate is not quiet, and a thread that looks past the
    /// gate for what it has noted itself does not miss it.
    pub fn apply_note(&self, apply: impl FnOnce(N)) -> bool {
        if !self.has_note() {
            return false;
        }
        let position = self.head.load(Ordering::Relaxed);
        let Some(note) = self.notes.get(position % NOTES) else { return false };
        // SAFETY: its turn says that it is written, and the holder is its only reader.
        apply(unsafe { (*note.content.get()).assume_init() });
        note.turn.store(2 * (position / NOTES) + 2, Ordering::Release);
        self.head.store(position + 1, Ordering::Relaxed);
        // Release: who finds the gate quiet by this finds the change too. (What others add meanwhile does not break that: each reads
        // and writes at once, and so goes on with this one's release.)
        self.attention.fetch_sub(1, Ordering::Release);
        true
    }

    /// Throws all notes away, half-written ones too, and returns how many. Only where no other thread exists.
    pub fn forget_notes(&self) -> usize {
        let (head, tail) = (self.head.load(Ordering::Relaxed), self.tail.load(Ordering::Relaxed));
        for position in head..tail {
            if let Some(note) = self.notes.get(position % NOTES) {
                note.turn.store(2 * (position / NOTES) + 2, Ordering::Relaxed);
            }
        }
        self.head.store(tail, Ordering::Relaxed);
        self.attention.fetch_and(!0 << CALLS, Ordering::Relaxed);
        tail.wrapping_sub(head)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Gate, NOTES};
    use std::sync::atomic::{AtomicU64, Ordering};

    fn taken(gate: &Gate<(), usize>) -> Option<usize> {
        let mut taken = None;
        gate.apply_note(|note| taken = Some(note));
        taken
    }

    #[test]
    fn who_holds_the_gate_is_refused_at_once_and_leaves_a_note() {
        static GATE: Gate<(), usize> = Gate::new(());
        assert!(GATE.enter(8));
        assert!(!GATE.enter(8));
        assert!(GATE.is_quiet());
        assert!(GATE.leave_note(7) && GATE.leave_note(9));
        assert!(!GATE.is_quiet());
        assert_eq!((taken(&GATE), taken(&GATE), taken(&GATE)), (Some(7), Some(9), None));
        GATE.leave();
        assert!(GATE.enter(16));
    }

    #[test]
    fn a_gate_that_has_changed_hands_is_not_seized() {
        static GATE: Gate<(), usize> = Gate::new(());
        assert!(GATE.enter(8));
        let holder = GATE.holder();
        GATE.leave();
        assert!(!GATE.seize(holder, 24));
        assert!(GATE.enter(16));
        assert!(!GATE.seize(holder, 24));
        assert!(GATE.seize(16, 24) && GATE.holder() == 24);
    }

    #[test]
    fn a_full_queue_refuses_and_works_on_after_it_was_emptied() {
        static GATE: Gate<(), usize> = Gate::new(());
        for lap in 0..3 {
            for note in 0..NOTES {
                assert!(GATE.leave_note(lap * NOTES + note));
            }
            assert!(!GATE.leave_note(0));
            for note in 0..NOTES {
                assert_eq!(taken(&GATE), Some(lap * NOTES + note));
            }
        }
        assert!(GATE.leave_note(1) && GATE.leave_note(2));
        assert_eq!(GATE.forget_notes(), 2);
        assert!(GATE.is_quiet() && taken(&GATE).is_none() && GATE.leave_note(3));
    }

    #[test]
    fn who_calls_for_attention_gets_it_till_he_calls_it_off_whatever_notes_come_and_go() {
        static GATE: Gate<(), usize> = Gate::new(());
        assert!(!GATE.wants_attention());
        GATE.call_for(3);
        assert!(GATE.is_quiet() && GATE.wants_attention() && GATE.is_called_for());
        assert!(GATE.leave_note(7) && !GATE.is_quiet());
        GATE.call_off(1);
        assert!(GATE.is_called_for() && taken(&GATE) == Some(7) && GATE.is_quiet());
        assert!(GATE.leave_note(8));
        assert_eq!(GATE.forget_notes(), 1);
        assert!(GATE.is_called_for() && GATE.is_quiet());
        GATE.call_off(2);
        assert!(!GATE.wants_attention());
        // Nobody has called, and a note waits.
        assert!(GATE.leave_note(9) && GATE.wants_attention() && !GATE.is_called_for());
    }

    #[test]
    fn every_change_of_racing_threads_is_made_once() {
        static GATE: Gate<(), u64> = Gate::new(());
        static SUM: AtomicU64 = AtomicU64::new(0);
        static LOST: AtomicU64 = AtomicU64::new(0);
        let threads: std::vec::Vec<_> = (1..=4usize)
            .map(|number| {
                std::thread::spawn(move || {
                    let token = number * 8;
                    for _ in 0..200_000 {
                        // Only the holder changes SUM, by a plain load and store: a second holder would show.
                        let apply = |amount| SUM.store(SUM.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
                        if GATE.is_quiet() && GATE.enter(token) {
                            apply(1);
                        } else {
                            if !GATE.leave_note(1) {
                                LOST.fetch_add(1, Ordering::Relaxed);
                            }
                            if !GATE.enter(token) {
                                continue;
                            }
                        }
                        loop {
                            while GATE.apply_note(apply) {}
                            GATE.leave();
                            if !GATE.has_note() || !GATE.enter(token) {
                                break;
                            }
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().ok();
        }
        while GATE.apply_note(|amount| {
            SUM.fetch_add(amount, Ordering::Relaxed);
        }) {}
        assert_eq!(SUM.load(Ordering::Relaxed) + LOST.load(Ordering::Relaxed), 800_000);
    }
}
