//! What limits count: what exists, what is being created, and what is being closed.
//!
//! The ledger's own totals are not enough for a limit: a change may still wait in the queue, and a
//! close is noted before the kernel has made it. So a hook reserves what is limited before the real
//! call that creates it, and the reservation is released after the real call that ends it. A
//! reservation that was made before the call goes to the ledger with the change, and belongs to the
//! record from then on. What the record does not need is released at once. The sum is never less
//! than what the kernel holds.
//!
//! Reservations are kept from the moment when the first limit is set (`tracks`). Any thread
//! reserves, without the lock. Only the holder of the lock does the rest (held.rs).

mod held;

use core::marker::PhantomData;

use epollshim_format::kernel_memory;

use crate::Kernel;
use crate::records::Instance;
use crate::sync::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

pub use held::PendingRelease;

/// What the processes of one user count together.
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
    /// Differs in the child of a fork: nothing that a call reserved before the fork is reserved
    /// there.
    epoch: AtomicU32,
    /// What the call reserved for the change that is being applied (`Prepaid::to_word`). Only the
    /// holder of the lock uses it.
    prepaid: AtomicU64,
    /// What the closing thread releases later, if the change that is being applied is a close that
    /// the kernel has yet to make. Only the holder of the lock uses it.
    closer: AtomicPtr<PendingRelease>,
    kernel: PhantomData<fn() -> K>,
}

// Values of `tracks`.
const NOTHING: u8 = 0;
const PROCESS: u8 = 1;
const USER_TOO: u8 = 2;

/// What a call has reserved before it was made. The thread's block keeps it in one word; 0:
/// nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Prepaid {
    pub instance: bool,
    pub watch: bool,
    /// It is also in the session's count of the user.
    pub user: bool,
    /// For a watch: the record of the instance against whose own count it was reserved, and which
    /// use of that record it was (the low bits of the instance's id). 0: no instance.
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

/// Begins an instance's own count. Reservations of the record's former instance do not count in it,
/// and are not released from it.
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

    /// Whether a limit was ever set in this process.
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

    /// Releases what a call reserved and does not need. `of` is the instance that a watch was
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
