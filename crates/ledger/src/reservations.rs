//! What limits count: what exists, what is being created, and what is being closed.
//!
//! The ledger's own totals are not enough for a limit. A change may still wait in the queue, and a
//! close is noted before the kernel has made it. So a hook reserves what is limited before the real
//! call that creates it, and it is released after the real call that ends it. A reservation that
//! was made ahead goes to the ledger with the change, and belongs to the record from then on. What
//! the record does not need is released at once. The sum is never less than what the kernel holds.
//!
//! Reservations are kept once a limit was set (`tracks`), and from then on for good. Any thread
//! reserves, without the lock. Everything else here happens under the lock.

use core::marker::PhantomData;

use epollshim_format::kernel_memory;

use crate::Kernel;
use crate::records::{Instance, Interest};
use crate::sync::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// What processes of one user count together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Instances = 0,
    Watches = 1,
}

/// The reservation would exceed the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beyond;

/// What one process has reserved. Relaxed throughout: a read-modify-write of one word has one order
/// for all threads, and nothing else is published by it.
pub struct Reservations<K> {
    instances: AtomicU64,
    watches: AtomicU64,
    bytes: AtomicU64,
    tracks: AtomicU8,
    /// Differs in the child of a fork: what was reserved ahead before the fork is not reserved
    /// there.
    epoch: AtomicU32,
    /// What was reserved ahead for the change that is being applied (`Prepaid::to_word`). Under the
    /// lock.
    prepaid: AtomicU64,
    /// The thread that closes, if the change that is being applied is a close that the kernel has
    /// yet to make. Under the lock.
    closer: AtomicPtr<PendingRelease>,
    kernel: PhantomData<fn() -> K>,
}

// Of `tracks`.
const NOTHING: u8 = 0;
const PROCESS: u8 = 1;
const USER_TOO: u8 = 2;

/// What a call has reserved before it was made. In one word, in the thread's block; 0: nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Prepaid {
    pub instance: bool,
    pub watch: bool,
    /// It is also in the user's count, in the session.
    pub user: bool,
    /// For a watch: the record of its instance, against whose own count it was reserved, and which
    /// use of that record it was (the low bits of the instance's id); 0: no instance.
    pub of: u32,
    pub life: u32,
}

/// The part of an instance's id that is kept with its reservations: 24 bits.
const LIFE: u64 = (1 << 24) - 1;
/// The count lies below it in [`Instance::charged`].
const LIFE_SHIFT: u32 = 40;
const COUNT: u64 = (1 << LIFE_SHIFT) - 1;

impl Prepaid {
    pub fn to_word(self) -> u64 {
        u64::from(self.life) << LIFE_SHIFT
            | u64::from(self.of) << 8
            | u64::from(self.instance)
            | u64::from(self.watch) << 1
            | u64::from(self.user) << 2
    }

    pub fn from_word(word: u64) -> Prepaid {
        Prepaid {
            instance: word & 1 != 0,
            watch: word & 2 != 0,
            user: word & 4 != 0,
            of: (word >> 8) as u32,
            life: (word >> LIFE_SHIFT) as u32,
        }
    }
}

/// Adds `amount`, unless that would exceed `limit`. Ok: the new sum.
pub fn charge(count: &AtomicU64, amount: u64, limit: Option<u64>) -> Result<u64, Beyond> {
    let limit = limit.unwrap_or(u64::MAX);
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| now.checked_add(amount).filter(|sum| *sum <= limit))
        .map(|before| before + amount)
        .map_err(|_| Beyond)
}

fn give_back(count: &AtomicU64, amount: u64) {
    let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(now.saturating_sub(amount)));
}

/// Begins an instance's own count. No reservation of the record's former instance counts here, and
/// none of them is released here.
pub fn begin_count(instance: &Instance, watches: u64) {
    instance.charged.store((instance.id.get() & LIFE) << LIFE_SHIFT | watches & COUNT, Ordering::Relaxed);
}

