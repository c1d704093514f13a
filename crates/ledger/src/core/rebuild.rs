//! Builds the lists and counts of the ledger from its records.
//!
//! A change that was left half-made (its frame was jumped out of, or the child of a fork does not
//! have its thread), or that two threads made at once, may leave the lists in any state. The
//! records themselves hold nearly everything: a descriptor's word names its description and
//! instance, and an interest names its instance, its number and its description. Whether a
//! half-made change took effect is corrected by the next comparison with the kernel.

use super::Core;
use crate::descriptors::FdState;
use crate::lock::flags;
use crate::records::Interest;
use crate::{Kernel, Observer};

impl<K: Kernel, O: Observer> Core<K, O> {
    /// Makes lists, counts and free records agree with the records. Only the holder of the lock
    /// calls it.
    pub fn rebuild(&self) {
        self.changes();
        self.events.forget();
        self.answers.forget();
        self.lock.clear_slow_path(flags::EVENTS);
        self.reach();
        self.forget_lists();
        self.count_descriptors();
        self.drop_instances_without_descriptors();
        self.list_interests();
        self.free_unused_records();
        self.totals.instances.set(self.live_instances().count() as u64);
        self.churn.reached.set(0);
        if self.reservations.tracks() {
            self.track();
        }
    }

    fn forget_lists(&self) {
        for (_, instance) in self.instances.all() {
            instance.first.set(0);
            instance.watches.set(0);
            instance.disappear();
        }
        for (_, record) in self.records.all() {
            record.description.uses.set(0, 0);
        }
        self.pairs.clear();
    }

    /// Each known number counts for its description, and refers to the instance that the
    /// description is.
    fn count_descriptors(&self) {
        for fd in 0..=self.descriptors.highest() {
            let slot = self.descriptors.get(fd);
            if !slot.is_known() {
                continue;
            }
            let Some(description) = self.description(slot.description()).filter(|is| is.epoch() != 0) else {
                self.descriptors.set(fd, FdState::UNKNOWN);
                continue;
            };
            let instance = self.instances.get(slot.instance()).filter(|instance| instance.id.get() != 0);
            if instance.is_some() && description.instance() == 0 {
                description.set_instance(slot.instance());
            }
            let is_agreed = description.instance() == slot.instance();
            if !is_agreed || instance.is_none() && slot.instance() != 0 {
                // If the two differ, the description is right, provided that the instance it names
                // is in use.
                let named = description.instance();
                let named = if self.is_live(named) { named } else { 0 };
                description.set_instance(named);
                self.descriptors.set(fd, FdState::known(slot.description(), named));
            }
            description.set_descriptors(description.descriptors() + 1);
            if let Some(instance) = self.instance_of(fd) {
                instance.description.set(slot.description());
                instance.appear_at(fd);
            }
        }
    }

    fn is_live(&self, instance: u32) -> bool {
        self.instances.get(instance).is_some_and(|instance| instance.id.get() != 0)
    }

    /// An instance that no number and no description refers to was not complete, or had ended.
    fn drop_instances_without_descriptors(&self) {
        for (index, instance) in self.live_instances() {
            let description = self.description(instance.description.get());
            let is_named = description.is_some_and(|is| is.epoch() != 0 && is.instance() == index);
            if !is_named {
                instance.id.set(0);
                O::instance_gone(index);
            }
        }
    }

    fn list_interests(&self) {
        let mut watches = 0;
        for (index, record) in self.records.all() {
            let interest = &record.interest;
            if !interest.has(Interest::LIVE) {
                continue;
            }
            let owner = interest.instance();
            let instance = self.instances.get(owner).filter(|_| self.is_live(owner));
            let description = self.description(interest.description()).filter(|is| is.epoch() != 0);
            let (Some(instance), Some(description)) = (instance, description) else {
                interest.set_site(0, 0);
                O::interest_gone(index, owner, 0);
                continue;
            };
            if index != interest.description() {
                self.pairs.begin();
            }
            self.link((index, interest), instance, (interest.description(), description));
            watches += 1;
        }
        self.churn.watches.set(watches);
    }

    fn free_unused_records(&self) {
        self.records.forget_free();
        for (index, record) in self.records.all() {
            let description = &record.description;
            if description.descriptors() == 0 && description.interests() == 0 && !self.is_live(description.instance()) {
                description.being.set_both(0);
            }
            if record.is_free() {
                self.records.release(index, record);
            }
        }
        self.instances.forget_free();
        for (index, instance) in self.instances.all() {
            if instance.id.get() == 0 {
                self.instances.release(index, instance);
            }
        }
    }
}
