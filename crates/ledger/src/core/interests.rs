//! The two lists that contain an interest: its instance's, and its description's.

use super::{Core, Registration};
use crate::events::Event;
use crate::records::{Description, Instance, Interest};
use crate::sync::Ordering;
use crate::{Kernel, Observer};

impl<K: Kernel, O: Observer> Core<K, O> {
    /// The record half for an interest in a description: the description's own record, if this is
    /// its first interest.
    #[inline(always)]
    fn new_interest(&self, description: u32) -> Option<(u32, &'static Interest)> {
        match self.interest(description) {
            Some(own) if !own.has(Interest::LIVE) => Some((description, own)),
            _ if !self.pairs.begin() => None,
            _ => {
                let (index, record) = self.records.allocate(|| self.look_at_memory())?;
                Some((index, &record.interest))
            }
        }
    }

    /// Inserts an interest into the lists of an instance and of the descriptor's description.
    pub(super) fn insert(&self, index: u32, registration: &Registration, flags: u64) -> Option<u32> {
        let instance = self.instances.get(index)?;
        let description = self.describe(registration.fd, self.descriptors.get(registration.fd))?;
        self.insert_into((index, instance), description, registration, 0, flags)
    }

    #[inline(always)]
    pub(super) fn insert_into(
        &self,
        (instance_index, instance): (u32, &Instance),
        (description_index, description): (u32, &Description),
        registration: &Registration,
        serial: u32,
        flags: u64,
    ) -> Option<u32> {
        let Some((index, interest)) = self.new_interest(description_index) else {
            self.forget_if_idle(registration.fd, description_index, description);
            return None;
        };
        interest.serial.set(serial);
        interest.key.set(instance_index, registration.fd as u32);
        interest.set_site(registration.site, flags | Interest::LIVE);
        self.link((index, interest), instance, (description_index, description));
        self.churn.watches.add(1);
        self.reservations.added(instance_index, instance, interest, |of| self.instance_at(of));
        if self.lock.is_followed() {
            O::interest_noted(index, interest, instance.watches.get());
            // An interest that a comparison found has no call site, and is no use by the program.
            if registration.site != 0 && instance.is_first_use() {
                self.note_event(Event::FirstUse {
                    id: instance.id.get(),
                    maker: instance.maker.get(),
                    epfd: registration.epfd,
                    made_at: instance.site.load(Ordering::Relaxed),
                    waits: instance.waits_before.get(),
                    at: registration.site,
                });
            }
        }
        Some(index)
    }

    /// Inserts an interest into both lists, and into the index if the description has other
    /// interests.
    #[inline(always)]
    pub(super) fn link(
        &self,
        (index, interest): (u32, &Interest),
        instance: &Instance,
        (description_index, description): (u32, &Description),
    ) {
        let sibling = description.interests();
        interest.file.set(description_index, sibling);
        if let Some(sibling) = self.interest(sibling) {
            sibling.set_previous_sibling(index);
        }
        description.set_interests(index);
        if index != description_index {
            self.enter_pair(index);
        }
        let first = instance.first.get();
        interest.next.set(first);
        interest.previous.set(0);
        if let Some(first) = self.interest(first) {
            first.previous.set(index);
        }
        instance.first.set(index);
        instance.watches.add(1);
    }

    /// Called when the kernel has removed an interest at a close.
    pub(super) fn vanish(&self, index: u32) {
        self.totals.vanished.add(1);
        self.lose(index);
    }

    /// Removes an interest that no longer exists.
    pub(super) fn lose(&self, index: u32) {
        self.reach_if_behind();
        if let Some(instance) = self.interest(index).and_then(|interest| self.instances.get(interest.instance())) {
            instance.reach();
        }
        self.remove(index);
    }

    pub(super) fn remove(&self, index: u32) {
        if let Some(interest) = self.interest(index)
            && interest.has(Interest::LIVE)
            && let Some(instance) = self.instances.get(interest.instance())
            && let Some(description) = self.description(interest.description())
        {
            self.unlink((index, interest), instance, (interest.description(), description));
        }
    }

    /// Removes an interest from both lists. Forgets a description that nothing needs any more.
    #[inline(always)]
    pub(super) fn unlink(
        &self,
        (index, interest): (u32, &Interest),
        instance: &Instance,
        (description_index, description): (u32, &Description),
    ) {
        let (next, previous) = (interest.next.get(), interest.previous.get());
        if let Some(next) = self.interest(next) {
            next.previous.set(previous);
        }
        match self.interest(previous) {
            Some(previous) => previous.next.set(next),
            None => instance.first.set(next),
        }
        instance.watches.subtract(1);
        self.reservations.removed(interest.instance(), instance, interest);
        if self.lock.is_followed() {
            O::interest_gone(index, interest.instance(), instance.watches.get());
        }
        let sibling = interest.sibling();
        if description.interests() == index {
            description.set_interests(sibling);
        } else {
            self.unlink_sibling(interest.previous_sibling(), sibling);
        }
        if index != description_index {
            self.leave_pair(index);
        }
        interest.set_site(0, 0);
        self.churn.watches.subtract(1);
        let fd = interest.fd();
        if let Some(record) = self.records.get(index) {
            self.release_if_free(index, record);
        }
        self.forget_if_idle(fd, description_index, description);
    }

    /// Links the neighbours of an interest that is not the first in its description.
    #[cold]
    #[inline(never)]
    fn unlink_sibling(&self, before: u32, after: u32) {
        if let Some(before) = self.interest(before) {
            before.set_sibling(after);
        }
        if let Some(after) = self.interest(after) {
            after.set_previous_sibling(before);
        }
    }
}
