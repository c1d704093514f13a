//! The ledger itself: which descriptors refer to which open file descriptions, which of these are epoll
//! instances, and which are in whose interest list. What the kernel does in fs/eventpoll.c and fs/file.c,
//! followed from the outside.
//!
//! Every method that changes something is called by the holder of the gate. The kernel is asked in one
//! place, where a number that was dupped becomes known. All walks are bounded: even a ledger that was damaged by an
//! abandoned holder ends them.

mod comparison;
#[cfg(test)]
mod tests;

use core::sync::atomic::Ordering;

use epollshim_format::kernel_memory;

use super::births;
use super::charges::{self, Kind};
use super::closings::{self, Closing};
use super::descriptors::{Descriptors, RING, Slot};
use super::family;
use super::pool::Pool;
use super::records::{Description, Instance, Interest, Long, Origin};
use crate::findings::{self, waiters};
use crate::{clock, process, record};

/// 2,048 chunks of 4,096: eight million descriptions and interests, more than max_user_watches of a 24 GiB machine.
type Many<T> = Pool<T, 2048>;
/// Four million instances.
type Some_<T> = Pool<T, 1024>;

/// What is counted under the gate.
pub struct Totals {
    pub instances: Long,
    pub instances_peak: Long,
    pub watches: Long,
    pub watches_peak: Long,
    /// Interests removed by the kernel when a descriptor, or the instance, was closed for the last time.
    pub vanished: Long,
    pub memory_peak: Long,
    pub unseen_instances: Long,
    pub unseen_watches: Long,
    /// Times that an entry was found to be no longer true, and mended.
    pub healed: Long,
    /// Changes that could not be noted: no memory, or no room in the queue.
    pub lost: Long,
    /// Grows with every change.
    pub version: Long,
    /// CLOCK_MONOTONIC when the waits of all instances were last marked.
    pub marked: Long,
    next_id: Long,
    epoch: Long,
    serial: Long,
}

impl Totals {
    const fn new() -> Self {
        Totals {
            instances: Long::new(),
            instances_peak: Long::new(),
            watches: Long::new(),
            watches_peak: Long::new(),
            vanished: Long::new(),
            memory_peak: Long::new(),
            unseen_instances: Long::new(),
            unseen_watches: Long::new(),
            healed: Long::new(),
            lost: Long::new(),
            version: Long::new(),
            marked: Long::new(),
            next_id: Long::new(),
            epoch: Long::new(),
            serial: Long::new(),
        }
    }
}

/// Marks the serial numbers that are promised to notes in the queue.
pub const QUEUED: u32 = 1 << 31;

pub struct Core {
    pub descriptors: Descriptors,
    descriptions: Many<Description>,
    instances: Some_<Instance>,
    interests: Many<Interest>,
    pub totals: Totals,
}

/// What is known, while the kernel is asked, of an interest that was noted before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ticket {
    /// Nothing was noted: the instance is not known, or the pair is known already.
    None,
    /// The record, and its serial number.
    Noted { interest: u32, serial: u32 },
    /// A note about it waits in the gate's queue: the serial number that its record will have.
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

    #[inline(always)]
    pub fn from_word(word: u64) -> Ticket {
        match ((word >> 32) as u32, word as u32) {
            (0, 0) => Ticket::None,
            (0, serial) => Ticket::Queued { serial },
            (interest, serial) => Ticket::Noted { interest, serial },
        }
    }
}

/// How an instance came to be.
#[derive(Clone, Copy)]
pub struct Creation {
    pub origin: Origin,
    /// `size` or `flags`.
    pub argument: i32,
    pub site: usize,
}

/// An interest's registration.
#[derive(Clone, Copy)]
pub struct Registration {
    pub epfd: i32,
    pub fd: i32,
    pub site: usize,
}

impl Core {
    pub const fn new() -> Self {
        Core {
            descriptors: Descriptors::new(),
            descriptions: Pool::new(),
            instances: Pool::new(),
            interests: Pool::new(),
            totals: Totals::new(),
        }
    }

    // ---- reading, by anybody ----

