//! Schema `epollshim.report/1`: each process as its own exit report would have it, and all merged, with the same keys. What a
//! recording does not hold is null ([`not_recorded`]). Processes are written one by one: memory holds one at a time.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use epollshim_format::call::{Call, FUNCTIONS};
use epollshim_format::findings::Id;
use epollshim_format::recording::thread::KIND_NAMES;
use epollshim_format::{REPORT_SCHEMA, errno, kernel_memory};
use serde_json::{Map, Value, json};

use crate::Set;
use crate::census;
use crate::described::Descriptor;
use crate::facts::{self, Facts, SiteFacts, Watched};
use crate::findings::Found;
use crate::load::shown;
use crate::model::{CallCounters, Histogram, Instance, Limit, Process, Rule, Thread};
use crate::modules::plain;
use crate::sites::Site;

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
            // Killed: nothing has noted when. The duration is the least that it can have run.
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

/// What all processes have in common; null where they differ. The time is that from the first beginning to the last end.
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

/// Those of all processes, each with its process's id: at most [`STACKS`].
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

/// The limits that are set, in some processes: peaks and what was refused are added up, as are their other peaks.
fn limits(processes: &[Process]) -> Value {
    let mut sums: Vec<Limit> = Vec::new();
    for of in processes.iter().flat_map(|process| &process.limits) {
        match sums.iter_mut().find(|sum| (sum.key, sum.limit, sum.mode) == (of.key, of.limit, of.mode)) {
            None => sums.push(*of),
            Some(sum) => {
                sum.peak = sum.peak.saturating_add(of.peak);
                sum.denied = sum.denied.saturating_add(of.denied);
                sum.let_through = sum.let_through.saturating_add(of.let_through);
            }
        }
    }
    let limits = sums.iter().map(|of| {
        let mut limit = json!({
            "key": of.key, "limit": of.limit, "peak": of.peak, "denied": of.denied, "let_through": of.let_through,
        });
        if let (Some(mode), Some(limit)) = (of.mode, limit.as_object_mut()) {
            limit.insert("mode".into(), mode.into());
        }
        limit
    });
    limits.collect()
}

/// The rules of faults in some processes, with what they have counted in all of them.
fn faults(processes: &[Process]) -> Value {
    let mut sums: Vec<(Rule, Vec<Value>)> = Vec::new();
    for (process, of) in processes.iter().flat_map(|process| process.rules.iter().map(move |rule| (process, rule))) {
        let firings = of.firings.iter().map(|firing| firing.json(process));
        match sums.iter_mut().find(|(sum, _)| sum.text == of.text) {
            None => sums.push((of.clone(), firings.collect())),
            Some((sum, all)) => {
                sum.matched = sum.matched.saturating_add(of.matched);
                sum.fired = sum.fired.saturating_add(of.fired);
                all.extend(firings);
            }
        }
    }
    let rules = sums.into_iter().map(|(of, firings)| {
        json!({ "rule": of.text, "matched": of.matched, "fired": of.fired, "legal": of.legal, "firings": firings })
    });
    rules.collect()
}

/// Keys of the exit report whose values no recording holds.
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

