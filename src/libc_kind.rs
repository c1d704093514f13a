//! Whether the program's C library is glibc.
//!
//! A program that is built for musl finds the library in its inherited LD_PRELOAD too. musl's loader
//! takes itself for `libc.so.6`, ignores symbol versions, and ends the program where a symbol is
//! missing. So what musl lacks is a weak reference, and the library only forwards there.

use core::arch::{asm, global_asm};

// What glibc has and musl does not. Only `gnu_get_libc_version` is looked at: where it is missing,
// nothing calls the others.
global_asm!(".weak gnu_get_libc_version", ".weak __register_atfork", ".weak __cxa_at_quick_exit");

pub fn is_glibc() -> bool {
    let address: usize;
    // SAFETY: loads a word of this library's global offset table. (In Rust the address of a function is never null.)
    unsafe {
        asm!("mov {}, qword ptr [rip + gnu_get_libc_version@GOTPCREL]", out(reg) address,
             options(nostack, pure, readonly, preserves_flags));
    }
    address != 0
}
