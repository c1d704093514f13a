//! What a change needs before it is made: memory, and the kernel's answers about duplicates.

use super::Core;
use crate::answers::{Answers, Ring};
use crate::lock::flags;
use crate::sync::Ordering;
use crate::{Kernel, Observer, descriptors};

impl<K: Kernel, O: Observer> Core<K, O> {
    /// Whether a change that makes this number known needs [`Core::prepare`] before it.
    #[inline(always)]
    pub fn wants_preparation(&self, fd: i32) -> bool {
        let slot = self.descriptors.get(fd);
        // A known number has all that it needs.
        fd >= 0 && !slot.is_known() && (slot.next_alias().is_some() || self.wants_memory_for(fd))
    }

    /// Whether a change that makes this number known may find too little memory: the number is
    /// high, or the kernel had no memory when it was last asked, or has not been asked yet.
    #[inline(always)]
    pub fn wants_memory_for(&self, fd: i32) -> bool {
        fd >= self.ready_below.load(Ordering::Relaxed)
    }

    /// Gets memory for what a change may need, and asks the kernel about duplicates of these
    /// numbers. Not under the lock.
    #[cold]
    #[inline(never)]
    pub fn prepare(&self, numbers: &[i32]) -> Answers<2> {
        self.grow();
        let mut answers = Answers::NONE;
        for fd in numbers {
            self.prepare_one(*fd, &mut |ring| answers.keep(ring));
        }
        answers
    }

    /// Gets memory for a number, and asks the kernel about its duplicates. Passes the answers to
    /// `keep`, unless the number has no aliases.
    #[cold]
    #[inline(never)]
    pub(crate) fn prepare_one(&self, fd: i32, keep: &mut dyn FnMut(Ring)) {
        self.descriptors.prepare(fd);
        if self.descriptors.get(fd).next_alias().is_none() {
            return;
        }
        let mut ring = Ring::of(fd);
        self.descriptors.aliases(fd, |alias| {
            if alias != fd {
                ring.push(alias, K::are_aliases(fd, alias));
            }
        });
        keep(ring);
    }

    /// Gets memory for more of everything. Not under the lock.
    pub fn grow(&self) {
        self.lock.clear_slow_path(flags::MEMORY);
        let has_all = self.records.grow() & self.instances.grow() & self.pairs.grow();
        self.ready_below.store(if has_all { descriptors::LOW } else { 0 }, Ordering::Relaxed);
    }

    /// Whether so little memory is left that the waiting changes may need more. If so, they
    /// continue to wait, and the thread that unlocks gets memory. If the kernel has none, the
    /// changes are made nevertheless, and those that do not fit are lost.
    pub(crate) fn is_nearly_out(&self) -> bool {
        let is_nearly_out = self.ready_below.load(Ordering::Relaxed) != 0
            && (self.records.is_nearly_out() || self.instances.is_nearly_out());
        if is_nearly_out {
            // Set again: the thread that was about to get memory may not exist in the child of a
            // fork, or its frame may have been jumped out of.
            self.lock.set_slow_path(flags::MEMORY);
        }
        is_nearly_out
    }

    /// Called when a record is used for the first time. If little memory is left, the thread that
    /// unlocks gets more.
    #[cold]
    #[inline(never)]
    pub(super) fn look_at_memory(&self) {
        let is_short = self.records.is_short() | self.instances.is_short() | self.pairs.is_short();
        if is_short && self.lock.slow_path_flags() & flags::MEMORY == 0 {
            self.lock.set_slow_path(flags::MEMORY);
        }
    }
}
