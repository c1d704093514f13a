//! Chunks of a table: mapped when they are needed, never unmapped.

use core::ptr::null_mut;

use crate::Memory;
use crate::sync::{AtomicPtr, Ordering};

/// Maps a chunk of zeroed entries, unless there is one. If several threads do so at once, the first
/// one stores its chunk, and the others unmap theirs. False: there is no memory.
pub fn make<T, M: Memory>(chunk: &AtomicPtr<T>, entries: usize) -> bool {
    if !chunk.load(Ordering::Relaxed).is_null() {
        return true;
    }
    let bytes = entries * size_of::<T>();
    let Some(start) = M::map(bytes) else { return false };
    // Release: pairs with the Acquire by which a reader loads the address (`Pool::get`,
    // `Numbers::get`, `Queue::node`, `Pairs::bucket`).
    if chunk.compare_exchange(null_mut(), start.cast(), Ordering::Release, Ordering::Relaxed).is_err() {
        // SAFETY: `start` is a whole mapping of this call. The exchange failed, so no other thread
        // has its address.
        unsafe { M::unmap(start, bytes) };
    }
    true
}
