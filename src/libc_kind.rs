//! Whether the program's C library is glibc.
//!
//! A program that is built for musl finds the library in its inherited LD_PRELOAD too. musl's loader
//! takes itself for `libc.so.6`, ignores symbol versions, and ends the program where a symbol is
//! missing. So what musl lacks is a weak reference, and the library only forwards there.

use crate::arch::symbols;

pub fn is_glibc() -> bool {
    symbols::gnu_get_libc_version() != 0
}
