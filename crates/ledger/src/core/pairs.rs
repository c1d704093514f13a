//! An index of the interests that share a description with others: it finds the interest of an
//! instance in a number, however many instances watch the same file, and however many files the
//! instance watches.
//!
//! The first interest in a description usually lies in the description's own record and is found
//! there. The index has all others. Their records have a description half that nobody uses: the
//! links of the index lie there. So the index costs the plain case nothing, and the others 4 to 8
//! bytes each.
//!
//! It is a hash table that grows by one bucket at a time (W. Litwin, "Linear hashing: a new tool
//! for file and table addressing", VLDB 1980): no insertion moves more than one bucket.

use core::marker::PhantomData;

use crate::sync::{AtomicPtr, AtomicU32, Ordering};

use super::Core;
use crate::records::{Interest, Watch, Word};
use crate::{Kernel, Memory, Observer, chunk};

/// Buckets in a chunk. The first chunk is in use as a whole.
const CHUNK: u32 = 4096;
/// As many buckets as there can be interests (`super::LargePool`).
const CHUNKS: usize = 2048;

/// Each bucket holds the index of its first record; 0: none.
pub(super) struct Pairs<M> {
    /// Interests in the index.
    count: Word,
    /// Buckets in use; 0: none yet.
    buckets: Word,
    chunks: [AtomicPtr<AtomicU32>; CHUNKS],
    memory: PhantomData<fn() -> M>,
}

impl<M: Memory> Pairs<M> {
    pub const fn new() -> Self {
        Pairs {
            count: Word::new(),
            buckets: Word::new(),
            chunks: [const { AtomicPtr::new(core::ptr::null_mut()) }; CHUNKS],
            memory: PhantomData,
        }
    }

    fn bucket(&self, number: u32) -> Option<&AtomicU32> {
        // Acquire: pairs with the Release in `chunk::make`. The kernel zeroed the chunk before its
        // pointer was stored.
        let chunk = self.chunks.get((number / CHUNK) as usize)?.load(Ordering::Acquire);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: `grow` mapped CHUNK words there, and they are never unmapped.
        Some(unsafe { &*chunk.add((number % CHUNK) as usize) })
    }

    /// The number of the bucket that a pair belongs to while `buckets` are in use.
    fn number(instance: u32, fd: i32, buckets: u32) -> u32 {
        let pair = u64::from(instance) << 32 | u64::from(fd as u32);
        // Fibonacci hashing: the upper half of the product is the mixed one.
        let hash = (pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
        let round = buckets.checked_next_power_of_two().unwrap_or(0);
        let number = hash & round.wrapping_sub(1);
        if number < buckets { number } else { hash & (round / 2).wrapping_sub(1) }
    }

    #[inline(always)]
    fn bucket_of(&self, instance: u32, fd: i32) -> Option<&AtomicU32> {
        match self.buckets.get() {
            0 => None,
            buckets => self.bucket(Self::number(instance, fd, buckets)),
        }
    }

    /// Whether few buckets are left that have memory and are not in use.
    pub fn is_short(&self) -> bool {
        self.bucket(self.buckets.get().saturating_add(CHUNK / 4)).is_none()
    }

    /// Maps memory for more buckets if few are left. Not under the lock. False: there is no memory,
    /// or no room.
    pub fn grow(&self) -> bool {
        while self.is_short() {
            let number = self.buckets.get().saturating_add(CHUNK / 4);
            let chunks = self.chunks.iter().take((number / CHUNK) as usize + 1);
            let Some(chunk) = chunks.into_iter().find(|chunk| chunk.load(Ordering::Relaxed).is_null()) else {
                return false;
            };
            if !chunk::make::<AtomicU32, M>(chunk, CHUNK as usize) {
                return false;
            }
        }
        true
    }

    /// One more bucket, empty. None: there is no memory for it, or no room.
    fn add_bucket(&self) -> Option<&AtomicU32> {
        let number = self.buckets.get();
        let bucket = self.bucket(number)?;
        // `clear` leaves what was there.
        bucket.store(0, Ordering::Relaxed);
        self.buckets.set(number + 1);
        Some(bucket)
    }

    /// Makes sure that the index has buckets. False: there is no memory for them.
    pub fn begin(&self) -> bool {
        while self.buckets.get() < CHUNK {
            if self.add_bucket().is_none() {
                return false;
            }
        }
        true
    }

    /// Forgets all pairs.
    pub fn clear(&self) {
        self.count.set(0);
        self.buckets.set(0);
    }
}

impl<K: Kernel, O: Observer> Core<K, O> {
    /// Inserts an interest into the index. [`Pairs::begin`] has returned true before.
    #[cold]
    #[inline(never)]
    pub(super) fn enter_pair(&self, index: u32) {
        let Some(record) = self.records.get(index) else { return };
        let interest = &record.interest;
        let Some(bucket) = self.pairs.bucket_of(interest.instance(), interest.fd()) else { return };
        self.push_pair(bucket, record, index);
        self.pairs.count.set(self.pairs.count.get() + 1);
        if self.pairs.count.get() > self.pairs.buckets.get() {
            self.split();
            self.look_at_memory();
        }
    }

