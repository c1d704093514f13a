//! The segments that are tables of words: totals, counters, instances, interests, limits, rules and
//! records.

use epollshim_format::call::Call;
use epollshim_format::census::Kind;
use epollshim_format::function::Function;
use epollshim_format::recording::{instance, interest, policy, record, series, thread, totals};
use epollshim_format::{errno, histogram};

use crate::bytes::Bytes;
use crate::firings;
use crate::model::{
    CallCounters, Counters, Histogram, Instance, Interest, Limit, Moment, Origin, Record, Rule, Totals,
};
use crate::modules::plain;

pub fn the_totals(segment: Bytes) -> Totals {
    Totals {
        instances: segment.word(totals::INSTANCES),
        instances_peak: segment.word(totals::INSTANCES_PEAK),
        watches: segment.word(totals::WATCHES),
        watches_peak: segment.word(totals::WATCHES_PEAK),
        vanished: segment.word(totals::VANISHED),
        memory_peak: segment.word(totals::MEMORY_PEAK),
        unseen_instances: segment.word(totals::UNSEEN_INSTANCES),
        unseen_watches: segment.word(totals::UNSEEN_WATCHES),
        healed: segment.word(totals::HEALED),
        lost: segment.word(totals::LOST),
    }
}

pub(super) fn series(segment: Bytes) -> Vec<Moment> {
    let count = usize::try_from(segment.word(series::COUNT)).unwrap_or(usize::MAX);
    let read = |row| {
        let words = segment.part(series::FIRST + row * series::ROW, series::ROW);
        let word = |number: usize| words.word(number * 8);
        let kinds = Kind::ALL.iter().map(|kind| (*kind, word(series::KINDS + *kind as usize)));
        Moment {
            at: word(series::AT),
            calls: word(series::CALLS),
            waits: word(series::WAITS),
            instances: word(series::INSTANCES),
            watches: word(series::WATCHES),
            kinds: kinds.filter(|(_, open)| *open != 0).collect(),
        }
    };
    // One more row than are counted: a process that was killed while it wrote the last row had
    // written its time.
    let rows = (0..count.saturating_add(1).min(series::ROWS)).map(read);
    let mut moments: Vec<Moment> = rows.filter(|moment| moment.at != 0).collect();
    moments.sort_by_key(|moment| moment.at);
    moments.dedup_by_key(|moment| moment.at);
    moments
}

pub(super) fn limits(segment: Bytes) -> Vec<Limit> {
    let keys = epollshim_format::limits::KEYS.into_iter().take(policy::KEYS).enumerate();
    let read = |(index, key)| {
        let words = segment.part(policy::LIMITS + index * policy::LIMIT, policy::LIMIT);
        let limit = words.word(policy::LIMIT_SET).checked_sub(1);
        let mode = match words.word(policy::LIMIT_MODE) {
            1 => Some("warn"),
            2 => Some("enforce"),
            _ => None,
        };
        (limit.is_some() || mode.is_some()).then(|| Limit {
            key,
            limit,
            peak: words.word(policy::LIMIT_PEAK),
            denied: words.word(policy::LIMIT_DENIED),
            let_through: words.word(policy::LIMIT_LET_THROUGH),
            mode,
        })
    };
    keys.filter_map(read).collect()
}

pub(super) fn rules(segment: Bytes) -> Vec<Rule> {
    let count = usize::try_from(segment.word(policy::COUNT)).unwrap_or(usize::MAX).min(policy::RULES);
    let texts = segment.part(policy::TEXT, policy::TEXT_BYTES);
    let fired = firings::read(segment);
    let read = |index| {
        let words = segment.part(policy::FIRST + index * policy::RULE, policy::RULE);
        let place = words.word(policy::WORDS);
        let text = texts.part(place as u32 as usize, (place >> 32) as usize);
        Rule {
            text: plain(text.0),
            matched: words.word(policy::MATCHED),
            fired: words.word(policy::FIRED),
            legal: words.word(policy::IS_LEGAL) != 0,
            firings: fired.iter().filter(|(rule, _)| *rule == index).map(|(_, firing)| *firing).collect(),
        }
    };
    (0..count).map(read).collect()
}

