//! The atomics of the library. Every other file takes them from here.

pub use epollshim_ledger::sync::*;

/// Adds one to a word that only the calling thread writes, and returns what it was. One instruction, without a lock prefix: a
/// handler of this thread comes before or after it.
#[inline(always)]
pub fn own_increment(word: &AtomicU64) -> u64 {
    #[cfg(not(test))]
    {
        let mut before: u64 = 1;
        // SAFETY: the word's own address; the flags are declared clobbered by default.
        unsafe {
            core::arch::asm!("xadd qword ptr [{word}], {before}", word = in(reg) word.as_ptr(),
                             before = inout(reg) before, options(nostack));
        }
        before
    }
    #[cfg(test)]
    word.fetch_add(1, Ordering::Relaxed)
}
