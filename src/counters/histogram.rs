//! Histograms that one thread writes, and any thread reads.

use crate::sync::{AtomicU64, Ordering};

use epollshim_format::histogram;
use epollshim_ledger::records::Counter;

use super::own::OwnCounter;

/// A log-linear histogram (buckets of `epollshim_format::histogram`) that one thread writes. Its
/// two parts lie apart: what each value changes lies next to what other values change.
#[derive(Clone, Copy)]
pub struct Histogram<'counters> {
    pub(super) top: &'counters Top,
    pub(super) buckets: &'counters Buckets,
}

/// The sum of a histogram's values, and the highest one.
#[repr(C)]
pub struct Top {
    pub(super) sum: Counter,
    max: AtomicU64,
}

const _: () = assert!(histogram::bucket(u64::MAX) < histogram::BUCKETS);

pub type Buckets = [Counter; histogram::BUCKETS];

impl Histogram<'_> {
    pub fn record(self, value: u64) {
        // SAFETY: the bucket of any value exists. The bucket's index grows with the value, and the
        // bucket of the highest value exists (asserted).
        unsafe { self.buckets.get_unchecked(histogram::bucket(value)) }.bump();
        self.top.sum.add(value);
        if !self.has_reached(value) {
            self.reach(value);
        }
    }

    /// Whether [`Counters::record_batch`](super::Counters::record_batch) accepts a value.
    #[inline(always)]
    pub fn has_reached_small(self, value: u64) -> bool {
        value < histogram::EXACT && self.has_reached(value)
    }

    /// Whether this value or a greater one was recorded.
    #[inline(always)]
    pub fn has_reached(self, value: u64) -> bool {
        value <= self.top.max.load(Ordering::Relaxed)
    }

    /// An atomic read-modify-write, because a handler may interrupt between the test and the store.
    /// It is rare.
    #[cold]
    #[inline(never)]
    fn reach(self, value: u64) {
        self.top.max.fetch_max(value, Ordering::Relaxed);
    }

    pub fn bucket(self, index: usize) -> u64 {
        self.buckets.get(index).map_or(0, Counter::get)
    }

    #[inline(always)]
    pub fn sum(self) -> u64 {
        self.top.sum.get()
    }

    pub fn max(self) -> u64 {
        self.top.max.load(Ordering::Relaxed)
    }

    #[cold]
    #[inline(never)]
    pub(super) fn clear(self) {
        self.buckets.iter().for_each(Counter::clear);
        self.top.sum.clear();
        self.top.max.store(0, Ordering::Relaxed);
    }
}
