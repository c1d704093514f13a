//! Counters for each thread: one thread adds to them without a lock prefix, and reports read them.
//!
//! Hooks on the counting thread write the counters, and so do signal handlers that interrupt them.
//! Reports on any thread read them. All-zero memory is a valid, empty set of counters (the kernel
//! wipes the blocks at fork).
//!
//! ```text
//! counters/own.rs        a counter with one writer
//! counters/histogram.rs  a histogram with one writer
//! counters/waits.rs      how waits on an instance end
//! ```

mod histogram;
mod own;
mod waits;

use crate::arch;
use crate::sync::AtomicU64;
use core::mem::offset_of;

use crate::arch::counters::{add_at_offset, bump_at_offset};

use epollshim_format::call::Call;
use epollshim_format::recording::thread;
use epollshim_format::{errno, histogram as buckets};
use libc::epoll_event;

pub use epollshim_ledger::records::{Counter, WaitCounters};
pub use histogram::{Buckets, Histogram, Top};
pub use own::OwnCounter;
pub use waits::{CountWait, WaitEnd};

/// What rarely changes for a call: its failures, and what the library did to it.
#[repr(C)]
pub struct CallCounters {
    /// Calls for which a fault fired.
    pub injected: Counter,
    /// Calls that a limit refused.
    pub limited: Counter,
    /// Failures by error number. Index 0 counts error numbers without a name.
    pub errors: [Counter; errno::NAMED],
    /// Calls for which a fault returned a value without making the call. Such a call is no failure,
    /// and has no effect.
    pub made_up: Counter,
}

/// The kinds of events that are distinguished, in the order of [`Counters::kinds`].
pub const KINDS: [(&str, u32); 6] = [
    ("IN", libc::EPOLLIN as u32),
    ("OUT", libc::EPOLLOUT as u32),
    ("RDHUP", libc::EPOLLRDHUP as u32),
    ("HUP", libc::EPOLLHUP as u32),
    ("ERR", libc::EPOLLERR as u32),
    ("PRI", libc::EPOLLPRI as u32),
];

/// The mask of most events in most programs.
const PLAIN: u32 = libc::EPOLLIN as u32;

/// Whether each of `count` (at least 1) events is EPOLLIN and nothing else. The kernel delivers no
/// event without any bit (Linux v6.1 fs/eventpoll.c, ep_send_events), so the union of all bits
/// decides.
///
/// # Safety
/// There must be `count` events at `first`.
#[inline(always)]
pub unsafe fn are_plain(first: *const epoll_event, count: usize) -> bool {
    // SAFETY: the caller promises the events. They may be unaligned.
    let mut all = unsafe { (&raw const (*first).events).read_unaligned() };
    if count != 1 {
        let (pair, end) = (first.wrapping_add(count % 2), first.wrapping_add(count));
        // SAFETY: reads the events between the two pointers, which the caller promises.
        all = unsafe { arch::counters::or_of_pairs(pair, end, all) };
    }
    all == PLAIN
}

const _: () = assert!(core::mem::offset_of!(epoll_event, events) == 0);

/// Everything that a thread counts for its process. The fields that common calls change come first,
/// in few cache lines.
#[repr(C)]
pub struct Counters {
    /// CLOCK_MONOTONIC at the end of this thread's last wait that could block. 0: there was none,
    /// or a wait that could not block came after it.
    pub last_wait_end: AtomicU64,
    /// Waits that could not block and returned no event.
    pub polled: Counter,
    /// Waits that returned no event, except those that could not block (see `polled`).
    pub empty: Counter,
    /// Those of `empty` that had a timeout of 1 ms.
    pub short: Counter,
    /// Waits that returned `maxevents` events.
    pub full: Counter,
    /// Delivered events by kind. One event may have several kinds.
    pub kinds: [Counter; KINDS.len()],
    /// The number of calls of each function.
    pub calls: [Counter; Call::COUNT],
    pub tops: [Top; thread::HISTOGRAMS],
    pub buckets: [Buckets; thread::HISTOGRAMS],
    pub of_calls: [CallCounters; Call::COUNT],
}

