//! ADD and DEL. An interest is noted before the kernel is asked to add it, and removed after the
//! kernel has removed it. Where the kernel answers otherwise, the kernel is right and the ledger
//! follows.

use super::Core;
use crate::events::Event;
use crate::records::Interest;
use crate::{Kernel, Observer};

/// Marks the serial numbers that are promised to changes in the queue.
pub const QUEUED: u32 = 1 << 31;

/// What is known, while the kernel is asked, of an interest that was noted before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ticket {
    /// Nothing was noted: the instance is not known, or the pair is known already.
    None,
    /// The record, and its serial number.
    Noted { interest: u32, serial: u32 },
    /// A change that notes it waits in the lock's queue. `serial` is the number that its record
    /// will have.
    Queued { serial: u32 },
}

impl Ticket {
    /// In one word; 0: none.
    #[inline(always)]
    pub fn to_word(self) -> u64 {
        match self {
            Ticket::None => 0,
            Ticket::Noted { interest, serial } => u64::from(interest) << 32 | u64::from(serial),
            Ticket::Queued { serial } => u64::from(serial),
        }
    }

    /// Whether a word is that of a [`Ticket::Noted`].
    #[inline(always)]
    pub fn is_noted(word: u64) -> bool {
        word >> 32 != 0
    }

    /// Whether a word is that of any ticket but [`Ticket::None`].
    #[inline(always)]
    pub fn is_any(word: u64) -> bool {
        word != 0
    }

    #[inline(always)]
    pub fn from_word(word: u64) -> Ticket {
        match ((word >> 32) as u32, word as u32) {
            (0, 0) => Ticket::None,
            (0, serial) => Ticket::Queued { serial },
            (interest, serial) => Ticket::Noted { interest, serial },
        }
    }
}

/// An interest's registration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registration {
    pub epfd: i32,
    pub fd: i32,
    pub site: usize,
}

impl<K: Kernel, O: Observer> Core<K, O> {
    /// Notes an interest before the kernel is asked, if the instance is known and the pair is not.
    /// Returns the word of its ticket.
    pub fn reserve(&self, registration: &Registration) -> u64 {
        self.changes();
        let serial = self.churn.changes.get() as u32 & !QUEUED;
        match self.reserve_as(registration, serial) {
            Some(interest) => Ticket::Noted { interest, serial }.to_word(),
            None => Ticket::None.to_word(),
        }
    }

    /// The same in every case, under a serial number that was promised when the lock was taken.
    pub fn reserve_as(&self, registration: &Registration, serial: u32) -> Option<u32> {
        let index = self.descriptors.get(registration.epfd).instance();
        let instance = self.instances.get(index)?;
        let slot = self.descriptors.get(registration.fd);
        if slot.is_known() && self.find_in(index, registration.fd).is_some() {
            return None;
        }
        if slot.next_alias().is_some() && self.is_timely() && self.ghost(registration.epfd, registration.fd).is_some() {
            self.note_event(Event::AddingOverGhost(*registration));
        }
        let description = self.describe(registration.fd, slot)?;
        self.insert_into((index, instance), description, registration, serial, 0)
    }

    /// The record of an interest that was noted before the real call. None: its descriptor was
    /// closed in the meantime.
    fn noted(&self, registration: &Registration, ticket: Ticket) -> Option<u32> {
        let (index, serial) = match ticket {
            Ticket::None => return None,
            Ticket::Noted { interest, serial } => (interest, serial),
            Ticket::Queued { serial } => (self.find(registration.epfd, registration.fd)?.0, serial),
        };
        let interest = self.interest(index)?;
        (interest.serial.get() == serial && interest.has(Interest::LIVE)).then_some(index)
    }

    /// The kernel refused the ADD. Removes the interest as if it had never been noted.
    pub fn undo(&self, registration: &Registration, ticket: Ticket) {
        if let Some(index) = self.noted(registration, ticket) {
            self.remove(index);
        }
    }

    /// The kernel answered that it had this interest before.
    pub fn existed(&self, registration: &Registration, ticket: Ticket) {
        let Some(index) = self.noted(registration, ticket) else { return };
        let instance = self.descriptors.get(registration.epfd).instance();
        self.remove(index);
        if self.find_by_number(instance, registration.fd).is_none() {
            self.insert(instance, registration, 0);
            self.totals.unseen_watches.add(1);
        }
    }

    /// An ADD succeeded whose note waited in the queue. If its record is gone, or the record
    /// belongs to another interest, the descriptor was closed in the meantime, and its number may
    /// have been added again. Then nothing is to be done.
    pub fn confirmed(&self, registration: &Registration) {
        if self.instance_of(registration.epfd).is_none() {
            self.added(registration);
        }
    }

    /// An ADD succeeded that could not be noted before.
    pub fn added(&self, registration: &Registration) {
        let Some(instance) = self.adopt(registration.epfd) else {
            self.totals.lost.add(1);
            return;
        };
        self.gone(registration.epfd, registration.fd);
        if self.insert(instance, registration, 0).is_none() {
            self.totals.lost.add(1);
        }
    }

    /// The kernel said that an interest exists that the ledger did not have.
    pub fn found(&self, registration: &Registration) {
        let Some(instance) = self.adopt(registration.epfd) else { return };
        if self.find_in(instance, registration.fd).is_none() && self.insert(instance, registration, 0).is_some() {
            self.totals.unseen_watches.add(1);
        }
    }

    /// The kernel does not know a pair that the ledger knows. The kernel's key of an interest is a
    /// number and a description. So either the number refers to another file now, or another
    /// process removed the interest. The second is assumed of an instance, which is known by its
    /// own calls.
    pub fn gone(&self, epfd: i32, fd: i32) {
        let Some((index, _)) = self.find(epfd, fd) else { return };
        if self.descriptors.get(fd).instance() == 0 {
            self.heal(fd);
        } else {
            self.lose(index);
            self.totals.healed.add(1);
        }
    }

    /// A DEL succeeded.
    #[cold]
    #[inline(never)]
    pub fn deleted(&self, epfd: i32, fd: i32) {
        let instance_index = self.descriptors.get(epfd).instance();
        let description_index = self.descriptors.get(fd).description();
        if let Some(instance) = self.instances.get(instance_index)
            && let Some(description) = self.description(description_index)
            && let Some((index, interest)) = self.find_among(description, instance_index, fd)
        {
            self.reach_if_behind();
            instance.reach();
            self.unlink((index, interest), instance, (description_index, description));
        } else {
            self.deleted_by_number(instance_index, fd);
        }
    }

    /// The interest existed, or the kernel would not have removed it. Either the ledger has it
    /// under another description that is the same in the kernel (the number was closed, and came
    /// back by a dup of a number that the ledger did not know to be an alias), or the ledger never
    /// saw it.
    #[cold]
    #[inline(never)]
    fn deleted_by_number(&self, instance: u32, fd: i32) {
        match self.find_by_number(instance, fd) {
            Some(index) => self.lose(index),
            None => self.totals.unseen_watches.add(1),
        }
    }
}
