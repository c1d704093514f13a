//! A table with an entry for each descriptor number, found by two loads. Its chunks are mapped when
//! needed and never unmapped.
//!
//! The chunks of numbers that programs commonly use are small: a program that locks its memory
//! (`mlockall(MCL_FUTURE)`) pays for a whole mapping, touched or not.

use core::marker::PhantomData;
use core::ptr::null_mut;

use crate::sync::{AtomicPtr, AtomicU64, Ordering};
use crate::{Memory, chunk};

/// An entry of the table: made of atomics, and valid as zero bytes.
///
/// # Safety
/// The type consists of atomics only, and zero bytes are a valid value of it.
pub unsafe trait Entry: Sync + 'static {}

// SAFETY: it is an atomic, for which zero is valid.
unsafe impl Entry for AtomicU64 {}

/// Numbers in a chunk below `NEAR_END`, and above.
const NEAR: usize = 1 << 12;
const FAR: usize = 1 << 20;
/// `fs.nr_open`, the bound on descriptor numbers, is this unless an administrator raises it, and at
/// most 2^30 (Linux v6.1 fs/file.c).
const NEAR_END: usize = 1 << 20;
const END: usize = 1 << 30;

#[repr(C)]
pub struct Numbers<T: 'static, M> {
    near: [AtomicPtr<T>; NEAR_END / NEAR],
    /// The first chunk is never used: its numbers are near.
    far: [AtomicPtr<T>; END / FAR],
    memory: PhantomData<fn() -> M>,
}

impl<T: Entry, M: Memory> Numbers<T, M> {
    pub const fn new() -> Self {
        Numbers {
            near: [const { AtomicPtr::new(null_mut()) }; NEAR_END / NEAR],
            far: [const { AtomicPtr::new(null_mut()) }; END / FAR],
            memory: PhantomData,
        }
    }

    /// The chunk of a number, the number's place in it, and the size of the chunk.
    #[inline(always)]
    fn chunk(&self, fd: i32) -> Option<(&AtomicPtr<T>, usize, usize)> {
        let number = fd as u32 as usize;
        match self.near.get(number / NEAR) {
            Some(chunk) => Some((chunk, number % NEAR, NEAR)),
            None => Some((self.far.get(number / FAR)?, number % FAR, FAR)),
        }
    }

    /// None: nothing was written there yet, or no descriptor can have the number.
    #[inline(always)]
    pub fn get(&self, fd: i32) -> Option<&'static T> {
        let (chunk, place, _) = self.chunk(fd)?;
        // Acquire: pairs with the Release in `chunk::make`. The kernel has zeroed the chunk.
        let start = chunk.load(Ordering::Acquire);
        // SAFETY: a chunk has more entries than `place`, which are valid as zero bytes, and is
        // never unmapped.
        (!start.is_null()).then(|| unsafe { &*start.add(place) })
    }

    /// The same, but maps the number's chunk if it is missing. None: no memory.
    #[inline(always)]
    pub fn get_or_make(&self, fd: i32) -> Option<&'static T> {
        self.get(fd).or_else(|| self.make(fd))
    }

    #[cold]
    #[inline(never)]
    fn make(&self, fd: i32) -> Option<&'static T> {
        let (chunk, _, entries) = self.chunk(fd)?;
        if chunk::make::<T, M>(chunk, entries) { self.get(fd) } else { None }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use crate::kernel::tests::Heap;

    use super::{AtomicU64, END, FAR, NEAR, NEAR_END, Numbers, Ordering};

    #[test]
    fn each_number_has_an_entry_of_its_own() {
        static NUMBERS: Numbers<AtomicU64, Heap> = Numbers::new();
        let bounds = [0, NEAR, NEAR_END, NEAR_END + FAR, END];
        let around = bounds.iter().flat_map(|bound| [*bound as i32 - 1, *bound as i32]);
        let valid: Vec<i32> = around.filter(|fd| (0..END as i32).contains(fd)).collect();
        for fd in &valid {
            NUMBERS.get_or_make(*fd).unwrap().store(*fd as u64 + 1, Ordering::Relaxed);
        }
        for fd in &valid {
            assert_eq!(NUMBERS.get(*fd).unwrap().load(Ordering::Relaxed), *fd as u64 + 1);
        }
        for fd in [-1, i32::MIN, END as i32, i32::MAX] {
            assert!(NUMBERS.get_or_make(fd).is_none(), "{fd}");
        }
    }
}