/// The size of a thread's block before its counters. src/thread/block.rs asserts it.
pub const BEFORE: usize = 4096;
const _: () = assert!(
    thread::HISTOGRAMS == 5
        && Call::Pwait as usize == Call::Wait as usize + 1
        && Call::Pwait2 as usize == Call::Wait as usize + 2
);

impl Counters {
    /// Waits that returned no event.
    pub fn empty_waits(&self) -> u64 {
        self.empty.get().wrapping_add(self.polled.get())
    }

    /// The number of calls that wait.
    pub fn waits(&self) -> u64 {
        Call::WAITS.iter().map(|call| self.calls(*call).get()).fold(0, u64::wrapping_add)
    }

    /// Calls of `epoll_ctl`.
    pub fn changes(&self) -> u64 {
        let calls = [Call::CtlAdd, Call::CtlMod, Call::CtlDel, Call::CtlOther];
        calls.iter().map(|call| self.calls(*call).get()).fold(0, u64::wrapping_add)
    }

    /// How often a function was called.
    #[inline(always)]
    pub fn calls(&self, call: Call) -> &Counter {
        // SAFETY: a Call's number is below Call::COUNT by its definition.
        unsafe { self.calls.get_unchecked(call as usize) }
    }

    pub fn call(&self, call: Call) -> &CallCounters {
        // SAFETY: a Call's number is below Call::COUNT by its definition.
        unsafe { self.of_calls.get_unchecked(call as usize) }
    }

