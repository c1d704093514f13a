//! What is shown of a process, its calls and its instances: values of an interval, from two
//! readings. No side effects.

use std::path::PathBuf;
use std::sync::Arc;

use epollshim_format::call::{Call, FUNCTIONS};
use epollshim_format::errno;
use epollshim_format::findings::{Finding, Severity};
use epollshim_recording::interval::Interval;
use epollshim_recording::live::Reading;
use epollshim_recording::model::{Histogram, Instance, Quantiles};

/// A process.
#[derive(Clone, Default)]
pub struct Row {
    /// Its recording. It identifies the process even if its process id is reused.
    pub key: Arc<PathBuf>,
    pub pid: u32,
    pub name: String,
    pub arguments: String,
    /// Nanoseconds since it started.
    pub age: u64,
    pub instances: u64,
    pub watches: u64,
    /// The threads that made an epoll call.
    pub threads: u64,
    /// Its file does not contain everything.
    pub is_partial: bool,
    /// How it ended. None: it is running.
    pub ended: Option<&'static str>,
    /// Its findings, the worst first.
    pub findings: Vec<Finding>,
    /// None: it was read only once.
    pub rates: Option<Rates>,
}

impl Row {
    /// The number of findings above severity info.
    pub fn serious(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity != Severity::Info).count()
    }
}

/// What a process did in an interval. Rates are per second.
#[derive(Clone, Default)]
pub struct Rates {
    pub length: u64,
    pub calls: f64,
    pub waits: f64,
    pub events: f64,
    pub errors: f64,
    pub injected: f64,
    pub limited: f64,
    /// Counts only waits that did not fail. None: there were none.
    pub events_per_wait: Option<f64>,
    /// The fraction of these waits without an event.
    pub empty: Option<f64>,
    /// A fraction.
    pub blocked: Option<f64>,
    /// The most frequent combination of call and error.
    pub top_error: Option<(&'static str, String)>,
    /// Time blocked in a wait, time of work between two waits, and events per wait.
    pub wait_time: Option<Quantiles>,
    pub work: Option<Quantiles>,
    pub batch: Option<Quantiles>,
    /// The functions that were ever called, the most frequent first.
    pub functions: Vec<FunctionRates>,
    /// Events by kind.
    pub kinds: Vec<(&'static str, f64)>,
}

/// An epoll function.
#[derive(Clone, Default)]
pub struct FunctionRates {
    pub name: &'static str,
    pub calls: f64,
    pub errors: f64,
    pub injected: f64,
    pub limited: f64,
    /// Since the process started.
    pub all: u64,
    /// The most frequent first.
    pub by_errno: Vec<(String, f64)>,
    /// How long it blocked. Only waits that can block are timed.
    pub time: Option<Quantiles>,
}

#[derive(Clone, Default)]
pub struct InstanceRow {
    pub id: u64,
    pub epfd: i32,
    pub watches: u64,
    pub waits: Option<f64>,
    pub events: Option<f64>,
    pub empty: Option<f64>,
    pub made_by: String,
    /// The address of the call that created it. 0: unknown.
    pub site: u64,
}

#[allow(clippy::cast_precision_loss)]
fn share(part: u64, of: u64) -> Option<f64> {
    (of != 0).then(|| part as f64 / of as f64)
}

fn quantiles(histogram: &Histogram) -> Option<Quantiles> {
    histogram.summary().quantiles
}

fn error_name(number: u32) -> String {
    errno::name(number).map_or_else(|| if number == 0 { "other".into() } else { number.to_string() }, str::to_owned)
}

impl Rates {
    pub fn between(earlier: &Reading, later: &Reading) -> Rates {
        let interval = Interval::between(earlier, later);
        let counted = &interval.counters;
        let (all, waits) = (counted.of(&Call::ALL), counted.of(&Call::WAITS));
        let delivering = counted.batch.count();
        let returned = delivering.saturating_add(counted.empty);
        let mut functions: Vec<FunctionRates> = Vec::new();
        let mut top: Option<(&'static str, u32, u64)> = None;
        for (name, calls) in FUNCTIONS {
            let (now, total) = (counted.of(calls), later.counters.of(calls).calls);
            if total == 0 {
                continue;
            }
            for (error, times) in &now.errors {
                if top.is_none_or(|(.., most)| *times > most) {
                    top = Some((name, *error, *times));
                }
            }
            let mut by_errno: Vec<(u32, u64)> = now.errors.iter().map(|(error, times)| (*error, *times)).collect();
            by_errno.sort_by_key(|(error, times)| (std::cmp::Reverse(*times), *error));
            functions.push(FunctionRates {
                name,
                calls: interval.rate(now.calls),
                errors: interval.rate(now.failures()),
                injected: interval.rate(now.injected),
                limited: interval.rate(now.limited),
                all: total,
                by_errno: by_errno.iter().map(|(error, times)| (error_name(*error), interval.rate(*times))).collect(),
                time: calls.first().and_then(|call| counted.blocked_in(*call)).and_then(quantiles),
            });
        }
        functions.sort_by(|one, other| other.calls.total_cmp(&one.calls).then(other.all.cmp(&one.all)));
        let kinds = epollshim_format::recording::thread::KIND_NAMES.into_iter().zip(counted.kinds);
        Rates {
            length: interval.length,
            calls: interval.rate(all.calls),
            waits: interval.rate(waits.calls),
            events: interval.rate(counted.batch.sum),
            errors: interval.rate(all.failures()),
            injected: interval.rate(all.injected),
            limited: interval.rate(all.limited),
            events_per_wait: share(counted.batch.sum, returned),
            empty: share(counted.empty, returned),
            blocked: interval.blocked,
            top_error: top.map(|(name, error, _)| (name, error_name(error))),
            wait_time: quantiles(&counted.blocked()),
            work: quantiles(&counted.work),
            batch: quantiles(&counted.batch),
            kinds: kinds.map(|(name, times)| (name, interval.rate(times))).collect(),
            functions,
        }
    }
}

/// Instances with what they did in `length` nanoseconds, the busiest first, then those with the
/// most watches.
pub fn instances(earlier: Option<(&[Instance], u64)>, later: &[Instance]) -> Vec<InstanceRow> {
    let mut rows: Vec<InstanceRow> = later
        .iter()
        .map(|now| {
            let row = InstanceRow {
                id: now.id,
                epfd: now.epfd,
                watches: now.watches,
                made_by: now.made_by(),
                site: now.site,
                ..InstanceRow::default()
            };
            let Some((earlier, length)) = earlier.filter(|(_, length)| *length != 0) else { return row };
            // An instance that was not there before has been created since.
            let before = earlier.iter().find(|before| before.id == now.id);
            let since = |count: fn(&Instance) -> u64| count(now).saturating_sub(before.map_or(0, count));
            let interval = Interval { length, ..Interval::default() };
            let waits = since(|one| one.waits);
            InstanceRow {
                waits: Some(interval.rate(waits)),
                events: Some(interval.rate(since(|one| one.events))),
                empty: share(since(|one| one.empty), waits),
                ..row
            }
        })
        .collect();
    let rate = |row: &InstanceRow| row.waits.unwrap_or(0.0);
    rows.sort_by(|one, other| {
        rate(other).total_cmp(&rate(one)).then(other.watches.cmp(&one.watches)).then(one.id.cmp(&other.id))
    });
    rows
}
