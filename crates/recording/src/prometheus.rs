//! Prometheus' text format (0.0.4), as node_exporter's textfile collector and `promtool check
//! metrics` read it. A label names the program. No label has a pid, so the number of series stays
//! bounded however often programs start.
//!
//! This is not OpenMetrics: its counter families are named without `_total`, and the collector's
//! parser would treat them as untyped.
//!
//! The bounds of the histograms are bounds of the recording's buckets, so no count is an estimate.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use epollshim_format::call::{Call, FUNCTIONS};
use epollshim_format::kernel_memory;
use epollshim_format::recording::thread::KIND_NAMES;

use crate::Set;
use crate::facts::Facts;
use crate::json::error_name;
use crate::model::{Counters, Histogram, Process, Totals};
use crate::modules::plain;

/// The most programs with their own label. The label of all others is `other`.
const PROGRAMS: usize = 50;
/// Upper bounds in nanoseconds, from about 1 us to 17 s. Each is eight times the one before.
const TIMES: [u64; 9] = [
    (1 << 10) - 1,
    (1 << 13) - 1,
    (1 << 16) - 1,
    (1 << 19) - 1,
    (1 << 22) - 1,
    (1 << 25) - 1,
    (1 << 28) - 1,
    (1 << 31) - 1,
    (1 << 34) - 1,
];
/// Upper bounds of the number of events per batch.
const BATCHES: [u64; 9] = [1, 2, 4, 8, 15, 31, 63, 127, 1023];

/// The sums of all processes of one program.
#[derive(Default)]
struct Program {
    counters: Counters,
    totals: Totals,
    ends: BTreeMap<&'static str, u64>,
    partial: u64,
    seen: u64,
    overwritten: u64,
    dropped: u64,
    unfinished: u64,
    calls_dropped: u64,
    findings: BTreeMap<(&'static str, &'static str), u64>,
}

impl Program {
    fn add(&mut self, process: &Process) {
        let facts = Facts::of(process);
        self.counters.add(&facts.counters);
        self.totals.add(facts.totals);
        *self.ends.entry(process.end()).or_default() += 1;
        self.partial += u64::from(process.partial());
        self.seen = self.seen.saturating_add(facts.records.seen);
        self.overwritten = self.overwritten.saturating_add(facts.records.overwritten);
        self.dropped = self.dropped.saturating_add(facts.records.dropped);
        self.unfinished = self.unfinished.saturating_add(facts.records.unfinished);
        for found in &facts.findings {
            let place = self.findings.entry((found.finding.id.name(), found.finding.severity.name())).or_default();
            *place = place.saturating_add(1);
        }
        self.calls_dropped = self.calls_dropped.saturating_add(facts.calls_dropped);
    }
}

pub fn render(set: &Set, out: &mut dyn Write) -> io::Result<()> {
    let mut programs: BTreeMap<String, Program> = BTreeMap::new();
    for process in &set.processes {
        // The printable name is the key, so that two names that print alike share one series.
        let mut name = plain(&process.header.comm);
        if !programs.contains_key(&name) && programs.len() >= PROGRAMS {
            name = "other".into();
        }
        programs.entry(name).or_default().add(process);
    }
    let mut page = Page { programs, text: String::new() };
    page.all();
    page.family("epollshim_unread_recordings", "gauge", "Files of the directory that could not be read.");
    let _ = writeln!(page.text, "epollshim_unread_recordings {}", set.failures.len());
    out.write_all(page.text.as_bytes())
}

struct Page {
    programs: BTreeMap<String, Program>,
    text: String,
}

