//! The state of each descriptor number: one word, found by two loads.
//!
//! ```text
//! unknown   0                                no epoll knows it, and no dup of it was seen
//! alias     1 << 63 | next << 32 | leader    no epoll knows it, but a dup was seen (a ring)
//! known     instance << 32 | description     watched, or an epoll, or an alias of such a number
//! ```
//!
//! Hooks read the words without a lock. The words of known numbers are written under the ledger's
//! lock. The rings of aliases are written without it: a dup of a number that no epoll knows costs
//! two loads, and its first dup an exchange (see `join`). A close of such a number does nothing. So
//! a ring is a hint: it keeps numbers that were closed since, and those that a vfork child closed
//! in its own table. Code whose result depends on a ring asks the kernel about each number
//! (core/descriptions.rs, `recognise_aliases`).
//!
//! Words are stored by Release and loaded by Acquire: a thread that reads an index sees the memory
//! of its record (pool.rs), with or without the lock.

mod rings;

use crate::sync::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use crate::Memory;
use crate::lock::fetch;
use crate::numbers::Numbers;

/// What the ledger knows of a descriptor number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FdState(u64);

/// The bit of a word that marks an alias.
const ALIAS: u64 = 1 << 63;

impl FdState {
    pub const UNKNOWN: FdState = FdState(0);

    #[inline(always)]
    pub fn known(description: u32, instance: u32) -> FdState {
        FdState(u64::from(description) | (u64::from(instance) & 0x7fff_ffff) << 32)
    }

    /// A member of a ring: `leader` is the same for all members.
    #[inline(always)]
    fn alias(next: i32, leader: u32) -> FdState {
        FdState(ALIAS | (next as u64 & 0x7fff_ffff) << 32 | u64::from(leader))
    }

    /// Index of the open file description; 0: unknown to every epoll.
    #[inline(always)]
    pub fn description(self) -> u32 {
        if self.0 & ALIAS == 0 { self.0 as u32 } else { 0 }
    }

    /// The same if the description is no instance. None: it is one, or the number is unknown, or an
    /// alias.
    #[inline(always)]
    pub fn description_if_file(self) -> Option<u32> {
        u32::try_from(self.0).ok()
    }

    /// Index of the epoll instance that the description is; 0: none is known.
    #[inline(always)]
    pub fn instance(self) -> u32 {
        if self.0 & ALIAS == 0 { (self.0 >> 32) as u32 } else { 0 }
    }

    #[inline(always)]
    pub fn is_known(self) -> bool {
        // A known word is not zero, and its uppermost bit is zero. So one comparison suffices;
        // every close makes it.
        self.0 as i64 > 0
    }

    /// A value that the numbers of one ring share, and that differs between rings.
    #[inline(always)]
    fn leader(self) -> u32 {
        self.0 as u32
    }

    /// Whether both are in one ring.
    #[inline(always)]
    fn is_in_ring_of(self, other: FdState) -> bool {
        self.0 & other.0 & ALIAS != 0 && self.leader() == other.leader()
    }

    /// The next number of a ring of aliases.
    #[inline(always)]
    pub fn next_alias(self) -> Option<i32> {
        (self.0 & ALIAS != 0).then_some((self.0 >> 32) as i32 & 0x7fff_ffff)
    }
}

/// The word of one number.
#[derive(Clone, Copy)]
pub struct Place<'table>(&'table AtomicU64);

impl Place<'_> {
    #[inline(always)]
    pub fn get(self) -> FdState {
        FdState(self.0.load(Ordering::Acquire))
    }

    /// A caller that writes a word other than [`FdState::UNKNOWN`] must also call `reach`.
    #[inline(always)]
    pub fn set(self, slot: FdState) {
        self.0.store(slot.0, Ordering::Release);
    }
}

/// The longest ring about all of whose numbers the kernel is asked.
pub const RING: usize = 64;
/// The longest ring that is relabelled when two become one, which happens once for each pair.
const RELABELLED: usize = 1 << 16;

/// How many words are part of the library's memory. A program that locks its memory locks them as
/// well.
const IN_PLACE: usize = 1 << 14;
/// Numbers below this one lie in place.
pub(crate) const LOW: i32 = IN_PLACE as i32;

