//! A growing array in memory of its own, for reports: no allocator of the program's is called.
//!
//! It is given back by [`Buffer::end`] and not by a `Drop`: what must be dropped when somebody unwinds brings the language's
//! personality routine into the library, and with it all of std's panicking (tests/cost.rs looks).

use core::fmt;
use core::marker::PhantomData;

use epollshim_ledger::list::List;

use crate::sys;

pub use epollshim_ledger::sort::{exchange, run_length, sort_by_key};

/// Elements of a plain type. What the kernel has no memory for is refused, never a panic.
pub struct Buffer<T: Copy> {
    start: *mut u8,
    bytes: usize,
    length: usize,
    kind: PhantomData<T>,
}

const FIRST: usize = 64 * 1024;

/// Twice the memory, or the first, for elements of any type: it is there once.
#[cold]
#[inline(never)]
fn grow(start: *mut u8, bytes: usize) -> Option<(*mut u8, usize)> {
    if bytes == 0 {
        return sys::map(FIRST).ok().map(|start| (start, FIRST));
    }
    // SAFETY: the caller is the buffer whose whole mapping this is, and is borrowed mutably: no slice of it is in use.
    unsafe { sys::remap(start, bytes, bytes * 2) }.ok().map(|start| (start, bytes * 2))
}

impl<T: Copy> Buffer<T> {
    pub const fn new() -> Self {
        Buffer { start: core::ptr::null_mut(), bytes: 0, length: 0, kind: PhantomData }
    }

    /// Lends an empty one for the time of some work.
    pub fn lend<R>(work: impl FnOnce(&mut Buffer<T>) -> R) -> R {
        let mut buffer = Buffer::new();
        let result = work(&mut buffer);
        buffer.end();
        result
    }

    /// Gives its memory back.
    pub fn end(self) {
        if self.bytes != 0 {
            // SAFETY: this buffer's own mapping, whole; nobody else has its address.
            unsafe { sys::unmap(self.start, self.bytes) };
        }
    }

    /// Its first element and their number, in memory that is never given back.
    pub fn keep(self) -> (*mut T, usize) {
        (self.start.cast(), self.length)
    }

    /// False: no memory.
    pub fn push(&mut self, element: T) -> bool {
        if (self.length + 1) * size_of::<T>() > self.bytes && !self.grow() {
            return false;
        }
        // SAFETY: within the mapping, which is page-aligned; there is room for one more.
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
        // SAFETY: `length` elements were written; the borrow is unique.
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
    /// Appends bytes. False: no memory.
    pub fn extend(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| self.push(*byte))
    }

    /// Room for at least `more` bytes behind the content, to read into; `advance` makes them content.
    pub fn room(&mut self, more: usize) -> Option<&mut [u8]> {
        while self.bytes - self.length < more {
            if !self.grow() {
                return None;
            }
        }
        // SAFETY: the mapping is zeroed or was written; the borrow is unique.
        Some(unsafe { core::slice::from_raw_parts_mut(self.start.add(self.length), self.bytes - self.length) })
    }

    pub fn advance(&mut self, bytes: usize) {
        self.length = (self.length + bytes).min(self.bytes);
    }
}

/// Text. What there is no memory for is missing at its end.
impl fmt::Write for Buffer<u8> {
    // A copy in each place that writes would be several kilobytes.
    #[inline(never)]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.extend(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}
