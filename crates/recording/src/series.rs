//! Live instances and watches over time, computed from the call records.
//!
//! The rings hold only the last calls of each thread, so the state at their beginning is inferred.
//! What a call requires (a DEL or MOD that succeeds, a wait on an instance) existed when the
//! records begin. So did what is alive in the tables at the end and was created by no record.
//!
//! Watches that were removed by a close are not in the records. Such a watch counts as gone when
//! its descriptor is added again, or its instance is created again. Until then the line is too
//! high. If a ring has lost the ADD of a watch that was removed by a close, the watch is unknown,
//! and the line is too low. In both cases `vague` is set.

use std::collections::{HashMap, HashSet};

use epollshim_format::call::Call;
use epollshim_format::function::Function;

use crate::model::{Process, Record, Thread};

const ADD: u16 = 1;
const DELETE: u16 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Live {
    pub instances: u64,
    pub watches: u64,
}

#[derive(Default)]
pub struct Series {
    /// Each change: its time (CLOCK_MONOTONIC), and the numbers from then on.
    pub points: Vec<(u64, Live)>,
    /// The lines may be too high or too low, because watches or instances were removed without a
    /// record.
    pub vague: bool,
}

impl Series {
    pub fn of(process: &Process) -> Series {
        // If rings have lost changes, the state before their first records is unknown. The series
        // begins at the latest of these.
        let began = process
            .threads
            .iter()
            .filter(|thread| loses_changes(thread))
            .filter_map(|thread| thread.records.first())
            .map(|record| record.began)
            .max();
        let lost = began.is_some();
        let began = began.unwrap_or(process.header.began);
        let mut calls: Vec<&Record> = process
            .records()
            .map(|(_, record)| record)
            .filter(|record| record.end() >= began && !record.failed())
            .collect();
        if calls.is_empty() && process.instances.is_empty() {
            return Series::default();
        }
        // A call takes effect when it returns.
        calls.sort_by_key(|record| record.end());
        let mut state = State::at_first(process, &calls, began);
        // The coarse series covers the time before the records.
        let moments = process.series.iter().filter(|moment| moment.at < began);
        let before = moments.map(|moment| (moment.at, Live { instances: moment.instances, watches: moment.watches }));
        let mut series = Series { points: before.collect(), vague: false };
        series.points.push((began, state.live()));
        for record in &calls {
            state.follow(record);
            let live = state.live();
            if series.points.last().is_none_or(|(_, last)| *last != live) {
                series.points.push((record.end(), live));
            }
        }
        let last = state.live();
        series.vague = last.watches != process.totals.watches
            || last.instances != process.totals.instances
            || lost && process.totals.vanished > 0;
        let end =
            process.header.began.saturating_add(process.duration).max(calls.last().map_or(0, |record| record.end()));
        series.points.push((end, last));
        series
    }
}

/// Whether a thread made changes that its ring no longer holds: its counters have more than its
/// records.
fn loses_changes(thread: &Thread) -> bool {
    const CHANGES: [Call; 4] = [Call::Create, Call::Create1, Call::CtlAdd, Call::CtlDel];
    let changes = |record: &&Record| match record.function {
        Some(Function::EpollCtl) => matches!(record.operation, ADD | DELETE),
        Some(function) => function.creates(),
        None => false,
    };
    thread.lacks_the_beginning()
        && thread.counters.of(&CHANGES).calls > thread.records.iter().filter(changes).count() as u64
}

/// The descriptors of instances, each with the descriptors that it watches.
#[derive(Default)]
struct State {
    watched: HashMap<i32, HashSet<i32>>,
    watches: u64,
}

impl State {
    fn at_first(process: &Process, calls: &[&Record], began: u64) -> State {
        let mut state = State::default();
        let (mut made, mut added) = (HashSet::new(), HashSet::new());
        for record in calls {
            match record.function {
                Some(function) if function.creates() => drop(made.insert(record.result as i32)),
                Some(Function::EpollCtl) => {
                    if !made.contains(&record.first) {
                        state.instance(record.first);
                    }
                    let watch = (record.first, record.second);
                    if record.operation == ADD {
                        added.insert(watch);
                    } else if !added.contains(&watch) && !made.contains(&record.first) {
                        state.add(record.first, record.second);
                    }
                }
                Some(function) if function.waits() && !made.contains(&record.first) => state.instance(record.first),
                _ => {}
            }
        }
        let epfds: HashMap<u64, i32> =
            process.instances.iter().map(|instance| (instance.index, instance.epfd)).collect();
        for instance in process.instances.iter().filter(|instance| instance.began < began) {
            state.instance(instance.epfd);
        }
        for interest in &process.interests {
            if let Some(epfd) = epfds.get(&interest.instance)
                && !added.contains(&(*epfd, interest.fd))
                && !made.contains(epfd)
            {
                state.add(*epfd, interest.fd);
            }
        }
        state
    }

