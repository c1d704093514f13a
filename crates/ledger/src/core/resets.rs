//! Where counts restart: in the child of a fork, when limits begin to count, at a reset.

use crate::sync::Ordering;

use super::Core;
use crate::records::{Instance, Interest};
use crate::reservations::{self, Kind};
use crate::{Kernel, Observer};

impl<K: Kernel, O: Observer> Core<K, O> {
    /// In the child of a fork: the same descriptors, shared with the parent, and counts of its own.
    /// Returns how many instances existed before the fork.
    pub fn after_fork(&self) -> u32 {
        let totals = &self.totals;
        self.next_epoch();
        for count in [&totals.vanished, &totals.unseen_instances, &totals.unseen_watches, &totals.healed, &totals.lost]
        {
            count.set(0);
        }
        self.restart_peaks();
        self.creation_sites.forget();
        let mut from_before = 0;
        for (_, instance) in self.live_instances() {
            instance.inherited.store(1, Ordering::Relaxed);
            instance.waits_before.set(instance.waits());
            // So that this process's first wait claims it again, and is noticed.
            instance.owner.clear();
            instance.forked.store(Instance::FROM_BEFORE, Ordering::Relaxed);
            from_before += 1;
            instance.alone.clear();
            instance.shared.clear();
        }
        if self.reservations.tracks() {
            self.reservations.next_epoch();
            self.track();
        }
        from_before
    }

    /// Begins the counts that limits need, from what exists. What existed before does not count
    /// against the user's limit.
    pub fn track(&self) {
        for (_, instance) in self.live_instances() {
            instance.paid.store(0, Ordering::Relaxed);
            reservations::begin_count(instance, instance.watches.get());
        }
        for index in 1..self.records.end() {
            if let Some(interest) = self.interest(index) {
                interest.lower(Interest::PAID);
            }
        }
        self.reservations.begin(self.totals.instances.get(), self.churn.watches.get());
    }

    /// Adds to the user's count what this process has created and had claimed before, but not what
    /// it received.
    pub fn pay(&self) {
        for (_, instance) in self.live_instances() {
            let is_own = instance.inherited.load(Ordering::Relaxed) == 0;
            if instance.paid.load(Ordering::Relaxed) == 0 && (is_own || K::take_former(Kind::Instances)) {
                instance.paid.store(1, Ordering::Relaxed);
                K::claim(Kind::Instances);
            }
            let mut index = instance.first.get();
            for _ in 0..self.records.end() {
                let Some(interest) = self.interest(index) else { break };
                if !interest.has(Interest::PAID) && (is_own || K::take_former(Kind::Watches)) {
                    interest.raise(Interest::PAID);
                    K::claim(Kind::Watches);
                }
                index = interest.next.get();
            }
        }
    }

    /// Peaks restart at the present counts.
    pub fn restart_peaks(&self) {
        self.totals.instances_peak.set(self.totals.instances.get());
        self.totals.watches_peak.set(self.churn.watches.get());
        self.totals.memory_peak.set(self.memory());
        self.churn.reached.set(0);
        for (_, instance) in self.live_instances() {
            instance.begin_peak();
        }
    }
}
