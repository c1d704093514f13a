//! Addresses of what the linker and the loader define.

use core::arch::asm;

/// Addresses of what one C library has and the other has not; 0: it is not there. Each is a word of
/// this library's global offset table, which the loader fills in as it relocates the library: before
/// any hook can be called. (The references are weak, so that the loader accepts that they are missing.
/// In Rust the address of a function or static is never null.)
macro_rules! weak {
    ($($(#[$attribute:meta])* $name:ident = $symbol:literal;)*) => {$(
        $(#[$attribute])*
        pub fn $name() -> usize {
            let address: usize;
            // SAFETY: loads a word of this library's own global offset table.
            unsafe {
                asm!(concat!(".weak ", $symbol), concat!("adrp {0}, :got:", $symbol),
                     concat!("ldr {0}, [{0}, :got_lo12:", $symbol, "]"), out(reg) address,
                     options(nostack, pure, readonly, preserves_flags));
            }
            address
        }
    )*};
}

weak! {
    /// glibc's `struct r_debug` (<link.h>).
    r_debug = "_r_debug";
    /// musl's pointer to the same (ldso/dynlink.c).
    dl_debug_addr = "_dl_debug_addr";
}

/// The dynamic section of the object that this code is part of.
pub fn dynamic() -> usize {
    let address: usize;
    // SAFETY: computes an address that the linker defines in every dynamically linked object.
    unsafe {
        asm!(".hidden _DYNAMIC", "adrp {0}, _DYNAMIC", "add {0}, {0}, :lo12:_DYNAMIC", out(reg) address,
             options(pure, nomem, nostack, preserves_flags));
    }
    address
}

/// The address range of this library's code: its first byte, and the first one after it.
#[cfg(not(test))]
pub fn own_code() -> (usize, usize) {
    let (start, end): (usize, usize);
    // SAFETY: computes two addresses that the linker defines (GNU ld, "PROVIDE_HIDDEN
    // (__ehdr_start)" and "etext").
    unsafe {
        asm!("adrp {0}, __ehdr_start", "add {0}, {0}, :lo12:__ehdr_start", "adrp {1}, etext", "add {1}, {1}, :lo12:etext",
             out(reg) start, out(reg) end, options(nostack, nomem, preserves_flags, pure));
    }
    (start, end)
}