/// The words of all descriptor numbers: the first 16,384 in place, the others in chunks that are
/// mapped when needed.
///
/// The order of the fields matters. How far the words reach, which every call reads, comes last. It
/// shares a cache line with what follows this table in the core (core.rs asserts it).
#[repr(C)]
pub struct Descriptors<M> {
    low: [AtomicU64; IN_PLACE],
    high: Numbers<AtomicU64, M>,
    /// One more than the highest number whose word was ever other than zero. (The whole table
    /// begins as zero, so that it lies in .bss and takes no space in the library's file.)
    end: AtomicI32,
    /// The same for the numbers in place.
    low_end: AtomicU32,
    /// How many rings of aliases were begun. It is the leader of the last one.
    rings: AtomicU32,
    _to_the_next_word: u32,
}

impl<M: Memory> Descriptors<M> {
    pub const fn new() -> Self {
        Descriptors {
            end: AtomicI32::new(0),
            low_end: AtomicU32::new(0),
            rings: AtomicU32::new(0),
            _to_the_next_word: 0,
            low: [const { AtomicU64::new(0) }; IN_PLACE],
            high: Numbers::new(),
        }
    }

    #[inline(always)]
    pub fn get(&self, fd: i32) -> FdState {
        match self.low.get(fd as u32 as usize) {
            Some(word) => FdState(word.load(Ordering::Acquire)),
            // Not a descriptor: close(-1) is not rare.
            None if fd < 0 => FdState::UNKNOWN,
            None => self.get_high(fd),
        }
    }

    #[cold]
    #[inline(never)]
    fn get_high(&self, fd: i32) -> FdState {
        self.word(fd).map_or(FdState::UNKNOWN, |word| FdState(word.load(Ordering::Acquire)))
    }

    /// The word of a low number, for repeated access; None: the number is high.
    #[inline(always)]
    pub fn low(&self, fd: i32) -> Option<Place<'_>> {
        self.low.get(fd as u32 as usize).map(Place)
    }

    /// Prefetches the word of a number for a caller that will read it under the lock. Any number is
    /// allowed (docs/performance.md, "Where code and data lie").
    #[inline(always)]
    pub fn approach(&self, fd: i32) {
        fetch(self.low.as_ptr().wrapping_add(fd as u32 as usize));
    }

    /// The same for a number whose word, or the word of a higher number, was ever other than
    /// [`FdState::UNKNOWN`]. It needs no `reach`.
    #[inline(always)]
    pub fn low_reached(&self, fd: i32) -> Option<Place<'_>> {
        if fd as u32 >= self.low_end.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: `low_end` is at most IN_PLACE (`reach_further` keeps it so). (For `get_unchecked`
        // the compiler would mask the number twice.)
        Some(Place(unsafe { &*self.low.as_ptr().add(fd as u32 as usize) }))
    }

    /// Writes the word of a number. False: there is no memory for it ([`Descriptors::prepare`]), or
    /// no descriptor can have the number.
    #[inline(always)]
    pub fn set(&self, fd: i32, slot: FdState) -> bool {
        let Some(word) = self.word(fd) else { return slot == FdState::UNKNOWN };
        word.store(slot.0, Ordering::Release);
        if slot != FdState::UNKNOWN {
            self.reach(fd);
        }
        true
    }

    /// The highest number whose word was ever other than zero; -1: none was.
    pub fn highest(&self) -> i32 {
        self.end.load(Ordering::Relaxed) - 1
    }

    /// Notes that `fd` has a word other than zero.
    #[inline(always)]
    pub fn reach(&self, fd: i32) {
        if fd >= self.end.load(Ordering::Relaxed) {
            self.reach_further(fd);
        }
    }

    #[cold]
    #[inline(never)]
    fn reach_further(&self, fd: i32) {
        let end = fd.saturating_add(1);
        self.low_end.fetch_max((end.max(0) as u32).min(IN_PLACE as u32), Ordering::Relaxed);
        self.end.fetch_max(end, Ordering::Relaxed);
    }

    fn word(&self, fd: i32) -> Option<&AtomicU64> {
        let number = usize::try_from(fd).ok()?;
        if let Some(word) = self.low.get(number) {
            return Some(word);
        }
        self.high.get(fd)
    }

    /// Whether a number may have no memory yet.
    #[inline(always)]
    pub fn may_be_missing(&self, fd: i32) -> bool {
        fd >= IN_PLACE as i32
    }

    /// The same for either of two numbers, neither of which is negative.
    #[inline(always)]
    pub fn may_miss_either(&self, one: i32, other: i32) -> bool {
        // IN_PLACE is a power of two: one comparison is enough.
        self.may_be_missing(one | other)
    }

    /// Gets memory for a number. Not under the lock. False: there is no memory, or no descriptor
    /// can have the number.
    #[cold]
    #[inline(never)]
    pub fn prepare(&self, fd: i32) -> bool {
        fd < IN_PLACE as i32 || self.high.get_or_make(fd).is_some()
    }
}