pub fn counters(segment: Bytes) -> Counters {
    let mut read = Counters {
        empty: segment.word(thread::EMPTY).saturating_add(segment.word(thread::POLLED)),
        polled: segment.word(thread::POLLED),
        short: segment.word(thread::SHORT),
        full: segment.word(thread::FULL),
        work: the_histogram(segment, thread::WORK),
        batch: the_histogram(segment, thread::BATCH),
        ..Counters::default()
    };
    for (call, counters) in Call::ALL.into_iter().zip(&mut read.calls) {
        *counters = of_call(segment, call as usize);
    }
    for (index, kind) in read.kinds.iter_mut().enumerate() {
        *kind = segment.word(thread::KINDS + index * 8);
    }
    for (index, blocked) in read.blocked.iter_mut().enumerate() {
        *blocked = the_histogram(segment, thread::BLOCKED + index);
    }
    read
}

fn of_call(segment: Bytes, call: usize) -> CallCounters {
    let place = thread::OF_CALLS + call * thread::CALL_SIZE;
    let errors = (0..errno::NAMED).map(|error| (error as u32, segment.word(place + thread::CALL_ERRORS + error * 8)));
    CallCounters {
        calls: segment.word(thread::CALLS + call * 8),
        injected: segment.word(place + thread::CALL_INJECTED),
        limited: segment.word(place + thread::CALL_LIMITED),
        made_up: segment.word(place + thread::CALL_MADE_UP),
        errors: errors.filter(|(_, times)| *times != 0).collect(),
    }
}

fn the_histogram(segment: Bytes, number: usize) -> Histogram {
    let (top, first) = (thread::TOPS + number * thread::TOP_SIZE, thread::BUCKETS + number * thread::BUCKETS_SIZE);
    let mut buckets: Vec<u64> = (0..histogram::BUCKETS).map(|bucket| segment.word(first + bucket * 8)).collect();
    if buckets.iter().all(|count| *count == 0) {
        buckets = Vec::new();
    }
    Histogram { buckets, sum: segment.word(top + thread::TOP_SUM), max: segment.word(top + thread::TOP_MAX) }
}

pub(super) fn the_record(words: Bytes, number: u64) -> Record {
    let call = words.word(record::CALL);
    let arguments = words.word(record::ARGUMENTS);
    Record {
        number,
        began: words.word(record::BEGAN),
        duration: words.word(record::DURATION),
        function: Function::ALL
            .get((call & 0xff) as usize)
            .copied()
            .filter(|function| (*function as usize) < Function::RECORDED),
        flags: (call >> 8) as u8,
        operation: (call >> 16) as u16,
        errno: (call >> 32) as u32,
        result: words.word(record::RESULT) as i64,
        first: arguments as u32 as i32,
        second: (arguments >> 32) as u32 as i32,
        extra: words.word(record::EXTRA),
        caller: words.word(record::CALLER),
    }
}

/// The entries of a part of a table, with their indices. Entry 0 of a table is unused.
fn entries(segment: Bytes<'_>, first: u64, size: usize) -> impl Iterator<Item = (u64, Bytes<'_>)> {
    (0..segment.0.len() / size)
        .map(move |place| (first.saturating_add(place as u64), segment.part(place * size, size)))
        .filter(|(index, _)| *index != 0)
}

pub fn instances(segment: Bytes<'_>, first: u64) -> impl Iterator<Item = Instance> {
    entries(segment, first, instance::SIZE).filter(|(_, words)| words.word(instance::ID) != 0).map(|(index, words)| {
        let origin = words.word(instance::ORIGIN);
        let both = |word: usize| {
            let place = instance::WAITS + word * 8;
            words.word(place).saturating_add(words.word(place + 40))
        };
        Instance {
            index,
            id: words.word(instance::ID),
            site: words.word(instance::SITE),
            origin: match (origin & !instance::INHERITED) >> 32 {
                1 => Origin::Create,
                2 => Origin::Create1,
                _ => Origin::Unseen,
            },
            argument: origin as u32 as i32,
            inherited: origin & instance::INHERITED != 0,
            epfd: words.word(instance::EPFD) as i32,
            mark: (words.word(instance::EPFD) >> instance::MARK) as u32,
            watches: words.word(instance::WATCHES),
            watches_peak: words.word(instance::WATCHES_PEAK),
            began: words.word(instance::BEGAN),
            waits: both(0),
            events: both(1),
            empty: both(2),
            full: both(3),
            interrupted: both(4),
        }
    })
}

pub(super) fn interests(segment: Bytes<'_>, first: u64) -> impl Iterator<Item = Interest> {
    entries(segment, first, interest::SIZE).filter(|(_, words)| words.word(interest::INSTANCE) != 0).map(
        |(_, words)| {
            let instance = words.word(interest::INSTANCE);
            Interest {
                instance: instance & u64::from(u32::MAX),
                fd: (instance >> 32) as u32 as i32,
                site: words.word(interest::SITE),
            }
        },
    )
}
