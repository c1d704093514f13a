//! The thread-local word by which a thread's block of counters is found (thread.rs). The initial-exec model: `thread_local!` would go
//! through `__tls_get_addr`, which may allocate.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::thread_words::slot as words;

/// How much of a block (thread.rs) is there in [`NOBODY`]: its first cache line.
pub const HEAD: usize = 64;

/// What the slot of a new thread speaks of: words that are always zero, as in a block that a fork has wiped. So a new thread, whose slot is
/// zero, needs no question of its own: nobody's block is not in use.
static NOBODY: Nobody = Nobody([const { AtomicU64::new(0) }; HEAD / 8]);

#[repr(C, align(64))]
struct Nobody([AtomicU64; HEAD / 8]);

/// The address of [`NOBODY`].
#[inline(always)]
pub fn nobody() -> usize {
    &raw const NOBODY as usize
}

/// What the calling thread's slot says: the address of a block (thread.rs), or of [`nobody`].
#[inline(always)]
pub fn slot() -> usize {
    // SAFETY: the thread's own word, aligned; used by this thread alone.
    let value = unsafe { AtomicUsize::from_ptr(words::address() as *mut usize) }.load(Ordering::Relaxed);
    let address = nobody().wrapping_add(value);
    // SAFETY: neither a block lies there nor `nobody`.
    unsafe { core::hint::assert_unchecked(address != 0) };
    address
}

pub fn set_slot(address: usize) {
    let value = address.wrapping_sub(nobody());
    // SAFETY: as in `slot`.
    unsafe { AtomicUsize::from_ptr(words::address() as *mut usize) }.store(value, Ordering::Relaxed);
}
