//! How threads run their loops, judged from their counts when a report is made.

use crate::sync::Ordering;

use epollshim_format::findings::loops::{self, Polling, Waits};
use epollshim_format::findings::{Id, Severity};
use epollshim_format::histogram;

use super::watch::Watch;
use super::{Note, put, withdraw};
use crate::counters::Histogram;
use crate::thread::Block;
use crate::{clock, ledger, process, sys, thread};

/// Reports loops that are often late to their wait. Those of one site are one finding. Evaluated
/// after late work and at each report, because lateness that was frequent at first may be rare
/// later.
#[cold]
#[inline(never)]
pub fn late() {
    withdraw(Id::LateLoop);
    let lived = clock::monotonic().saturating_sub(process::began());
    for block in thread::all() {
        let late = &block.part::<Watch>().late;
        let work = block.counters.work();
        let (count, time) = (late.count.get(), late.time.get());
        let works = recorded(work);
        if !loops::is_often_late(count, time, works, lived) {
            continue;
        }
        let site = late.site.get();
        let of_place = || thread::all().filter(|block| block.part::<Watch>().late.site.get() == site);
        let (all, longest) = of_place().fold((0, 0), |(all, longest): (u64, u64), block| {
            let late = &block.part::<Watch>().late;
            (all.wrapping_add(late.count.get()), longest.max(late.longest.get()))
        });
        let p99 = histogram::quantile((0..histogram::BUCKETS).map(|index| work.bucket(index)), works, work.max(), 990);
        let p99 = p99.unwrap_or(0);
        let note = Note {
            epfd: late.epfd.get() as i32,
            site: site as usize,
            detail: [p99, longest, works, time],
            ..Note::of(Id::LateLoop, Severity::Warning)
        };
        put(&note, all);
    }
}

#[inline(never)]
fn recorded(of: Histogram<'_>) -> u64 {
    (0..histogram::BUCKETS).map(|index| of.bucket(index)).fold(0, u64::wrapping_add)
}

/// Reports threads that poll: their waits do not block and find nothing, and they do little else.
pub fn polling() {
    for block in thread::all() {
        let counters = &block.counters;
        let waits = Waits { all: counters.waits(), polled: counters.polled.get() };
        if let Some(polling) = waits.polling(&|| processor_time(block)) {
            report(block, polling);
        }
    }
}

/// An upper bound of the processor time of the thread to which a block's counts belong.
fn processor_time(block: &Block) -> u64 {
    let own = if block.part::<Watch>().has_one_owner() { thread::processor_time(block) } else { None };
    own.or_else(|| sys::processor_time(0)).unwrap_or(0)
}

fn report(block: &Block, polling: Polling) {
    let Polling { count, time } = polling;
    let owner = block.address();
    // Of the thread's instances, the one with the most empty waits.
    let found = ledger::view()
        .live_instances()
        .filter(|(_, instance)| instance.owner.block() == owner)
        .max_by_key(|(_, instance)| instance.alone.empty.get());
    let note = Note {
        epfd: found.map_or(-1, |(index, _)| ledger::view().descriptor_of(index)),
        site: found.map_or(0, |(_, instance)| instance.waiter.load(Ordering::Relaxed)),
        detail: [0, time, block.counters.waits(), 0],
        ..Note::of(Id::PollLoop, Severity::Warning)
    };
    put(&note, count);
}
