//! The state of each descriptor number: one word, found by two loads.
//!
//! ```text
//! unknown   0                                  no epoll knows it, and no dup of it was seen
//! alias      1 << 63 | next << 32 | leader     no epoll knows it, but a dup was seen: one of a ring of numbers
//! known     instance << 32 | description       watched, or an epoll, or an alias of such a number
//! ```
//!
//! Hooks read the words without a lock. The words of known numbers are written under the ledger's
//! lock. The rings of aliases are not: a dup of what no epoll knows costs two loads, and the first
//! dup an exchange (see `join`). A close of it costs nothing. So a ring is a hint: it keeps numbers
//! that were closed since, and those that a vfork child closed in its own table. Code whose result
//! depends on a ring asks the kernel about each number (core/descriptions.rs, `recognise_aliases`).
//!
//! Words are stored by Release and loaded by Acquire: a thread that reads an index sees the memory
//! of its record (pool.rs), with or without the lock.

use crate::sync::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use crate::Memory;
use crate::lock::fetch;
use crate::numbers::Numbers;

/// What the ledger knows of a descriptor number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FdState(u64);

const TWIN: u64 = 1 << 63;

impl FdState {
    pub const UNKNOWN: FdState = FdState(0);

    #[inline(always)]
    pub fn known(description: u32, instance: u32) -> FdState {
        FdState(u64::from(description) | (u64::from(instance) & 0x7fff_ffff) << 32)
    }

    /// A member of a ring: `leader` is the same for all members.
    #[inline(always)]
    fn alias(next: i32, leader: u32) -> FdState {
        FdState(TWIN | (next as u64 & 0x7fff_ffff) << 32 | u64::from(leader))
    }

    /// Index of the open file description; 0: unknown to every epoll.
    #[inline(always)]
    pub fn description(self) -> u32 {
        if self.0 & TWIN == 0 { self.0 as u32 } else { 0 }
    }

    /// The same if the description is no instance. None: it is one, or the number is unknown, or an
    /// alias.
    #[inline(always)]
    pub fn description_if_file(self) -> Option<u32> {
        u32::try_from(self.0).ok()
    }

    /// Index of the epoll instance that the description is; 0: none is known.
    #[inline(always)]
    pub fn instance(self) -> u32 {
        if self.0 & TWIN == 0 { (self.0 >> 32) as u32 } else { 0 }
    }

    #[inline(always)]
    pub fn is_known(self) -> bool {
        // A known word is not zero, and its uppermost bit is zero. So one comparison suffices;
        // every close makes it.
        self.0 as i64 > 0
    }

    /// A value that the numbers of one ring share, and that differs between rings.
    #[inline(always)]
    fn leader(self) -> u32 {
        self.0 as u32
    }

    /// Whether both are in one ring.
    #[inline(always)]
    fn is_in_ring_of(self, other: FdState) -> bool {
        self.0 & other.0 & TWIN != 0 && self.leader() == other.leader()
    }

    /// The next number of a ring of aliases.
    #[inline(always)]
    pub fn next_alias(self) -> Option<i32> {
        (self.0 & TWIN != 0).then_some((self.0 >> 32) as i32 & 0x7fff_ffff)
    }
}

/// The word of one number.
#[derive(Clone, Copy)]
pub struct Place<'table>(&'table AtomicU64);

impl Place<'_> {
    #[inline(always)]
    pub fn get(self) -> FdState {
        FdState(self.0.load(Ordering::Acquire))
    }

    /// A caller that writes a word other than [`FdState::UNKNOWN`] must also call `reach`.
    #[inline(always)]
    pub fn set(self, slot: FdState) {
        self.0.store(slot.0, Ordering::Release);
    }
}

/// The longest ring whose numbers are all asked about.
pub const RING: usize = 64;
/// The longest ring that is relabelled when two become one, which happens once for each pair.
const RELABELLED: usize = 1 << 16;

