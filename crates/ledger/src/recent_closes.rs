//! The last close of each watched descriptor that was closed without a DEL: where it was closed,
//! and where it had been added. What else keeps the file open may not be known yet. If it turns out
//! to be a ghost, both places are reported.
//!
//! There is one entry for each instance and number, by a hash. Another pair with the same hash
//! overwrites it. The holder of the ledger's lock writes, and any thread reads. A sequence number
//! shows whether what was read is one close.

use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

use crate::records::{Instance, Interest, Long, Number, Word};

/// What is known of a close.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecentClose {
    /// The instance's number (`Instance::id`).
    pub instance: u64,
    pub fd: i32,
    /// The interest's record, and its serial number.
    pub interest: u32,
    pub serial: u32,
    /// Another descriptor of the same file stays open, as far as the ledger knows.
    pub leaves_a_dup: bool,
    pub added_at: u64,
    /// 0: not known.
    pub closed_at: u64,
    /// How many waits the instance had seen.
    pub waits: u64,
    /// It was reported as a finding.
    pub is_reported: bool,
    /// The sequence number of its entry. It differs for the close that overwrites this one.
    sequence: u64,
}

impl RecentClose {
    /// The close, at the return address `at`, of an interest's descriptor.
    #[inline(always)]
    pub fn of(instance: &Instance, (index, interest): (u32, &Interest), at: usize, leaves_a_dup: bool) -> RecentClose {
        RecentClose {
            instance: instance.id.get(),
            fd: interest.fd(),
            interest: index,
            serial: interest.serial.get(),
            leaves_a_dup,
            added_at: interest.site(),
            closed_at: at as u64,
            waits: instance.waits(),
            is_reported: false,
            sequence: 0,
        }
    }

    /// Where it was closed, or else where it was added.
    pub fn place(&self) -> usize {
        if self.closed_at != 0 { self.closed_at as usize } else { self.added_at as usize }
    }
}

#[repr(C)]
struct Entry {
    /// ```text
    /// bit 0   the close was reported as a finding
    /// bit 1   the entry is being written; it stays set if the writer stops, until the next write
    /// 2..63   how many closes were written here
    /// ```
    sequence: AtomicU64,
    instance: Long,
    fd: Number,
    interest: Word,
    serial: Word,
    leaves_a_dup: Word,
    added_at: Long,
    closed_at: Long,
    waits: Long,
    /// The sequence number of the close that [`RecentCloses::is_still_watched`] marked last.
    watched: Long,
}

const _: () = assert!(size_of::<Entry>() == 64);

const REPORTED: u64 = 1;
const BEING_WRITTEN: u64 = 2;
const ONE_MORE: u64 = 4;

impl Entry {
    const fn new() -> Entry {
        Entry {
            sequence: AtomicU64::new(0),
            instance: Long::new(),
            fd: Number::new(),
            interest: Word::new(),
            serial: Word::new(),
            leaves_a_dup: Word::new(),
            added_at: Long::new(),
            closed_at: Long::new(),
            waits: Long::new(),
            watched: Long::new(),
        }
    }

    /// Only the holder of the lock calls it.
    #[inline(always)]
    fn write(&self, close: &RecentClose) {
        let next = (self.sequence.load(Ordering::Relaxed) & !(REPORTED | BEING_WRITTEN)).wrapping_add(ONE_MORE);
        self.sequence.store(next | BEING_WRITTEN, Ordering::Relaxed);
        // Release: pairs with the Acquire fence in `read`. A reader that sees any field of this
        // close sees the number above.
        fence(Ordering::Release);
        self.instance.set(close.instance);
        self.fd.set(close.fd);
        self.interest.set(close.interest);
        self.serial.set(close.serial);
        self.leaves_a_dup.set(u32::from(close.leaves_a_dup));
        self.added_at.set(close.added_at);
        self.closed_at.set(close.closed_at);
        self.waits.set(close.waits);
        // Release: pairs with the first load in `read`. A reader that sees this number sees all
        // fields.
        self.sequence.store(next, Ordering::Release);
    }

    /// None: it is being written, or was while it was read.
    fn read(&self) -> Option<RecentClose> {
        let sequence = self.sequence.load(Ordering::Acquire);
        if sequence & BEING_WRITTEN != 0 {
            return None;
        }
        let close = RecentClose {
            instance: self.instance.get(),
            fd: self.fd.get(),
            interest: self.interest.get(),
            serial: self.serial.get(),
            leaves_a_dup: self.leaves_a_dup.get() != 0,
            added_at: self.added_at.get(),
            closed_at: self.closed_at.get(),
            waits: self.waits.get(),
            is_reported: sequence & REPORTED != 0,
            sequence: sequence & !REPORTED,
        };
        fence(Ordering::Acquire);
        (self.sequence.load(Ordering::Relaxed) & !REPORTED == close.sequence).then_some(close)
    }
}

