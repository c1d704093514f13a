//! ADD and DEL in the plain case: nobody follows, the number is low, and nothing is known of it but this one interest. In
//! every other case these do nothing and say so: then `registrations.rs` has the general way.
//!
//! These functions read straight down: behind a long system call a conditional branch that is taken is
//! mispredicted, always, and costs 8 to 15 ns (benches/branches finds them); one that is not taken costs nothing.

use super::{Core, QUEUED, Registration, Ticket};
use crate::ledger::descriptors::Slot;
use crate::ledger::records::{Interest, Watch};

impl Core {
    /// `reserve` for the plain case, where nobody follows; None: another case, and nothing has been done.
    #[inline(always)]
    pub fn reserve_at_once(&self, registration: &Registration) -> Option<u64> {
        let changes = self.churn.changes.get().wrapping_add(1);
        let serial = changes as u32 & !QUEUED;
        let interest = self.reserve_plain(registration, serial)?;
        self.churn.changes.set(changes);
        Some(Ticket::Noted { interest, serial }.to_word())
    }

    /// `reserve_as` for the plain case: a low descriptor that nothing is known of, and records that were used before.
    /// None: another case, and nothing has been done.
    #[inline(always)]
    fn reserve_plain(&self, registration: &Registration, serial: u32) -> Option<u32> {
        let instance_index = self.descriptors.low(registration.epfd)?.get().instance_sought();
        let instance = self.instances.get(instance_index)?;
        let place = self.descriptors.low_reached(registration.fd)?;
        let index = self.records.next_free();
        if place.get() != Slot::UNKNOWN {
            return None;
        }
        let record = self.records.get(index)?;
        let first = instance.first.get();
        let next = self.records.neighbour(first)?;
        self.records.take(record);
        let Watch { interest, description } = record;
        description.uses.set(1, index);
        description.being.set_both(self.mark.get());
        place.set(Slot::known(index, 0));
        interest.serial.set(serial);
        interest.key.set(instance_index, registration.fd as u32);
        interest.file.set(index, 0);
        interest.next.set(first);
        interest.previous.set(0);
        interest.set_site(registration.site, Interest::LIVE);
        next.interest.previous.set(index);
        instance.first.set(index);
        instance.watches.add(1);
        self.churn.watches.add(1);
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
        let index = place.get().description_if_file()?;
        let record = self.records.get(index)?;
        let Watch { interest, description } = record;
        if !description.uses.are(1, index)
            || !interest.key.are(instance_index, fd as u32)
            || !interest.file.are(index, 0)
            || description.instance() != 0
            || instance.watches.get() > instance.peak.get()
            || self.churn.watches.get() > self.churn.reached.get()
        {
            return None;
        }
        let (next, previous) = (interest.next.get(), interest.previous.get());
        let (after, before) = (self.records.neighbour(next)?, self.records.neighbour(previous)?);
        after.interest.previous.set(previous);
        let link = if previous == 0 { &instance.first } else { &before.interest.next };
        link.set(next);
        instance.watches.subtract(1);
        description.being.set_both(0);
        interest.set_site(0, 0);
        self.churn.watches.subtract(1);
        place.set(Slot::UNKNOWN);
        self.records.release(index, record);
        Some(())
    }
}
