//! What the holder of the lock does with reservations: hands them to records, and releases them.

use core::ptr;

use epollshim_format::kernel_memory;

use super::{Kind, PROCESS, Prepaid, Reservations, USER_TOO, begin_count, charge_to, give_back, give_back_to, life_of};
use crate::Kernel;
use crate::records::{Instance, Interest};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The most instances whose own counts are released when the close is done. The counts of further
/// ones are released at once.
const LIST: usize = 32;

/// What a thread releases when the close that it is making is done.
#[repr(C)]
pub struct PendingRelease {
    instances: AtomicU64,
    watches: AtomicU64,
    user_instances: AtomicU64,
    user_watches: AtomicU64,
    length: AtomicU64,
    /// The epoch in which it was noted (`Reservations::epoch`). In the child of a fork none of it
    /// is reserved.
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

    /// How many instances and watches it releases from the user's count.
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

    /// Applies a change for which a call has reserved `prepaid`.
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
        self.closer.store(ptr::from_ref(closer).cast_mut(), Ordering::Relaxed);
        apply();
        self.closer.store(ptr::null_mut(), Ordering::Relaxed);
    }

    fn closer(&self) -> Option<&'static PendingRelease> {
        // SAFETY: the pointer is null, or `on_behalf_of` stored a `&'static` reference in it.
        unsafe { self.closer.load(Ordering::Relaxed).as_ref() }
    }

    /// Takes what was reserved for this change, if it is what is wanted.
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
                // or for no instance.
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

    /// Begins the counts with these values. In the child of a fork they restart, after everything
    /// was forgotten.
    pub fn begin(&self, instances: u64, watches: u64) {
        self.instances.store(instances, Ordering::Relaxed);
        self.watches.store(watches, Ordering::Relaxed);
        self.bytes.store(kernel_memory::estimate(instances, watches), Ordering::Relaxed);
        self.prepaid.store(0, Ordering::Relaxed);
        self.closer.store(ptr::null_mut(), Ordering::Relaxed);
        // Release: a thread that sees that tracking has begun adds to these sums.
        self.tracks.fetch_max(PROCESS, Ordering::Release);
    }

    /// From now on the user's counts are kept as well.
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

    /// Called in the child of a fork.
    pub fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }
}
