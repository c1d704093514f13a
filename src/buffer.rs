//! A growing array in a mapping of its own, for reports. It never calls the program's allocator.
//!
//! [`Buffer::end`] frees the memory, and not `Drop`: a value that must be dropped during unwinding
//! would bring the language's personality routine into the library, and with it all of std's code
//! for panics (tests/cost.rs checks).

use core::fmt;
use core::marker::PhantomData;

use epollshim_ledger::list::List;

use crate::sys;

pub use epollshim_ledger::sort::{exchange, run_length, sort_by_key};

/// An array of elements of a plain type. If the kernel has no memory, an operation fails; it never
/// panics.
pub struct Buffer<T: Copy> {
    start: *mut u8,
    bytes: usize,
    length: usize,
    kind: PhantomData<T>,
}

const FIRST: usize = 64 * 1024;

/// Doubles the memory, or maps the first. Not generic, so that the library has it only once.
#[cold]
#[inline(never)]
fn grow(start: *mut u8, bytes: usize) -> Option<(*mut u8, usize)> {
    if bytes == 0 {
        return sys::map(FIRST).ok().map(|start| (start, FIRST));
    }
    // SAFETY: the caller is the buffer that owns this whole mapping. It is borrowed mutably, so no
    // slice of it exists.
    unsafe { sys::remap(start, bytes, bytes * 2) }.ok().map(|start| (start, bytes * 2))
}

impl<T: Copy> Buffer<T> {
    pub const fn new() -> Self {
        Buffer { start: core::ptr::null_mut(), bytes: 0, length: 0, kind: PhantomData }
    }

    /// Lends an empty buffer to `work`, and frees it afterwards.
    pub fn lend<R>(work: impl FnOnce(&mut Buffer<T>) -> R) -> R {
        let mut buffer = Buffer::new();
        let result = work(&mut buffer);
        buffer.end();
        result
    }

    /// Frees the memory.
    pub fn end(self) {
        if self.bytes != 0 {
            // SAFETY: this is the buffer's whole mapping, and no other code has its address.
            unsafe { sys::unmap(self.start, self.bytes) };
        }
    }

    /// The first element and the number of elements, in memory that is never freed.
    pub fn keep(self) -> (*mut T, usize) {
        (self.start.cast(), self.length)
    }

    /// False: there is no memory.
    pub fn push(&mut self, element: T) -> bool {
        if (self.length + 1) * size_of::<T>() > self.bytes && !self.grow() {
            return false;
        }
        // SAFETY: the mapping is page-aligned and has room for one more element.
        unsafe { self.start.cast::<T>().add(self.length).write(element) };
        self.length += 1;
        true
    }

    #[inline(never)] // for size
    fn grow(&mut self) -> bool {
        let grown = grow(self.start, self.bytes);
        if let Some((start, bytes)) = grown {
            (self.start, self.bytes) = (start, bytes);
        }
        grown.is_some()
    }

    pub fn clear(&mut self) {
        self.length = 0;
    }

    pub fn as_slice(&self) -> &[T] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: `length` elements were written.
        unsafe { core::slice::from_raw_parts(self.start.cast::<T>(), self.length) }
    }

    pub fn as_mut_slice(&mut self) -> &mut [T] {
        if self.length == 0 {
            return &mut [];
        }
        // SAFETY: `length` elements were written, and the borrow is unique.
        unsafe { core::slice::from_raw_parts_mut(self.start.cast::<T>(), self.length) }
    }
}

impl<T: Copy> List<T> for Buffer<T> {
    fn reserve(&mut self, elements: usize) -> bool {
        while self.bytes < elements * size_of::<T>() {
            if !self.grow() {
                return false;
            }
        }
        true
    }
    fn clear(&mut self) {
        Buffer::clear(self);
    }
    fn push(&mut self, element: T) -> bool {
        Buffer::push(self, element)
    }
    fn as_slice(&self) -> &[T] {
        Buffer::as_slice(self)
    }
    fn as_mut_slice(&mut self) -> &mut [T] {
        Buffer::as_mut_slice(self)
    }
}

impl Buffer<u8> {
    /// Appends bytes. False: there is no memory.
    pub fn extend(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| self.push(*byte))
    }

    /// Room for at least `more` bytes after the content, to read into. `advance` makes them
    /// content.
    pub fn room(&mut self, more: usize) -> Option<&mut [u8]> {
        while self.bytes - self.length < more {
            if !self.grow() {
                return None;
            }
        }
        // SAFETY: every byte of the mapping is zero or was written, and the borrow is unique.
        Some(unsafe { core::slice::from_raw_parts_mut(self.start.add(self.length), self.bytes - self.length) })
    }

    pub fn advance(&mut self, bytes: usize) {
        self.length = (self.length + bytes).min(self.bytes);
    }
}

/// Appends text. If there is no memory, the text ends early.
impl fmt::Write for Buffer<u8> {
    // Inlined copies would take several kilobytes.
    #[inline(never)]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.extend(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}
