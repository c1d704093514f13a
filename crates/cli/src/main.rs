//! The `epollshim` command. The library of this package does the work.
//!
//! This program has no Rust `fn main`. Rust's runtime ignores SIGPIPE and opens /dev/null for those
//! of descriptors 0 to 2 that are closed. A program that replaces this process
//! (`epollshim run --exec`) would inherit both.
#![no_main]
#![deny(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

#[allow(unsafe_code)]
// SAFETY: no other symbol in this program has this name, and the signature is the one that the C
// runtime expects.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    // SAFETY: the C runtime passes what the kernel put on the stack at exec: `count` pointers to
    // zero-terminated strings, which stay valid until the process ends.
    epollshim_cli::main(unsafe { words(count, arguments) })
}

/// The arguments of this process.
///
/// `std::env::args_os` does not work here: without Rust's own `main`, the standard library gets the
/// arguments only from glibc, which passes them to constructors. A static program of another C
/// library gets none.
///
/// # Safety
///
/// `arguments` points to `count` pointers to zero-terminated strings. It is not read if `count` is
/// 0.
#[allow(unsafe_code)]
unsafe fn words(count: c_int, arguments: *const *const c_char) -> Vec<OsString> {
    let word = |index: usize| {
        // SAFETY: `index` is below `count`, and the caller guarantees that `count` pointers can be
        // read.
        let pointer = unsafe { *arguments.add(index) };
        // SAFETY: the caller guarantees that this is a zero-terminated string.
        let text = unsafe { CStr::from_ptr(pointer) };
        OsStr::from_bytes(text.to_bytes()).to_os_string()
    };
    (0..usize::try_from(count).unwrap_or(0)).map(word).collect()
}
