//! The records of the ledger, what is counted of them, and the look-ups. These files change them:
//!
//! | file | what |
//! |---|---|
//! | `instances.rs` | instances, from their creation to their end |
//! | `descriptions.rs` | which numbers refer to which open file description: close, dup |
//! | `ghosts.rs` | numbers that were closed while what they referred to is still watched |
//! | `interests.rs` | the lists that interests are in: insertion and removal |
//! | `pairs.rs` | the index that finds an interest among many in the same file |
//! | `registrations.rs` | ADD and DEL, before and after the kernel's answer |
//! | `plain.rs` | the same in the plain case, which is the hot one |
//! | `resets.rs` | where counts restart: fork, limits, reset, an abandoned change |
//! | `rebuild.rs` | builds the lists from the records, after a change that was left half-made |
//! | `grouping.rs` | comparison with the kernel: which numbers are one instance |
//! | `comparison.rs` | comparison with the kernel: each instance's interest list |
//!
//! Only the holder of the lock calls a method that changes something. The kernel is asked in one
//! place, where a duplicated number becomes known (`descriptions.rs`). All walks are bounded, so
//! that they end even in a ledger that an abandoned holder has damaged.

mod comparison;
mod descriptions;
mod ghosts;
mod grouping;
mod instances;
mod interests;
mod pairs;
mod plain;
#[cfg(test)]
mod random;
mod rebuild;
mod registrations;
mod resets;
#[cfg(test)]
pub mod tests;

use ::core::marker::PhantomData;
use ::core::mem::offset_of;

use epollshim_format::kernel_memory;

use self::pairs::Pairs;
use crate::answers::{Answers, Lent, Ring};
use crate::creation_sites::CreationSites;
use crate::descriptors::{Descriptors, FdState};
use crate::events::{Event, Events, Pending};
use crate::instance_closes::InstanceCloses;
use crate::lock::{Lock, flags};
use crate::pool::Pool;
use crate::recent_closes::RecentCloses;
use crate::records::{Description, Instance, Interest, LastUsed, Long, Watch};
use crate::reservations::Reservations;
use crate::sync::{AtomicBool, AtomicI32, Ordering};
use crate::{Kernel, Observer, descriptors};

pub use comparison::{File, Line, Unmatched};
pub use grouping::Head;
pub use instances::Creation;
pub use registrations::{QUEUED, Registration, Ticket};

/// 2,048 chunks of 4,096: eight million watches, more than max_user_watches of a 24 GiB machine.
type Many<T, K> = Pool<T, K, 2048, 4096>;
/// 4,096 chunks of 256: a million instances, which is `fs.nr_open`. A chunk is 80 KiB, since most
/// programs have few instances.
type Some_<T, K> = Pool<T, K, 4096, 256>;

/// What each ADD and DEL changes.
#[repr(C)]
pub struct Churn {
    pub watches: Long,
    /// While there are no more watches than this, every peak is up to date.
    reached: Long,
    /// Grows with every change.
    changes: Long,
}

/// What else is counted under the lock. The fields that a creation changes are adjacent.
#[repr(C)]
pub struct Totals {
    pub instances: Long,
    next_id: Long,
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