/// Reserves a watch of its instance, unless that would exceed `limit`. Ok: the new sum, and which
/// use of the record it belongs to.
pub fn charge_to(instance: &Instance, limit: Option<u64>) -> Result<(u64, u32), Beyond> {
    let limit = limit.unwrap_or(COUNT).min(COUNT - 1);
    instance
        .charged
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now & COUNT < limit).then_some(now + 1))
        .map(|before| ((before & COUNT) + 1, (before >> LIFE_SHIFT) as u32))
        .map_err(|_| Beyond)
}

pub fn give_back_to(instance: &Instance, life: u32) {
    let _ = instance.charged.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
        (now >> LIFE_SHIFT == u64::from(life) && now & COUNT != 0).then(|| now - 1)
    });
}

fn life_of(instance: &Instance) -> u32 {
    (instance.charged.load(Ordering::Relaxed) >> LIFE_SHIFT) as u32
}

/// Any thread may call these, without the lock.
impl<K: Kernel> Reservations<K> {
    pub const fn new() -> Self {
        Reservations {
            instances: AtomicU64::new(0),
            watches: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            tracks: AtomicU8::new(NOTHING),
            epoch: AtomicU32::new(0),
            prepaid: AtomicU64::new(0),
            closer: AtomicPtr::new(core::ptr::null_mut()),
            kernel: PhantomData,
        }
    }

    /// Whether a limit was ever set.
    #[inline(always)]
    pub fn tracks(&self) -> bool {
        self.tracks.load(Ordering::Relaxed) != NOTHING
    }

    pub fn tracks_user(&self) -> bool {
        self.tracks.load(Ordering::Relaxed) == USER_TOO
    }

    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// What is reserved now: instances, watches, bytes.
    pub fn charged(&self) -> (u64, u64, u64) {
        let [instances, watches, bytes] =
            [&self.instances, &self.watches, &self.bytes].map(|count| count.load(Ordering::Relaxed));
        (instances, watches, bytes)
    }

    pub fn charge_instance(&self, limit: Option<u64>) -> Result<u64, Beyond> {
        charge(&self.instances, 1, limit)
    }

    pub fn charge_watch(&self, limit: Option<u64>) -> Result<u64, Beyond> {
        charge(&self.watches, 1, limit)
    }

    pub fn charge_bytes(&self, amount: u64, limit: Option<u64>) -> Result<u64, Beyond> {
        charge(&self.bytes, amount, limit)
    }

    pub fn give_back_instance(&self) {
        give_back(&self.instances, 1);
    }

    pub fn give_back_watch(&self) {
        give_back(&self.watches, 1);
    }

    pub fn give_back_bytes(&self, amount: u64) {
        give_back(&self.bytes, amount);
    }

    /// Releases what was reserved ahead and is not needed. `of` is the instance that a watch was
    /// reserved for.
    pub fn give_back_prepaid(&self, prepaid: Prepaid, of: Option<&Instance>) {
        if prepaid.instance {
            give_back(&self.instances, 1);
            give_back(&self.bytes, kernel_memory::INSTANCE);
            if prepaid.user {
                K::release(Kind::Instances);
            }
        }
        if prepaid.watch {
            give_back(&self.watches, 1);
            give_back(&self.bytes, kernel_memory::INTEREST);
            if let Some(instance) = of {
                give_back_to(instance, prepaid.life);
            }
            if prepaid.user {
                K::release(Kind::Watches);
            }
        }
    }
}

/// The most instances whose own counts are released when the close is done. Those beyond are
/// released at once.
const LIST: usize = 32;

/// What a thread releases when the close that it is making is done.
#[repr(C)]
pub struct PendingRelease {
    instances: AtomicU64,
    watches: AtomicU64,
    user_instances: AtomicU64,
    user_watches: AtomicU64,
    length: AtomicU64,
    /// When it was noted (`Reservations::epoch`). In a child of a fork nothing of it is reserved.
    epoch: AtomicU32,
    /// Records of instances, each with its use at that time in the upper half.
    list: [AtomicU64; LIST],
}