impl Entry {
    /// False: it is marked so already, or another close has overwritten it.
    fn set_reported(&self, close: &RecentClose, is_reported: bool) -> bool {
        let (with, without) = (close.sequence | REPORTED, close.sequence);
        let (from, to) = if is_reported { (without, with) } else { (with, without) };
        // Relaxed: the winner reports it, and nothing else is published by this.
        self.sequence.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

const ENTRIES: usize = 1024;

/// The table. It must begin a cache line: an entry is one line.
#[repr(C)]
pub struct RecentCloses {
    entries: [Entry; ENTRIES],
    /// A close has left a dup open.
    any_left_a_dup: AtomicU32,
}

impl RecentCloses {
    pub const fn new() -> RecentCloses {
        RecentCloses { entries: [const { Entry::new() }; ENTRIES], any_left_a_dup: AtomicU32::new(0) }
    }

    /// A close leaves a dup open: from here on there may be a ghost.
    pub fn note_dup_left(&self) {
        self.any_left_a_dup.store(1, Ordering::Relaxed);
    }

    /// Whether a close has ever left a dup open. If not, there is no known ghost.
    #[inline(always)]
    pub fn any_left_a_dup(&self) -> bool {
        self.any_left_a_dup.load(Ordering::Relaxed) != 0
    }

    fn entry(&self, instance: u64, fd: i32) -> Option<&Entry> {
        // Numbers of one instance are adjacent. Those of another lie elsewhere.
        self.entries.get((fd as usize).wrapping_add((instance as usize).wrapping_mul(389)) % ENTRIES)
    }

    /// Only the holder of the lock calls it.
    #[inline(always)]
    pub fn note(&self, close: &RecentClose) {
        if let Some(entry) = self.entry(close.instance, close.fd) {
            entry.write(close);
        }
    }

    /// The last close of a number that this instance watched. None: none is known.
    #[inline]
    pub fn last(&self, instance: u64, fd: i32) -> Option<RecentClose> {
        self.entry(instance, fd)?.read().filter(|close| close.instance == instance && close.fd == fd)
    }

    /// The closes that were not reported, beginning with one entry of the table and then all
    /// others.
    pub fn unreported(&self, first: usize) -> impl Iterator<Item = RecentClose> {
        let (before, after) = self.entries.split_at(first % ENTRIES);
        let all = after.iter().chain(before).filter_map(Entry::read);
        all.filter(|close| close.sequence != 0 && !close.is_reported)
    }

    /// Marks a close after which the kernel still watches the file. True: it was marked before.
    pub fn is_still_watched(&self, close: &RecentClose) -> bool {
        let Some(entry) = self.entry(close.instance, close.fd) else { return false };
        let before = entry.watched.get();
        entry.watched.set(close.sequence);
        before == close.sequence
    }

    /// Marks a close as reported. False: it was reported already, or another close has overwritten
    /// it.
    pub fn report(&self, close: &RecentClose) -> bool {
        self.entry(close.instance, close.fd).is_some_and(|entry| entry.set_reported(close, true))
    }

    /// Marks a close as not reported.
    pub fn retract(&self, close: &RecentClose) {
        if let Some(entry) = self.entry(close.instance, close.fd) {
            entry.set_reported(close, false);
        }
    }

    /// Marks all as not reported (epollshim_reset).
    pub fn restart(&self) {
        for entry in &self.entries {
            let _ = entry.sequence.fetch_and(!REPORTED, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Entry, RecentClose};
    use crate::model::{Event, Search, check, participate};
    use std::sync::Arc;

    /// A close all of whose fields follow from one number.
    fn close(number: u32) -> RecentClose {
        RecentClose {
            instance: 7,
            fd: 9,
            interest: number,
            serial: number + 1000,
            added_at: u64::from(number) + 2000,
            closed_at: u64::from(number) + 3000,
            waits: u64::from(number) + 4000,
            ..RecentClose::default()
        }
    }

    fn is_whole(found: RecentClose) -> bool {
        found == RecentClose { sequence: found.sequence, is_reported: found.is_reported, ..close(found.interest) }
    }

    #[test]
    fn a_reader_gets_one_close_whole_or_none_wherever_the_writer_stops() {
        // One write has 12 steps.
        for at in 0..40 {
            check(Search::Random(200), move || {
                let entry = Arc::new(Entry::new());
                entry.write(&close(1));
                let writer = {
                    let entry = entry.clone();
                    shuttle::thread::spawn(move || {
                        let went_on = participate(at, Some(Event::Stop), || {
                            entry.write(&close(2));
                            entry.write(&close(3));
                        });
                        // The next holder of the lock continues.
                        if !went_on {
                            entry.write(&close(4));
                        }
                    })
                };
                for _ in 0..3 {
                    assert!(entry.read().is_none_or(is_whole), "a pair of two closes");
                }
                writer.join().unwrap();
                let last = entry.read().expect("nobody writes any more");
                assert!(is_whole(last) && last.interest >= 3);
            });
        }
    }

    #[test]
    fn a_close_is_reported_once_and_never_in_place_of_another() {
        check(Search::Random(5000), || {
            let entry = Arc::new(Entry::new());
            entry.write(&close(1));
            let report = |entry: Arc<Entry>| {
                shuttle::thread::spawn(move || {
                    let found = entry.read().filter(|found| !found.is_reported)?;
                    entry.set_reported(&found, true).then_some(found.interest)
                })
            };
            let reporters = [report(entry.clone()), report(entry.clone())];
            let writer = {
                let entry = entry.clone();
                shuttle::thread::spawn(move || entry.write(&close(2)))
            };
            writer.join().unwrap();
            let [one, two] = reporters.map(|reporter| reporter.join().unwrap());
            assert!(one.is_none() || one != two, "reported twice");
            let last = entry.read().expect("nobody writes any more");
            assert_eq!(last.is_reported, one == Some(2) || two == Some(2));
        });
    }
}