    /// The number of events of each wait that returned any.
    #[inline(always)]
    pub fn batch(&self) -> Histogram<'_> {
        self.histogram::<{ thread::BATCH }>()
    }

    /// Nanoseconds from the end of one wait that could block to the start of the thread's next one.
    #[inline(always)]
    pub fn work(&self) -> Histogram<'_> {
        self.histogram::<{ thread::WORK }>()
    }

    /// Nanoseconds spent in waits that could block, by call. None: the call does not wait.
    #[inline(always)]
    pub fn blocked(&self, call: Call) -> Option<Histogram<'_>> {
        let number = thread::BLOCKED + (call as usize).checked_sub(Call::Wait as usize)?;
        Some(Histogram { top: self.tops.get(number)?, buckets: self.buckets.get(number)? })
    }

    /// The start of the thread's block, whose address hooks have in a register. Only these counters
    /// are accessed through it.
    #[inline(always)]
    fn base(&self) -> *const u8 {
        core::ptr::from_ref(self).cast::<u8>().wrapping_sub(BEFORE)
    }

    /// [`Histogram::record`] for a value that the histogram [has reached](Histogram::has_reached).
    #[inline(always)]
    fn record_reached<const NUMBER: usize>(&self, value: u64) {
        self.record_in_bucket::<NUMBER>(value, buckets::bucket(value));
    }

    #[inline(always)]
    fn record_in_bucket<const NUMBER: usize>(&self, value: u64, bucket: usize) {
        const { assert!(NUMBER < thread::HISTOGRAMS) };
        // SAFETY: NUMBER is asserted to name one of the histograms, and callers pass one of its
        // buckets.
        unsafe {
            bump_at_offset!(
                self.base(),
                BEFORE + offset_of!(Counters, buckets) + NUMBER * size_of::<Buckets>(),
                bucket
            );
            add_at_offset!(
                self.base(),
                BEFORE + offset_of!(Counters, tops) + NUMBER * size_of::<Top>() + offset_of!(Top, sum),
                value
            );
        }
    }

    /// Records a time of work that the histogram has reached: see [`Histogram::record`].
    #[inline(always)]
    pub fn record_work_reached(&self, nanoseconds: u64) {
        self.record_reached::<{ thread::WORK }>(nanoseconds);
    }

    /// Records the time for which a wait was blocked, which the histogram has reached.
    #[inline(always)]
    pub fn record_blocked_reached(&self, call: Call, nanoseconds: u64) {
        match call {
            Call::Pwait => self.record_reached::<{ thread::BLOCKED + 1 }>(nanoseconds),
            Call::Pwait2 => self.record_reached::<{ thread::BLOCKED + 2 }>(nanoseconds),
            _ => self.record_reached::<{ thread::BLOCKED }>(nanoseconds),
        }
    }

    /// Records a batch that the histogram has reached and that is smaller than `histogram::EXACT`,
    /// so its bucket need not be computed.
    #[inline(always)]
    pub fn record_batch(&self, events: u64) {
        self.record_in_bucket::<{ thread::BATCH }>(events, events as usize);
    }

    /// Counts a call of one of the three functions that wait: see [`Counters::calls`].
    #[inline(always)]
    pub fn bump_wait(&self, call: Call) {
        const WAITS: usize = BEFORE + offset_of!(Counters, calls) + Call::Wait as usize * size_of::<Counter>();
        // SAFETY: these are counters of this set.
        unsafe {
            match call {
                Call::Pwait => bump_at_offset!(self.base(), WAITS + size_of::<Counter>()),
                Call::Pwait2 => bump_at_offset!(self.base(), WAITS + 2 * size_of::<Counter>()),
                _ => bump_at_offset!(self.base(), WAITS),
            }
        }
    }

    /// Adds waits with a timeout of 1 ms that returned no event.
    #[inline(always)]
    pub fn add_short(&self, waits: u64) {
        // SAFETY: this is a counter of this set.
        unsafe { add_at_offset!(self.base(), BEFORE + offset_of!(Counters, short), waits) }
    }

    /// Waits that returned `maxevents` events.
    #[inline(always)]
    pub fn add_full(&self, waits: u64) {
        // SAFETY: this is a counter of this set.
        unsafe { add_at_offset!(self.base(), BEFORE + offset_of!(Counters, full), waits) }
    }

    #[inline(always)]
    fn histogram<const NUMBER: usize>(&self) -> Histogram<'_> {
        const { assert!(NUMBER < thread::HISTOGRAMS) };
        // SAFETY: NUMBER is asserted to be below the length of both arrays.
        unsafe { Histogram { top: self.tops.get_unchecked(NUMBER), buckets: self.buckets.get_unchecked(NUMBER) } }
    }

    fn histograms(&self) -> impl Iterator<Item = Histogram<'_>> {
        self.tops.iter().zip(&self.buckets).map(|(top, buckets)| Histogram { top, buckets })
    }

    /// Counts a failed call, and its errno as the real function set it.
    #[cold]
    pub fn failed(&self, call: Call, error: i32) {
        self.calls(call).bump();
        self.error(call, error);
    }

    /// Counts the failure of a call that was counted when it began.
    pub fn error(&self, call: Call, error: i32) {
        let counters = self.call(call);
        let index = usize::try_from(error).unwrap_or(0);
        if let Some(counter) = counters.errors.get(index).or(counters.errors.first()) {
            counter.bump();
        }
    }

    /// Counts the events of a batch by kind.
    #[inline]
    pub fn delivered(&self, masks: impl Iterator<Item = u32>) {
        for mask in masks {
            for (counter, (_, bit)) in self.kinds.iter().zip(KINDS) {
                if mask & bit != 0 {
                    counter.bump();
                }
            }
        }
    }

    /// Counts events that are EPOLLIN and nothing else.
    #[inline(always)]
    pub fn delivered_plain(&self, count: u64) {
        const { assert!(KINDS[0].1 == PLAIN) };
        // SAFETY: this is a counter of this set.
        unsafe { add_at_offset!(self.base(), BEFORE + offset_of!(Counters, kinds), count) }
    }

    /// Resets everything except the time of the last wait. Calls that other threads make at the
    /// same time are kept or lost, as the documentation of `epollshim_reset` says.
    #[cold]
    #[inline(never)]
    pub fn clear(&self) {
        self.calls.iter().for_each(Counter::clear);
        self.of_calls.iter().for_each(CallCounters::clear);
        self.empty.clear();
        self.full.clear();
        self.polled.clear();
        self.short.clear();
        self.kinds.iter().for_each(Counter::clear);
        self.histograms().for_each(Histogram::clear);
    }
}

