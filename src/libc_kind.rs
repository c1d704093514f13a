//! Whether the program's C library is glibc. If it is not, it is musl.
//!
//! musl's loader takes itself for `libc.so.6`, ignores symbol versions, and ends the program if a
//! symbol is missing. So symbols that musl lacks are weak references (arch/symbols.rs), or are
//! looked up by name (loaded.rs).

use crate::arch::symbols;

/// Tests for a symbol that only glibc's loader has. (Alpine's gcompat has `gnu_get_libc_version`,
/// for programs that are built for glibc and run on musl.)
pub fn is_glibc() -> bool {
    symbols::r_debug() != 0
}
