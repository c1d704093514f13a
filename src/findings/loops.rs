//! How threads run their loops, according to their counts when a report is made.

use crate::sync::Ordering;

use epollshim_format::call::Call;
use epollshim_format::findings::{Id, Severity, thresholds};
use epollshim_format::histogram;

use super::watch::Watch;
use super::{Note, put};
use crate::counters::{Counters, Histogram};
use crate::thread::Block;
use crate::{clock, ledger, process, sys, thread};

/// Loops that often come late to their wait. Those of one place are reported together.
pub fn late() {
    let lived = clock::monotonic().saturating_sub(process::began());
    for block in thread::all() {
        let late = &block.part::<Watch>().late;
        let work = block.counters.work();
        let (count, time) = (late.count.get(), late.time.get());
        let is_often = count.saturating_mul(thresholds::LATE_SHARE) >= recorded(work)
            || time.saturating_mul(thresholds::LATE_SHARE) >= lived;
        if count < thresholds::LATE_TIMES || !is_often {
            continue;
        }
        let site = late.site.get();
        let of_place = || thread::all().filter(|block| block.part::<Watch>().late.site.get() == site);
        let all = of_place().map(|block| block.part::<Watch>().late.count.get()).fold(0, u64::wrapping_add);
        let longest = of_place().map(|block| block.part::<Watch>().late.longest.get()).max().unwrap_or(0);
        let note = Note {
            epfd: late.epfd.get() as i32,
            site: site as usize,
            detail: [quantile(work, 990), longest, recorded(work), time],
            ..Note::of(Id::LateLoop, Severity::Warning)
        };
        put(&note, all);
    }
}

fn recorded(of: Histogram<'_>) -> u64 {
    (0..histogram::BUCKETS).map(|index| of.bucket(index)).fold(0, u64::wrapping_add)
}

fn quantile(of: Histogram<'_>, per_mille: u64) -> u64 {
    let counts = (0..histogram::BUCKETS).map(|index| of.bucket(index));
    histogram::quantile(counts, recorded(of), of.max(), per_mille).unwrap_or(0)
}

/// Threads that poll: waits that do not block, or hardly, and find nothing, and little else.
pub fn polling() {
    for block in thread::all() {
        let counters = &block.counters;
        let (polled, short) = (counters.polled.get(), counters.short.get());
        let is_most = |count: u64| count.saturating_mul(100) >= counters.waits().saturating_mul(thresholds::POLL_SHARE);
        if polled >= thresholds::POLLS && is_most(polled) {
            let time = processor_time(block);
            let is_idle = time < polled.saturating_mul(thresholds::POLL_COST);
            if time >= thresholds::POLL_TIME && is_idle {
                report(block, polled, 0, time);
            }
        } else if short >= thresholds::SHORT_POLLS && is_most(short.saturating_add(polled)) {
            let asleep = blocked(counters);
            // A thread that works for longer than it sleeps looks for events in between.
            if asleep >= thresholds::POLL_TIME && counters.work().sum() < asleep {
                report(block, short, 1, processor_time(block));
            }
        }
    }
}

/// An upper bound of the processor time of the thread to which a block's counts belong.
fn processor_time(block: &Block) -> u64 {
    let own = if block.part::<Watch>().has_one_owner() { thread::processor_time(block) } else { None };
    own.or_else(|| sys::processor_time(0)).unwrap_or(0)
}

/// Nanoseconds in waits that could block.
fn blocked(counters: &Counters) -> u64 {
    let of = |call: &Call| counters.blocked(*call).map_or(0, Histogram::sum);
    Call::WAITS.iter().map(of).fold(0, u64::wrapping_add)
}

fn report(block: &Block, count: u64, milliseconds: u64, time: u64) {
    let owner = block.address();
    // Of its instances the one with the most empty waits.
    let found = ledger::view()
        .live_instances()
        .filter(|(_, instance)| instance.owner.block() == owner)
        .max_by_key(|(_, instance)| instance.alone.empty.get());
    let note = Note {
        variant: milliseconds as u8,
        epfd: found.map_or(-1, |(index, _)| ledger::view().descriptor_of(index)),
        site: found.map_or(0, |(_, instance)| instance.waiter.load(Ordering::Relaxed)),
        detail: [milliseconds, time, block.counters.waits(), 0],
        // A timer of less than a millisecond is rounded up to one: such a loop makes the same calls.
        ..Note::of(Id::PollLoop, if milliseconds == 0 { Severity::Warning } else { Severity::Info })
    };
    put(&note, count);
}