impl CallCounters {
    #[inline(never)]
    fn clear(&self) {
        self.injected.clear();
        self.made_up.clear();
        self.limited.clear();
        self.errors.iter().for_each(Counter::clear);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Call, Counters, Histogram, PLAIN, are_plain, buckets, epoll_event};

    /// An all-zero value.
    pub fn new<T>() -> std::boxed::Box<T> {
        // SAFETY: used only for types that consist of atomics, for which zero is a valid value.
        unsafe { std::boxed::Box::new_zeroed().assume_init() }
    }

    /// The buckets that were hit, with their counts.
    fn hit(histogram: Histogram<'_>) -> std::vec::Vec<(usize, u64)> {
        let buckets = (0..buckets::BUCKETS).map(|bucket| (bucket, histogram.bucket(bucket)));
        buckets.filter(|(_, times)| *times != 0).collect()
    }

    #[test]
    fn fast_paths_count_in_the_same_places_as_named_fields() {
        let counters = new::<Counters>();
        let all = || {
            let histograms: std::vec::Vec<_> =
                counters.histograms().map(|histogram| (histogram.sum(), hit(histogram))).collect();
            let calls = Call::WAITS.map(|call| counters.calls(call).get());
            (
                histograms,
                calls,
                counters.full.get(),
                counters.short.get(),
                counters.kinds.each_ref().map(|kind| kind.get()),
            )
        };
        let mut expected = all();
        for (place, call) in Call::WAITS.into_iter().enumerate() {
            let time = 1000 << place;
            counters.bump_wait(call);
            counters.record_blocked_reached(call, time);
            expected.1[place] = 1;
            expected.0[super::thread::BLOCKED + place] = (time, [(buckets::bucket(time), 1)].into());
            assert_eq!(all(), expected, "{call:?}");
            assert_eq!(counters.blocked(call).map(Histogram::sum), Some(time));
        }
        counters.record_work_reached(u64::MAX);
        expected.0[super::thread::WORK] = (u64::MAX, [(buckets::BUCKETS - 1, 1)].into());
        assert_eq!(all(), expected);
        counters.record_batch(15);
        counters.record_batch(3);
        expected.0[super::thread::BATCH] = (18, [(3, 1), (15, 1)].into());
        assert_eq!(all(), expected);
        counters.add_full(1);
        counters.add_short(2);
        counters.delivered_plain(3);
        (expected.2, expected.3, expected.4[0]) = (1, 2, 3);
        assert_eq!(all(), expected);
    }

    #[test]
    fn one_event_that_is_not_plain_is_found_wherever_it_is() {
        for count in 1..40 {
            let mut events = [epoll_event { events: PLAIN, u64: 0x0202_0202_0202_0202 }; 40];
            events[count].events = libc::EPOLLOUT as u32;
            // SAFETY: the array has more than `count` events.
            let are_plain = |events: &[epoll_event; 40]| unsafe { are_plain(events.as_ptr(), count) };
            assert!(are_plain(&events), "{count}");
            for other in 0..count {
                for mask in [libc::EPOLLHUP, libc::EPOLLIN | libc::EPOLLHUP] {
                    events[other].events = mask as u32;
                    assert!(!are_plain(&events), "{other} of {count}");
                }
                events[other].events = PLAIN;
            }
        }
    }
}
