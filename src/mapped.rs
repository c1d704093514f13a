//! Memory from the kernel, for the ledger's tables.

use epollshim_ledger::Memory;

use crate::sys;

/// Anonymous private mappings, or a part of the reserve if a filter refuses mmap.
pub struct Mapped;

impl Memory for Mapped {
    fn map(bytes: usize) -> Option<*mut u8> {
        sys::map(bytes).ok()
    }

    unsafe fn unmap(start: *mut u8, bytes: usize) {
        // SAFETY: the caller promises a whole mapping of `map` that nothing refers to.
        unsafe { sys::unmap(start, bytes) };
    }
}
