//! Addresses of what the linker and the loader define.

use core::arch::{asm, global_asm};

// What glibc has and musl does not. Only `gnu_get_libc_version` is looked at: where it is missing, nothing calls the others.
global_asm!(".weak gnu_get_libc_version", ".weak __register_atfork", ".weak __cxa_at_quick_exit");

/// The address of glibc's function of this name; 0: there is none.
pub fn gnu_get_libc_version() -> usize {
    let address: usize;
    // SAFETY: loads a word of this library's global offset table. (In Rust the address of a function is never null.)
    unsafe {
        asm!("adrp {0}, :got:gnu_get_libc_version", "ldr {0}, [{0}, :got_lo12:gnu_get_libc_version]", out(reg) address,
             options(nostack, pure, readonly, preserves_flags));
    }
    address
}

/// The dynamic section of the object that this code is part of.
pub fn dynamic() -> usize {
    let address: usize;
    // SAFETY: computes the address of what the linker defines in every object that is linked dynamically.
    unsafe {
        asm!(".hidden _DYNAMIC", "adrp {0}, _DYNAMIC", "add {0}, {0}, :lo12:_DYNAMIC", out(reg) address,
             options(pure, nomem, nostack, preserves_flags));
    }
    address
}

/// The loader's `_r_debug`; 0: there is none.
pub fn r_debug() -> usize {
    let debug: usize;
    // SAFETY: reads a word of the library's own global offset table. The loader fills it in as it relocates the library, so it is
    // known before any hook can be called. Weak: the loader's symbols are not linked against, and 0 where there is none.
    unsafe {
        asm!(".weak _r_debug", "adrp {0}, :got:_r_debug", "ldr {0}, [{0}, :got_lo12:_r_debug]", out(reg) debug,
             options(pure, readonly, nostack, preserves_flags));
    }
    debug
}

/// Where this library's code lies: its first byte, and the first behind it.
#[cfg(not(test))]
pub fn own_code() -> (usize, usize) {
    let (start, end): (usize, usize);
    // SAFETY: takes two addresses that the linker defines (GNU ld, "PROVIDE_HIDDEN (__ehdr_start)" and "etext").
    unsafe {
        asm!("adrp {0}, __ehdr_start", "add {0}, {0}, :lo12:__ehdr_start", "adrp {1}, etext", "add {1}, {1}, :lo12:etext",
             out(reg) start, out(reg) end, options(nostack, nomem, preserves_flags, pure));
    }
    (start, end)
}
