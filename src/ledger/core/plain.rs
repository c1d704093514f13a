//! ADD and DEL in the plain case: nobody follows, the number is low, and nothing is known of it but this one interest. In
//! every other case these do nothing and say so: then `registrations.rs` has the general way.
//!
//! These functions read straight down: behind a long system call a conditional branch that is taken is
//! mispredicted, always, and costs 8 to 15 ns (benches/branches finds them); one that is not taken costs nothing.

use super::{Core, QUEUED, Registration, Ticket};
use crate::ledger::descriptors::Slot;
use crate::ledger::records::Interest;

impl Core {
    /// `reserve` for the plain case, where nobody follows; None: another case, and nothing has been done.
    #[inline(always)]
    pub fn reserve_at_once(&self, registration: &Registration) -> Option<u64> {
        let serial = self.totals.serial.get().wrapping_add(1);
        let interest = self.reserve_plain(registration, serial as u32 & !QUEUED)?;
        self.totals.serial.set(serial);
        Some(Ticket::Noted { interest, serial: serial as u32 & !QUEUED }.to_word())
    }

    /// `reserve_as` for the plain case: a low descriptor that nothing is known of, and records that were used before.
    /// None: another case, and nothing has been done.
    #[inline(always)]
    fn reserve_plain(&self, registration: &Registration, serial: u32) -> Option<u32> {
        let instance_index = self.descriptors.low(registration.epfd)?.get().instance_sought();
        let instance = self.instances.get(instance_index)?;
        let place = self.descriptors.low(registration.fd)?;
        let (description_index, index) = (self.descriptions.next_free(), self.interests.next_free());
        if place.get() != Slot::UNKNOWN {
            return None;
        }
        let description = self.descriptions.get(description_index)?;
        let interest = self.interests.get(index)?;
        let first = instance.first.get();
        let next = self.interests.neighbour(first)?;
        self.descriptions.take(description);
        description.descriptors.set(1);
        description.interests.set(0);
        description.instance.set(0);
        description.epoch.set((self.totals.epoch.get() as u32) << 1);
        place.set(Slot::known(description_index, 0));
        self.descriptors.reach(registration.fd);
        self.interests.take(interest);
        interest.serial.set(serial);
        interest.instance.set(instance_index);
        interest.fd.set(registration.fd);
        interest.description.set(description_index);
        interest.set_site(registration.site, Interest::LIVE);
        interest.sibling.set(0);
        description.interests.set(index);
        interest.next.set(first);
        interest.previous.set(0);
        next.previous.set(index);
        instance.first.set(index);
        instance.watches.add(1);
        self.totals.watches.add(1);
        Some(index)
    }

    /// A DEL succeeded; the plain case, where nobody follows. False: another case, and nothing has been done.
    #[inline(always)]
    pub fn deleted_at_once(&self, epfd: i32, fd: i32) -> bool {
        let done = self.deleted_plain(epfd, fd).is_some();
        if done {
            self.changes();
        }
        done
    }

    /// The plain case: the only interest in a description that has one low number, and is no epoll, and no peak is behind. All of
    /// it is forgotten. None: another case, and nothing has been done.
    #[inline(always)]
    fn deleted_plain(&self, epfd: i32, fd: i32) -> Option<()> {
        let instance_index = self.descriptors.low(epfd)?.get().instance_sought();
        let instance = self.instances.get(instance_index)?;
        let place = self.descriptors.low(fd)?;
        let description_index = place.get().description();
        let description = self.descriptions.get(description_index)?;
        let index = description.interests.get();
        let interest = self.interests.get(index)?;
        if interest.instance.get() != instance_index
            || interest.fd.get() != fd
            || interest.sibling.get() != 0
            || description.instance.get() != 0
            || description.descriptors.get() != 1
            || instance.watches.get() > instance.peak.get()
            || self.totals.watches.get() > self.totals.reached.get()
        {
            return None;
        }
        let (next, previous) = (interest.next.get(), interest.previous.get());
        let (after, before) = (self.interests.neighbour(next)?, self.interests.neighbour(previous)?);
        after.previous.set(previous);
        let link = if previous == 0 { &instance.first } else { &before.next };
        link.set(next);
        instance.watches.subtract(1);
        description.interests.set(0);
        interest.set_site(0, 0);
        self.totals.watches.subtract(1);
        self.interests.release(index, interest);
        place.set(Slot::UNKNOWN);
        self.descriptions.release(description_index, description);
        Some(())
    }
}
