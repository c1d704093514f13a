//! The command `epollshim`; what it does is in the library of this package.
//!
//! There is no `fn main` of Rust's: its runtime ignores SIGPIPE and opens /dev/null for descriptors 0 to 2 that are
//! closed, and a program that `epollshim run` becomes by exec would inherit both.
#![no_main]
#![deny(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

#[allow(unsafe_code)]
// SAFETY: the one symbol of this name, with the type that the C runtime calls.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    // SAFETY: the C runtime passes what the kernel put onto the stack at exec: `count` pointers to strings, which stay.
    epollshim_cli::main(unsafe { words(count, arguments) })
}

/// The arguments. Not `std::env::args_os`: without its own `main`, the standard library has them from glibc alone, which passes them
/// to constructors. In a static program of another C library it has none.
///
/// # Safety
///
/// `arguments` points to `count` pointers to strings that end with zero. It is not used where `count` is 0.
#[allow(unsafe_code)]
unsafe fn words(count: c_int, arguments: *const *const c_char) -> Vec<OsString> {
    let word = |index: usize| {
        // SAFETY: `index` is below `count`, and the caller vouches for the pointers below it.
        let pointer = unsafe { *arguments.add(index) };
        // SAFETY: the caller vouches for the string.
        let text = unsafe { CStr::from_ptr(pointer) };
        OsStr::from_bytes(text.to_bytes()).to_os_string()
    };
    (0..usize::try_from(count).unwrap_or(0)).map(word).collect()
}
