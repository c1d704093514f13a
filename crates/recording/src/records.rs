//! Collects the records of calls as they are read. Each is counted by caller, and the last ones are
//! held.
//!
//! A recording may have a billion records, so the number that is held in memory is bounded.
//! Timelines and plots show the held records; sums cover all.

use std::collections::HashMap;

use epollshim_format::function::Function;

use crate::model::{Process, Record};

/// The most records that are held, for one process or for all processes of a report.
pub const HELD: usize = 1 << 19;
/// The most caller addresses with counts of their own.
pub const CALLERS: usize = 1 << 16;

/// The sums of the calls from one address.
#[derive(Clone, Default)]
pub struct Caller {
    /// Calls by function. The last one counts calls of unknown functions.
    calls: [u64; Function::RECORDED + 1],
    pub failed: u64,
    pub time: u64,
    pub events: u64,
}

impl Caller {
    fn add(&mut self, record: &Record) {
        let place = record.function.map_or(Function::RECORDED, |function| function as usize);
        if let Some(calls) = self.calls.get_mut(place) {
            *calls += 1;
        }
        self.failed += u64::from(record.failed());
        self.time = self.time.saturating_add(record.duration);
        self.events = self.events.saturating_add(record.events());
    }

    /// The number of calls by function name.
    pub fn calls(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let known = Function::ALL.iter().take(Function::RECORDED);
        let names = known.map(|function| function.name()).chain(["(unknown)"]);
        names.zip(self.calls).filter(|(_, calls)| *calls != 0)
    }
}

pub struct Records {
    most: usize,
    /// Each record with the index of its thread in the process.
    held: Vec<(u32, Record)>,
    callers: HashMap<u64, Caller>,
    /// Records of callers beyond [`CALLERS`].
    uncalled: u64,
    /// CLOCK_MONOTONIC when the last call ended.
    last: u64,
}

impl Records {
    pub fn new(most: usize) -> Records {
        Records { most: most.max(1), held: Vec::new(), callers: HashMap::new(), uncalled: 0, last: 0 }
    }

    pub fn add(&mut self, thread: usize, record: Record) {
        self.last = self.last.max(record.end());
        if record.caller != 0 {
            let is_full = self.callers.len() >= CALLERS;
            match self.callers.get_mut(&record.caller) {
                Some(caller) => caller.add(&record),
                None if is_full => self.uncalled += 1,
                None => self.callers.entry(record.caller).or_default().add(&record),
            }
        }
        self.held.push((thread as u32, record));
        if self.held.len() >= 2 * self.most {
            self.forget();
        }
    }

    /// Drops all but the last records.
    fn forget(&mut self) {
        if let Some(last) = self.held.len().checked_sub(self.most).filter(|first| *first > 0) {
            self.held.select_nth_unstable_by_key(last, |(_, record)| (record.began, record.number));
            self.held.drain(..last);
        }
    }

    /// Moves the records to their threads, by time.
    pub fn give(mut self, process: &mut Process) {
        self.forget();
        for (thread, record) in self.held {
            if let Some(thread) = process.threads.get_mut(thread as usize) {
                thread.records.push(record);
            }
        }
        for thread in &mut process.threads {
            thread.records.sort_unstable_by_key(|record| (record.began, record.number));
        }
        process.callers = self.callers;
        process.last_record = self.last;
        let uncalled = self.uncalled;
        if uncalled > 0 {
            process.notes.add(|| {
                format!(
                    "call records of callers beyond the first {CALLERS}, which are not among the call sites: {uncalled}"
                )
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Records;
    use crate::model::{Process, Record, Thread};
    use epollshim_format::function::Function;

    #[test]
    fn the_last_calls_of_all_threads_are_held_and_all_calls_are_summed() {
        let mut process = Process::default();
        process.threads.extend([Thread::default(), Thread::default()]);
        let mut records = Records::new(10);
        for number in 0..1000u64 {
            let began = number ^ 0x155; // not in order
            records.add(
                number as usize % 2,
                Record {
                    number,
                    began,
                    duration: 3,
                    function: Some(Function::EpollWait),
                    flags: 0,
                    operation: 0,
                    errno: 0,
                    result: 1,
                    first: 3,
                    second: 8,
                    extra: 0,
                    caller: 0x1000 + number % 4,
                },
            );
        }
        records.give(&mut process);
        let mut held: Vec<u64> =
            process.threads.iter().flat_map(|thread| thread.records.iter().map(|record| record.began)).collect();
        held.sort_unstable();
        let mut last: Vec<u64> = (0..1000u64).map(|number| number ^ 0x155).collect();
        last.sort_unstable();
        assert_eq!(held, last[990..]);
        assert!(process.threads.iter().all(|thread| thread.records.is_sorted_by_key(|record| record.began)));
        assert_eq!(process.callers.len(), 4);
        for caller in process.callers.values() {
            assert_eq!((caller.time, caller.events, caller.failed), (750, 250, 0));
            assert_eq!(caller.calls().collect::<Vec<_>>(), [("epoll_wait", 250)]);
        }
        assert_eq!(process.last_record, last[999] + 3);
    }
}
