//! Epoll instances, and what is counted of each.

use super::Watch;
use super::fields::{Counter, Long, Number, Word};
use crate::pool::Record;
use crate::sync::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// How the ledger came to know an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Origin {
    Create = 1,
    Create1 = 2,
    /// Created where the library could not see it, or received by exec or in a message.
    Unseen = 3,
}

impl Origin {
    pub fn from_byte(byte: u8) -> Origin {
        match byte {
            1 => Origin::Create,
            2 => Origin::Create1,
            _ => Origin::Unseen,
        }
    }
}

/// What is counted of an instance's waits, by one set of writers.
#[repr(C)]
pub struct WaitCounters {
    pub waits: Counter,
    pub events: Counter,
    pub empty: Counter,
    pub full: Counter,
    pub interrupted: Counter,
}

impl WaitCounters {
    pub fn clear(&self) {
        for counter in [&self.waits, &self.events, &self.empty, &self.full, &self.interrupted] {
            counter.clear();
        }
    }
}

/// Counts events of an instance that two threads received. It is kept from the second thread's
/// first wait on, which [`clear`](Doubles::clear)s it. Threads write without order. A reader
/// discards a mix of two writes, which is inconsistent.
pub struct Doubles {
    /// The block of the thread that received the last event, that event, and when it received it
    /// (CLOCK_MONOTONIC).
    pub by: AtomicUsize,
    pub data: AtomicU64,
    pub at: AtomicU64,
    /// Waits that returned events, and how many of them had a first event that another thread was
    /// still handling.
    pub waits: AtomicU64,
    pub doubled: AtomicU64,
    /// How many of these are needed before the next evaluation; 0: the lowest number that is
    /// reported.
    pub due: AtomicU64,
    /// The listening socket that is being examined: its descriptor and its data; 0: none.
    pub listener: AtomicI32,
    pub listener_data: AtomicU64,
    /// The value of `waits` when the examination began; how many of the socket's events went to two
    /// threads; and how many of these found more than one connection.
    pub waits_before: AtomicU64,
    pub looks: AtomicU64,
    pub rich: AtomicU64,
}

impl Doubles {
    /// Forgets everything.
    pub fn clear(&self) {
        self.by.store(0, Ordering::Relaxed);
        self.listener.store(0, Ordering::Relaxed);
        for word in [&self.waits, &self.doubled, &self.due] {
            word.store(0, Ordering::Relaxed);
        }
    }
}

/// The address of the block of the first thread that waited on an instance, and whether other
/// threads have waited since.
#[repr(transparent)]
pub struct Owner(AtomicUsize);

impl Owner {
    const HAS_COMPANY: usize = 1;

