//! The thread-local word that gives a thread's block of counters (thread.rs). It uses the
//! initial-exec model: `thread_local!` would call `__tls_get_addr`, which may allocate.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::thread_words::slot as words;

/// How many bytes of a block (thread.rs) [`NOBODY`] has: the first cache line.
pub const HEAD: usize = 64;

/// What the slot of a new thread refers to. The words here are always zero, as in a block that a
/// fork has wiped. So a new thread, whose slot is zero, needs no test of its own: the block of
/// `NOBODY` is not in use.
static NOBODY: Nobody = Nobody([const { AtomicU64::new(0) }; HEAD / 8]);

#[repr(C, align(64))]
struct Nobody([AtomicU64; HEAD / 8]);

/// The address of [`NOBODY`].
#[inline(always)]
pub fn nobody() -> usize {
    &raw const NOBODY as usize
}

/// The address that the calling thread's slot gives: that of a block (thread.rs), or of [`nobody`].
#[inline(always)]
pub fn slot() -> usize {
    // SAFETY: the word belongs to the calling thread and is aligned. No other thread accesses it.
    let value = unsafe { AtomicUsize::from_ptr(words::address() as *mut usize) }.load(Ordering::Relaxed);
    let address = nobody().wrapping_add(value);
    // SAFETY: the address is that of a block or of `nobody`, and neither lies at 0.
    unsafe { core::hint::assert_unchecked(address != 0) };
    address
}

pub fn set_slot(address: usize) {
    let value = address.wrapping_sub(nobody());
    // SAFETY: the word belongs to the calling thread and is aligned. No other thread accesses it.
    unsafe { AtomicUsize::from_ptr(words::address() as *mut usize) }.store(value, Ordering::Relaxed);
}
