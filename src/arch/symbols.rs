//! Addresses that the linker and the loader define.

pub use super::processor::symbols::dynamic;
#[cfg(not(test))]
pub use super::processor::symbols::own_code;

use super::processor::symbols::weak_address;

/// Addresses of symbols that one C library has and the other lacks; 0 if the symbol is missing.
///
/// Each address is a word of this library's global offset table. The loader fills it in when it
/// relocates the library, before any hook can be called. The references are weak, so the loader
/// accepts a missing symbol. (In Rust the address of a function or static is never null.)
macro_rules! weak {
    ($($(#[$attribute:meta])* $name:ident = $symbol:literal;)*) => {$(
        $(#[$attribute])*
        pub fn $name() -> usize {
            weak_address!($symbol)
        }
    )*};
}

weak! {
    /// glibc's `struct r_debug` (<link.h>).
    r_debug = "_r_debug";
    /// musl's pointer to the same structure (ldso/dynlink.c).
    dl_debug_addr = "_dl_debug_addr";
}
