//! Records in chunks that the kernel gives and nobody takes back: an index stays valid for ever.
//!
//! Allocation and release happen under the ledger's lock; `get` may be called by any thread at any time.
//! Type-stable memory of atomics is what makes that sound: a reader that lost a race reads a record that means
//! something else by now, never memory that is something else.

use core::marker::PhantomData;

use crate::Memory;
use crate::sync::{AtomicPtr, AtomicU32, Ordering};

/// A record made of atomics only, for which all-zero bytes are a valid, empty one.
///
/// # Safety
/// The implementor promises the above.
pub unsafe trait Record: Sync + 'static {
    /// A field that the pool may use while the record is free.
    fn link(&self) -> &AtomicU32;
}

/// Up to `CHUNKS * CHUNK` records; index 0 is never given out and stands for "none".
///
/// In this order: what changes lies apart from what is only read, and of this the first chunk, which most programs never fill, comes
/// first.
#[repr(C)]
pub struct Pool<T: 'static, M, const CHUNKS: usize, const CHUNK: u32> {
    free: AtomicU32,
    /// The highest index given out so far.
    last: AtomicU32,
    chunks: [AtomicPtr<T>; CHUNKS],
    memory: PhantomData<fn() -> M>,
}

impl<T: Record, M: Memory, const CHUNKS: usize, const CHUNK: u32> Pool<T, M, CHUNKS, CHUNK> {
    pub const fn new() -> Self {
        Pool {
            free: AtomicU32::new(0),
            last: AtomicU32::new(0),
            chunks: [const { AtomicPtr::new(core::ptr::null_mut()) }; CHUNKS],
            memory: PhantomData,
        }
    }

    /// The record of an index that was given out at some time.
    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<&'static T> {
        if index == 0 {
            return None;
        }
        // Acquire: the chunk's pages were zeroed by the kernel before the pointer was stored.
        let chunk = self.chunks.get((index / CHUNK) as usize)?.load(Ordering::Acquire);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: a chunk holds CHUNK valid records and is never unmapped.
        Some(unsafe { &*chunk.add((index % CHUNK) as usize) })
    }

    /// The same without a test. 0 is allowed, and its record is nobody's: what is written there is never read. So a list's neighbours
    /// need no branch.
    ///
    /// # Safety
    /// The index was given out at some time; of 0, that any was.
    #[inline(always)]
    pub unsafe fn given(&self, index: u32) -> &'static T {
        // SAFETY: by this function's contract the chunk is one of them, and is there; it holds CHUNK valid records and is never unmapped.
        // (The first begins with a record that is never given out.)
        unsafe {
            let chunk = self.chunks.get_unchecked((index / CHUNK) as usize).load(Ordering::Acquire);
            core::hint::assert_unchecked(!chunk.is_null());
            &*chunk.add((index % CHUNK) as usize)
        }
    }

    /// The record that `take` would take; 0: none is free. Under the lock only.
    #[inline(always)]
    pub fn next_free(&self) -> u32 {
        self.free.load(Ordering::Relaxed)
    }

    /// Takes the record of `next_free` for a new purpose. Under the lock only.
    #[inline(always)]
    pub fn take(&self, record: &T) {
        self.free.store(record.link().load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// A record for a new purpose, with the content that it had when it was released. Under the lock only.
    #[inline(always)]
    pub fn allocate(&self) -> Option<(u32, &'static T)> {
        let index = self.free.load(Ordering::Relaxed);
        if let Some(record) = self.get(index) {
            self.free.store(record.link().load(Ordering::Relaxed), Ordering::Relaxed);
            return Some((index, record));
        }
        self.extend()
    }

    #[cold]
    #[inline(never)]
    fn extend(&self) -> Option<(u32, &'static T)> {
        let index = self.last.load(Ordering::Relaxed) + 1;
        let chunk = self.chunks.get((index / CHUNK) as usize)?;
        if chunk.load(Ordering::Relaxed).is_null() {
            let start = M::map(CHUNK as usize * size_of::<T>())?;
            chunk.store(start.cast(), Ordering::Release);
        }
        self.last.store(index, Ordering::Relaxed);
        Some((index, self.get(index)?))
    }

    /// Under the lock only, and once for each allocation. `record` is that of `index`.
    #[inline(always)]
    pub fn release(&self, index: u32, record: &T) {
        record.link().store(self.free.load(Ordering::Relaxed), Ordering::Relaxed);
        self.free.store(index, Ordering::Relaxed);
    }

    /// Every record that was ever given out, in use or free.
    pub fn all(&self) -> impl Iterator<Item = (u32, &'static T)> {
        (1..self.end()).filter_map(|index| Some((index, self.get(index)?)))
    }

    /// No record is free any more, until it is released. Under the lock only.
    pub fn forget_free(&self) {
        self.free.store(0, Ordering::Relaxed);
    }

    /// One more than the highest index given out so far.
    pub fn end(&self) -> u32 {
        self.last.load(Ordering::Relaxed) + 1
    }
}