    fn push_pair(&self, bucket: &AtomicU32, record: &Watch, index: u32) {
        record.set_next_pair(bucket.load(Ordering::Relaxed));
        // Release: pairs with the Acquire in `find_pair`. Readers without the lock see the link
        // above.
        bucket.store(index, Ordering::Release);
    }

    /// Removes an interest from the index.
    #[cold]
    #[inline(never)]
    pub(super) fn leave_pair(&self, index: u32) {
        let Some(record) = self.records.get(index) else { return };
        let interest = &record.interest;
        let Some(bucket) = self.pairs.bucket_of(interest.instance(), interest.fd()) else { return };
        let next = record.next_pair();
        if bucket.load(Ordering::Relaxed) == index {
            bucket.store(next, Ordering::Relaxed);
        } else {
            let mut at = bucket.load(Ordering::Relaxed);
            loop {
                let Some(before) = self.records.get(at) else { return };
                at = before.next_pair();
                if at == index {
                    before.set_next_pair(next);
                    break;
                }
            }
        }
        self.pairs.count.set(self.pairs.count.get().saturating_sub(1));
    }

    /// Adds a bucket, and moves to it what belongs there now. That comes from one other bucket.
    #[cold]
    fn split(&self) {
        let number = self.pairs.buckets.get();
        let half = number.checked_ilog2().map_or(0, |exponent| 1 << exponent);
        let Some(from) = self.pairs.bucket(number - half) else { return };
        let Some(to) = self.pairs.add_bucket() else { return };
        let buckets = self.pairs.buckets.get();
        let mut at = from.swap(0, Ordering::Relaxed);
        while let Some(record) = self.records.get(at) {
            let next = record.next_pair();
            let (instance, fd) = (record.interest.instance(), record.interest.fd());
            let is_moved = Pairs::<K>::number(instance, fd, buckets) == number;
            self.push_pair(if is_moved { to } else { from }, record, at);
            at = next;
        }
    }

    /// The interest of an instance in a description under a number, if it is in the index. Without
    /// the lock it may miss one whose bucket is split at that moment.
    pub(super) fn find_pair(&self, instance: u32, fd: i32, description: u32) -> Option<(u32, &'static Interest)> {
        let mut at = self.pairs.bucket_of(instance, fd)?.load(Ordering::Acquire);
        for _ in 0..self.records.end() {
            let record = self.records.get(at)?;
            let interest = &record.interest;
            if interest.key.are(instance, fd as u32) && interest.description() == description && interest.is_live() {
                return Some((at, interest));
            }
            at = record.next_pair();
        }
        None
    }

    /// How many interests are in the index. Each is found there.
    #[cfg(test)]
    pub(super) fn check_pairs(&self) -> u32 {
        let mut found = 0;
        for number in 0..self.pairs.buckets.get() {
            let mut at = self.pairs.bucket(number).map_or(0, |bucket| bucket.load(Ordering::Relaxed));
            while let Some(record) = self.records.get(at) {
                let interest = &record.interest;
                let (instance, fd, description) = (interest.instance(), interest.fd(), interest.description());
                assert_ne!(at, description, "an interest in its description's own record is not in the index");
                assert_eq!(self.find_pair(instance, fd, description).map(|one| one.0), Some(at));
                found += 1;
                at = record.next_pair();
            }
        }
        assert_eq!(found, self.pairs.count.get());
        found
    }
}
