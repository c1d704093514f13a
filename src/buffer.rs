//! A growing array in memory of its own, for reports: no allocator of the program's is called.
//!
//! It is given back by [`Buffer::end`] and not by a `Drop`: what must be dropped when somebody unwinds brings the language's
//! personality routine into the library, and with it all of std's panicking (tests/cost.rs looks).

use core::fmt;
use core::marker::PhantomData;

use crate::sys;

/// Elements of a plain type. What the kernel has no memory for is refused, never a panic.
pub struct Buffer<T: Copy> {
    start: *mut u8,
    bytes: usize,
    length: usize,
    kind: PhantomData<T>,
}

const FIRST: usize = 64 * 1024;

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

    fn grow(&mut self) -> bool {
        let wanted = if self.bytes == 0 { FIRST } else { self.bytes * 2 };
        let grown = if self.bytes == 0 {
            sys::map(wanted)
        } else {
            // SAFETY: the whole of this buffer's own mapping; no slice of it is out while it is borrowed mutably.
            unsafe { sys::remap(self.start, self.bytes, wanted) }
        };
        match grown {
            Ok(start) => {
                self.start = start;
                self.bytes = wanted;
                true
            }
            Err(_) => false,
        }
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

/// Sorts by heaps: some hundred bytes of code, where core's sorts are ten kilobytes a type of the library's 600.
pub fn sort_by_key<T, K: Ord>(slice: &mut [T], key: impl Fn(&T) -> K) {
    let sink = |heap: &mut [T], mut at: usize| {
        loop {
            let mut largest = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if let (Some(one), Some(other)) = (heap.get(child), heap.get(largest))
                    && key(one) > key(other)
                {
                    largest = child;
                }
            }
            if largest == at {
                return;
            }
            exchange(heap, at, largest);
            at = largest;
        }
    };
    for at in (0..slice.len() / 2).rev() {
        sink(slice, at);
    }
    for end in (1..slice.len()).rev() {
        exchange(slice, 0, end);
        if let Some(heap) = slice.get_mut(..end) {
            sink(heap, 0);
        }
    }
}

/// Two elements change places; where they are one, or not there, nothing does.
pub fn exchange<T>(slice: &mut [T], one: usize, other: usize) {
    if let Ok([one, other]) = slice.get_disjoint_mut([one, other]) {
        core::mem::swap(one, other);
    }
}

/// How many elements from the first on are alike, each with the one before it. 1 where there is none. (core's `chunk_by` may
/// panic.)
pub fn run_length<T>(slice: &[T], alike: impl Fn(&T, &T) -> bool) -> usize {
    1 + slice.iter().zip(slice.iter().skip(1)).take_while(|(one, next)| alike(one, next)).count()
}

#[cfg(test)]
mod tests {
    #[test]
    fn sorting_sorts() {
        for length in 0..200u64 {
            let mut numbers: Vec<u64> = (0..length).map(|place| place.wrapping_mul(0x9e37_79b9) % 97).collect();
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            super::sort_by_key(&mut numbers, |number| *number);
            assert_eq!(numbers, sorted);
        }
    }
}