/// Their words are part of the library's memory. A program that locks its memory locks them as
/// well.
const IN_PLACE: usize = 1 << 14;
/// Numbers below lie in place.
pub(crate) const LOW: i32 = IN_PLACE as i32;

/// The words of all descriptor numbers: the first 16,384 in place, the others in chunks that are
/// mapped when needed.
///
/// The order of the fields matters. How far the words reach, which every call reads, comes last. It
/// shares a cache line with what follows this table in the core (core.rs asserts it).
#[repr(C)]
pub struct Descriptors<M> {
    low: [AtomicU64; IN_PLACE],
    high: Numbers<AtomicU64, M>,
    /// One more than the highest number whose word was ever other than zero. (The whole table
    /// begins as zero, so that it lies in .bss and takes no space in the library's file.)
    end: AtomicI32,
    /// The same for the numbers in place.
    low_end: AtomicU32,
    /// How many rings of aliases were begun. It is the leader of the last one.
    rings: AtomicU32,
    _to_the_next_word: u32,
}

impl<M: Memory> Descriptors<M> {
    pub const fn new() -> Self {
        Descriptors {
            end: AtomicI32::new(0),
            low_end: AtomicU32::new(0),
            rings: AtomicU32::new(0),
            _to_the_next_word: 0,
            low: [const { AtomicU64::new(0) }; IN_PLACE],
            high: Numbers::new(),
        }
    }

    #[inline(always)]
    pub fn get(&self, fd: i32) -> FdState {
        match self.low.get(fd as u32 as usize) {
            Some(word) => FdState(word.load(Ordering::Acquire)),
            // No descriptor at all: close(-1) is not rare.
            None if fd < 0 => FdState::UNKNOWN,
            None => self.get_high(fd),
        }
    }

    #[cold]
    #[inline(never)]
    fn get_high(&self, fd: i32) -> FdState {
        self.word(fd).map_or(FdState::UNKNOWN, |word| FdState(word.load(Ordering::Acquire)))
    }