    const fn new() -> Self {
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

/// The order matters. What an ADD or a DEL of one thread takes from another thread's cache lies in
/// the lock's cache line. What it only reads lies in few other lines.
#[repr(C)]
pub struct Core<K: Kernel, O: Observer> {
    pub lock: Lock,
    pub churn: Churn,
    /// Marks the descriptions that are made now (see `Description::being`). The child of a fork has
    /// another mark. 0: none has been made.
    mark: Long,
    records: Many<Watch, K>,
    pub descriptors: Descriptors<K>,
    instances: Some_<Instance, K>,
    pub totals: Totals,
    pairs: Pairs<K>,
    pub reservations: Reservations<K>,
    _to_the_line: [u64; 2],
    pub recent_closes: RecentCloses,
    pub creation_sites: CreationSites,
    pub instance_closes: InstanceCloses,
    /// A change that waited in the queue is being applied: its numbers may refer to something else
    /// by now. Only the holder writes it.
    pub late: AtomicBool,
    /// Events to deliver. Only the holder writes them.
    events: Pending,
    /// What the kernel said before the lock was taken. Written by the holder.
    answers: Lent,
    /// Lower numbers have all the memory that they need. 0: there was none for more records when it was last asked for.
    ready_below: AtomicI32,
    observer: PhantomData<fn() -> O>,
}

impl<K: Kernel, O: Observer> Core<K, O> {
    /// The end of the known descriptors, and the first chunks of instances, are in one cache line.
    const PLACES: () = assert!(
        offset_of!(Self, records) / 64 == 0
            && offset_of!(Self, descriptors).is_multiple_of(64)
            && offset_of!(Self, recent_closes).is_multiple_of(64)
            && offset_of!(Self, instances) % 64 == size_of::<[u32; 4]>()
    );

    pub const fn new() -> Self {
        () = Self::PLACES;
        Core {
            lock: Lock::new(),
            churn: Churn { watches: Long::new(), reached: Long::new(), changes: Long::new() },
            mark: Long::new(),
            records: Pool::new(),
            descriptors: Descriptors::new(),
            instances: Pool::new(),
            totals: Totals::new(),
            pairs: Pairs::new(),
            reservations: Reservations::new(),
            _to_the_line: [0; 2],
            recent_closes: RecentCloses::new(),
            creation_sites: CreationSites::new(),
            instance_closes: InstanceCloses::new(),
            late: AtomicBool::new(false),
            events: Pending::new(),
            answers: Lent::new(),
            ready_below: AtomicI32::new(0),
            observer: PhantomData,
        }
    }

    /// Notes an event that is delivered when the lock is free.
    #[cold]
    #[inline(never)]
    pub(crate) fn note_event(&self, event: Event) {
        self.events.note(event);
        self.lock.set_slow_path(flags::EVENTS);
    }

    pub(crate) fn take_events(&self) -> Events {
        self.events.take()
    }

    /// Whether a change that makes this number known needs [`Core::prepare`] before it.
    #[inline(always)]
    pub fn wants_preparation(&self, fd: i32) -> bool {
        let slot = self.descriptors.get(fd);
        // What is known has all that it needs.
        fd >= 0 && !slot.is_known() && (slot.next_alias().is_some() || self.wants_memory_for(fd))
    }

    /// Whether a change that makes this number known may find too little memory: the number is high, or the kernel had no memory
    /// when it was last asked, or has not been asked yet.
    #[inline(always)]
    pub fn wants_memory_for(&self, fd: i32) -> bool {
        fd >= self.ready_below.load(Ordering::Relaxed)
    }

    /// Gets memory for what a change may need, and asks the kernel about duplicates of these numbers. Not under the lock.
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

    /// Gets memory for a number, and asks the kernel about its duplicates. `keep` is given the answers, if it may have any.
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

    /// Whether so little memory is left that the waiting changes may need more. If so, they go on waiting, and the thread that
    /// unlocks gets memory. If the kernel has none, the changes are made all the same, and those that do not fit are lost.
    pub(crate) fn is_nearly_out(&self) -> bool {
        let is_nearly_out = self.ready_below.load(Ordering::Relaxed) != 0
            && (self.records.is_nearly_out() || self.instances.is_nearly_out());
        if is_nearly_out {
            // Again: the thread that was about to get memory may not exist in the child of a fork, or may have left for ever.
            self.lock.set_slow_path(flags::MEMORY);
        }
        is_nearly_out
    }

    /// Called when a record is used for the first time. If little memory is left, the thread that unlocks gets more.
    #[cold]
    #[inline(never)]
    fn look_at_memory(&self) {
        let is_short = self.records.is_short() | self.instances.is_short() | self.pairs.is_short();
        if is_short && self.lock.slow_path_flags() & flags::MEMORY == 0 {
            self.lock.set_slow_path(flags::MEMORY);
        }
    }

    /// Makes a change, with the kernel's answers about its numbers, if it was asked. Only the holder of the lock calls it.
    #[inline(always)]
    pub fn with_answers<T>(&self, answers: Option<&[Ring]>, make: impl FnOnce() -> T) -> T {
        if let Some(answers) = answers {
            self.answers.lend(answers);
        }
        let result = make();
        if answers.is_some() {
            self.answers.forget();
        }
        result
    }

    /// Whether the change that is being made happens now, and did not wait in the queue. Relaxed: the
    /// caller is the holder, which alone writes it.
    pub(crate) fn is_timely(&self) -> bool {
        !self.late.load(Ordering::Relaxed)
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.churn.changes.get()
    }

    /// How many interests there are.
    pub fn live_watches(&self) -> u64 {
        self.churn.watches.get()
    }

    /// Counts a change.
    #[inline(always)]
    pub fn changes(&self) {
        self.churn.changes.add(1);
    }

    #[inline(always)]
    fn interest(&self, index: u32) -> Option<&'static Interest> {
        self.records.get(index).map(|record| &record.interest)
    }

    #[inline(always)]
    fn description(&self, index: u32) -> Option<&'static Description> {
        self.records.get(index).map(|record| &record.description)
    }

