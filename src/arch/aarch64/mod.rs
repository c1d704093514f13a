//! aarch64: what no plain Rust can say. The entries are those of ../portable.

#[cfg(not(test))]
pub mod entries;
pub mod registers;
pub mod signal_frame;
pub mod stack;
pub mod symbols;
pub mod system_call;
pub mod thread_slot;
pub mod thread_words;
pub mod valgrind;

/// Has a cache line fetched, of whatever address, while the processor goes on.
#[inline(always)]
pub fn fetch<T>(place: *const T) {
    // SAFETY: a prefetch reads nothing that the program could see.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
}