/// What a process and the merged view have in common.
fn sums(facts: &Facts, instances: Vec<Value>, report: &mut Map<String, Value>) {
    let (counters, totals) = (&facts.counters, &facts.totals);
    let mut calls = Map::new();
    for (name, of) in FUNCTIONS {
        let counted = counters.of(of);
        if counted.calls != 0 || counted.failures() != 0 {
            // Only waits are timed by the counters.
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
                "reconciled": facts.reconciled,
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

fn of_call(counted: &CallCounters, latency: Option<&Histogram>) -> Value {
    json!({
        "calls": counted.calls,
        "errors": counted.errors.iter().map(|(error, times)| (error_name(*error).to_owned(), Value::from(*times)))
            .collect::<Map<_, _>>(),
        "injected": counted.injected,
        "limited": counted.limited,
        "latency_ns": latency.map(distribution),
    })
}

fn distribution(histogram: &Histogram) -> Value {
    let summary = histogram.summary();
    let quantiles = summary.quantiles;
    json!({
        "count": summary.count,
        "sum": summary.sum,
        "p50": quantiles.map(|quantiles| quantiles.p50),
        "p90": quantiles.map(|quantiles| quantiles.p90),
        "p99": quantiles.map(|quantiles| quantiles.p99),
        "max": quantiles.map(|quantiles| quantiles.max),
    })
}

/// How many instances are told with their stacks: a damaged file may have any number.
const STACKS: usize = 500;

fn of_instance(process: &Process, instance: &Instance, stack: &[Arc<Site>], watched: Option<Watched>) -> Value {
    let site = process.site(instance.site);
    let watched = watched.unwrap_or(Watched { fds: Vec::new(), sites: Vec::new() });
    let added: Vec<Value> = watched
        .sites
        .iter()
        .take(facts::SITES)
        .filter_map(|(address, times)| {
            let site = process.site(*address)?;
            Some(json!({ "site": site.text, "function": site.function.as_ref().filter(|_| !site.behind), "location": site.location(), "watches": times }))
        })
        .collect();
    json!({
        "id": instance.id,
        "epfds": [instance.epfd],
        "call": instance.call(),
        "size": instance.size(),
        "cloexec": instance.cloexec(),
        "inherited": instance.inherited,
        "site": site.as_deref().map(|site| &site.text),
        "stack": frames(stack),
        "function": site.as_deref().filter(|site| !site.behind).and_then(|site| site.function.as_ref()),
        "location": site.as_deref().and_then(Site::location),
        "watches": instance.watches,
        "peak_watches": instance.watches_peak,
        "waits": instance.waits,
        "events": instance.events,
        "empty": instance.empty,
        "full": instance.full,
        "interrupted": instance.interrupted,
        "kernel_bytes": kernel_memory::estimate(1, instance.watches),
        "watched_fds": watched.fds,
        "watch_sites": added,
    })
}

fn of_thread(thread: &Thread) -> Value {
    let mut calls = Map::new();
    for (name, of) in FUNCTIONS {
        let counted = thread.counters.of(of);
        if counted.calls != 0 {
            calls.insert(name.into(), json!({ "calls": counted.calls, "failed": counted.failures() }));
        }
    }
    json!({
        "tid": thread.tid,
        "calls": calls,
        "events": thread.counters.batch.sum,
        "blocked_ns": distribution(&thread.counters.blocked()),
        "work_ns": distribution(&thread.counters.work),
        "records": {
            "begun": thread.begun,
            "seen": thread.seen,
            "overwritten": thread.overwritten,
            "dropped": thread.dropped,
            "unfinished": thread.unfinished,
            "left": thread.left(),
        },
    })
}

/// Each frame of a stack, those included that were inlined, the innermost first.
pub fn frames(stack: &[Arc<Site>]) -> Vec<String> {
    stack.iter().flat_map(|site| site.frames()).collect()
}

fn of_finding(found: &Found) -> Value {
    let finding = &found.finding;
    let place = |site: Option<&Site>| site.map(|site| site.text.clone());
    let mut report = json!({
        "id": finding.id.name(),
        "severity": finding.severity.name(),
        "count": finding.count,
        "epfd": finding.epfd,
        "fd": finding.fd,
        "site": place(found.site.as_deref()),
        "function": found.site.as_deref().filter(|site| !site.behind).and_then(|site| site.function.as_ref()),
        "location": found.site.as_deref().and_then(Site::location),
        "other_site": place(found.other.as_deref()),
        "other_location": found.other.as_deref().and_then(Site::location),
        "stack": frames(&found.stack),
        "message": found.message(),
        "processes": found.processes,
        "site_role": finding.roles().site,
        "other_role": finding.roles().other,
        "other_stack": frames(&found.other_stack),
        "inlined_into": found.site.as_deref().map(|site| &site.inlined_into),
    });
    if let Some(object) = report.as_object_mut() {
        if let Some(created) = &found.created {
            object.insert("created_site".into(), created.text.clone().into());
            object.insert("created_location".into(), created.location().into());
            object.insert("created_stack".into(), frames(&found.created_stack).into());
        }
        if let Some(descriptor) = &found.descriptor {
            object.insert("descriptor".into(), descriptor.json());
        }
        if finding.id == Id::FdLeak {
            object.insert("descriptors".into(), found.descriptors.iter().map(Descriptor::json).collect());
        }
    }
    report
}

fn of_site(site: &SiteFacts) -> Value {
    json!({
        "site": site.site.text,
        "function": site.site.function.as_ref().filter(|_| !site.site.behind),
        "behind": site.site.function.as_ref().filter(|_| site.site.behind),
        "file": site.site.file,
        "line": site.site.line,
        "calls": site.calls,
        "failed": site.failed,
        "time_ns": site.time,
        "events": site.events,
        "instances": site.instances,
        "watches": site.watches,
    })
}

/// Bytes as text: what is no UTF-8 becomes U+FFFD.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn error_name(error: u32) -> &'static str {
    errno::name(error).unwrap_or("other")
}
