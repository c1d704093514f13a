//! Additions to words that one thread writes and others read. They are atomic so that a signal
//! handler of the same thread runs before or after an addition, never in the middle. Relaxed: a
//! reader needs some value that the word had, and no order with other words.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use libc::epoll_event;

/// Adds 1.
///
/// # Safety
/// Only this thread may write the word, and other threads may read it only by atomic operations.
#[inline(always)]
pub unsafe fn bump(word: *mut u64) {
    // SAFETY: this function has the same contract as `add`.
    unsafe { add(word, 1) }
}

/// Adds `amount`.
///
/// # Safety
/// Only this thread may write the word, and other threads may read it only by atomic operations.
#[inline(always)]
pub unsafe fn add(word: *mut u64, amount: u64) {
    // SAFETY: the caller promises a word that is accessed by atomic operations alone.
    unsafe { AtomicU64::from_ptr(word) }.fetch_add(amount, Ordering::Relaxed);
}

/// Adds 1, and returns the former value.
///
/// # Safety
/// Only this thread may write the word, and other threads may read it only by atomic operations.
#[inline(always)]
pub unsafe fn fetch_bump(word: *mut u64) -> u64 {
    // SAFETY: the caller promises a word that is accessed by atomic operations alone.
    unsafe { AtomicU64::from_ptr(word) }.fetch_add(1, Ordering::Relaxed)
}

/// Adds 1 to a word of four bytes, or subtracts 1.
///
/// # Safety
/// Only this thread may write the word, and other threads may read it only by atomic operations.
#[inline(always)]
pub unsafe fn step(word: *mut u32, more: bool) {
    // SAFETY: the caller promises a word that is accessed by atomic operations alone.
    let word = unsafe { AtomicU32::from_ptr(word) };
    if more {
        word.fetch_add(1, Ordering::Relaxed);
    } else {
        word.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `bits`, or-ed with the masks of all events from `first` to `end`.
///
/// # Safety
/// `first` and `end` must be the bounds of an array of events.
#[inline(always)]
pub unsafe fn or_of_pairs(first: *const epoll_event, end: *const epoll_event, bits: u32) -> u32 {
    let (mut at, mut all) = (first, bits);
    while at != end {
        // SAFETY: `at` lies between the bounds that the caller promises. The event may be
        // unaligned.
        all |= unsafe { (&raw const (*at).events).read_unaligned() };
        at = at.wrapping_add(1);
    }
    all
}

/// Adds to the counter that lies `$place` bytes after a base. `bump_at_offset` adds 1 to that
/// counter, or to the one that lies `$index` counters after it. Both are unsafe: there must be a
/// counter at that address, which only this thread writes.
macro_rules! add_at_offset {
    ($base:expr, $place:expr, $amount:expr) => {
        $crate::arch::counters::add(($base as usize + $place) as *mut u64, $amount)
    };
}

macro_rules! bump_at_offset {
    ($base:expr, $place:expr) => {
        $crate::arch::counters::bump(($base as usize + $place) as *mut u64)
    };
    ($base:expr, $place:expr, $index:expr) => {
        $crate::arch::counters::bump(($base as usize + $place + $index * 8) as *mut u64)
    };
}

pub(crate) use {add_at_offset, bump_at_offset};
