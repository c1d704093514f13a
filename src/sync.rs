//! The library's atomics. Every other file takes them from here.

pub use epollshim_ledger::sync::*;

/// Adds one to a word that only the calling thread writes, and returns the old value. This is one
/// instruction without a lock prefix: a handler of this thread runs before or after it.
#[inline(always)]
pub fn own_increment(word: &AtomicU64) -> u64 {
    #[cfg(not(test))]
    // SAFETY: the reference shows that the word is valid. The caller is the only thread that writes
    // it.
    return unsafe { crate::arch::counters::fetch_bump(word.as_ptr()) };
    #[cfg(test)]
    word.fetch_add(1, Ordering::Relaxed)
}