    /// The word of a low number, for repeated access; None: the number is high.
    #[inline(always)]
    pub fn low(&self, fd: i32) -> Option<Place<'_>> {
        self.low.get(fd as u32 as usize).map(Place)
    }

    /// Prefetches the word of a number for a caller that will read it under the lock. Any number is
    /// allowed (docs/performance.md, "Where code and data lie").
    #[inline(always)]
    pub fn approach(&self, fd: i32) {
        fetch(self.low.as_ptr().wrapping_add(fd as u32 as usize));
    }

    /// The same for a number whose word, or the word of a higher number, was ever other than
    /// [`FdState::UNKNOWN`]. It needs no `reach`.
    #[inline(always)]
    pub fn low_reached(&self, fd: i32) -> Option<Place<'_>> {
        if fd as u32 >= self.low_end.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: `low_end` is at most IN_PLACE (`reach_further` keeps it so). (For `get_unchecked` the
        // compiler would mask the number twice.)
        Some(Place(unsafe { &*self.low.as_ptr().add(fd as u32 as usize) }))
    }

    /// Replaces a word that was read before, unless it has changed. A locked instruction: what the
    /// thread reads later, it reads after the word was written.
    #[inline(always)]
    fn exchange(&self, fd: i32, from: FdState, to: FdState) -> bool {
        let Some(word) = self.word(fd) else { return false };
        self.reach(fd);
        word.compare_exchange(from.0, to.0, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// False: there is no memory for it ([`Descriptors::prepare`]), or the number is none that a descriptor can have.
    #[inline(always)]
    pub fn set(&self, fd: i32, slot: FdState) -> bool {
        let Some(word) = self.word(fd) else { return slot == FdState::UNKNOWN };
        word.store(slot.0, Ordering::Release);
        if slot != FdState::UNKNOWN {
            self.reach(fd);
        }
        true
    }

    /// Notes that `new` is a dup of `old`, without the lock. False: they are known, or became known
    /// in the meantime, or belong to two rings. Then the caller does everything again under the
    /// lock, where what was done here does no harm.
    ///
    /// The caller has found the lock idle, after the real dup. `is_idle` looks whether it still is.
    /// A repeated dup writes nothing, and needs no second look: a thread that locks later, and asks
    /// the kernel, learns of the dup.
    ///
    /// A new link needs one. An ADD of `old` may read the word of `old` before the link is written,
    /// and write it as known afterwards. So the link is written by an exchange, which never
    /// overwrites a known word, and then the lock is looked at again. The exchange is a locked
    /// instruction, so that this look does not happen before every thread can see the link. (A
    /// plain store could wait in the store buffer while this look finds the lock free and an ADD
    /// finds no link.) A thread that read the word before the exchange held the lock at that time.
    /// Either this look finds it holding the lock, or it has unlocked, and what it wrote over the
    /// link is seen in the link's place. (The figures: docs/performance.md, "dup".)
    #[inline(always)]
    pub fn join(&self, old: i32, new: i32, is_idle: impl Fn() -> bool) -> bool {
        let (of_old, of_new) = (self.get(old), self.get(new));
        of_old.is_in_ring_of(of_new) || self.join_anew(old, new, is_idle)
    }

    /// Whether two low numbers are in one ring.
    #[inline(always)]
    pub fn are_joined(&self, old: i32, new: i32) -> bool {
        // No taken branches, as in `Core::reserve_at_once`.
        let (Some(of_old), Some(of_new)) = (self.low(old), self.low(new)) else { return false };
        of_old.get().is_in_ring_of(of_new.get())
    }

    #[cold]
    #[inline(never)]
    fn join_anew(&self, old: i32, new: i32, is_idle: impl Fn() -> bool) -> bool {
        let (of_old, of_new) = (self.get(old), self.get(new));
        if of_old.is_known() || of_new.is_known() {
            return false;
        }
        if self.may_miss_either(old, new) && !(self.prepare(old) && self.prepare(new)) {
            return false;
        }
        match self.link((old, of_old), (new, of_new)) {
            Some(linked) => is_idle() && self.get(old) == linked,
            None => false,
        }
    }

    /// Links two numbers of which at most one is in a ring, if `old` is still what it was. Returns
    /// the new word of `old`.
    fn link(&self, (old, of_old): (i32, FdState), (new, of_new): (i32, FdState)) -> Option<FdState> {
        if of_old.is_known() || of_new.is_known() {
            return None;
        }
        // The word of `new` needs no exchange: no other thread knows yet that the number is open.
        let linked = match (of_old.next_alias(), of_new.next_alias()) {
            (None, None) => {
                // Not a locked addition: if two threads draw one number, one ring too many may look
                // known, which does no harm.
                let leader = self.rings.load(Ordering::Relaxed).wrapping_add(1);
                self.rings.store(leader, Ordering::Relaxed);
                self.set(new, FdState::alias(old, leader));
                FdState::alias(new, leader)
            }
            (Some(next), None) => {
                self.set(new, FdState::alias(next, of_old.leader()));
                FdState::alias(new, of_old.leader())
            }
            (None, Some(next)) => {
                let linked = FdState::alias(next, of_new.leader());
                if !self.exchange(old, of_old, linked) {
                    return None;
                }
                self.set(new, FdState::alias(old, of_new.leader()));
                return Some(linked);
            }
            (Some(_), Some(_)) => return None,
        };
        if !self.exchange(old, of_old, linked) {
            self.set(new, of_new);
            return None;
        }
        Some(linked)
    }

    /// The same under the lock. Rings only grow together here.
    pub fn join_held(&self, old: i32, new: i32) {
        // A few times, since other threads may dup `old` at the same moment. A link that fails then
        // is given up.
        for _ in 0..8 {
            let (of_old, of_new) = (self.get(old), self.get(new));
            match (of_old.next_alias(), of_new.next_alias()) {
                (Some(_), Some(_)) if !of_old.is_in_ring_of(of_new) => return self.merge(old, new),
                (Some(next), Some(_)) => {
                    // Both are in one ring, unless it was taken apart while the other thread joined
                    // it.
                    let mut is_there = false;
                    self.aliases(old, |alias| is_there |= alias == new);
                    if !is_there {
                        self.set(new, FdState::alias(next, of_old.leader()));
                    }
                    if is_there || self.exchange(old, of_old, FdState::alias(new, of_old.leader())) {
                        return;
                    }
                }
                _ => {
                    if self.link((old, of_old), (new, of_new)).is_some() {
                        return;
                    }
                }
            }
        }
    }

    /// Merges two rings: one takes the other's leader, and two links exchange their targets. Only
    /// the holder of the lock calls it.
    #[cold]
    #[inline(never)]
    fn merge(&self, old: i32, new: i32) {
        let leader = self.get(old).leader();
        let mut at = new;
        for _ in 0..RELABELLED {
            let Some(next) = self.get(at).next_alias() else { break };
            self.set(at, FdState::alias(next, leader));
            at = next;
            if at == new {
                break;
            }
        }
        if let (Some(after_old), Some(after_new)) = (self.get(old).next_alias(), self.get(new).next_alias()) {
            self.set(old, FdState::alias(after_new, leader));
            self.set(new, FdState::alias(after_old, leader));
        }
    }

    /// Marks a number that is to be examined when it becomes known: it becomes the only member of a
    /// new ring.
    pub fn mark(&self, fd: i32) {
        let leader = self.rings.load(Ordering::Relaxed).wrapping_add(1);
        self.rings.store(leader, Ordering::Relaxed);
        self.set(fd, FdState::alias(fd, leader));
    }

    /// Takes a number that becomes known out of its ring. A ring of one is dissolved. Only the
    /// holder of the lock calls it.
    pub fn part(&self, fd: i32) {
        let slot = self.get(fd);
        let Some(next) = slot.next_alias() else { return };
        self.set(fd, FdState::UNKNOWN);
        let mut at = next;
        for _ in 0..RELABELLED {
            match self.get(at).next_alias() {
                Some(after) if after == fd => {
                    self.set(at, if at == next { FdState::UNKNOWN } else { FdState::alias(next, slot.leader()) });
                    return;
                }
                // The whole ring was walked, and the number is not in it.
                Some(after) if after == next => return,
                Some(after) => at = after,
                None => return,
            }
        }
    }

    /// The other numbers of a ring. False: the ring is too long, or damaged, and there may be more.
    pub fn aliases(&self, fd: i32, mut tell: impl FnMut(i32)) -> bool {
        let mut at = self.get(fd).next_alias();
        for _ in 0..RING {
            match at {
                Some(number) if number == fd => return true,
                Some(number) => {
                    tell(number);
                    at = self.get(number).next_alias();
                }
                None => return false,
            }
        }
        false
    }

    /// The highest number whose word was ever other than zero; -1: none was.
    pub fn highest(&self) -> i32 {
        self.end.load(Ordering::Relaxed) - 1
    }

    /// `fd` has a word other than zero.
    #[inline(always)]
    pub fn reach(&self, fd: i32) {
        if fd >= self.end.load(Ordering::Relaxed) {
            self.reach_further(fd);
        }
    }

    #[cold]
    #[inline(never)]
    fn reach_further(&self, fd: i32) {
        let end = fd.saturating_add(1);
        self.low_end.fetch_max((end.max(0) as u32).min(IN_PLACE as u32), Ordering::Relaxed);
        self.end.fetch_max(end, Ordering::Relaxed);
    }

    fn word(&self, fd: i32) -> Option<&AtomicU64> {
        let number = usize::try_from(fd).ok()?;
        if let Some(word) = self.low.get(number) {
            return Some(word);
        }
        self.high.get(fd)
    }

    /// Whether a number may have no memory yet.
    #[inline(always)]
    pub fn may_be_missing(&self, fd: i32) -> bool {
        fd >= IN_PLACE as i32
    }

    /// The same of either of two, neither of which is negative.
    #[inline(always)]
    pub fn may_miss_either(&self, one: i32, other: i32) -> bool {
        // IN_PLACE is a power of two: one comparison is enough.
        self.may_be_missing(one | other)
    }

    /// Gets memory for a number. Not under the lock. False: there is none, or the number is none that a descriptor can have.
    #[cold]
    #[inline(never)]
    pub fn prepare(&self, fd: i32) -> bool {
        fd < IN_PLACE as i32 || self.high.get_or_make(fd).is_some()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Descriptors, FdState};
    use crate::kernel::tests::Heap;
    use std::vec::Vec;

    fn ring(table: &Descriptors<Heap>, fd: i32) -> (Vec<i32>, bool) {
        let mut aliases = Vec::new();
        let whole = table.aliases(fd, |alias| aliases.push(alias));
        aliases.sort_unstable();
        (aliases, whole)
    }

    #[test]
    fn dups_and_dups_of_dups_are_one_ring() {
        static TABLE: Descriptors<Heap> = Descriptors::new();
        for (old, new) in [(3, 4), (3, 5), (6, 4), (5, 70_000), (3, 4)] {
            assert!(TABLE.join(old, new, || true), "{old}, {new}");
        }
        assert_eq!(ring(&TABLE, 6), (Vec::from([3, 4, 5, 70_000]), true));
        TABLE.part(4);
        assert_eq!(ring(&TABLE, 70_000), (Vec::from([3, 5, 6]), true));
    }

    #[test]
    fn two_rings_become_one_under_the_lock_alone() {
        static TABLE: Descriptors<Heap> = Descriptors::new();
        assert!(TABLE.join(3, 4, || true) && TABLE.join(5, 6, || true));
        assert!(!TABLE.join(4, 6, || true));
        TABLE.join_held(4, 6);
        assert_eq!(ring(&TABLE, 3), (Vec::from([4, 5, 6]), true));
    }

    #[test]
    fn a_number_that_became_known_since_it_was_read_stays_known() {
        static TABLE: Descriptors<Heap> = Descriptors::new();
        let known = FdState::known(7, 0);
        TABLE.set(3, known);
        assert!(TABLE.link((3, FdState::UNKNOWN), (4, FdState::UNKNOWN)).is_none());
        assert!(TABLE.get(3) == known && TABLE.get(4) == FdState::UNKNOWN);
        // The same if the number that it gets was an alias before.
        TABLE.join(4, 5, || true);
        assert!(TABLE.link((3, FdState::UNKNOWN), (4, TABLE.get(4))).is_none());
        assert!(TABLE.get(3) == known);
        assert_eq!(ring(&TABLE, 4), (Vec::from([5]), true));
    }

    #[test]
    fn a_link_that_somebody_wrote_over_is_not_taken_for_made() {
        static TABLE: Descriptors<Heap> = Descriptors::new();
        assert!(!TABLE.join(3, 4, || TABLE.set(3, FdState::known(7, 0))));
        assert!(!TABLE.join(5, 6, || false));
        // A thread that did not see the new link took an alias out of the ring, and closed the
        // ring.
        TABLE.join(8, 9, || true);
        assert!(!TABLE.join(8, 10, || TABLE.set(8, FdState::UNKNOWN)));
        // The same among three. The holder of the lock corrects it.
        TABLE.join(11, 12, || true);
        TABLE.join(11, 13, || true);
        let before = TABLE.get(11);
        assert!(!TABLE.join(11, 14, || TABLE.set(11, before)));
        assert_eq!(ring(&TABLE, 11), (Vec::from([12, 13]), true));
        TABLE.join_held(11, 14);
        assert_eq!(ring(&TABLE, 11), (Vec::from([12, 13, 14]), true));
    }

    #[test]
    fn a_number_that_its_ring_does_not_lead_to_is_not_looked_for_without_end() {
        static TABLE: Descriptors<Heap> = Descriptors::new();
        TABLE.join(3, 4, || true);
        TABLE.set(5, TABLE.get(3));
        TABLE.part(5);
        assert_eq!(ring(&TABLE, 3), (Vec::from([4]), true));
    }
}
