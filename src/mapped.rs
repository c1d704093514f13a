//! Memory from the kernel, for what lies in the ledger's tables.

use epollshim_ledger::Memory;

use crate::sys;

/// Anonymous private mappings, or a part of the reserve where a filter refuses mmap.
pub struct Mapped;

impl Memory for Mapped {
    fn map(bytes: usize) -> Option<*mut u8> {
        sys::map(bytes).ok()
    }

    unsafe fn unmap(start: *mut u8, bytes: usize) {
        // SAFETY: by the caller's promise a whole mapping of `map`, which nobody refers to.
        unsafe { sys::unmap(start, bytes) };
    }
}
