//! Whether the program's C library is glibc; if not, it is musl.
//!
//! musl's loader takes itself for `libc.so.6`, ignores symbol versions, and ends the program where a
//! symbol is missing. So what musl lacks is a weak reference (arch/*/symbols.rs), or is looked up by
//! name (loaded.rs).

use crate::arch::symbols;

/// By what only glibc's loader has. (Alpine's gcompat has `gnu_get_libc_version` for programs that are
/// built for glibc and run on musl.)
pub fn is_glibc() -> bool {
    symbols::r_debug() != 0
}
