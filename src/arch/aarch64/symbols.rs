//! Addresses that the linker and the loader define, as instructions of this processor.

use core::arch::asm;

/// The address of a symbol that may be missing; 0: it is. For `arch/symbols.rs`.
macro_rules! weak_address {
    ($symbol:literal) => {{
        let address: usize;
        // SAFETY: loads a word of this library's own global offset table.
        unsafe {
            core::arch::asm!(concat!(".weak ", $symbol), concat!("adrp {0}, :got:", $symbol),
                 concat!("ldr {0}, [{0}, :got_lo12:", $symbol, "]"), out(reg) address,
                 options(nostack, pure, readonly, preserves_flags));
        }
        address
    }};
}
pub(crate) use weak_address;

/// The dynamic section of the object that this code is part of.
pub fn dynamic() -> usize {
    let address: usize;
    // SAFETY: computes the address of a symbol that the linker defines in each dynamically linked
    // object.
    unsafe {
        asm!(".hidden _DYNAMIC", "adrp {0}, _DYNAMIC", "add {0}, {0}, :lo12:_DYNAMIC", out(reg) address,
             options(pure, nomem, nostack, preserves_flags));
    }
    address
}

/// Where this library's code lies: the addresses of its first byte and of the first byte after it.
#[cfg(not(test))]
pub fn own_code() -> (usize, usize) {
    let (start, end): (usize, usize);
    // SAFETY: computes two addresses that the linker defines (GNU ld,
    // "PROVIDE_HIDDEN (__ehdr_start)" and "etext").
    unsafe {
        asm!("adrp {0}, __ehdr_start", "add {0}, {0}, :lo12:__ehdr_start", "adrp {1}, etext", "add {1}, {1}, :lo12:etext",
             out(reg) start, out(reg) end, options(nostack, nomem, preserves_flags, pure));
    }
    (start, end)
}
