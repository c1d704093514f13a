//! Records in chunks of memory that is never unmapped: an index stays valid for ever.
//!
//! Allocation and release happen under the ledger's lock. Any thread may call `get` at any time.
//! That is sound because the memory is type-stable and made of atomics: a reader that lost a race
//! reads a record that was reused, never memory of another type.

use core::marker::PhantomData;

use crate::Memory;
use crate::sync::{AtomicPtr, AtomicU32, Ordering};

/// A record made of atomics only, for which zero bytes are a valid, empty value.
///
/// # Safety
/// The implementor promises the above.
pub unsafe trait Record: Sync + 'static {
    /// A field that the pool may use while the record is free.
    fn link(&self) -> &AtomicU32;
}

/// Up to `CHUNKS * CHUNK` records. Index 0 is never allocated and stands for "none".
///
/// The order of the fields matters: what changes lies apart from what is only read. Of the latter
/// the first chunk comes first, which most programs never fill.
#[repr(C)]
pub struct Pool<T: 'static, M, const CHUNKS: usize, const CHUNK: u32> {
    free: AtomicU32,
    /// The highest index that was ever allocated.
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

    /// The record of an index that was ever allocated.
    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<&'static T> {
        if index == 0 {
            return None;
        }
        // Acquire: pairs with the Release in `extend`. The kernel zeroed the chunk's pages before
        // the pointer was stored.
        let chunk = self.chunks.get((index / CHUNK) as usize)?.load(Ordering::Acquire);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: a chunk holds CHUNK valid records and is never unmapped.
        Some(unsafe { &*chunk.add((index % CHUNK) as usize) })
    }

    /// The same without a test. Index 0 is allowed: its record belongs to nothing, and what is
    /// written there is never read. So the neighbours in a list need no branch.
    ///
    /// # Safety
    /// The index was allocated at some time. For 0: any index was.
    #[inline(always)]
    pub unsafe fn given(&self, index: u32) -> &'static T {
        // SAFETY: the caller promises that the index was allocated, so its chunk is mapped. A chunk
        // holds CHUNK valid records and is never unmapped. (The first record of the first chunk is
        // never allocated.)
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

    /// Takes the record of `next_free` for a new use. Under the lock only.
    #[inline(always)]
    pub fn take(&self, record: &T) {
        self.free.store(record.link().load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// A record for a new use, with the content that it had when it was released. Under the lock
    /// only.
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

    /// Under the lock only, and once for each allocation. `record` is the record of `index`.
    #[inline(always)]
    pub fn release(&self, index: u32, record: &T) {
        record.link().store(self.free.load(Ordering::Relaxed), Ordering::Relaxed);
        self.free.store(index, Ordering::Relaxed);
    }

    /// Every record that was ever allocated, in use or free.
    pub fn all(&self) -> impl Iterator<Item = (u32, &'static T)> {
        (1..self.end()).filter_map(|index| Some((index, self.get(index)?)))
    }

    /// Empties the list of free records. Under the lock only.
    pub fn forget_free(&self) {
        self.free.store(0, Ordering::Relaxed);
    }

    /// One more than the highest index that was ever allocated.
    pub fn end(&self) -> u32 {
        self.last.load(Ordering::Relaxed) + 1
    }
}
