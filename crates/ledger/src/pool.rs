//! Records in chunks of memory that is never unmapped: an index stays valid forever.
//!
//! The holder of the ledger's lock allocates and releases records, from memory that is mapped
//! already. [`Pool::grow`] maps more, without the lock. Any thread may call `get` at any time. That
//! is sound because a record's memory never becomes anything else than a record of atomics: a
//! reader that lost a race reads a record that was reused, never other memory.

use core::marker::PhantomData;

use crate::sync::{AtomicPtr, AtomicU32, Ordering};
use crate::{Memory, chunk};

/// A record made of atomics only, for which zero bytes are a valid, empty value.
///
/// # Safety
/// The type consists of atomics only, and zero bytes are a valid value of it.
pub unsafe trait Record: Sync + 'static {
    /// A field that the pool may use while the record is free.
    fn link(&self) -> &AtomicU32;
}

/// Up to `CHUNKS * CHUNK` records. Index 0 is never allocated and stands for "none".
///
/// The order of the fields matters: fields that change lie apart from those that are only read. Of
/// the latter the first chunk comes first, which most programs never fill.
#[repr(C)]
pub struct Pool<T: 'static, M, const CHUNKS: usize, const CHUNK: u32> {
    free: AtomicU32,
    /// The highest index that was ever allocated.
    last: AtomicU32,
    chunks: [AtomicPtr<T>; CHUNKS],
    /// Records of lower indices have memory. 0: none has.
    ready: AtomicU32,
    _to_the_next_word: u32,
    memory: PhantomData<fn() -> M>,
}

impl<T: Record, M: Memory, const CHUNKS: usize, const CHUNK: u32> Pool<T, M, CHUNKS, CHUNK> {
    pub const fn new() -> Self {
        Pool {
            free: AtomicU32::new(0),
            last: AtomicU32::new(0),
            chunks: [const { AtomicPtr::new(core::ptr::null_mut()) }; CHUNKS],
            ready: AtomicU32::new(0),
            _to_the_next_word: 0,
            memory: PhantomData,
        }
    }

    /// The record of an index that was ever allocated.
    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<&'static T> {
        if index == 0 {
            return None;
        }
        // Acquire: pairs with the Release in `chunk::make`. The kernel zeroed the chunk's pages
        // before the pointer was stored.
        let chunk = self.chunks.get((index / CHUNK) as usize)?.load(Ordering::Acquire);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: a chunk holds CHUNK valid records and is never unmapped.
        Some(unsafe { &*chunk.add((index % CHUNK) as usize) })
    }

    /// The same without a test. Index 0 is allowed: its record belongs to nothing, and what is
    /// written there is never read. So a caller that writes to the neighbours in a list needs no
    /// branch.
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

    /// Allocates a record, with the content that it had when it was released. Calls `extends` if
    /// the record was never allocated before. Under the lock only.
    #[inline(always)]
    pub fn allocate(&self, extends: impl FnOnce()) -> Option<(u32, &'static T)> {
        let index = self.free.load(Ordering::Relaxed);
        if let Some(record) = self.get(index) {
            self.free.store(record.link().load(Ordering::Relaxed), Ordering::Relaxed);
            return Some((index, record));
        }
        extends();
        self.extend()
    }

    #[cold]
    #[inline(never)]
    fn extend(&self) -> Option<(u32, &'static T)> {
        let index = self.last.load(Ordering::Relaxed) + 1;
        let record = self.get(index)?;
        self.last.store(index, Ordering::Relaxed);
        Some((index, record))
    }

    /// Whether few records are left that have memory and were never allocated.
    #[inline(always)]
    pub fn is_short(&self) -> bool {
        self.spare() < CHUNK / 4
    }

    /// Whether so few are left that the waiting changes may need more.
    pub fn is_nearly_out(&self) -> bool {
        self.spare() < CHUNK / 16
    }

    fn spare(&self) -> u32 {
        self.ready.load(Ordering::Relaxed).saturating_sub(self.end())
    }

    /// Maps memory for more records if few are left. Not under the lock. False: there is no memory,
    /// or the pool is full.
    pub fn grow(&self) -> bool {
        while self.is_short() {
            let ready = self.ready.load(Ordering::Relaxed);
            let Some(chunk) = self.chunks.get((ready / CHUNK) as usize) else { return false };
            if !chunk::make::<T, M>(chunk, CHUNK as usize) {
                return false;
            }
            // Relaxed: a reader finds a record's chunk by `get`, which is Acquire. If two threads
            // map the chunk at once, the second exchange fails.
            let _ = self.ready.compare_exchange(ready, ready + CHUNK, Ordering::Relaxed, Ordering::Relaxed);
        }
        true
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
