//! x86-64.

#[cfg(not(portable))]
pub mod counters;
#[cfg(not(test))]
#[cfg_attr(portable, allow(unused_macros))]
pub mod entries;
mod memory;
#[cfg(not(test))]
#[cfg_attr(portable, allow(unused_macros, unused_imports))]
pub mod pieces;
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
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing, and every x86-64 processor has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
}
