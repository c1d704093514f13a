//! What a program did between two readings of its recording. This module only computes.

use std::collections::BTreeMap;

use epollshim_format::histogram;

use crate::live::{Reading, Waiting};
use crate::model::{CallCounters, Counters, Histogram};

#[derive(Default)]
pub struct Interval {
    /// Its length in nanoseconds.
    pub length: u64,
    /// The counts within the interval.
    pub counters: Counters,
    /// The share of time, 0 to 1, for which the threads that wait were blocked. None: no thread has
    /// ever waited.
    pub blocked: Option<f64>,
}

impl Interval {
    #[must_use]
    pub fn between(earlier: &Reading, later: &Reading) -> Interval {
        Interval {
            length: later.at.saturating_sub(earlier.at),
            counters: counters(&earlier.counters, &later.counters),
            blocked: blocked(earlier, later),
        }
    }

    /// A count per second.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn rate(&self, count: u64) -> f64 {
        if self.length == 0 { 0.0 } else { count as f64 * 1e9 / self.length as f64 }
    }
}

/// An empty reading, for a recording that began after `at`.
#[must_use]
pub fn nothing_until(at: u64) -> Reading {
    Reading { at, ..Reading::default() }
}

/// The increase of a counter. If the program has reset its counters (`epollshim_reset`), the count
/// since then.
fn since(earlier: u64, later: u64) -> u64 {
    later.checked_sub(earlier).unwrap_or(later)
}

fn counters(earlier: &Counters, later: &Counters) -> Counters {
    let mut between = Counters {
        empty: since(earlier.empty, later.empty),
        full: since(earlier.full, later.full),
        work: histogram(&earlier.work, &later.work),
        batch: histogram(&earlier.batch, &later.batch),
        ..Counters::default()
    };
    for ((to, from), now) in between.calls.iter_mut().zip(&earlier.calls).zip(&later.calls) {
        *to = call(from, now);
    }
    for ((to, from), now) in between.kinds.iter_mut().zip(earlier.kinds).zip(later.kinds) {
        *to = since(from, now);
    }
    for ((to, from), now) in between.blocked.iter_mut().zip(&earlier.blocked).zip(&later.blocked) {
        *to = histogram(from, now);
    }
    between
}

fn call(earlier: &CallCounters, later: &CallCounters) -> CallCounters {
    let times = |(error, times): (&u32, &u64)| {
        let more = since(earlier.errors.get(error).copied().unwrap_or(0), *times);
        (more != 0).then_some((*error, more))
    };
    CallCounters {
        calls: since(earlier.calls, later.calls),
        injected: since(earlier.injected, later.injected),
        limited: since(earlier.limited, later.limited),
        made_up: since(earlier.made_up, later.made_up),
        errors: later.errors.iter().filter_map(times).collect(),
    }
}

/// The difference of two histograms. Its maximum is the end of the highest bucket that grew, or the
/// later maximum if that is less.
fn histogram(earlier: &Histogram, later: &Histogram) -> Histogram {
    let before = earlier.buckets.iter().copied().chain(std::iter::repeat(0));
    let buckets: Vec<u64> = later.buckets.iter().zip(before).map(|(now, before)| since(before, *now)).collect();
    let highest = buckets.iter().rposition(|count| *count != 0);
    Histogram {
        sum: since(earlier.sum, later.sum),
        max: highest.map_or(0, |bucket| histogram::highest(bucket).min(later.max)),
        buckets,
    }
}

fn blocked(earlier: &Reading, later: &Reading) -> Option<f64> {
    let length = later.at.saturating_sub(earlier.at);
    let before: BTreeMap<usize, &Waiting> = earlier.threads.iter().map(|thread| (thread.place, thread)).collect();
    let none = Waiting::default();
    let (mut blocked, mut all) = (0u64, 0u64);
    for now in later.threads.iter().filter(|thread| thread.begun != 0) {
        let before = before.get(&now.place).copied().unwrap_or(&none);
        // A thread without a wait in the interval is working, or has ended. The file does not show
        // which, so it is not counted.
        if now.is_in_wait() || now.begun != before.begun || now.ended != before.ended {
            blocked = blocked.saturating_add(blocked_of(before, earlier.at, now, later.at));
            all = all.saturating_add(length);
        }
    }
    let has_waited = later.threads.iter().any(|thread| thread.begun != 0);
    #[allow(clippy::cast_precision_loss)]
    has_waited.then(|| if all == 0 { 0.0 } else { blocked as f64 / all as f64 })
}

