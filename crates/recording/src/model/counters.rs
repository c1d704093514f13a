//! What a thread has counted, and the sums of several threads.

use std::collections::BTreeMap;

use epollshim_format::call::Call;
use epollshim_format::recording::thread;
use epollshim_format::{errno, histogram};

use super::Record;

#[derive(Default)]
pub struct Thread {
    pub tid: u64,
    pub counters: Counters,
    /// Records that were begun.
    pub begun: u64,
    /// Complete records in the file.
    pub seen: u64,
    pub overwritten: u64,
    /// Records that were dropped, if every record is kept.
    pub dropped: u64,
    /// Records that were begun and not finished: the thread was in the call, or the file is damaged
    /// there.
    pub unfinished: u64,
    /// CLOCK_MONOTONIC at the end of the last wait that could block. 0: the thread is in such a
    /// wait, or has made a wait that cannot block since.
    pub last_wait_end: u64,
    /// Nanoseconds of processor time, and `Counters::polled`, when the last row of the series was
    /// written.
    pub processor_time: u64,
    pub polled_then: u64,
    /// The records by time. Only the last ones if there are more than are held
    /// ([`crate::records::HELD`]).
    pub records: Vec<Record>,
}

impl Thread {
    /// Calls that were counted but have no record: they are in progress, or were left by a
    /// cancellation or a jump.
    pub fn left(&self) -> u64 {
        self.counters.all_calls().saturating_sub(self.begun)
    }

    pub fn is_in_wait(&self) -> bool {
        self.last_wait_end == 0 && self.counters.of(&Call::WAITS).calls > self.counters.ended()
    }

    /// Whether there were records before the first one that is held.
    pub fn lacks_the_beginning(&self) -> bool {
        self.overwritten > 0 || self.seen > self.records.len() as u64
    }
}

/// Counters of a thread, or sums of several.
#[derive(Clone, Default)]
pub struct Counters {
    pub calls: [CallCounters; Call::COUNT],
    pub empty: u64,
    /// Empty waits that could not block, and empty waits with a timeout of 1 ms.
    pub polled: u64,
    pub short: u64,
    pub full: u64,
    pub kinds: [u64; thread::KIND_NAMES.len()],
    pub blocked: [Histogram; Call::WAITS.len()],
    pub work: Histogram,
    pub batch: Histogram,
}

#[derive(Clone, Default)]
pub struct CallCounters {
    pub calls: u64,
    pub injected: u64,
    pub limited: u64,
    /// Calls that were not made, because a fault returned a value instead.
    pub made_up: u64,
    /// Failures by error number. 0: a number without a name.
    pub errors: BTreeMap<u32, u64>,
}

impl CallCounters {
    pub fn failures(&self) -> u64 {
        self.errors.values().fold(0, |sum, times| sum.saturating_add(*times))
    }

    pub fn add(&mut self, other: &CallCounters) {
        self.calls = self.calls.saturating_add(other.calls);
        self.injected = self.injected.saturating_add(other.injected);
        self.limited = self.limited.saturating_add(other.limited);
        self.made_up = self.made_up.saturating_add(other.made_up);
        for (error, times) in &other.errors {
            let sum = self.errors.entry(*error).or_default();
            *sum = sum.saturating_add(*times);
        }
    }
}

impl Counters {
    pub fn add(&mut self, other: &Counters) {
        self.calls.iter_mut().zip(&other.calls).for_each(|(sum, more)| sum.add(more));
        self.empty = self.empty.saturating_add(other.empty);
        self.polled = self.polled.saturating_add(other.polled);
        self.short = self.short.saturating_add(other.short);
        self.full = self.full.saturating_add(other.full);
        for (sum, more) in self.kinds.iter_mut().zip(other.kinds) {
            *sum = sum.saturating_add(more);
        }
        self.blocked.iter_mut().zip(&other.blocked).for_each(|(sum, more)| sum.add(more));
        self.work.add(&other.work);
        self.batch.add(&other.batch);
    }

    /// The sums of the counters of several calls.
    pub fn of(&self, calls: &[Call]) -> CallCounters {
        let mut sum = CallCounters::default();
        for call in calls {
            if let Some(counters) = self.calls.get(*call as usize) {
                sum.add(counters);
            }
        }
        sum
    }

    pub fn successes(&self, call: Call) -> u64 {
        let counters = self.of(&[call]);
        counters.calls.saturating_sub(counters.failures()).saturating_sub(counters.made_up)
    }

    pub fn blocked(&self) -> Histogram {
        let mut sum = Histogram::default();
        self.blocked.iter().for_each(|more| sum.add(more));
        sum
    }

    /// Nanoseconds blocked in one call. None: this call is not timed.
    pub fn blocked_in(&self, call: Call) -> Option<&Histogram> {
        let place = Call::WAITS.iter().position(|wait| *wait == call)?;
        self.blocked.get(place)
    }

    pub fn interrupted(&self) -> u64 {
        self.of(&Call::WAITS).errors.get(&errno::number("EINTR").unwrap_or(4)).copied().unwrap_or(0)
    }

    /// Waits that have returned.
    pub fn ended(&self) -> u64 {
        self.empty.saturating_add(self.batch.count()).saturating_add(self.of(&Call::WAITS).failures())
    }

    pub fn all_calls(&self) -> u64 {
        self.of(&Call::ALL).calls
    }
}

/// An empty histogram has no buckets.
#[derive(Clone, Default)]
pub struct Histogram {
    pub buckets: Vec<u64>,
    pub sum: u64,
    pub max: u64,
}

/// A histogram in six numbers. The quantiles are None if nothing was recorded.
pub struct Summary {
    pub count: u64,
    pub sum: u64,
    pub quantiles: Option<Quantiles>,
}

#[derive(Clone, Copy)]
pub struct Quantiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
}

impl Histogram {
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub fn add(&mut self, other: &Histogram) {
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            for (sum, more) in self.buckets.iter_mut().zip(&other.buckets) {
                *sum = sum.saturating_add(*more);
            }
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// The number of values up to and including the bucket of `value`.
    pub fn up_to(&self, value: u64) -> u64 {
        let buckets = self.buckets.get(..=histogram::bucket(value)).unwrap_or_default();
        buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub fn summary(&self) -> Summary {
        let count = self.count();
        let at = |per_mille| histogram::quantile(self.buckets.iter().copied(), count, self.max, per_mille).unwrap_or(0);
        let quantiles = (count != 0).then(|| Quantiles { p50: at(500), p90: at(900), p99: at(990), max: self.max });
        Summary { count, sum: self.sum, quantiles }
    }
}
