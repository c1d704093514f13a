//! The ledger's three kinds of records. Every field is an atomic, or half of one (see pool.rs). The
//! lock orders the writers, so Relaxed suffices everywhere: readers without the lock need single
//! fields, not consistent sets.

use crate::sync::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::pool::Record;

/// A 32-bit field.
#[repr(transparent)]
pub struct Word(AtomicU32);

impl Word {
    pub const fn new() -> Self {
        Word(AtomicU32::new(0))
    }
    #[inline(always)]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
    #[inline(always)]
    pub fn set(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }
    /// Raises it to at least `value`. Any thread may call it.
    pub fn raise(&self, value: u32) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

/// A 64-bit field.
#[repr(transparent)]
pub struct Long(AtomicU64);

impl Long {
    pub const fn new() -> Self {
        Long(AtomicU64::new(0))
    }
    const fn of(value: u64) -> Self {
        Long(AtomicU64::new(value))
    }
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
    /// Raises it to at least `value`. Under the lock only. No branch: it would be mispredicted.
    #[inline(always)]
    pub fn reach(&self, value: u64) {
        self.set(self.get().max(value));
    }
    /// The same. Any thread may call it.
    pub fn raise(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
    /// Under the lock only: a plain read and write.
    #[inline(always)]
    pub fn add(&self, amount: u64) {
        self.set(self.get().wrapping_add(amount));
    }
    #[inline(always)]
    pub fn subtract(&self, amount: u64) {
        self.set(self.get().saturating_sub(amount));
    }
    /// The same for a count that is not zero: one instruction.
    #[inline(always)]
    pub fn take_one(&self) {
        self.set(self.get().wrapping_sub(1));
    }
}

/// Two 32-bit fields that the fast paths read, compare and write at once.
#[repr(transparent)]
pub struct Pair(AtomicU64);

impl Pair {
    #[inline(always)]
    fn word(low: u32, high: u32) -> u64 {
        u64::from(low) | u64::from(high) << 32
    }
    #[inline(always)]
    pub fn low(&self) -> u32 {
        self.0.load(Ordering::Relaxed) as u32
    }
    #[inline(always)]
    pub fn high(&self) -> u32 {
        (self.0.load(Ordering::Relaxed) >> 32) as u32
    }
    #[inline(always)]
    pub fn are(&self, low: u32, high: u32) -> bool {
        self.0.load(Ordering::Relaxed) == Self::word(low, high)
    }
    #[inline(always)]
    pub fn set(&self, low: u32, high: u32) {
        self.0.store(Self::word(low, high), Ordering::Relaxed);
    }
    /// The lower field is in the lower half.
    #[inline(always)]
    pub fn set_both(&self, word: u64) {
        self.0.store(word, Ordering::Relaxed);
    }
    #[inline(always)]
    pub fn set_low(&self, low: u32) {
        self.set(low, self.high());
    }
    #[inline(always)]
    pub fn set_high(&self, high: u32) {
        self.set(self.low(), high);
    }
}

/// Names for the halves of a record's pairs. The setter's name is left out where both are only set
/// together.
macro_rules! halves {
    ($($(#[$attribute:meta])* $get:ident $(, $set:ident)?: $type:ty = $pair:ident.$read:ident $(, $write:ident)?;)*) => {$(
        $(#[$attribute])*
        #[inline(always)]
        pub fn $get(&self) -> $type {
            self.$pair.$read() as $type
        }
        $(
            #[inline(always)]
            pub fn $set(&self, value: $type) {
                self.$pair.$write(value as u32);
            }
        )?
    )*};
}

/// An open file description that the ledger follows: usually an epoll instance, or a file that one
/// watches.
#[repr(C)]
pub struct Description {
    /// `descriptors` and `interests`.
    pub uses: Pair,
    /// `instance` and `epoch`.
    pub being: Pair,
}

impl Description {
    halves! {
        /// Descriptors of this process that refer to it. 0: all are closed, and it is kept for
        /// interests that may outlive them.
        descriptors, set_descriptors: u32 = uses.low, set_low;
        /// The first of the interests in it; 0: none.
        interests, set_interests: u32 = uses.high, set_high;
        /// The epoll instance that it is; 0: none.
        instance, set_instance: u32 = being.low, set_low;
        /// When it was noted: in this process, or before the fork; bit 0: it may have descriptors
        /// that are not counted here. 0: not in use.
        epoch, set_epoch: u32 = being.high, set_high;
    }
}

/// One file in the interest list of one instance (the kernel's struct epitem).
#[repr(C)]
pub struct Interest {
    /// `instance` and `fd`.
    pub key: Pair,
    /// `description` and `sibling`.
    pub file: Pair,
    pub next: Word,
    pub previous: Word,
    /// Differs with every use of this record; 0: never used.
    pub serial: Word,
    /// While the record is free: the next free one (pool.rs). While this half is in use: the
    /// interest before it in its description's list, unless it is the first there. So the first
    /// interest in a description needs no store. Most interests are the only one.
    link: AtomicU32,
    /// The return address of the ADD in the upper 48 bits; the flags below it.
    site: AtomicU64,
}

impl Interest {
    halves! {
        instance: u32 = key.low;
        /// The descriptor number it was added under. The kernel's key is this number and the open
        /// file description.
        fd: i32 = key.high;
        description: u32 = file.low;
        /// The next interest in the same description.
        sibling, set_sibling: u32 = file.high, set_high;
    }

    /// The interest before it in its description's list. For the first one the number is
    /// meaningless.
    #[inline(always)]
    pub fn previous_sibling(&self) -> u32 {
        self.link.load(Ordering::Relaxed)
    }
    #[inline(always)]
    pub fn set_previous_sibling(&self, index: u32) {
        self.link.store(index, Ordering::Relaxed);
    }
    #[inline(always)]
    pub fn is_live(&self) -> bool {
        self.has(Self::LIVE)
    }
}

/// An interest and a description, each of which may be in use without the other. In the plain case
/// both are: a watched file and its only interest lie together.
#[repr(C)]
pub struct Watch {
    pub interest: Interest,
    pub description: Description,
}

impl Watch {
    /// Whether neither half is in use.
    #[inline(always)]
    pub fn is_free(&self) -> bool {
        !self.interest.has(Interest::LIVE) && self.description.epoch() == 0
    }

    /// For an interest in the description of another record, whose own description half is not in
    /// use: the next record in its bucket (core/pairs.rs).
    pub fn next_pair(&self) -> u32 {
        self.description.uses.low()
    }
    /// Readers without the lock find no interests in the description half.
    pub fn set_next_pair(&self, index: u32) {
        self.description.uses.set(index, 0);
    }
}

/// A descriptor number in a word.
#[repr(transparent)]
pub struct Number(Word);

impl Number {
    pub const fn new() -> Self {
        Number(Word::new())
    }
    #[inline(always)]
    pub fn get(&self) -> i32 {
        self.0.get() as i32
    }
    #[inline(always)]
    pub fn set(&self, value: i32) {
        self.0.set(value as u32);
    }
}

impl Interest {
    /// Its last known descriptor is closed, but something else may keep the description open. The
    /// kernel knows.
    pub const DOUBTFUL: u64 = 1 << 1;
    /// Found in the kernel by the comparison that is under way.
    pub const SEEN: u64 = 1 << 2;
    /// In use.
    pub const LIVE: u64 = 1;
    /// It counts against the user's limit (of the session).
    pub const PAID: u64 = 1 << 3;

    #[inline(always)]
    pub fn has(&self, flag: u64) -> bool {
        self.site.load(Ordering::Relaxed) & flag != 0
    }
    /// The return address of the ADD.
    pub fn site(&self) -> u64 {
        self.site.load(Ordering::Relaxed) >> 16
    }
    #[inline(always)]
    pub fn set_site(&self, site: usize, flags: u64) {
        self.site.store((site as u64) << 16 | flags, Ordering::Relaxed);
    }
    #[inline(always)]
    pub fn raise(&self, flag: u64) {
        self.site.store(self.site.load(Ordering::Relaxed) | flag, Ordering::Relaxed);
    }
    #[inline(always)]
    pub fn lower(&self, flag: u64) {
        self.site.store(self.site.load(Ordering::Relaxed) & !flag, Ordering::Relaxed);
    }
}

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

/// A count that one thread writes by a plain addition, or several by a locked one. The owner of the
/// count decides which. Readers see some value that it had, and need no ordering with other memory.
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
    /// Any thread may call it.
    pub fn add_shared(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }
    /// Only for the one thread that writes it.
    #[inline(always)]
    pub const fn as_ptr(&self) -> *mut u64 {
        self.0.as_ptr()
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

/// Events of an instance that two threads were given. It is kept from the second thread's first
/// wait, which [`clear`](Doubles::clear)s it. Threads write without order. A mix of two writes is
/// inconsistent, and is discarded.
pub struct Doubles {
    /// The block of the thread that was last given an event, the event, and when (CLOCK_MONOTONIC).
    pub by: AtomicUsize,
    pub data: AtomicU64,
    pub at: AtomicU64,
    /// Waits that returned events, and how many of them had a first event that another thread was
    /// still handling.
    pub waits: AtomicU64,
    pub doubled: AtomicU64,
    /// How many of these are needed before the next evaluation; 0: the least that is reported.
    pub due: AtomicU64,
    /// The listening socket that is examined: its descriptor and its data; 0: none.
    pub listener: AtomicI32,
    pub listener_data: AtomicU64,
    /// `waits` when that began; of its events those with two threads, and how many found more than
    /// one connection.
    pub waits_before: AtomicU64,
    pub looks: AtomicU64,
    pub rich: AtomicU64,
}

impl Doubles {
    /// Nothing is known yet.
    pub fn clear(&self) {
        self.by.store(0, Ordering::Relaxed);
        self.listener.store(0, Ordering::Relaxed);
        for word in [&self.waits, &self.doubled, &self.due] {
            word.store(0, Ordering::Relaxed);
        }
    }
}

/// The block of the first thread that waited on an instance, by its address; and whether other
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
    /// A second thread waits.
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
    /// The return address of the first wait of the owner.
    pub waiter: AtomicUsize,
    /// A number for reports: 1 for the first instance of the process. 0: not in use.
    pub id: Long,
    // The next cache line begins here: what ADD and DEL touch.
    /// One of the numbers that refer to it, if there is one in this process: the last that was
    /// created or looked up.
    number: Long,
    pub watches: Long,
    pub first: Word,
    /// The most `watches` there were at a time, as far as it was taken: see [`Instance::reach`].
    /// (Interests have indices of 32 bits: there are no more of them.)
    peak: Word,
    /// Its own index.
    pub index: Word,
    pub description: Word,
    pub shared: WaitCounters,
    pub site: AtomicUsize,
    /// `size` of epoll_create, or `flags` of epoll_create1.
    pub argument: Number,
    pub origin: AtomicU8,
    /// Found by the reconciliation that is under way.
    pub seen: AtomicU8,
    /// It existed before this process was forked.
    pub inherited: AtomicU8,
    /// It counts against the user's limit (of the session).
    pub paid: AtomicU8,
    /// It was reported that it holds more than its size promised.
    pub is_size_reported: AtomicU8,
    /// Watches, including those that are being added: what limits count (reservations.rs).
    pub charged: AtomicU64,
    link: AtomicU32,
    /// The process that created it; 0: not known.
    pub maker: Word,
    /// How often it had been waited on when [`Core::mark_waits`](crate::core::Core) last ran;
    /// [`Instance::UNMARKED`]: not yet.
    pub waits_marked: Long,
    /// How often the parent process had waited on it before the fork.
    pub waits_before: Long,
    /// Whether it was there before this process was forked: [`Instance::FROM_BEFORE`],
    /// [`Instance::USED_SINCE`].
    pub forked: AtomicU8,
    /// Events that two threads were given. It is cleared when a second thread waits. Until then it
    /// holds what another instance left.
    pub doubles: Doubles,
}

/// The instance that a thread used last, by ADD, DEL or a wait. A thread that continues with the
/// same instance finds it by two loads. The table of descriptors needs four, each of which depends
/// on the one before (docs/performance.md, "Where code and data lie").
///
/// It is kept as the distance from [`NONE`], so that zero is valid: a fork may wipe the thread's
/// block in the middle of a hook, and the hook continues in the child.
#[repr(transparent)]
pub struct LastUsed(AtomicUsize);

/// An instance that no number refers to.
static NONE: Instance = Instance {
    number: Long::of(Instance::NO_NUMBER),
    // SAFETY: an instance is made of atomics, for which zero is a valid value.
    ..unsafe { core::mem::zeroed() }
};

impl LastUsed {
    pub const fn new() -> Self {
        LastUsed(AtomicUsize::new(0))
    }

    /// The thread uses this instance from now on.
    pub fn meet(&self, instance: &'static Instance, epfd: i32) {
        if instance.is_at(epfd) {
            self.set(instance);
        }
    }

    /// The instance of a descriptor, if it is the one that was used last.
    #[inline(always)]
    pub fn instance_of(&self, epfd: i32) -> Option<&'static Instance> {
        let none = &raw const NONE;
        let instance = none.wrapping_byte_add(self.0.load(Ordering::Relaxed));
        // SAFETY: zero is NONE itself. Otherwise `set` stored the distance of an instance, which is
        // never unmapped. Both hold also for a block that a fork wiped. (No instance lies at
        // address 0, so the compiler need not test for it.)
        let instance = unsafe {
            core::hint::assert_unchecked(!instance.is_null());
            &*instance
        };
        if instance.is_at(epfd) { Some(instance) } else { None }
    }

    pub fn set(&self, instance: &'static Instance) {
        let distance = (&raw const *instance as usize).wrapping_sub(&raw const NONE as usize);
        self.0.store(distance, Ordering::Relaxed);
    }
}

impl Instance {
    /// A value that is no descriptor number, and that no program passes as one.
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

    /// A descriptor refers to this instance.
    #[inline(always)]
    pub fn appear_at(&self, fd: i32) {
        self.number.set(u64::from(fd as u32));
    }

    /// No descriptor does, or none that is known here.
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

/// The bounds on the ledger's memory (docs/performance.md, "Bounds"): 64 B a watch, its
/// descriptor's word included, and 512 B an instance.
const _: () = assert!(size_of::<Watch>() + size_of::<u64>() <= 64);
const _: () = assert!(size_of::<Instance>() + size_of::<Watch>() + size_of::<u64>() <= 512);
const _: () = assert!(core::mem::offset_of!(Instance, number).is_multiple_of(64));

// SAFETY: it is made of atomics only, for which zero is valid.
unsafe impl Record for Watch {
    fn link(&self) -> &AtomicU32 {
        &self.interest.link
    }
}
// SAFETY: it is made of atomics only, for which zero is valid.
unsafe impl Record for Instance {
    fn link(&self) -> &AtomicU32 {
        &self.link
    }
}
