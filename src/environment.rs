//! The environment, as the loader or libc provides it.

use core::ffi::{CStr, c_char};

use crate::sync::{AtomicUsize, Ordering};

/// The addresses of the first and the last string that the kernel gave this process.
static FIRST: AtomicUsize = AtomicUsize::new(0);
static LAST: AtomicUsize = AtomicUsize::new(0);

/// Called when the library is loaded with this environment. (The kernel lays out the strings one
/// after the other: Linux v6.1 fs/exec.c, copy_strings.)
pub fn note_load(environment: *const *const c_char) {
    let address = |string: &[u8]| string.as_ptr() as usize;
    FIRST.store(Environment(environment).next().map_or(0, address), Ordering::Relaxed);
    LAST.store(Environment(environment).last().map_or(0, address), Ordering::Relaxed);
}

/// Whether a string was in the environment when the library was loaded.
pub fn was_there_at_load(string: usize) -> bool {
    (FIRST.load(Ordering::Relaxed)..=LAST.load(Ordering::Relaxed)).contains(&string)
}

/// The `NAME=VALUE` strings of an environment.
pub struct Environment(pub *const *const c_char);

impl Iterator for Environment {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        // SAFETY: environ is an array of zero-terminated strings that ends with a null pointer.
        // Nothing changes it while a constructor, or a hook before main, reads it.
        unsafe {
            let entry = *self.0;
            if entry.is_null() {
                return None;
            }
            self.0 = self.0.add(1);
            Some(CStr::from_ptr(entry).to_bytes())
        }
    }
}

/// The value of an environment variable.
pub fn variable(environment: *const *const c_char, name: &[u8]) -> Option<&'static [u8]> {
    if environment.is_null() {
        return None;
    }
    Environment(environment).find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
}
