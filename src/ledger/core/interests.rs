//! The two lists that an interest is in: its instance's, and that of the description it is an interest in.

use super::{Core, Registration};
use crate::ledger::records::{Description, Instance, Interest};
use crate::ledger::{charges, followers};
use crate::record;

impl Core {
    /// Puts an interest into the lists of an instance and of the descriptor's description.
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
        let Some((index, interest)) = self.interests.allocate() else {
            self.forget_if_idle(registration.fd, description_index, description);
            return None;
        };
        interest.serial.set(serial);
        interest.instance.set(instance_index);
        interest.fd.set(registration.fd);
        interest.description.set(description_index);
        interest.set_site(registration.site, flags | Interest::LIVE);
        interest.sibling.set(description.interests.get());
        description.interests.set(index);
        let first = instance.first.get();
        interest.next.set(first);
        interest.previous.set(0);
        if let Some(first) = self.interests.get(first) {
            first.previous.set(index);
        }
        instance.first.set(index);
        instance.watches.add(1);
        self.totals.watches.add(1);
        charges::added(instance_index, instance, interest, |of| self.instance_at(of));
        if followers::is_followed() {
            followers::tell_interest(index, interest, instance, registration.epfd);
        }
        Some(index)
    }

    /// The kernel has removed an interest at a close.
    pub(super) fn vanish(&self, index: u32) {
        self.reach();
        if let Some(instance) =
            self.interests.get(index).and_then(|interest| self.instances.get(interest.instance.get()))
        {
            instance.reach();
        }
        self.totals.vanished.add(1);
        self.remove(index);
    }

    pub(super) fn remove(&self, index: u32) {
        if let Some(interest) = self.interests.get(index)
            && interest.has(Interest::LIVE)
            && let Some(instance) = self.instances.get(interest.instance.get())
            && let Some(description) = self.descriptions.get(interest.description.get())
        {
            self.unlink((index, interest), instance, (interest.description.get(), description));
        }
    }

    /// Takes an interest out of both lists; forgets a description that nothing needs any more.
    #[inline(always)]
    pub(super) fn unlink(
        &self,
        (index, interest): (u32, &Interest),
        instance: &Instance,
        (description_index, description): (u32, &Description),
    ) {
        let (next, previous) = (interest.next.get(), interest.previous.get());
        if let Some(next) = self.interests.get(next) {
            next.previous.set(previous);
        }
        match self.interests.get(previous) {
            Some(previous) => previous.next.set(next),
            None => instance.first.set(next),
        }
        instance.watches.subtract(1);
        charges::removed(interest.instance.get(), instance, interest);
        if followers::is_followed() && record::has_tables() {
            record::gone_interest(index, interest.instance.get(), instance.watches.get());
        }
        let sibling = interest.sibling.get();
        if description.interests.get() == index {
            description.interests.set(sibling);
        } else {
            self.unlink_sibling(description, index, sibling);
        }
        interest.set_site(0, 0);
        self.totals.watches.subtract(1);
        let fd = interest.fd.get();
        self.interests.release(index, interest);
        self.forget_if_idle(fd, description_index, description);
    }

    fn unlink_sibling(&self, description: &Description, index: u32, after: u32) {
        let mut at = description.interests.get();
        for _ in 0..self.interests.end() {
            let Some(interest) = self.interests.get(at) else { break };
            if interest.sibling.get() == index {
                interest.sibling.set(after);
                break;
            }
            at = interest.sibling.get();
        }
    }
}
