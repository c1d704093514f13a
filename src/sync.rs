//! The atomics of the library. Every other file takes them from here.

pub use epollshim_ledger::sync::*;

/// Adds one to a word that only the calling thread writes, and returns what it was. One instruction, without a lock prefix: a
/// handler of this thread comes before or after it.
#[inline(always)]
pub fn own_increment(word: &AtomicU64) -> u64 {
    #[cfg(not(test))]
    // SAFETY: the caller's own word, of atomic type.
    return unsafe { crate::arch::counters::fetch_bump(word.as_ptr()) };
    #[cfg(test)]
    word.fetch_add(1, Ordering::Relaxed)
}
