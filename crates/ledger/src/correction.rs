//! Compares the whole ledger with the kernel's lists of all instances, and corrects it. Only the
//! holder of the lock calls it.

use crate::core::{Core, Head, Line, Unmatched};
use crate::list::List;
use crate::{Answers, Kernel, Observer, answers};

#[cfg(test)]
mod tests;

/// A number, and the number that a file is watched under: the ledger believes that they share the
/// file ([`Core::watched_alias`]).
pub type Strangers = (i32, i32);

/// What the kernel has: all instances and their lists.
#[derive(Clone, Copy)]
pub struct Picture<'reading> {
    /// In the order of instances. In each group the lowest number comes first.
    pub heads: &'reading [Head],
    pub lines: &'reading [Line],
    /// Numbers that the ledger believes to be duplicates, and that are not.
    pub strangers: &'reading [Strangers],
}

impl<'reading> Picture<'reading> {
    /// One number of each instance.
    pub fn leaders(self) -> impl Iterator<Item = &'reading Head> {
        self.heads.iter().filter(|head| head.is_leader())
    }

    /// The lines of an instance's list, as the kernel listed it under one of its numbers.
    pub fn lines_of(self, head: &Head) -> &'reading [Line] {
        let first = head.first as usize;
        self.lines.get(first..first.saturating_add(head.count as usize)).unwrap_or_default()
    }
}

/// Memory for a correction.
pub struct Room<N, U, C> {
    pub numbers: N,
    pub unmatched: U,
    pub claims: C,
}

impl<K: Kernel, O: Observer> Core<K, O> {
    /// Whether the ledger has what the kernel has. `is_under_way` says whether a thread has noted
    /// an interest and does not know the kernel's answer yet.
    pub fn agrees(
        &self,
        picture: Picture<'_>,
        notepad: &mut impl List<Unmatched>,
        is_under_way: impl Fn(u32) -> bool + Copy,
    ) -> bool {
        self.is_grouped(picture.heads)
            && self.joined_strangers(picture).next().is_none()
            && self.compare_lists(picture, notepad, false, is_under_way)
    }

    /// Gets memory for what a correction may need, and asks the kernel about duplicates. Not under
    /// the lock. (It keeps only the answers about the first 16 rings.)
    pub fn prepare_for(&self, picture: Picture<'_>) -> Answers<{ answers::MOST }> {
        self.grow();
        let mut answers = Answers::NONE;
        let mut keep = |ring| answers.keep(ring);
        picture.heads.iter().for_each(|head| self.prepare_one(head.fd, &mut keep));
        picture.lines.iter().for_each(|line| self.prepare_one(line.fd, &mut keep));
        answers
    }

    /// Makes the ledger as the kernel is.
    pub fn correct(
        &self,
        picture: Picture<'_>,
        room: &mut Room<impl List<i32>, impl List<Unmatched>, impl List<u32>>,
        is_under_way: impl Fn(u32) -> bool + Copy,
    ) {
        self.regroup(picture.heads, &mut room.numbers, &mut room.claims);
        for head in picture.leaders() {
            self.correct_numbers(self.descriptors.get(head.fd).instance(), picture.lines_of(head));
        }
        for fd in self.joined_strangers(picture) {
            self.heal_moved(fd);
        }
        self.compare_lists(picture, &mut room.unmatched, true, is_under_way);
    }

    /// Numbers that the ledger still believes to be duplicates of what is watched.
    fn joined_strangers(&self, picture: Picture<'_>) -> impl Iterator<Item = i32> {
        picture.strangers.iter().filter(|(fd, of)| self.watched_alias(*fd) == Some(*of)).map(|(fd, _)| *fd)
    }

    /// Compares the list of each instance. False: one of them differs and was not corrected, or
    /// there is no memory.
    fn compare_lists(
        &self,
        picture: Picture<'_>,
        notepad: &mut impl List<Unmatched>,
        may_correct: bool,
        is_under_way: impl Fn(u32) -> bool + Copy,
    ) -> bool {
        picture.leaders().all(|head| self.compare(head.fd, picture.lines_of(head), notepad, may_correct, is_under_way))
    }
}
