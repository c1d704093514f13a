//! The environment, as the loader or libc gives it.

use core::ffi::{CStr, c_char};

/// The `NAME=VALUE` strings of an environment.
pub struct Environment(pub *const *const c_char);

impl Iterator for Environment {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        // SAFETY: environ is an array of zero-terminated strings that ends with a null pointer; nothing changes
        // it while a constructor, or a hook before main, reads it.
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
