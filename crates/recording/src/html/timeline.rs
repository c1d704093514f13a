//! What the plots over time show: live watches and instances, and the rate of calls.

use crate::Set;
use crate::model::{Moment, Thread};
use crate::series::{Live, Series};

/// The most columns of a line. More than there are pixels would not be visible.
const COLUMNS: usize = 300;
const BINS: usize = 60;

/// A point: nanoseconds since the first one, and a value.
pub(super) type Point = (u64, f64);

pub struct Lives {
    pub watches: Vec<Point>,
    pub instances: Vec<Point>,
    pub vague: bool,
}

/// The live watches and instances of all processes over time.
pub fn lives(set: &Set) -> Lives {
    let mut changes: Vec<(u64, usize, Live)> = Vec::new();
    let mut vague = false;
    let mut late: Option<u64> = None;
    for (index, process) in set.processes.iter().enumerate() {
        let series = Series::of(process);
        vague |= series.vague;
        let begins = series.points.first().map(|(at, _)| *at);
        late = late.max(begins.filter(|at| *at > process.header.began));
        changes.extend(series.points.iter().map(|(at, live)| (*at, index, *live)));
        // A process that has ended has nothing alive.
        if let Some((at, _)) = series.points.last()
            && !process.runs
            && set.processes.len() > 1
        {
            changes.push((*at, index, Live::default()));
        }
    }
    changes.sort_by_key(|(at, index, _)| (*at, *index));
    // The sum is known only from the time on at which every process's own numbers are.
    let first = late.or(changes.first().map(|(at, ..)| *at)).unwrap_or(0);
    let mut now = vec![Live::default(); set.processes.len()];
    let (mut watches, mut instances) = (0u64, 0u64);
    let mut lives = Lives { watches: Vec::new(), instances: Vec::new(), vague };
    for (at, index, live) in changes {
        let Some(own) = now.get_mut(index) else { continue };
        watches = (watches + live.watches).saturating_sub(own.watches);
        instances = (instances + live.instances).saturating_sub(own.instances);
        *own = live;
        if at < first {
            // Until then, only the current sums are kept.
            lives = Lives { watches: vec![(0, watches as f64)], instances: vec![(0, instances as f64)], vague };
            continue;
        }
        lives.watches.push((at - first, watches as f64));
        lives.instances.push((at - first, instances as f64));
    }
    lives.watches = thinned(lives.watches);
    lives.instances = thinned(lives.instances);
    lives
}

/// Keeps the highest and the last point of each column.
fn thinned(points: Vec<Point>) -> Vec<Point> {
    let Some((last, _)) = points.last().copied() else { return points };
    if points.len() <= 2 * COLUMNS {
        return points;
    }
    let column = |at: u64| (u128::from(at) * COLUMNS as u128 / (u128::from(last) + 1)) as usize;
    let mut thin: Vec<Point> = Vec::new();
    let mut highest: Option<Point> = None;
    for (index, point) in points.iter().enumerate() {
        if highest.is_none_or(|(_, most)| point.1 > most) {
            highest = Some(*point);
        }
        let next = points.get(index + 1);
        if next.is_none_or(|(at, _)| column(*at) != column(point.0)) {
            thin.extend(highest.filter(|highest| highest.0 != point.0));
            thin.push(*point);
            highest = None;
        }
    }
    thin
}

/// Calls per second over the whole run, from the coarse series of each process.
fn rate_of_series(set: &Set) -> Vec<Point> {
    let rows = || set.processes.iter().flat_map(|process| process.series.windows(2));
    let bounds = |at: fn(&[Moment]) -> Option<&Moment>| rows().filter_map(at).map(|moment| moment.at);
    let (Some(first), Some(last)) = (bounds(|pair| pair.first()).min(), bounds(|pair| pair.last()).max()) else {
        return Vec::new();
    };
    let width = (last.saturating_sub(first) / BINS as u64).max(1).saturating_add(1);
    let mut bins = vec![0.0; BINS];
    for pair in rows() {
        let [before, after] = pair else { continue };
        let calls = after.calls.saturating_sub(before.calls) as f64;
        let lasted = after.at.saturating_sub(before.at).max(1) as f64;
        for (index, bin) in bins.iter_mut().enumerate() {
            let begins = first.saturating_add(width.saturating_mul(index as u64));
            let (from, to) = (before.at.max(begins), after.at.min(begins.saturating_add(width)));
            *bin += calls * to.saturating_sub(from) as f64 / lasted;
        }
    }
    let rate = |count: f64| count * 1e9 / width as f64;
    bins.iter().enumerate().map(|(bin, count)| (width.saturating_mul(bin as u64) + width / 2, rate(*count))).collect()
}