/// Takes one sample of a program: the labels besides `program`, and the value.
type Samples<'a> = &'a mut dyn FnMut(&[(&str, &str)], u64);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn samples(&mut self, name: &str, of: impl Fn(&Program, Samples)) {
        for (program, facts) in &self.programs {
            let text = &mut self.text;
            of(facts, &mut |labels, value| {
                let _ = writeln!(text, "{name}{} {value}", label_set(program, labels));
            });
        }
    }

    /// `name` without `_total`.
    fn counter(&mut self, name: &str, help: &str, of: impl Fn(&Program, Samples)) {
        let name = format!("{name}_total");
        self.family(&name, "counter", help);
        self.samples(&name, of);
    }

    fn gauge(&mut self, name: &str, help: &str, of: impl Fn(&Program, Samples)) {
        self.family(name, "gauge", help);
        self.samples(name, of);
    }

    fn histogram(&mut self, name: &str, help: &str, bounds: &[u64], unit: f64, of: impl Fn(&Program) -> Histogram) {
        self.family(name, "histogram", help);
        for (program, facts) in &self.programs {
            let histogram = of(facts);
            for bound in bounds {
                let le = number(*bound as f64 / unit);
                let labels = label_set(program, &[("le", &le)]);
                let _ = writeln!(self.text, "{name}_bucket{labels} {}", histogram.up_to(*bound));
            }
            let count = histogram.count();
            let _ = writeln!(self.text, "{name}_bucket{} {count}", label_set(program, &[("le", "+Inf")]));
            let labels = label_set(program, &[]);
            let _ = writeln!(self.text, "{name}_sum{labels} {}", number(histogram.sum as f64 / unit));
            let _ = writeln!(self.text, "{name}_count{labels} {count}");
        }
    }

    fn all(&mut self) {
        self.gauge("epollshim_processes", "Recorded processes, by how they ended.", |program, sample| {
            program.ends.iter().for_each(|(end, count)| sample(&[("end", end)], *count));
        });
        self.gauge("epollshim_partial_recordings", "Recordings that are incomplete.", |program, sample| {
            sample(&[], program.partial);
        });
        self.counter("epollshim_calls", "Calls, including failed ones.", |program, sample| {
            for (name, of) in FUNCTIONS {
                sample(&[("call", name)], program.counters.of(of).calls);
            }
        });
        self.counter("epollshim_call_errors", "Failed calls, by error.", |program, sample| {
            for (name, of) in FUNCTIONS {
                // All numbers without a name share one series.
                let mut errors: BTreeMap<&str, u64> = BTreeMap::new();
                for (error, times) in program.counters.of(of).errors {
                    let sum = errors.entry(error_name(error)).or_default();
                    *sum = sum.saturating_add(times);
                }
                errors.iter().for_each(|(error, times)| sample(&[("call", name), ("errno", error)], *times));
            }
        });
        self.counter("epollshim_calls_injected", "Calls on which a fault fired.", |program, sample| {
            sample(&[], program.counters.of(&Call::ALL).injected);
        });
        self.counter("epollshim_calls_limited", "Calls that a limit refused.", |program, sample| {
            sample(&[], program.counters.of(&Call::ALL).limited);
        });
        self.counter("epollshim_instances_created", "Epoll instances created.", |program, sample| {
            let counters = &program.counters;
            sample(&[], counters.successes(Call::Create).saturating_add(counters.successes(Call::Create1)));
        });
        self.gauge(
            "epollshim_instances",
            "Epoll instances alive now, or at the end of the process.",
            |program, sample| {
                sample(&[], program.totals.instances);
            },
        );
        self.gauge("epollshim_watches", "Interests alive now, or at the end of the process.", |program, sample| {
            sample(&[], program.totals.watches);
        });
        self.counter("epollshim_watch_changes", "Changes of interest lists, by kind.", |program, sample| {
            let successes = |call| program.counters.successes(call);
            sample(&[("change", "added")], successes(Call::CtlAdd));
            sample(&[("change", "modified")], successes(Call::CtlMod));
            sample(&[("change", "deleted")], successes(Call::CtlDel));
            sample(&[("change", "vanished")], program.totals.vanished);
        });
        self.counter(
            "epollshim_waits",
            "Waits that returned no events, maxevents events, or EINTR.",
            |program, sample| {
                sample(&[("end", "empty")], program.counters.empty);
                sample(&[("end", "full")], program.counters.full);
                sample(&[("end", "interrupted")], program.counters.interrupted());
            },
        );
        self.counter("epollshim_events", "Events delivered, by kind; an event may have several.", |program, sample| {
            for (name, count) in KIND_NAMES.iter().zip(program.counters.kinds) {
                sample(&[("kind", name)], count);
            }
        });
        const NANOSECONDS: f64 = 1e9;
        self.histogram(
            "epollshim_wait_blocked_seconds",
            "Time blocked per wait, for waits that could block.",
            &TIMES,
            NANOSECONDS,
            |program| program.counters.blocked(),
        );
        self.histogram(
            "epollshim_work_seconds",
            "Time that a thread worked between two waits.",
            &TIMES,
            NANOSECONDS,
            |program| program.counters.work.clone(),
        );
        self.histogram("epollshim_batch_events", "Events per wait that returned any.", &BATCHES, 1.0, |program| {
            program.counters.batch.clone()
        });
        self.gauge("epollshim_findings", "Findings, one per call site, by id and severity.", |program, sample| {
            for ((id, severity), count) in &program.findings {
                sample(&[("id", id), ("severity", severity)], *count);
            }
        });
        self.gauge("epollshim_kernel_memory_bytes", "Kernel memory of epoll objects, estimated.", |program, sample| {
            sample(&[], kernel_memory::estimate(program.totals.instances, program.totals.watches));
        });
        self.counter("epollshim_records", "Call records, by what became of them.", |program, sample| {
            sample(&[("state", "seen")], program.seen);
            sample(&[("state", "overwritten")], program.overwritten);
            sample(&[("state", "dropped")], program.dropped);
            sample(&[("state", "unfinished")], program.unfinished);
        });
        self.counter(
            "epollshim_calls_uncounted",
            "Calls not counted, because there was no space for their threads.",
            |program, sample| {
                sample(&[], program.calls_dropped);
            },
        );
        self.counter("epollshim_healed", "Wrong records of the shim that it repaired.", |program, sample| {
            sample(&[], program.totals.healed);
        });
    }
}

fn label_set(program: &str, labels: &[(&str, &str)]) -> String {
    let mut set = format!("{{program=\"{}\"", escaped(program));
    for (name, value) in labels {
        let _ = write!(set, ",{name}=\"{}\"", escaped(value));
    }
    set.push('}');
    set
}

/// A label value with the escapes of the format. Other control characters have no escape there and
/// become `?`.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            letter if letter.is_control() => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}

/// A floating-point number in its shortest form: `1.0`, `0.065535`, `1.023e-06`.
fn number(value: f64) -> String {
    if value != 0.0 && value < 1e-4 {
        let text = format!("{value:e}");
        return match text.split_once("e-") {
            Some((digits, exponent)) => format!("{digits}e-{exponent:0>2}"),
            None => text,
        };
    }
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::{BATCHES, TIMES, escaped, number};
    use epollshim_format::histogram::{bucket, highest};

    #[test]
    fn each_bound_is_the_end_of_a_bucket() {
        for bound in TIMES.into_iter().chain(BATCHES) {
            assert_eq!(highest(bucket(bound)), bound);
        }
    }

    #[test]
    fn numbers_and_labels_have_their_one_form() {
        assert_eq!([1.0, 1.023e-6, 0.065535, 0.0].map(number), ["1.0", "1.023e-06", "0.065535", "0.0"]);
        assert_eq!(escaped("a\"b\\c\nd\x1b"), "a\\\"b\\\\c\\nd?");
    }
}