/// Nanoseconds that a thread was blocked between two moments. If all its waits could block, that is
/// the time minus the work between waits, which includes waits that had not ended at one of the
/// moments. Waits that cannot block are not timed, nor is the work around them. If there were any,
/// only the waits that ended are counted.
fn blocked_of(before: &Waiting, start: u64, now: &Waiting, end: u64) -> u64 {
    let length = end.saturating_sub(start);
    let ended = since(before.ended, now.ended);
    let all_timed = ended == since(before.timed, now.timed);
    let blocked = match (work_until(before, start), work_until(now, end)) {
        (Some(first), Some(last)) if all_timed => length.saturating_sub(last.saturating_sub(first)),
        _ => since(before.blocked, now.blocked),
    };
    blocked.min(length)
}

/// Nanoseconds of a thread's work between waits until a moment. None: the last wait could not
/// block.
fn work_until(thread: &Waiting, at: u64) -> Option<u64> {
    if thread.is_in_wait() {
        Some(thread.worked)
    } else if thread.last_end != 0 {
        Some(thread.worked.saturating_add(at.saturating_sub(thread.last_end)))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Interval;
    use crate::live::{Reading, Waiting};
    use crate::model::Histogram;
    use epollshim_format::histogram::{BUCKETS, bucket};

    const SECOND: u64 = 1_000_000_000;

    fn of(values: &[u64]) -> Histogram {
        let mut buckets = vec![0; BUCKETS];
        values.iter().for_each(|value| buckets[bucket(*value)] += 1);
        Histogram { buckets, sum: values.iter().sum(), max: values.iter().copied().max().unwrap_or(0) }
    }

    fn reading(at: u64, thread: Waiting) -> Reading {
        Reading { at, threads: vec![thread], ..Reading::default() }
    }

    fn share(earlier: Waiting, later: Waiting) -> Option<f64> {
        Interval::between(&reading(SECOND, earlier), &reading(2 * SECOND, later)).blocked
    }

    #[test]
    fn quantiles_are_those_of_the_interval_and_not_since_the_start() {
        let mut earlier = reading(0, Waiting::default());
        let mut later = reading(SECOND, Waiting::default());
        earlier.counters.blocked[0] = of(&[1_000_000; 500]);
        later.counters.blocked[0] = of(&[[1_000_000; 500], [10; 500]].concat());
        let between = Interval::between(&earlier, &later).counters.blocked();
        let three = between.summary().quantiles.map(|quantiles| (quantiles.p50, quantiles.p99, quantiles.max));
        assert_eq!((between.count(), between.sum, three), (500, 5000, Some((10, 10, 10))));
    }

    #[test]
    fn a_program_that_sits_in_one_long_wait_is_blocked_all_the_time() {
        let waits = Waiting { begun: 7, ended: 6, timed: 6, ..Waiting::default() };
        assert_eq!(share(waits.clone(), waits), Some(1.0));
    }

    #[test]
    fn waits_that_overlap_the_interval_count_with_their_part_in_it() {
        // It is in a wait that ends at 1.25 s, works until 1.75 s, and is in the next wait.
        let earlier = Waiting { begun: 1, worked: 0, ..Waiting::default() };
        let later = Waiting { begun: 2, ended: 1, timed: 1, worked: SECOND / 2, blocked: SECOND, ..Waiting::default() };
        assert_eq!(share(earlier.clone(), later), Some(0.5));
        // The same, but it still works at the end.
        let later =
            Waiting { begun: 1, ended: 1, timed: 1, last_end: SECOND * 5 / 4, blocked: SECOND, ..Waiting::default() };
        assert_eq!(share(earlier, later), Some(0.25));
    }

    #[test]
    fn a_loop_that_polls_is_not_blocked() {
        let earlier = Waiting { begun: 10, ended: 10, ..Waiting::default() };
        let later = Waiting { begun: 900, ended: 900, ..Waiting::default() };
        assert_eq!(share(earlier, later), Some(0.0));
    }

    #[test]
    fn a_program_that_never_waits_has_no_share() {
        assert_eq!(share(Waiting::default(), Waiting::default()), None);
    }

    #[test]
    fn counters_that_were_reset_count_from_the_reset() {
        let (mut earlier, mut later) = (Reading::default(), Reading { at: SECOND, ..Reading::default() });
        earlier.counters.calls[6].calls = 1000;
        later.counters.calls[6].calls = 30;
        earlier.counters.empty = u64::MAX;
        let between = Interval::between(&earlier, &later);
        assert_eq!((between.counters.all_calls(), between.counters.empty), (30, 0));
        assert!((between.rate(30) - 30.0).abs() < 1e-9);
    }
}