    #[inline(always)]
    pub fn instance_of(&self, epfd: i32) -> Option<&'static Instance> {
        self.instances.get(self.descriptors.get(epfd).instance())
    }

    /// Makes the descriptor's instance the last used one of the caller's thread, if it has an
    /// instance. True: it was not before. Only the holder of the lock calls it.
    #[inline(always)]
    pub fn set_last_used(&self, epfd: i32, last_used: &LastUsed) -> bool {
        if last_used.instance_of(epfd).is_some() {
            return false;
        }
        let Some(instance) = self.instance_of(epfd) else { return false };
        instance.appear_at(epfd);
        last_used.set(instance);
        true
    }

    /// Writes what a descriptor refers to. False: there is no memory for it.
    #[inline(always)]
    fn refer(&self, fd: i32, slot: FdState) -> bool {
        if let Some(former) = self.instances.get(self.descriptors.get(fd).instance())
            && former.is_at(fd)
        {
            former.disappear();
        }
        if !self.descriptors.set(fd, slot) {
            return false;
        }
        if let Some(instance) = self.instances.get(slot.instance()) {
            instance.appear_at(fd);
        }
        true
    }

    pub fn instance_at(&self, index: u32) -> Option<&'static Instance> {
        self.instances.get(index)
    }

    pub fn live_instances(&self) -> impl Iterator<Item = (u32, &'static Instance)> {
        self.instances.all().filter(|(_, instance)| instance.id.get() != 0)
    }

    /// Whether another instance watches this one.
    pub fn is_nested(&self, instance: &Instance) -> bool {
        self.description(instance.description.get()).is_some_and(|description| description.interests() != 0)
    }

    /// The interests of an instance, the newest first.
    pub fn interests_of(&self, instance: &Instance) -> impl Iterator<Item = &'static Interest> {
        let mut at = instance.first.get();
        (0..self.records.end()).map_while(move |_| {
            let interest = self.interest(at)?;
            at = interest.next.get();
            Some(interest)
        })
    }

    /// The lowest descriptor of an instance; -1: none. Walks the whole table if the instance has
    /// more than one.
    pub fn descriptor_of(&self, instance: u32) -> i32 {
        if let Some(found) = self.instances.get(instance)
            && let Some(fd) = found.number()
            && self.descriptors.get(fd).instance() == instance
            && self.description(found.description.get()).is_some_and(|description| description.descriptors() == 1)
        {
            return fd;
        }
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
        let description = self.description(self.descriptors.get(fd).description())?;
        self.find_among(description, instance, fd)
    }

    /// The interest of an instance in a description, under a number. An eventfd may be in the lists
    /// of thousands of instances. Most descriptors are in one.
    #[inline(always)]
    fn find_among(&self, description: &Description, instance: u32, fd: i32) -> Option<(u32, &'static Interest)> {
        let index = description.interests();
        let first = self.interest(index)?;
        if first.instance() == instance && first.fd() == fd {
            return Some((index, first));
        }
        self.find_further(first, instance, fd)
    }

    #[cold]
    #[inline(never)]
    fn find_further(&self, first: &Interest, instance: u32, fd: i32) -> Option<(u32, &'static Interest)> {
        if first.sibling() == 0 {
            return None;
        }
        let description = first.description();
        // Every interest is in its description's own record, or in the index.
        let own = self.interest(description)?;
        if own.is_live() && own.key.are(instance, fd as u32) {
            return Some((description, own));
        }
        self.find_pair(instance, fd, description)
    }

    /// The interest of an instance in a number, whatever the number refers to now.
    #[inline(always)]
    fn find_by_number(&self, instance: u32, fd: i32) -> Option<u32> {
        let mut index = self.instances.get(instance)?.first.get();
        for _ in 0..self.records.end() {
            let interest = self.interest(index)?;
            if interest.fd() == fd {
                return Some(index);
            }
            index = interest.next.get();
        }
        None
    }

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
    fn reach_if_behind(&self) {
        if self.churn.watches.get() > self.churn.reached.get() {
            self.reach();
        }
    }

    /// The same without the lock. The holder may update peaks at the same time.
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
