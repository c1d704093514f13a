//! The command `epollshim`; what it does is in the library of this package.
//!
//! There is no `fn main` of Rust's: its runtime ignores SIGPIPE and opens /dev/null for descriptors 0 to 2 that are
//! closed, and a program that `epollshim run` becomes by exec would inherit both.
#![no_main]
#![deny(unsafe_code)]

use std::ffi::{c_char, c_int};

#[allow(unsafe_code)]
// SAFETY: the one symbol of this name, with the type that the C runtime calls.
#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    epollshim_cli::main()
}
