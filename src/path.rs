//! A path that is built on the stack.

use core::ffi::CStr;
use core::fmt::{self, Write};

/// A path of at most `N - 1` bytes. If it gets longer, it counts as no path ([`Path::as_c`]).
pub struct Path<const N: usize = 4096> {
    bytes: [u8; N],
    length: usize,
}

impl Path {
    pub const fn new() -> Self {
        Path::empty()
    }
}

impl<const N: usize> Path<N> {
    const fn empty() -> Self {
        Path { bytes: [0; N], length: 0 }
    }

    pub fn of(arguments: fmt::Arguments) -> Self {
        let mut path = Path::empty();
        let _ = path.write_fmt(arguments);
        path
    }

    pub fn push(&mut self, part: &[u8]) {
        let end = self.length + part.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(part);
        }
        self.length = end;
    }

    /// None: the path is too long.
    pub fn as_c(&self) -> Option<&CStr> {
        self.bytes.get(..=self.length).and_then(|bytes| CStr::from_bytes_with_nul(bytes).ok())
    }
}

impl<const N: usize> Write for Path<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