    #[inline(always)]
    pub fn instance_of(&self, epfd: i32) -> Option<&'static Instance> {
        self.instances.get(self.descriptors.get(epfd).instance())
    }

    pub fn live_instances(&self) -> impl Iterator<Item = (u32, &'static Instance)> {
        (1..self.instances.end())
            .filter_map(|index| Some((index, self.instances.get(index)?)))
            .filter(|(_, instance)| instance.id.get() != 0)
    }

    /// The interests of an instance, the newest first.
    pub fn interests_of(&self, instance: &Instance) -> impl Iterator<Item = &'static Interest> {
        let mut at = instance.first.get();
        (0..self.interests.end()).map_while(move |_| {
            let interest = self.interests.get(at)?;
            at = interest.next.get();
            Some(interest)
        })
    }

    /// The lowest descriptor of an instance; -1: none. Walks all of them.
    pub fn descriptor_of(&self, instance: u32) -> i32 {
        (0..=self.descriptors.highest()).find(|fd| self.descriptors.get(*fd).instance() == instance).unwrap_or(-1)
    }

    /// The interest of an instance in what a descriptor refers to now.
    #[inline(always)]
    pub fn find(&self, epfd: i32, fd: i32) -> Option<(u32, &'static Interest)> {
        let instance = self.descriptors.get(epfd).instance();
        if instance == 0 {
            return None;
        }
        self.find_in(instance, fd)
    }

    #[inline(always)]
    fn find_in(&self, instance: u32, fd: i32) -> Option<(u32, &'static Interest)> {
        let description = self.descriptions.get(self.descriptors.get(fd).description())?;
        self.find_among(description, instance, fd)
    }

    /// Searches the shorter of two lists, by walking both at once: the interests in the description, and those of
    /// the instance. (An eventfd may be in the lists of thousands of instances; most descriptors are in one.)
    #[inline(always)]
    fn find_among(&self, description: &Description, instance: u32, fd: i32) -> Option<(u32, &'static Interest)> {
        let index = description.interests.get();
        let first = self.interests.get(index)?;
        if first.instance.get() == instance && first.fd.get() == fd {
            return Some((index, first));
        }
        self.find_further(first, instance, fd)
    }

    #[cold]
    #[inline(never)]
    fn find_further(&self, first: &Interest, instance: u32, fd: i32) -> Option<(u32, &'static Interest)> {
        let description = first.description.get();
        let mut by_description = first.sibling.get();
        let mut by_instance = self.instances.get(instance)?.first.get();
        for _ in 0..self.interests.end() {
            let interest = self.interests.get(by_description)?;
            if interest.instance.get() == instance && interest.fd.get() == fd {
                return Some((by_description, interest));
            }
            by_description = interest.sibling.get();
            let interest = self.interests.get(by_instance)?;
            if interest.description.get() == description && interest.fd.get() == fd {
                return Some((by_instance, interest));
            }
            by_instance = interest.next.get();
        }
        None
    }

    /// Bytes that the kernel is estimated to hold for this process's epolls now.
    pub fn memory(&self) -> u64 {
        kernel_memory::estimate(self.totals.instances.get(), self.totals.watches.get())
    }

    // ---- instances ----

    pub fn created(&self, fd: i32, creation: Creation) {
        // The number was free in the kernel: if it is known, its last user was closed where we could not see it.
        self.heal(fd);
        self.descriptors.part(fd);
        if self.new_instance(fd, creation).is_none() {
            self.totals.lost.add(1);
        }
    }

    /// An epoll descriptor that the ledger did not know has turned up.
    pub fn adopt(&self, fd: i32) -> Option<u32> {
        let slot = self.descriptors.get(fd);
        if slot.instance() != 0 {
            return Some(slot.instance());
        }
        // It may be known as a watched file (a nested epoll), or as one of several numbers of a description; numbers
        // that this does not reach are found by reconciliation.
        let mut twins = [fd; RING + 1];
        let mut places = twins.iter_mut().skip(1);
        self.descriptors.twins(fd, |twin| {
            if let Some(place) = places.next() {
                *place = twin;
            }
        });
        let (description_index, description) = self.describe(fd, slot)?;
        let (index, _) =
            self.open_instance(description_index, Creation { origin: Origin::Unseen, argument: 0, site: 0 })?;
        description.instance.set(index);
        for twin in twins {
            if self.descriptors.get(twin).description() == description_index {
                self.descriptors.set(twin, Slot::known(description_index, index));
            }
        }
        self.totals.unseen_instances.add(1);
        self.tell_instance(index, fd);
        Some(index)
    }

    fn new_instance(&self, fd: i32, creation: Creation) -> Option<u32> {
        let (description_index, description) = self.new_description(1)?;
        let Some((index, _)) = self.open_instance(description_index, creation) else {
            self.descriptions.release(description_index, description);
            return None;
        };
        description.instance.set(index);
        if !self.descriptors.set(fd, Slot::known(description_index, index)) {
            self.end_instance(index, fd);
            self.descriptions.release(description_index, description);
            return None;
        }
        self.tell_instance(index, fd);
        Some(index)
    }

    /// Tells the recording of an instance.
    fn tell_instance(&self, index: u32, fd: i32) {
        if super::is_followed()
            && record::has_tables()
            && let Some(instance) = self.instances.get(index)
        {
            record::noted_instance(index, instance, fd);
        }
    }

    /// Tells the recording of everything.
    pub fn mirror(&self) {
        for (index, instance) in self.live_instances() {
            record::noted_instance(index, instance, self.descriptor_of(index));
            let mut at = instance.first.get();
            for _ in 0..self.interests.end() {
                let Some(interest) = self.interests.get(at) else { break };
                record::noted_interest(at, interest, instance.watches.get());
                at = interest.next.get();
            }
        }
    }

    fn open_instance(&self, description: u32, creation: Creation) -> Option<(u32, &'static Instance)> {
        let (index, instance) = self.instances.allocate()?;
        instance.owner.clear();
        instance.waiter.store(0, Ordering::Relaxed);
        instance.alone.clear();
        instance.shared.clear();
        self.totals.next_id.add(1);
        instance.id.set(self.totals.next_id.get());
        instance.site.store(creation.site, Ordering::Relaxed);
        instance.description.set(description);
        instance.first.set(0);
        instance.watches.set(0);
        instance.peak.set(0);
        instance.argument.set(creation.argument);
        instance.origin.store(creation.origin as u8, Ordering::Relaxed);
        instance.seen.store(0, Ordering::Relaxed);
        instance.told.store(0, Ordering::Relaxed);
        instance.inherited.store(u8::from(creation.origin == Origin::Unseen), Ordering::Relaxed);
        instance.maker.set(if creation.origin == Origin::Unseen { 0 } else { process::pid() as u32 });
        instance.waits_marked.set(Instance::UNMARKED);
        instance.forked.store(0, Ordering::Relaxed);
        instance.doubles.clear();
        self.totals.instances.add(1);
        charges::opened(instance);
        births::note(creation.site);
        if self.totals.next_id.get().is_power_of_two() {
            self.mark_waits();
        }
        Some((index, instance))
    }

    /// Notes how often each instance was waited on by now: what is the same at the end was not used since. At every creation
    /// whose number is a power of two: so a creation costs the same, however many there are.
    #[cold]
    #[inline(never)]
    fn mark_waits(&self) {
        /// More are not looked at: the gate is taken.
        const MANY: u64 = 1 << 16;
        if self.totals.instances.get() > MANY {
            return;
        }
        self.totals.marked.set(clock::monotonic());
        for (_, instance) in self.live_instances() {
            instance.waits_marked.set(instance.waits());
        }
    }

    /// Whether an instance is itself in the interest list of one.
    pub fn is_nested(&self, instance: &Instance) -> bool {
        self.descriptions.get(instance.description.get()).is_some_and(|description| description.interests.get() != 0)
    }

    /// The last descriptor of an instance is gone: the kernel frees it with all its interests.
    fn end_instance(&self, index: u32, epfd: i32) {
        let Some(instance) = self.instances.get(index) else { return };
        instance.reach();
        findings::instance_ended(instance, epfd);
        if family::has_told() {
            family::compare(instance);
        }
        if instance.forked.load(Ordering::Relaxed) == Instance::FROM_BEFORE {
            super::expect_one_use_less();
        }
        for _ in 0..self.interests.end() {
            let first = instance.first.get();
            if first == 0 {
                break;
            }
            self.vanish(first);
        }
        if let Some(description) = self.descriptions.get(instance.description.get()) {
            description.instance.set(0);
        }
        instance.id.set(0);
        self.reach();
        self.totals.instances.subtract(1);
        charges::ended(instance);
        if super::is_followed() && record::has_tables() {
            record::gone_instance(index);
        }
        self.instances.release(index, instance);
    }

    // ---- descriptors ----

    fn new_description(&self, descriptors: u32) -> Option<(u32, &'static Description)> {
        let (index, description) = self.descriptions.allocate()?;
        description.descriptors.set(descriptors);
        description.interests.set(0);
        description.instance.set(0);
        description.epoch.set((self.totals.epoch.get() as u32) << 1);
        Some((index, description))
    }

    /// Whether others than the counted descriptors may keep a description alive: it was there before this
    /// process was forked (the parent has it), or it was dupped before it was known.
    fn may_be_shared(&self, description: &Description) -> bool {
        description.epoch.get() != (self.totals.epoch.get() as u32) << 1
    }

    /// The description of a descriptor, noted now if it was not known.
    #[inline(always)]
    fn describe(&self, fd: i32, slot: Slot) -> Option<(u32, &'static Description)> {
        if slot.is_known() {
            return Some((slot.description(), self.descriptions.get(slot.description())?));
        }
        let (index, description) = self.new_description(1)?;
        if slot.next_twin().is_some() {
            self.recognise_twins(fd, index, description);
        }
        if !self.descriptors.set(fd, Slot::known(index, 0)) {
            self.descriptions.release(index, description);
            return None;
        }
        Some((index, description))
    }

    /// A number of a ring of twins becomes known: so do its twins, those that the kernel says are.
    #[cold]
    #[inline(never)]
    fn recognise_twins(&self, fd: i32, index: u32, description: &Description) {
        let mut twins = [-1; RING];
        let mut places = twins.iter_mut();
        let mut sure = self.descriptors.twins(fd, |twin| {
            if let Some(place) = places.next() {
                *place = twin;
            }
        });
        self.descriptors.part(fd);
        for twin in twins.into_iter().filter(|twin| *twin >= 0 && *twin != fd) {
            if self.descriptors.get(twin).is_known() {
                // Met before: threads that dup at the same moment can tie a ring into a loop that leaves `fd` out.
                continue;
            }
            match super::are_twins(fd, twin) {
                Some(true) => {
                    self.descriptors.part(twin);
                    self.descriptors.set(twin, Slot::known(index, 0));
                    description.descriptors.set(description.descriptors.get() + 1);
                }
                Some(false) => {}
                None => sure = false,
            }
        }
        if !sure {
            description.epoch.set(description.epoch.get() | 1);
        }
    }

    /// A descriptor number is given up: by close, by dup2 onto it, by closing a range. `at`: where; 0: not known; None: nobody
    /// knows when.
    pub fn closed(&self, fd: i32, at: Option<usize>) {
        let slot = self.descriptors.get(fd);
        if !slot.is_known() {
            return;
        }
        self.descriptors.set(fd, Slot::UNKNOWN);
        let Some(description) = self.descriptions.get(slot.description()) else { return };
        let left = description.descriptors.get().saturating_sub(1);
        description.descriptors.set(left);
        if let Some(at) = at {
            if description.interests.get() != 0 {
                self.remember(description, fd, at, left > 0);
            }
            if description.instance.get() != 0 && super::is_timely() {
                waiters::instance_closed(fd, at);
            }
        }
        if left > 0 {
            return;
        }
        if description.instance.get() != 0 {
            self.end_instance(description.instance.get(), fd);
        }
        if description.interests.get() == 0 {
            self.descriptions.release(slot.description(), description);
        } else if self.may_be_shared(description) {
            self.doubt(description);
        } else {
            self.vanish_all(description);
        }
    }

    /// A watched descriptor is closed: where it was, and where it was added, should the file live on. Where a dup is known to
    /// stay, the number's next ADD is to be looked at.
    fn remember(&self, description: &Description, fd: i32, at: usize, leaves_a_dup: bool) {
        /// Of a file that very many instances watch, only so many are looked at.
        const MOST: usize = 64;
        let mut index = description.interests.get();
        let mut is_marked = false;
        for _ in 0..MOST {
            let Some(interest) = self.interests.get(index) else { break };
            if interest.fd.get() == fd
                && let Some(instance) = self.instances.get(interest.instance.get())
            {
                closings::note(&Closing {
                    instance: instance.id.get(),
                    fd,
                    interest: index,
                    serial: interest.serial.get(),
                    leaves_a_dup,
                    added_at: interest.site(),
                    closed_at: at as u64,
                    waits: instance.waits(),
                    is_told: false,
                });
                if leaves_a_dup {
                    is_marked = true;
                } else if super::is_timely() {
                    waiters::watched_closed(instance.owner.block(), interest.instance.get(), fd, at);
                }
            }
            index = interest.sibling.get();
        }
        if is_marked {
            closings::mark();
            self.descriptors.mark(fd);
        }
    }

    /// A descriptor that was closed while a dup of it stayed, as far as the ledger knows, and which its instance still watches.
    pub fn ghost(&self, epfd: i32, fd: i32) -> Option<Closing> {
        let instance_index = self.descriptors.get(epfd).instance();
        let instance = self.instances.get(instance_index)?;
        let closing = closings::last(instance.id.get(), fd)?;
        let interest = self.interests.get(closing.interest)?;
        let lives = closing.leaves_a_dup
            && interest.has(Interest::LIVE)
            // Else the dup is closed too, and who keeps it, if anybody, is not known: a child on its way to exec, it may be.
            && !interest.has(Interest::DOUBTFUL)
            && interest.serial.get() == closing.serial
            && interest.instance.get() == instance_index
            && interest.fd.get() == fd;
        (lives && instance.inherited.load(Ordering::Relaxed) == 0).then_some(closing)
    }

    /// Where an interest of an instance was added, by its number alone; 0: not known. `now`: one in what the number refers to.
    pub fn added_at(&self, instance: u32, fd: i32, now: bool) -> u64 {
        let description = self.descriptors.get(fd).description();
        let mut index = self.instances.get(instance).map_or(0, |instance| instance.first.get());
        for _ in 0..self.interests.end() {
            let Some(interest) = self.interests.get(index) else { break };
            // What reconciliation has found has no place.
            let is_one = interest.fd.get() == fd && (!now || interest.description.get() == description);
            if is_one && interest.site() != 0 {
                return interest.site();
            }
            index = interest.next.get();
        }
        0
    }

    fn vanish_all(&self, description: &Description) {
        for _ in 0..self.interests.end() {
            // The last removal releases the description, whose list then reads as the pool's link.
            let first = description.interests.get();
            let Some(interest) = self.interests.get(first) else { break };
            let last = interest.sibling.get() == 0;
            self.vanish(first);
            if last {
                break;
            }
        }
    }

    fn doubt(&self, description: &Description) {
        let mut index = description.interests.get();
        for _ in 0..self.interests.end() {
            let Some(interest) = self.interests.get(index) else { break };
            interest.raise(Interest::DOUBTFUL);
            index = interest.sibling.get();
        }
    }

    pub fn closed_range(&self, first: i32, last: i32, at: usize) {
        for fd in first.max(0)..=last.min(self.descriptors.highest()) {
            self.closed(fd, Some(at));
        }
    }

    /// `new` refers to the description of `old` from now on.
    pub fn duplicated(&self, old: i32, new: i32, at: usize) {
        if old == new {
            return;
        }
        // What was said of `new` before is over. It comes first: it may take the last interest in `old` with it.
        self.closed(new, Some(at));
        let slot = self.descriptors.get(old);
        match self.descriptions.get(slot.description()) {
            Some(description) if slot.is_known() => {
                self.descriptors.part(new);
                if self.descriptors.set(new, Slot::known(slot.description(), slot.instance())) {
                    description.descriptors.set(description.descriptors.get() + 1);
                } else {
                    description.epoch.set(description.epoch.get() | 1);
                    self.totals.lost.add(1);
                }
            }
            _ => self.descriptors.join_held(old, new),
        }
    }

    /// What the ledger says of a descriptor is not true any more.
    pub fn heal(&self, fd: i32) {
        if self.descriptors.get(fd).is_known() {
            self.closed(fd, None);
            self.totals.healed.add(1);
        }
    }

    // ---- interests ----

    /// Notes an interest before the kernel is asked, if the instance is known and the pair is not. Returns the word of
    /// its ticket.
    ///
    pub fn reserve(&self, registration: &Registration) -> u64 {
        self.totals.serial.add(1);
        let serial = self.totals.serial.get() as u32 & !QUEUED;
        match self.reserve_as(registration, serial) {
            Some(interest) => Ticket::Noted { interest, serial }.to_word(),
            None => Ticket::None.to_word(),
        }
    }

    /// The same for the plain case, where nobody follows; None: another case, and nothing has been done.
    ///
    /// This and `deleted_at_once` read straight down: behind a long system call a conditional branch that is taken is
    /// mispredicted, always, and costs 8 to 15 ns (benches/branches finds them); one that is not taken costs nothing.
    #[inline(always)]
    pub fn reserve_at_once(&self, registration: &Registration) -> Option<u64> {
        let serial = self.totals.serial.get().wrapping_add(1);
        let interest = self.reserve_plain(registration, serial as u32 & !QUEUED)?;
        self.totals.serial.set(serial);
        self.totals.version.add(1);
        Some(Ticket::Noted { interest, serial: serial as u32 & !QUEUED }.to_word())
    }

    /// `reserve_as` for the plain case: a low descriptor that nothing is known of, and records that were used before.
    /// None: another case, and nothing has been done.
    #[inline(always)]
    fn reserve_plain(&self, registration: &Registration, serial: u32) -> Option<u32> {
        let instance_index = self.descriptors.low(registration.epfd)?.get().instance();
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

    /// The same in every case, under a serial number that was promised when the gate was taken.
    pub fn reserve_as(&self, registration: &Registration, serial: u32) -> Option<u32> {
        let index = self.descriptors.get(registration.epfd).instance();
        let instance = self.instances.get(index)?;
        let slot = self.descriptors.get(registration.fd);
        if slot.is_known() && self.find_in(index, registration.fd).is_some() {
            return None;
        }
        if slot.next_twin().is_some() && super::is_timely() && self.ghost(registration.epfd, registration.fd).is_some()
        {
            findings::errors::adding_over_ghost(registration);
        }
        let description = self.describe(registration.fd, slot)?;
        self.insert_into((index, instance), description, registration, serial, 0)
    }

    /// Puts an interest into the lists of an instance and of the descriptor's description.
    fn insert(&self, index: u32, registration: &Registration, flags: u64) -> Option<u32> {
        let instance = self.instances.get(index)?;
        let description = self.describe(registration.fd, self.descriptors.get(registration.fd))?;
        self.insert_into((index, instance), description, registration, 0, flags)
    }

    #[inline(always)]
    fn insert_into(
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
        if super::is_followed() {
            super::tell_interest(index, interest, instance, registration.epfd);
        }
        Some(index)
    }

    /// Peaks are taken before something goes, and when they are read: what only grows has its peak at its end.
    #[inline(always)]
    pub fn reach(&self) {
        let (instances, watches) = (self.totals.instances.get(), self.totals.watches.get());
        self.totals.watches_peak.reach(watches);
        self.totals.instances_peak.reach(instances);
        self.totals.memory_peak.reach(kernel_memory::estimate(instances, watches));
    }

    /// The record of an interest that was noted before the real call; None: it is gone again, closed meanwhile.
    fn noted(&self, registration: &Registration, ticket: Ticket) -> Option<u32> {
        let (index, serial) = match ticket {
            Ticket::None => return None,
            Ticket::Noted { interest, serial } => (interest, serial),
            Ticket::Queued { serial } => (self.find(registration.epfd, registration.fd)?.0, serial),
        };
        let interest = self.interests.get(index)?;
        (interest.serial.get() == serial && interest.has(Interest::LIVE)).then_some(index)
    }

    /// The kernel refused: as if it had never been noted.
    pub fn undo(&self, registration: &Registration, ticket: Ticket) {
        if let Some(index) = self.noted(registration, ticket) {
            self.remove(index);
        }
    }

    /// The kernel says that it has had this interest all along.
    pub fn existed(&self, registration: &Registration, ticket: Ticket) {
        let Some(index) = self.noted(registration, ticket) else { return };
        let instance = self.descriptors.get(registration.epfd).instance();
        self.remove(index);
        if self.find_by_number(instance, registration.fd).is_none() {
            self.insert(instance, registration, 0);
            self.totals.unseen_watches.add(1);
        }
    }

    /// An interest of an instance by its number alone, whatever the number refers to now.
    fn find_by_number(&self, instance: u32, fd: i32) -> Option<u32> {
        let mut index = self.instances.get(instance)?.first.get();
        for _ in 0..self.interests.end() {
            let interest = self.interests.get(index)?;
            if interest.fd.get() == fd {
                return Some(index);
            }
            index = interest.next.get();
        }
        None
    }

    /// An ADD succeeded about which a note was left in the queue. If its record is not there any more, or another's is
    /// in its place, then the descriptor was closed meanwhile, and perhaps its number added anew: nothing to do.
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

    /// The kernel does not know a pair that the ledger knows. It keys an interest by number and description: the
    /// number has another file now; or, of an epoll, which is known by its own calls, another process removed it.
    pub fn gone(&self, epfd: i32, fd: i32) {
        let Some((index, _)) = self.find(epfd, fd) else { return };
        if self.descriptors.get(fd).instance() == 0 {
            self.heal(fd);
        } else {
            self.remove(index);
            self.totals.healed.add(1);
        }
    }

    /// The kernel said that an interest exists that the ledger did not have.
    pub fn found(&self, registration: &Registration) {
        let Some(instance) = self.adopt(registration.epfd) else { return };
        if self.find_in(instance, registration.fd).is_none() && self.insert(instance, registration, 0).is_some() {
            self.totals.unseen_watches.add(1);
        }
    }

    /// A DEL succeeded; the plain case, where nobody follows. False: another case, and nothing has been done.
    #[inline(always)]
    pub fn deleted_at_once(&self, epfd: i32, fd: i32) -> bool {
        let done = self.deleted_plain(epfd, fd).is_some();
        if done {
            self.totals.version.add(1);
        }
        done
    }

    /// The plain case: the only interest in a description that has one low number, and is no epoll. All of it is
    /// forgotten. None: another case, and nothing has been done.
    #[inline(always)]
    fn deleted_plain(&self, epfd: i32, fd: i32) -> Option<()> {
        let instance_index = self.descriptors.low(epfd)?.get().instance();
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
        {
            return None;
        }
        let (next, previous) = (interest.next.get(), interest.previous.get());
        let (after, before) = (self.interests.neighbour(next)?, self.interests.neighbour(previous)?);
        self.reach();
        instance.reach();
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

    /// A DEL succeeded.
    #[cold]
    #[inline(never)]
    pub fn deleted(&self, epfd: i32, fd: i32) {
        let instance_index = self.descriptors.get(epfd).instance();
        let description_index = self.descriptors.get(fd).description();
        if let Some(instance) = self.instances.get(instance_index)
            && let Some(description) = self.descriptions.get(description_index)
            && let Some((index, interest)) = self.find_among(description, instance_index, fd)
        {
            self.reach();
            instance.reach();
            self.unlink((index, interest), instance, (description_index, description));
        } else {
            self.deleted_by_number(instance_index, fd);
        }
    }

    /// It was there, or the kernel would not have removed it: under another description that is the same (the number
    /// was given up, and came back by a dup of what the ledger did not know to be a twin), or unseen.
    #[cold]
    #[inline(never)]
    fn deleted_by_number(&self, instance: u32, fd: i32) {
        match self.find_by_number(instance, fd) {
            Some(index) => self.remove(index),
            None => self.totals.unseen_watches.add(1),
        }
    }

    /// The kernel has removed an interest at a close.
    fn vanish(&self, index: u32) {
        self.reach();
        if let Some(instance) =
            self.interests.get(index).and_then(|interest| self.instances.get(interest.instance.get()))
        {
            instance.reach();
        }
        self.totals.vanished.add(1);
        self.remove(index);
    }

    fn remove(&self, index: u32) {
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
    fn unlink(
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
        if super::is_followed() && record::has_tables() {
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

    /// A description that nobody watches, that is no epoll, and that has one descriptor is none of ours:
    /// its close is to cost nothing.
    #[inline(always)]
    fn forget_if_idle(&self, fd: i32, index: u32, description: &Description) {
        if description.interests.get() != 0 || description.instance.get() != 0 {
            return;
        }
        match description.descriptors.get() {
            0 => self.descriptions.release(index, description),
            1 if self.descriptors.get(fd).description() == index => {
                self.descriptors.set(fd, Slot::UNKNOWN);
                self.descriptions.release(index, description);
            }
            _ => {}
        }
    }

    // ---- the process ----

    /// In the child of a fork: the same descriptors, shared with the parent; counts of its own.
    pub fn after_fork(&self) {
        let totals = &self.totals;
        totals.epoch.add(1);
        for count in [&totals.vanished, &totals.unseen_instances, &totals.unseen_watches, &totals.healed, &totals.lost]
        {
            count.set(0);
        }
        self.restart_peaks();
        family::forked(totals.next_id.get());
        births::forget();
        let mut from_before = 0;
        for (_, instance) in self.live_instances() {
            instance.inherited.store(1, Ordering::Relaxed);
            instance.waits_before.set(instance.waits());
            // So that this process's first wait claims it anew, and is noticed.
            instance.owner.clear();
            instance.forked.store(Instance::FROM_BEFORE, Ordering::Relaxed);
            instance.doubles.clear();
            from_before += 1;
            instance.alone.clear();
            instance.shared.clear();
        }
        super::expect_uses(from_before);
        if charges::tracks() {
            charges::next_epoch();
            self.track();
        }
    }

    /// Begins to charge what limits count, with what there is. What was there before is not this process's share of the
    /// user's count.
    pub fn track(&self) {
        for (_, instance) in self.live_instances() {
            instance.paid.store(0, Ordering::Relaxed);
            charges::begin_count(instance, instance.watches.get());
        }
        for index in 1..self.interests.end() {
            if let Some(interest) = self.interests.get(index) {
                interest.lower(Interest::PAID);
            }
        }
        charges::begin(self.totals.instances.get(), self.totals.watches.get());
    }

    /// Puts into the user's count what this process has made, and what it was in for before; not what it was handed.
    pub fn pay(&self) {
        for (_, instance) in self.live_instances() {
            let is_own = instance.inherited.load(Ordering::Relaxed) == 0;
            if instance.paid.load(Ordering::Relaxed) == 0 && (is_own || charges::paid_before(Kind::Instances)) {
                instance.paid.store(1, Ordering::Relaxed);
                charges::pay_for(Kind::Instances);
            }
            let mut index = instance.first.get();
            for _ in 0..self.interests.end() {
                let Some(interest) = self.interests.get(index) else { break };
                if !interest.has(Interest::PAID) && (is_own || charges::paid_before(Kind::Watches)) {
                    interest.raise(Interest::PAID);
                    charges::pay_for(Kind::Watches);
                }
                index = interest.next.get();
            }
        }
    }

    pub fn instance_at(&self, index: u32) -> Option<&'static Instance> {
        self.instances.get(index)
    }

    /// Peaks begin again at what is there now.
    pub fn restart_peaks(&self) {
        self.totals.instances_peak.set(self.totals.instances.get());
        self.totals.watches_peak.set(self.totals.watches.get());
        self.totals.memory_peak.set(self.memory());
        for (_, instance) in self.live_instances() {
            instance.peak.set(instance.watches.get());
        }
    }

    /// Forgets everything, also a half-made change: reconciliation finds again what is there.
    pub fn forget_everything(&self) {
        for fd in 0..=self.descriptors.highest() {
            self.descriptors.set(fd, Slot::UNKNOWN);
        }
        for (_, instance) in self.live_instances() {
            // Leaked, not released: the pool's own lists may be what was half-changed.
            instance.id.set(0);
        }
        super::expect_uses(0);
        self.totals.instances.set(0);
        self.totals.watches.set(0);
        if charges::tracks() {
            charges::begin(0, 0);
        }
        self.totals.lost.add(1);
    }
}
