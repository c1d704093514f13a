//! Rings of aliases: numbers that dup has linked, and that no epoll knows.

use super::{Descriptors, FdState, RELABELLED, RING};
use crate::Memory;
use crate::sync::Ordering;

impl<M: Memory> Descriptors<M> {
    /// Replaces a word that was read before, unless it has changed. It is a locked instruction:
    /// what the thread reads later, it reads after the word was written.
    #[inline(always)]
    fn exchange(&self, fd: i32, from: FdState, to: FdState) -> bool {
        let Some(word) = self.word(fd) else { return false };
        self.reach(fd);
        word.compare_exchange(from.0, to.0, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Notes that `new` is a dup of `old`, without the lock. False: they are known, or became known
    /// in the meantime, or belong to two rings. Then the caller notes the dup again under the lock.
    /// What was done here does no harm there.
    ///
    /// The caller has found the lock idle after the real dup. `is_idle` checks whether it still is.
    /// A repeated dup writes nothing and needs no second check: a thread that locks later, and asks
    /// the kernel, sees the dup.
    ///
    /// A new link needs one. An ADD of `old` may read the word of `old` before the link is written,
    /// and write it as known afterwards. So the link is written by an exchange, which never
    /// overwrites a known word, and then the lock is checked again. The exchange is a locked
    /// instruction, so that the check does not happen before every thread can see the link. (A
    /// plain store could wait in the store buffer while the check finds the lock free and an ADD
    /// finds no link.) A thread that read the word before the exchange held the lock at that time.
    /// Either the check finds that it still holds the lock, or it has unlocked, and then its word
    /// is found in place of the link. (Figures: docs/performance.md, "dup".)
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

    /// The same under the lock. Only this function merges two rings.
    pub fn join_held(&self, old: i32, new: i32) {
        // It tries a few times, since other threads may dup `old` at the same moment. After that
        // the link is given up.
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
    pub fn aliases(&self, fd: i32, mut each: impl FnMut(i32)) -> bool {
        let mut at = self.get(fd).next_alias();
        for _ in 0..RING {
            match at {
                Some(number) if number == fd => return true,
                Some(number) => {
                    each(number);
                    at = self.get(number).next_alias();
                }
                None => return false,
            }
        }
        false
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
    fn two_rings_become_one_only_under_the_lock() {
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
    fn a_link_that_was_overwritten_counts_as_not_made() {
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
    fn the_search_for_a_number_that_is_not_in_its_ring_ends() {
        static TABLE: Descriptors<Heap> = Descriptors::new();
        TABLE.join(3, 4, || true);
        TABLE.set(5, TABLE.get(3));
        TABLE.part(5);
        assert_eq!(ring(&TABLE, 3), (Vec::from([4]), true));
    }
}