impl PendingRelease {
    fn forget(&self) {
        for count in [&self.instances, &self.watches, &self.user_instances, &self.user_watches, &self.length] {
            count.store(0, Ordering::Relaxed);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.instances.load(Ordering::Relaxed) == 0 && self.watches.load(Ordering::Relaxed) == 0
    }

    /// How many instances and watches of the user's count are released with it.
    pub fn of_user(&self) -> (u64, u64) {
        (self.user_instances.load(Ordering::Relaxed), self.user_watches.load(Ordering::Relaxed))
    }

    fn note(&self, index: u32, instance: &Instance) {
        let at = self.length.load(Ordering::Relaxed);
        match self.list.get(at as usize) {
            Some(entry) => {
                entry.store(u64::from(index) | u64::from(life_of(instance)) << 32, Ordering::Relaxed);
                self.length.store(at + 1, Ordering::Relaxed);
            }
            None => give_back_to(instance, life_of(instance)),
        }
    }
}

/// Only the holder of the lock calls these.
impl<K: Kernel> Reservations<K> {
    /// Releases what a thread has closed; `find` returns the instance of a record.
    pub fn settle(&self, pending: &PendingRelease, find: impl Fn(u32) -> Option<&'static Instance>) {
        if pending.epoch.load(Ordering::Relaxed) != self.epoch.load(Ordering::Relaxed) {
            return pending.forget();
        }
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        let (instances, watches) = (take(&pending.instances), take(&pending.watches));
        give_back(&self.instances, instances);
        give_back(&self.watches, watches);
        give_back(&self.bytes, kernel_memory::estimate(instances, watches));
        for _ in 0..take(&pending.user_instances) {
            K::release(Kind::Instances);
        }
        for _ in 0..take(&pending.user_watches) {
            K::release(Kind::Watches);
        }
        let length = take(&pending.length) as usize;
        for entry in pending.list.iter().take(length) {
            let word = entry.load(Ordering::Relaxed);
            if let Some(instance) = find(word as u32) {
                give_back_to(instance, (word >> 32) as u32);
            }
        }
    }

    /// Applies a change with what was reserved ahead for it.
    #[cold]
    #[inline(never)]
    pub fn with<T>(
        &self,
        prepaid: u64,
        find: impl Fn(u32) -> Option<&'static Instance>,
        apply: impl FnOnce() -> T,
    ) -> T {
        self.prepaid.store(prepaid, Ordering::Relaxed);
        let result = apply();
        let left = Prepaid::from_word(self.prepaid.swap(0, Ordering::Relaxed));
        self.give_back_prepaid(left, find(left.of));
        result
    }

    /// Applies a close that the kernel has yet to make.
    pub fn on_behalf_of(&self, closer: &'static PendingRelease, apply: impl FnOnce()) {
        let epoch = self.epoch.load(Ordering::Relaxed);
        if closer.epoch.swap(epoch, Ordering::Relaxed) != epoch {
            closer.forget();
        }
        self.closer.store(core::ptr::from_ref(closer).cast_mut(), Ordering::Relaxed);
        apply();
        self.closer.store(core::ptr::null_mut(), Ordering::Relaxed);
    }

    fn closer(&self) -> Option<&'static PendingRelease> {
        // SAFETY: it is null, or what `on_behalf_of` was given, which lives for ever.
        unsafe { self.closer.load(Ordering::Relaxed).as_ref() }
    }

    /// Takes what was reserved ahead for this change, if it is what is wanted.
    fn take_prepaid(&self, wanted: impl Fn(Prepaid) -> bool) -> Option<Prepaid> {
        let prepaid = Prepaid::from_word(self.prepaid.load(Ordering::Relaxed));
        wanted(prepaid).then(|| {
            self.prepaid.store(0, Ordering::Relaxed);
            prepaid
        })
    }

    #[inline(always)]
    pub fn opened(&self, instance: &Instance) {
        if self.tracks() {
            self.charge_opened(instance);
        }
    }

