//! Chunks of a table: made when they are needed, never given back.

use core::ptr::null_mut;

use crate::Memory;
use crate::sync::{AtomicPtr, Ordering};

/// Makes a chunk of zeroed entries where there is none yet. Of several threads the first stores its
/// chunk, and the others give theirs back. False: there is no memory.
pub fn make<T, M: Memory>(chunk: &AtomicPtr<T>, entries: usize) -> bool {
    if !chunk.load(Ordering::Relaxed).is_null() {
        return true;
    }
    let bytes = entries * size_of::<T>();
    let Some(start) = M::map(bytes) else { return false };
    // Release: pairs with the Acquire of whoever reads the address and looks into the chunk.
    if chunk.compare_exchange(null_mut(), start.cast(), Ordering::Release, Ordering::Relaxed).is_err() {
        // SAFETY: a whole mapping, whose address only this call has.
        unsafe { M::unmap(start, bytes) };
    }
    true
}
