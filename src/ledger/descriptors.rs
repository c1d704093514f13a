//! What a descriptor number stands for: one word for each number, found by two loads.
//!
//! ```text
//! unknown   0                                 no epoll knows it, no dup was seen
//! twin      1 << 63 | next << 32 | leader     no epoll knows it, but a dup was seen: one of a ring of numbers
//! known     instance << 32 | description      watched, or an epoll, or sharing a description with such
//! ```
//!
//! Read by hooks without a lock; known numbers are written under the ledger's gate. The rings of twins are not: a
//! dup of what no epoll knows costs two loads and two stores, a close of it nothing. So a ring is a hint: it keeps
//! numbers that were closed since, and those that a vfork child gave away in its own table. Whose watching depends
//! on it asks the kernel about each (core.rs, `recognise_twins`).

use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use crate::sys;

/// What the ledger knows of a descriptor number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slot(u64);

const TWIN: u64 = 1 << 63;

impl Slot {
    pub const UNKNOWN: Slot = Slot(0);

    #[inline(always)]
    pub fn known(description: u32, instance: u32) -> Slot {
        Slot(u64::from(description) | (u64::from(instance) & 0x7fff_ffff) << 32)
    }

    /// One of a ring: `leader` is the same in all of it.
    #[inline(always)]
    fn twin(next: i32, leader: u32) -> Slot {
        Slot(TWIN | (next as u64 & 0x7fff_ffff) << 32 | u64::from(leader))
    }

    /// Index of the open file description; 0: unknown to every epoll.
    #[inline(always)]
    pub fn description(self) -> u32 {
        if self.0 & TWIN == 0 { self.0 as u32 } else { 0 }
    }

    /// Index of the epoll instance that the description is; 0: it is none, or not known to be one.
    #[inline(always)]
    pub fn instance(self) -> u32 {
        if self.0 & TWIN == 0 { (self.0 >> 32) as u32 } else { 0 }
    }

    #[inline(always)]
    pub fn is_known(self) -> bool {
        self.description() != 0
    }

    /// What the numbers of one ring have in common, and those of two do not.
    #[inline(always)]
    fn leader(self) -> u32 {
        self.0 as u32
    }

    /// The next number of a ring of twins.
    #[inline(always)]
    pub fn next_twin(self) -> Option<i32> {
        (self.0 & TWIN != 0).then_some((self.0 >> 32) as i32 & 0x7fff_ffff)
    }
}

/// The word of one number.
#[derive(Clone, Copy)]
pub struct Place<'table>(&'table AtomicU64);

impl Place<'_> {
    #[inline(always)]
    pub fn get(self) -> Slot {
        Slot(self.0.load(Ordering::Relaxed))
    }

    /// Who writes another word than [`Slot::UNKNOWN`] tells the table by `reach`.
    #[inline(always)]
    pub fn set(self, slot: Slot) {
        self.0.store(slot.0, Ordering::Relaxed);
    }
}

/// The longest ring of which all are asked about.
pub const RING: usize = 64;
/// The longest ring that is relabelled when two become one, which happens once for each pair.
const RELABELLED: usize = 1 << 16;

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
    /// How many rings of twins were begun: the number of the last one's leader.
    rings: AtomicU32,
}

impl Descriptors {
    pub const fn new() -> Self {
        Descriptors {
            low: [const { AtomicU64::new(0) }; LOW],
            high: [const { AtomicPtr::new(core::ptr::null_mut()) }; HIGH],
            end: AtomicI32::new(0),
            rings: AtomicU32::new(0),
        }
    }

    #[inline(always)]
    pub fn get(&self, fd: i32) -> Slot {
        match self.low.get(fd as u32 as usize) {
            Some(word) => Slot(word.load(Ordering::Relaxed)),
            None => self.word(fd).map_or(Slot::UNKNOWN, |word| Slot(word.load(Ordering::Relaxed))),
        }
    }

    /// The word of a low number, to be read and written without another look; None: a high one.
    #[inline(always)]
    pub fn low(&self, fd: i32) -> Option<Place<'_>> {
        self.low.get(fd as u32 as usize).map(Place)
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

    /// Notes that `new` is a dup of `old`, neither of which any epoll knows. Rings only ever grow together here.
    #[inline(always)]
    pub fn join(&self, old: i32, new: i32) {
        let (of_old, of_new) = (self.get(old), self.get(new));
        match (of_old.next_twin(), of_new.next_twin()) {
            (None, None) => {
                // Not a locked addition: two threads that draw one number at once only make a ring too many look known.
                let leader = self.rings.load(Ordering::Relaxed).wrapping_add(1);
                self.rings.store(leader, Ordering::Relaxed);
                self.set(new, Slot::twin(old, leader));
                self.set(old, Slot::twin(new, leader));
            }
            (Some(next), None) => {
                self.set(new, Slot::twin(next, of_old.leader()));
                self.set(old, Slot::twin(new, of_old.leader()));
            }
            (None, Some(next)) => {
                self.set(old, Slot::twin(next, of_new.leader()));
                self.set(new, Slot::twin(old, of_new.leader()));
            }
            (Some(_), Some(_)) if of_old.leader() == of_new.leader() => {}
            (Some(_), Some(_)) => self.merge(old, new),
        }
    }

    /// Two rings become one: one takes the other's leader, and two links exchange their ends.
    #[cold]
    #[inline(never)]
    fn merge(&self, old: i32, new: i32) {
        let leader = self.get(old).leader();
        let mut at = new;
        for _ in 0..RELABELLED {
            let Some(next) = self.get(at).next_twin() else { break };
            self.set(at, Slot::twin(next, leader));
            at = next;
            if at == new {
                break;
            }
        }
        if let (Some(after_old), Some(after_new)) = (self.get(old).next_twin(), self.get(new).next_twin()) {
            self.set(old, Slot::twin(after_new, leader));
            self.set(new, Slot::twin(after_old, leader));
        }
    }

    /// Takes a number out of its ring: it becomes known. A ring of one is none.
    pub fn part(&self, fd: i32) {
        let slot = self.get(fd);
        let Some(next) = slot.next_twin() else { return };
        self.set(fd, Slot::UNKNOWN);
        let mut at = next;
        for _ in 0..RELABELLED {
            match self.get(at).next_twin() {
                Some(after) if after == fd => {
                    self.set(at, if at == next { Slot::UNKNOWN } else { Slot::twin(next, slot.leader()) });
                    return;
                }
                Some(after) => at = after,
                None => return,
            }
        }
    }

    /// The other numbers of a ring. False: it is too long, or spoilt, and they may be more.
    pub fn twins(&self, fd: i32, mut tell: impl FnMut(i32)) -> bool {
        let mut at = self.get(fd).next_twin();
        for _ in 0..RING {
            match at {
                Some(number) if number == fd => return true,
                Some(number) => {
                    tell(number);
                    at = self.get(number).next_twin();
                }
                None => return false,
            }
        }
        false
    }

    /// The highest number whose word was ever other than zero; -1: none was.
    pub fn highest(&self) -> i32 {
        self.end.load(Ordering::Relaxed) - 1
    }

    /// `fd` has a word other than zero.
    #[inline(always)]
    pub fn reach(&self, fd: i32) {
        if fd >= self.end.load(Ordering::Relaxed) {
            self.reach_further(fd);
        }
    }

    #[cold]
    #[inline(never)]
    fn reach_further(&self, fd: i32) {
        self.end.fetch_max(fd.saturating_add(1), Ordering::Relaxed);
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
