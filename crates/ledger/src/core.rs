//! The records of the ledger as a whole, and the changes to them:
//!
//! | file | what |
//! |---|---|
//! | `totals.rs` | totals and their peaks |
//! | `memory.rs` | what a change needs before the lock is taken |
//! | `lookup.rs` | look-ups of interests |
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
//! place, before the lock is taken (`memory.rs`). All walks are bounded, so that they end even in a
//! ledger that an abandoned holder has damaged.

mod comparison;
mod descriptions;
mod ghosts;
mod grouping;
mod instances;
mod interests;
mod lookup;
mod memory;
mod pairs;
mod plain;
#[cfg(test)]
mod random;
mod rebuild;
mod registrations;
mod resets;
#[cfg(test)]
pub mod tests;
mod totals;

use ::core::marker::PhantomData;
use ::core::mem::offset_of;

use self::pairs::Pairs;
use crate::answers::{Lent, Ring};
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
use crate::{Kernel, Observer};

pub use comparison::{File, Line, Unmatched};
pub use grouping::Head;
pub use instances::Creation;
pub use registrations::{QUEUED, Registration, Ticket};
pub use totals::Totals;

/// 2,048 chunks of 4,096: eight million watches, more than max_user_watches of a 24 GiB machine.
type LargePool<T, K> = Pool<T, K, 2048, 4096>;
/// 4,096 chunks of 256: a million instances, which is `fs.nr_open`. A chunk is 80 KiB, since most
/// programs have few instances.
type SmallPool<T, K> = Pool<T, K, 4096, 256>;

/// The counts that each ADD and DEL changes.
#[repr(C)]
pub struct Churn {
    pub watches: Long,
    /// While there are no more watches than this, every peak is up to date.
    reached: Long,
    /// Grows with every change.
    changes: Long,
}

/// The order matters. The words that an ADD or a DEL changes, and so takes from another thread's
/// cache, lie in the lock's cache line. The words that it only reads lie in few other lines.
#[repr(C)]
pub struct Core<K: Kernel, O: Observer> {
    pub lock: Lock,
    pub churn: Churn,
    /// The mark of the descriptions that are created now (see `Description::being`). The child of a
    /// fork has another mark. 0: no description has been created.
    mark: Long,
    records: LargePool<Watch, K>,
    pub descriptors: Descriptors<K>,
    instances: SmallPool<Instance, K>,
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
    /// What the kernel answered before the lock was taken. Only the holder writes it.
    answers: Lent,
    /// Lower numbers have all the memory that they need. 0: the kernel had no memory for more
    /// records when it was last asked, or has not been asked yet.
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

    /// Makes a change, with the kernel's answers about its numbers, if it was asked. Only the
    /// holder of the lock calls it.
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

    /// Whether the change that is being made happens now, and did not wait in the queue. Relaxed:
    /// the caller is the holder, which alone writes it.
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
}