    #[cold]
    #[inline(never)]
    fn charge_opened(&self, instance: &Instance) {
        begin_count(instance, 0);
        let paid = match self.take_prepaid(|prepaid| prepaid.instance) {
            Some(prepaid) => prepaid.user,
            None => {
                let _ = (self.charge_instance(None), self.charge_bytes(kernel_memory::INSTANCE, None));
                self.pay_if_own(instance, Kind::Instances)
            }
        };
        instance.paid.store(u8::from(paid), Ordering::Relaxed);
    }

    #[inline(always)]
    pub fn ended(&self, instance: &Instance) {
        if self.tracks() {
            self.give_back_ended(instance);
        }
    }

    #[cold]
    #[inline(never)]
    fn give_back_ended(&self, instance: &Instance) {
        let paid = instance.paid.swap(0, Ordering::Relaxed) != 0;
        match self.closer() {
            Some(pending) => {
                pending.instances.fetch_add(1, Ordering::Relaxed);
                pending.user_instances.fetch_add(u64::from(paid), Ordering::Relaxed);
            }
            None => self.give_back_prepaid(Prepaid { instance: true, user: paid, ..Prepaid::default() }, None),
        }
    }

    /// `find` returns the instance of a record.
    pub fn added(
        &self,
        index: u32,
        instance: &Instance,
        interest: &Interest,
        find: impl Fn(u32) -> Option<&'static Instance>,
    ) {
        if !self.tracks() {
            return;
        }
        let paid = match self.take_prepaid(|prepaid| prepaid.watch) {
            Some(prepaid) => {
                // It may have been reserved for another instance, if the number was reused since,
                // or for none.
                if prepaid.of != index || prepaid.life != life_of(instance) {
                    if let Some(other) = find(prepaid.of) {
                        give_back_to(other, prepaid.life);
                    }
                    let _ = charge_to(instance, None);
                }
                prepaid.user
            }
            None => {
                let interest = kernel_memory::INTEREST;
                let _ = (self.charge_watch(None), self.charge_bytes(interest, None), charge_to(instance, None));
                self.pay_if_own(instance, Kind::Watches)
            }
        };
        if paid {
            interest.raise(Interest::PAID);
        }
    }

    /// Called while the interest still has its flags.
    #[inline(always)]
    pub fn removed(&self, index: u32, instance: &Instance, interest: &Interest) {
        if !self.tracks() {
            return;
        }
        let paid = interest.has(Interest::PAID);
        match self.closer() {
            Some(pending) => {
                pending.watches.fetch_add(1, Ordering::Relaxed);
                pending.user_watches.fetch_add(u64::from(paid), Ordering::Relaxed);
                pending.note(index, instance);
            }
            None => {
                let life = life_of(instance);
                let prepaid = Prepaid { watch: true, user: paid, of: index, life, ..Prepaid::default() };
                self.give_back_prepaid(prepaid, Some(instance));
            }
        }
    }

    /// Begins to track with these counts, or restarts (in the child of a fork, after everything was
    /// forgotten).
    pub fn begin(&self, instances: u64, watches: u64) {
        self.instances.store(instances, Ordering::Relaxed);
        self.watches.store(watches, Ordering::Relaxed);
        self.bytes.store(kernel_memory::estimate(instances, watches), Ordering::Relaxed);
        self.prepaid.store(0, Ordering::Relaxed);
        self.closer.store(core::ptr::null_mut(), Ordering::Relaxed);
        // Release: a thread that sees that tracking has begun adds to these sums.
        self.tracks.fetch_max(PROCESS, Ordering::Release);
    }

    /// From now on the user's counts as well.
    pub fn track_user_too(&self) {
        self.tracks.store(USER_TOO, Ordering::Release);
    }

    /// Adds to the user's count what was created without a reservation, but not what this process
    /// received with an instance. True: done.
    fn pay_if_own(&self, instance: &Instance, kind: Kind) -> bool {
        let is_own = self.tracks_user() && instance.inherited.load(Ordering::Relaxed) == 0;
        if is_own {
            K::claim(kind);
        }
        is_own
    }

    /// In the child of a fork.
    pub fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }
}
