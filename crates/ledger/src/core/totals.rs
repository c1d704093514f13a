//! The totals of all instances and watches, and their peaks.

use epollshim_format::kernel_memory;

use super::Core;
use crate::records::Long;
use crate::{Kernel, Observer};

/// Counts that are kept under the lock, besides those in [`Churn`](super::Churn). The fields that a
/// creation changes are adjacent.
#[repr(C)]
pub struct Totals {
    pub instances: Long,
    pub(super) next_id: Long,
    pub instances_peak: Long,
    pub watches_peak: Long,
    /// Interests that the kernel removed when a descriptor, or the instance, was closed for the
    /// last time.
    pub vanished: Long,
    pub memory_peak: Long,
    pub unseen_instances: Long,
    pub unseen_watches: Long,
    /// How many entries were found to be wrong, and corrected.
    pub healed: Long,
    /// Changes that could not be made or queued: no memory, or no room in the queue.
    pub lost: Long,
    /// CLOCK_MONOTONIC when the waits of all instances were last marked.
    pub marked: Long,
}

impl Totals {
    /// The number of the newest instance (`Instance::id`).
    pub fn newest_id(&self) -> u64 {
        self.next_id.get()
    }

    pub(super) const fn new() -> Self {
        Totals {
            instances: Long::new(),
            next_id: Long::new(),
            instances_peak: Long::new(),
            watches_peak: Long::new(),
            vanished: Long::new(),
            memory_peak: Long::new(),
            unseen_instances: Long::new(),
            unseen_watches: Long::new(),
            healed: Long::new(),
            lost: Long::new(),
            marked: Long::new(),
        }
    }
}

impl<K: Kernel, O: Observer> Core<K, O> {
    /// How many bytes the kernel holds for this process's epoll objects, as an estimate.
    pub fn memory(&self) -> u64 {
        kernel_memory::estimate(self.totals.instances.get(), self.churn.watches.get())
    }

    /// Updates the peaks. That is done before a count falls, and when peaks are read: while a count
    /// only grows, its last value is its peak.
    #[inline(always)]
    pub fn reach(&self) {
        let (instances, watches) = (self.totals.instances.get(), self.churn.watches.get());
        self.totals.watches_peak.reach(watches);
        self.totals.instances_peak.reach(instances);
        self.totals.memory_peak.reach(kernel_memory::estimate(instances, watches));
        self.churn.reached.reach(watches);
    }

    /// Updates the peaks before an interest is removed, if one may be behind.
    #[inline(always)]
    pub(super) fn reach_if_behind(&self) {
        if self.churn.watches.get() > self.churn.reached.get() {
            self.reach();
        }
    }

    /// Updates the peaks without the lock. The holder may update them at the same time.
    pub fn reach_beside(&self) {
        let (instances, watches) = (self.totals.instances.get(), self.churn.watches.get());
        self.totals.watches_peak.raise(watches);
        self.totals.instances_peak.raise(instances);
        self.totals.memory_peak.raise(kernel_memory::estimate(instances, watches));
        for (_, instance) in self.live_instances() {
            instance.reach_beside();
        }
    }
}