/// Calls per second. If each process has a coarse series and some records are lost, over the whole
/// run; otherwise from the time on at which every thread has records.
pub fn rate(set: &Set) -> Vec<Point> {
    let has_series = set.processes.iter().all(|process| process.series.len() > 2);
    let is_left = set.processes.iter().flat_map(|process| &process.threads).any(Thread::lacks_the_beginning);
    if has_series && is_left {
        return rate_of_series(set);
    }
    let threads = || set.processes.iter().flat_map(|process| &process.threads);
    let all = || threads().flat_map(|thread| &thread.records).map(|record| record.began);
    let wrapped = threads().filter(|thread| thread.lacks_the_beginning());
    let Some(last) = all().max() else { return Vec::new() };
    let earliest = wrapped.filter_map(|thread| thread.records.first()).map(|record| record.began).max();
    // If a thread's first record is the last of all, the plot shows the gap of that thread and not
    // only a moment of the others.
    let Some(first) = earliest.filter(|first| *first < last).or(all().min()) else { return Vec::new() };
    let width = ((last - first) / BINS as u64).max(1).saturating_add(1);
    let mut bins = vec![0u64; BINS];
    for began in all().filter(|began| *began >= first) {
        if let Some(bin) = bins.get_mut(((began - first) / width) as usize) {
            *bin += 1;
        }
    }
    let rate = |count: u64| count as f64 * 1e9 / width as f64;
    bins.iter().enumerate().map(|(bin, count)| (width.saturating_mul(bin as u64) + width / 2, rate(*count))).collect()
}

#[cfg(test)]
mod tests {
    use super::{lives, thinned};
    use crate::Set;
    use crate::model::{Counters, Process, Record, Thread};
    use epollshim_format::call::Call;
    use epollshim_format::function::Function;

    /// A process that began at 0 and created one instance and one watch at these times.
    /// `overwritten` is the number of earlier records, which are lost.
    fn process(times: [u64; 2], overwritten: u64) -> Process {
        let call = |number: u64, function, operation| Record {
            number,
            began: times[number as usize],
            duration: 0,
            function: Some(function),
            flags: 0,
            operation,
            errno: 0,
            result: if operation == 0 { 3 } else { 0 },
            first: 3,
            second: 5,
            extra: 0,
            caller: 0,
        };
        let mut counters = Counters::default();
        counters.calls[Call::CtlAdd as usize].calls = 1 + overwritten;
        counters.calls[Call::Create1 as usize].calls = 1;
        let records = vec![call(0, Function::EpollCreate1, 0), call(1, Function::EpollCtl, 1)];
        let thread = Thread { counters, overwritten, records, ..Thread::default() };
        let mut process = Process { duration: 1000, threads: vec![thread], ..Process::default() };
        (process.totals.instances, process.totals.watches) = (1, 1);
        process
    }

    #[test]
    fn the_lines_of_several_processes_begin_where_all_of_them_are_known() {
        let whole = Set { processes: vec![process([10, 20], 0), process([30, 40], 0)], ..Set::default() };
        let all = lives(&whole).watches;
        assert_eq!((all.first(), all.last()), (Some(&(0, 0.0)), Some(&(1000, 0.0))));
        assert!(all.contains(&(20, 1.0)) && all.contains(&(40, 2.0)), "{all:?}");
        let wrapped = Set { processes: vec![process([10, 20], 0), process([500, 600], 7)], ..Set::default() };
        let late = lives(&wrapped).watches;
        assert_eq!(late.first(), Some(&(0, 1.0)), "at 500, with the first process's watch: {late:?}");
        assert!(late.contains(&(100, 2.0)) && late.last() == Some(&(500, 0.0)), "{late:?}");
    }

    #[test]
    fn a_long_line_keeps_its_peaks() {
        let points: Vec<(u64, f64)> = (0..100_000).map(|at| (at, if at == 777 { 9.0 } else { 1.0 })).collect();
        let thin = thinned(points);
        assert!(thin.len() <= 700 && thin.contains(&(777, 9.0)) && thin.last() == Some(&(99_999, 1.0)));
    }
}
