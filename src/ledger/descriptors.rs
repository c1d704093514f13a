//! What a descriptor number stands for: one word for each number, found by two loads.
//!
//! Read by hooks without a lock, written under the ledger's gate (all but the `duplicated` mark, which any
//! thread may set or clear by itself: it only ever makes the ledger more careful).

use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};

use crate::sys;

/// What the ledger knows of a descriptor number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slot(u64);

/// The number came from a dup, or was the source of one, before any epoll knew it: other descriptors may refer
/// to the same open file description.
const DUPLICATED: u64 = 1 << 63;

impl Slot {
    pub const UNKNOWN: Slot = Slot(0);

    pub fn new(description: u32, instance: u32) -> Slot {
        Slot(u64::from(description) | (u64::from(instance) & 0x7fff_ffff) << 32)
    }

    /// Index of the open file description; 0: unknown to every epoll.
    #[inline(always)]
    pub fn description(self) -> u32 {
        self.0 as u32
    }

    /// Index of the epoll instance that the description is; 0: it is none, or not known to be one.
    #[inline(always)]
    pub fn instance(self) -> u32 {
        ((self.0 & !DUPLICATED) >> 32) as u32
    }

    #[inline(always)]
    pub fn is_known(self) -> bool {
        self.description() != 0
    }

    pub fn is_duplicated(self) -> bool {
        self.0 & DUPLICATED != 0
    }
}

const LOW: usize = 1 << 16;
const CHUNK_SHIFT: u32 = 16;
/// The kernel's bound on descriptor numbers, fs.nr_open, is itself bounded by 2^30 (Linux v6.1 fs/file.c).
const HIGH: usize = 1 << (30 - CHUNK_SHIFT);

/// The words of all descriptor numbers: the first 65,536 in place, the others in chunks mapped when needed.
pub struct Descriptors {
    low: [AtomicU64; LOW],
    high: [AtomicPtr<AtomicU64>; HIGH],
    /// One more than the highest number whose word was ever other than zero. (All of this begins as zero, so
    /// that the table lies in .bss and costs the library's file nothing.)
    end: AtomicI32,
}

impl Descriptors {
    pub const fn new() -> Self {
        Descriptors {
            low: [const { AtomicU64::new(0) }; LOW],
            high: [const { AtomicPtr::new(core::ptr::null_mut()) }; HIGH],
            end: AtomicI32::new(0),
        }
    }

    #[inline(always)]
    pub fn get(&self, fd: i32) -> Slot {
        match self.low.get(fd as u32 as usize) {
            Some(word) => Slot(word.load(Ordering::Relaxed)),
            None => self.word(fd).map_or(Slot::UNKNOWN, |word| Slot(word.load(Ordering::Relaxed))),
        }
    }

    /// False: the kernel refused the memory for it, or the number is none that a descriptor can have.
    pub fn set(&self, fd: i32, slot: Slot) -> bool {
        let word = match self.word(fd) {
            Some(word) => word,
            None if slot == Slot::UNKNOWN => return true,
            None => match self.map(fd) {
                Some(word) => word,
                None => return false,
            },
        };
        word.store(slot.0, Ordering::Relaxed);
        if slot != Slot::UNKNOWN {
            self.reach(fd);
        }
        true
    }

    /// Marks an unknown number as one end of a dup.
    #[inline(always)]
    pub fn mark_duplicated(&self, fd: i32) {
        if !self.get(fd).is_duplicated() {
            self.set(fd, Slot(self.get(fd).0 | DUPLICATED));
        }
    }

    /// The highest number whose word was ever other than zero; -1: none was.
    pub fn highest(&self) -> i32 {
        self.end.load(Ordering::Relaxed) - 1
    }

    #[inline(always)]
    fn reach(&self, fd: i32) {
        if fd >= self.end.load(Ordering::Relaxed) {
            self.end.fetch_max(fd.saturating_add(1), Ordering::Relaxed);
        }
    }

    fn chunk(&self, fd: i32) -> Option<&AtomicPtr<AtomicU64>> {
        let number = usize::try_from(fd).ok()?;
        self.high.get(number >> CHUNK_SHIFT)
    }

    fn word(&self, fd: i32) -> Option<&AtomicU64> {
        let number = usize::try_from(fd).ok()?;
        if let Some(word) = self.low.get(number) {
            return Some(word);
        }
        // Acquire: the chunk was zeroed by the kernel before its pointer was stored.
        let chunk = self.chunk(fd)?.load(Ordering::Acquire);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: a chunk holds LOW words and is never unmapped.
        Some(unsafe { &*chunk.add(number % LOW) })
    }

    #[cold]
    fn map(&self, fd: i32) -> Option<&AtomicU64> {
        let chunk = self.chunk(fd)?;
        let bytes = LOW * size_of::<AtomicU64>();
        let start = sys::map(bytes).ok()?;
        if chunk.compare_exchange(core::ptr::null_mut(), start.cast(), Ordering::Release, Ordering::Relaxed).is_err() {
            // SAFETY: another thread was first; nobody has seen this one.
            unsafe { sys::unmap(start, bytes) };
        }
        self.word(fd)
    }
}