    /// 0: no thread has waited yet.
    pub fn block(&self) -> usize {
        self.0.load(Ordering::Relaxed) & !Self::HAS_COMPANY
    }
    /// Whether a block's thread is the only one that has waited.
    #[inline(always)]
    pub fn is_only(&self, block: usize) -> bool {
        self.0.load(Ordering::Relaxed) == block
    }
    /// True for the first thread, which is the owner from now on. Relaxed: the winner counts there
    /// alone, and nothing else is published.
    pub fn claim(&self, block: usize) -> bool {
        self.0.compare_exchange(0, block, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
    pub fn has_company(&self) -> bool {
        self.0.load(Ordering::Relaxed) & Self::HAS_COMPANY != 0
    }
    /// Notes that a second thread waits.
    pub fn join(&self) {
        let owner = self.block();
        let _ = self.0.compare_exchange(owner, owner | Self::HAS_COMPANY, Ordering::Relaxed, Ordering::Relaxed);
    }
    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// An epoll instance (the kernel's struct eventpoll).
#[repr(C, align(64))]
pub struct Instance {
    /// The thread that counts in `alone`. Every other thread counts in `shared`.
    pub owner: Owner,
    pub alone: WaitCounters,
    /// The return address of the owner's first wait.
    pub waiter: AtomicUsize,
    /// Its number in reports: 1 for the first instance of the process. 0: not in use.
    pub id: Long,
    // The next cache line begins here: what ADD and DEL touch.
    /// One of the numbers of this process that refer to it: the last one that was created or looked
    /// up. [`Instance::NO_NUMBER`]: none.
    number: Long,
    pub watches: Long,
    pub first: Word,
    /// The highest value of `watches` at the last [`Instance::reach`]. (It fits: interests have
    /// indices of 32 bits.)
    peak: Word,
    /// Its index in the pool.
    pub index: Word,
    pub description: Word,
    pub shared: WaitCounters,
    pub site: AtomicUsize,
    /// `size` of epoll_create, or `flags` of epoll_create1.
    pub argument: Number,
    pub origin: AtomicU8,
    /// Found in the kernel by the comparison in progress.
    pub seen: AtomicU8,
    /// It existed before this process was forked.
    pub inherited: AtomicU8,
    /// It counts against the user's limit in the session.
    pub paid: AtomicU8,
    /// The finding that it holds more interests than its size was reported.
    pub is_size_reported: AtomicU8,
    /// Watches, including those that are being added: what limits count (reservations.rs).
    pub charged: AtomicU64,
    link: AtomicU32,
    /// The process that created it; 0: not known.
    pub maker: Word,
    /// How often it had been waited on when [`Core::mark_waits`](crate::core::Core) last ran;
    /// [`Instance::UNMARKED`]: that has not run yet.
    pub waits_marked: Long,
    /// How often the parent process had waited on it before the fork.
    pub waits_before: Long,
    /// 0, or [`Instance::FROM_BEFORE`] or [`Instance::USED_SINCE`] if it existed before this
    /// process was forked.
    pub forked: AtomicU8,
    /// Events that two threads received. It is cleared when a second thread waits. Until then it
    /// holds values of the record's former instance.
    pub doubles: Doubles,
}

impl Instance {
    /// A value that is not a descriptor number, and that no program passes as one.
    const NO_NUMBER: u64 = u64::MAX;

    /// Whether a descriptor is this instance's first number. If so, the descriptor refers to this
    /// instance: code that changes what the number refers to updates the instance first
    /// ([`Core::refer`](crate::core::Core)).
    #[inline(always)]
    pub fn is_at(&self, fd: i32) -> bool {
        self.number.get() == u64::from(fd as u32)
    }

    /// The first number; None: there is none.
    pub fn number(&self) -> Option<i32> {
        i32::try_from(self.number.get()).ok()
    }

    /// Notes that `fd` refers to this instance.
    #[inline(always)]
    pub fn appear_at(&self, fd: i32) {
        self.number.set(u64::from(fd as u32));
    }

    /// Notes that no known descriptor refers to this instance.
    #[inline(always)]
    pub fn disappear(&self) {
        self.number.set(Self::NO_NUMBER);
    }

    pub const UNMARKED: u64 = u64::MAX;
    /// It existed before the fork, and this process has not used it.
    pub const FROM_BEFORE: u8 = 1;
    /// It existed before the fork, and this process has used it.
    pub const USED_SINCE: u8 = 2;
    /// Value of `inherited`: it existed when the program began.
    pub const FROM_EXEC: u8 = 2;

    /// Whether it existed before the fork, and this process uses it for the first time now. True
    /// once.
    pub fn is_first_use(&self) -> bool {
        let (from, to) = (Instance::FROM_BEFORE, Instance::USED_SINCE);
        self.forked.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The size that `epoll_create` was given.
    pub fn size(&self) -> u64 {
        u64::from(self.argument.get().unsigned_abs())
    }

    /// Whether it has held more interests at a time than `epoll_create` was given as its size. No
    /// branch between the two: see core/plain.rs.
    #[inline(always)]
    pub fn has_outgrown_its_size(&self) -> bool {
        (self.origin.load(Ordering::Relaxed) == Origin::Create as u8) & (self.peak() > self.size())
    }

    /// How often this process has waited on it.
    pub fn waits(&self) -> u64 {
        self.alone.waits.get().wrapping_add(self.shared.waits.get())
    }

    pub fn origin(&self) -> Origin {
        Origin::from_byte(self.origin.load(Ordering::Relaxed))
    }

    /// Updates the peak before an interest is removed, or when it is read. Under the lock only. No
    /// branch: it would be mispredicted.
    #[inline(always)]
    pub fn reach(&self) {
        self.peak.set(self.peak.get().max(self.watches.get() as u32));
    }

    /// The same. Any thread may call it.
    pub fn reach_beside(&self) {
        self.peak.raise(self.watches.get() as u32);
    }

    /// The peak restarts at the present count.
    pub fn begin_peak(&self) {
        self.peak.set(self.watches.get() as u32);
    }

    /// Whether an interest may be removed without updating the peak first.
    #[inline(always)]
    pub fn has_reached(&self) -> bool {
        self.watches.get() <= u64::from(self.peak.get())
    }

    /// The most interests that it held at a time, as of the last update.
    #[inline(always)]
    pub fn peak(&self) -> u64 {
        u64::from(self.peak.get())
    }
}

/// An instance that no number refers to.
pub(super) static NONE: Instance = Instance {
    number: Long::of(Instance::NO_NUMBER),
    // SAFETY: an `Instance` consists of atomics only, for which zero is valid.
    ..unsafe { core::mem::zeroed() }
};

/// The bound on an instance's memory (docs/performance.md, "Bounds"), with a watch of its own and
/// its descriptor's word: 512 bytes.
const _: () = assert!(size_of::<Instance>() + size_of::<Watch>() + size_of::<u64>() <= 512);
const _: () = assert!(core::mem::offset_of!(Instance, number).is_multiple_of(64));

// SAFETY: an `Instance` consists of atomics only, for which zero is valid.
unsafe impl Record for Instance {
    fn link(&self) -> &AtomicU32 {
        &self.link
    }
}
