//! JSON of the schema `epollshim.report/1`: each process as in its own exit report, and all merged,
//! with the same keys. What a recording does not have is null ([`not_recorded`]). Processes are
//! written one at a time, so that memory holds the JSON of only one.

mod parts;

use std::collections::HashMap;
use std::io::{self, Write};

use epollshim_format::call::{Call, FUNCTIONS};
use epollshim_format::recording::thread::KIND_NAMES;
use epollshim_format::{REPORT_SCHEMA, errno, kernel_memory};
use serde_json::{Map, Value, json};

use crate::Set;
use crate::census;
use crate::facts::{self, Facts};
use crate::load::shown;
use crate::model::Process;
use crate::modules::plain;

pub use parts::frames;
use parts::{STACKS, distribution, faults, limits, of_call, of_finding, of_instance, of_site, of_thread};

pub fn render(set: &Set, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{{\"schema\":\"{REPORT_SCHEMA}\",\"processes\":[")?;
    for (index, process) in set.processes.iter().enumerate() {
        out.write_all(if index == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &of_process(process))?;
    }
    out.write_all(b"],\n\"merged\":")?;
    serde_json::to_writer(&mut *out, &merged(set))?;
    let unread: Vec<Value> =
        set.failures.iter().map(|failure| json!({ "file": shown(&failure.path), "error": failure.what })).collect();
    if !set.suppressions.is_empty() {
        let rules = set.suppressions.iter().map(|one| json!({ "rule": one.rule, "findings": one.findings }));
        write!(out, ",\n\"suppressions\":{}", rules.collect::<Value>())?;
    }
    let runs = set.runs.iter().map(|run| {
        json!({
            "directory": shown(&run.directory),
            "start_unix_ns": run.began_unix,
            "processes": run.processes,
            "left_out": run.left_out,
        })
    });
    write!(out, ",\n\"runs\":{}", runs.collect::<Value>())?;
    write!(out, ",\n\"unread\":{}}}", Value::from(unread))?;
    out.write_all(b"\n")
}

fn of_process(process: &Process) -> Value {
    let header = &process.header;
    let facts = Facts::of(process);
    let mut watched = facts::watched(process);
    let instances: Vec<Value> = facts::by_id(process)
        .into_iter()
        .enumerate()
        .map(|(place, instance)| {
            let stack = if place < STACKS { process.stack(instance.site) } else { Vec::new() };
            of_instance(process, instance, &stack, watched.remove(&instance.index))
        })
        .collect();
    let mut report = json!({
        "schema": REPORT_SCHEMA,
        "process": {
            "pid": header.pid,
            "ppid": header.ppid,
            "comm": text(&header.comm),
            "exe": text(&header.exe),
            "argv": header.arguments.iter().map(|argument| text(argument)).collect::<Vec<_>>(),
            "start_unix_ns": header.began_unix,
            "duration_ns": process.duration,
            "end": process.end(),
            // The end of a killed process was not recorded. The duration is then the least time
            // that it can have run.
            "end_is_exact": process.end_is_known(),
            "signal": process.killed_by(),
            "seed": header.seed,
        },
    });
    if let Some(report) = report.as_object_mut() {
        sums(&facts, instances, report);
        not_recorded(report);
        if let Some(census) = census::json(process) {
            report.insert("census".into(), census);
        }
        report.insert("limits".into(), limits(std::slice::from_ref(process)));
        report.insert("faults".into(), faults(std::slice::from_ref(process)));
        let series = process.series.iter().map(|moment| {
            let kinds = moment.kinds.iter().map(|(kind, open)| (kind.name().to_owned(), (*open).into()));
            json!({
                "at_ns": moment.at.saturating_sub(header.began),
                "calls": moment.calls, "waits": moment.waits,
                "instances": moment.instances, "watches": moment.watches,
                "descriptors": kinds.collect::<Map<String, Value>>(),
            })
        });
        report.insert("series".into(), series.collect());
        report.insert("threads".into(), process.threads.iter().map(of_thread).collect());
        if process.control.requests > 0 || process.control.damaged > 0 {
            let of = process.control;
            report.insert("control".into(), json!({ "requests": of.requests, "damaged": of.damaged }));
        }
        report.insert(
            "recording".into(),
            json!({
                "file": shown(&process.path),
                "owner": { "uid": process.owner.uid, "name": process.owner.name },
                "partial": process.partial(),
                "notes": process.notes.kept,
                "more_notes": process.notes.more,
                "ring": (header.ring != 0).then_some(header.ring),
                "records_max": (header.ring == 0).then_some(header.records_most),
                "why_dropped": process.why_dropped(),
                "trouble": header.trouble.map(error_name),
                "children_lost": header.children_lost,
                "children_trouble": header.children_trouble.map(error_name),
                "unseen_programs": header.unseen,
                "first_unseen_program": (header.unseen > 0).then(|| plain(&header.first_unseen)),
            }),
        );
    }
    report
}

fn merged(set: &Set) -> Value {
    let facts = Facts::merged(set);
    let mut report = Map::new();
    report.insert("schema".into(), REPORT_SCHEMA.into());
    report.insert("processes".into(), set.processes.len().into());
    report.insert("process".into(), common(&set.processes));
    sums(&facts, merged_instances(set), &mut report);
    report.insert("limits".into(), limits(&set.processes));
    report.insert("faults".into(), faults(&set.processes));
    not_recorded(&mut report);
    if let Some(census) = census::merged_json(set) {
        report.insert("census".into(), census);
    }
    let sum = |count: fn(&Process) -> u64| set.processes.iter().map(count).fold(0, u64::saturating_add);
    let requests = sum(|process| process.control.requests);
    let damaged = sum(|process| process.control.damaged);
    if requests > 0 || damaged > 0 {
        report.insert("control".into(), json!({ "requests": requests, "damaged": damaged }));
    }
    let trouble = |error: fn(&Process) -> Option<u32>| set.processes.iter().find_map(error).map(error_name);
    report.insert(
        "recording".into(),
        json!({
            "file": null,
            "partial": set.processes.iter().any(Process::partial) || !set.failures.is_empty(),
            "partial_processes": set.processes.iter().filter(|process| process.partial()).count(),
            "trouble": trouble(|process| process.header.trouble),
            "children_lost": sum(|process| process.header.children_lost),
            "children_trouble": trouble(|process| process.header.children_trouble),
            "unseen_programs": sum(|process| process.header.unseen),
        }),
    );
    report.into()
}

/// What all processes have in common, null where they differ. The duration is from the first
/// beginning to the last end.
fn common(processes: &[Process]) -> Value {
    fn same<T: PartialEq>(processes: &[Process], of: impl Fn(&Process) -> T) -> Option<T> {
        let first = of(processes.first()?);
        processes.iter().all(|process| of(process) == first).then_some(first)
    }
    let began = processes.iter().map(|process| process.header.began_unix).min().unwrap_or(0);
    let ends = processes.iter().map(|process| process.header.began_unix.saturating_add(process.duration));
    json!({
        "pid": same(processes, |process| process.header.pid),
        "ppid": same(processes, |process| process.header.ppid),
        "comm": same(processes, |process| text(&process.header.comm)),
        "exe": same(processes, |process| text(&process.header.exe)),
        "argv": same(processes, |process| process.header.arguments.iter().map(|one| text(one)).collect::<Vec<_>>()),
        "start_unix_ns": began,
        "duration_ns": ends.max().unwrap_or(0).saturating_sub(began),
        "end": same(processes, Process::end),
        "signal": same(processes, Process::killed_by).flatten(),
        "seed": same(processes, |process| process.header.seed).flatten(),
    })
}

/// At most [`STACKS`] instances of all processes, each with the id of its process.
fn merged_instances(set: &Set) -> Vec<Value> {
    let mut list = Vec::new();
    for process in &set.processes {
        let instances = facts::by_id(process);
        let left = STACKS.saturating_sub(list.len()).min(instances.len());
        let mut watched = if left == 0 { HashMap::new() } else { facts::watched(process) };
        for instance in instances.into_iter().take(left) {
            let stack = process.stack(instance.site);
            let mut one = of_instance(process, instance, &stack, watched.remove(&instance.index));
            if let Some(one) = one.as_object_mut() {
                one.insert("pid".into(), process.header.pid.into());
            }
            list.push(one);
        }
    }
    list
}

/// Adds the keys of the exit report whose values are not in a recording, as null.
fn not_recorded(report: &mut Map<String, Value>) {
    for key in ["log", "suppressions"] {
        report.entry(key).or_insert(Value::Null);
    }
    if let Some(coverage) = report.get_mut("coverage").and_then(Value::as_object_mut) {
        for key in ["uncompared", "seccomp", "unseen_epfds", "go"] {
            coverage.entry(key).or_insert(Value::Null);
        }
    }
}

/// The members that a process and the merged view have in common.
fn sums(facts: &Facts, instances: Vec<Value>, report: &mut Map<String, Value>) {
    let (counters, totals) = (&facts.counters, &facts.totals);
    let mut calls = Map::new();
    for (name, of) in FUNCTIONS {
        let counted = counters.of(of);
        if counted.calls != 0 || counted.failures() != 0 {
            // The counters have times only for waits.
            let latency = of.first().and_then(|call| counters.blocked_in(*call));
            calls.insert(name.into(), of_call(&counted, latency));
        }
    }
    let mut events = Map::new();
    events.insert("total".into(), counters.batch.sum.into());
    for (name, count) in KIND_NAMES.iter().zip(counters.kinds) {
        events.insert((*name).into(), count.into());
    }
    let records = &facts.records;
    let parts = [
        ("calls", calls.into()),
        (
            "instances",
            json!({
                "created": facts.created(),
                "live": totals.instances,
                "peak": totals.instances_peak,
                "list": instances,
            }),
        ),
        (
            "watches",
            json!({
                "added": counters.successes(Call::CtlAdd),
                "modified": counters.successes(Call::CtlMod),
                "deleted": counters.successes(Call::CtlDel),
                "vanished": totals.vanished,
                "live": totals.watches,
                "peak": totals.watches_peak,
            }),
        ),
        (
            "waits",
            json!({
                "empty": counters.empty,
                "full": counters.full,
                "interrupted": counters.interrupted(),
                "events": events,
                "blocked_ns": distribution(&counters.blocked()),
                "work_ns": distribution(&counters.work),
                "batch": distribution(&counters.batch),
            }),
        ),
        (
            "kernel_memory",
            json!({ "live": facts.memory(), "peak": totals.memory_peak, "source": kernel_memory::SOURCE }),
        ),
        ("findings", facts.findings.iter().map(of_finding).collect()),
        (
            "coverage",
            json!({
                "unseen_instances": totals.unseen_instances,
                "unseen_watches": totals.unseen_watches,
                "healed": totals.healed,
                "lost": totals.lost,
                "uncounted": facts.calls_dropped,
                "reconciled": facts.is_reconciled,
            }),
        ),
        (
            "records",
            json!({
                "begun": records.begun,
                "seen": records.seen,
                "overwritten": records.overwritten,
                "dropped": records.dropped,
                "unfinished": records.unfinished,
                "left": records.left,
                "threads_dropped": facts.threads_dropped,
                "calls_dropped": facts.calls_dropped,
                "entries_dropped": facts.entries_dropped,
            }),
        ),
        ("sites", facts.sites.iter().map(of_site).collect()),
        ("more_sites", facts.more_sites.into()),
    ];
    report.extend(parts.map(|(name, value)| (name.to_owned(), value)));
}

/// Bytes as text. What is not UTF-8 becomes U+FFFD.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn error_name(error: u32) -> &'static str {
    errno::name(error).unwrap_or("other")
}