    fn live(&self) -> Live {
        Live { instances: self.watched.len() as u64, watches: self.watches }
    }

    fn instance(&mut self, epfd: i32) {
        self.watched.entry(epfd).or_default();
    }

    fn add(&mut self, epfd: i32, fd: i32) {
        self.watches += u64::from(self.watched.entry(epfd).or_default().insert(fd));
    }

    fn remove_instance(&mut self, epfd: i32) {
        self.watches -= self.watched.remove(&epfd).map_or(0, |fds| fds.len() as u64);
    }

    fn follow(&mut self, record: &Record) {
        match record.function {
            // The number was free, so an earlier instance with this number is gone.
            Some(function) if function.creates() => {
                self.remove_instance(record.result as i32);
                self.instance(record.result as i32);
            }
            Some(Function::EpollCtl) if record.operation == ADD => self.add(record.first, record.second),
            Some(Function::EpollCtl) if record.operation == DELETE => {
                let fds = self.watched.get_mut(&record.first);
                self.watches -= u64::from(fds.is_some_and(|fds| fds.remove(&record.second)));
            }
            Some(Function::Close) => {
                self.remove_instance(record.first);
                let gone = self.watched.values_mut().filter_map(|fds| fds.remove(&record.first).then_some(()));
                self.watches -= gone.count() as u64;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Live, Series};
    use crate::model::{CallCounters, Counters, Process, Record, Thread};
    use epollshim_format::call::Call;
    use epollshim_format::function::Function;

    fn call(began: u64, function: Function, operation: u16, first: i32, second: i32, result: i64) -> Record {
        Record {
            number: began,
            began,
            duration: 1,
            function: Some(function),
            flags: 0,
            operation,
            errno: 0,
            result,
            first,
            second,
            extra: 0,
            caller: 0,
        }
    }

    fn lines(process: &Process) -> (Vec<(u64, u64)>, bool) {
        let series = Series::of(process);
        let pair = |(_, live): &(u64, Live)| (live.instances, live.watches);
        (series.points.iter().map(pair).collect(), series.vague)
    }

    #[test]
    fn a_complete_ring_shows_every_change_from_the_start() {
        let mut process = Process::default();
        process.threads.push(Thread {
            records: vec![
                call(10, Function::EpollCreate1, 0, 0, 0, 3),
                call(20, Function::EpollCtl, 1, 3, 5, 0),
                call(30, Function::EpollCtl, 1, 3, 6, 0),
                call(35, Function::EpollCtl, 1, 3, 6, -1),
                call(40, Function::EpollCtl, 2, 3, 5, 0),
            ],
            ..Thread::default()
        });
        (process.totals.instances, process.totals.watches) = (1, 1);
        assert_eq!(lines(&process), (vec![(0, 0), (1, 0), (1, 1), (1, 2), (1, 1), (1, 1)], false));
        process.totals.watches = 0;
        assert!(lines(&process).1, "the last watch vanished, nobody saw when");
    }

    #[test]
    fn what_the_remaining_calls_require_existed_before_them() {
        let mut process = Process::default();
        let mut counters = Counters::default();
        counters.calls[Call::CtlAdd as usize] = CallCounters { calls: 9, ..CallCounters::default() };
        process.threads.push(Thread {
            counters,
            overwritten: 9,
            records: vec![
                call(100, Function::EpollWait, 0, 3, 64, 1),
                call(110, Function::EpollCtl, 3, 3, 7, 0),
                call(120, Function::EpollCtl, 2, 3, 8, 0),
                call(130, Function::EpollCtl, 1, 3, 9, 0),
            ],
            ..Thread::default()
        });
        (process.totals.instances, process.totals.watches) = (1, 2);
        assert_eq!(lines(&process), (vec![(1, 2), (1, 1), (1, 2), (1, 2)], false));
        process.totals.vanished = 1;
        assert!(lines(&process).1, "one of those added before may have vanished since");
    }
}
