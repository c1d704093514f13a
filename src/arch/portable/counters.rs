//! Additions to words that one thread writes and others read. Atomic, so that a signal handler of the thread comes before or after one.
//! Relaxed: a reader wants some value that the word had.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use libc::epoll_event;

/// Adds one.
///
/// # Safety
/// The word must be one that this thread alone writes, and others read by atomic operations alone.
#[inline(always)]
pub unsafe fn bump(word: *mut u64) {
    // SAFETY: by this function's contract.
    unsafe { add(word, 1) }
}

/// Adds some.
///
/// # Safety
/// The word must be one that this thread alone writes, and others read by atomic operations alone.
#[inline(always)]
pub unsafe fn add(word: *mut u64, amount: u64) {
    // SAFETY: by this function's contract.
    unsafe { AtomicU64::from_ptr(word) }.fetch_add(amount, Ordering::Relaxed);
}

/// Adds one, and returns what it was.
///
/// # Safety
/// The word must be one that this thread alone writes, and others read by atomic operations alone.
#[inline(always)]
pub unsafe fn fetch_bump(word: *mut u64) -> u64 {
    // SAFETY: by this function's contract.
    unsafe { AtomicU64::from_ptr(word) }.fetch_add(1, Ordering::Relaxed)
}

/// Adds one to a word of four bytes, or takes one away.
///
/// # Safety
/// The word must be one that this thread alone writes, and others read by atomic operations alone.
#[inline(always)]
pub unsafe fn step(word: *mut u32, more: bool) {
    // SAFETY: by this function's contract.
    let word = unsafe { AtomicU32::from_ptr(word) };
    if more {
        word.fetch_add(1, Ordering::Relaxed);
    } else {
        word.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All bits of `bits` and of the events from `first` to `end`.
///
/// # Safety
/// So many events must lie there.
#[inline(always)]
pub unsafe fn or_of_pairs(first: *const epoll_event, end: *const epoll_event, bits: u32) -> u32 {
    let (mut at, mut all) = (first, bits);
    while at != end {
        // SAFETY: between the two, by this function's contract. (The events lie at any address.)
        all |= unsafe { (&raw const (*at).events).read_unaligned() };
        at = at.wrapping_add(1);
    }
    all
}

/// Adds to the counter that lies so many bytes behind a base, or one to that which lies `index` counters further. To be called where
/// there is a counter, which is its safety.
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
