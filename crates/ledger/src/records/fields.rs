//! The fields that records are made of: words that are read and written by Relaxed accesses.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

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
    pub(super) const fn of(value: u64) -> Self {
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
