//! The objects in a report: calls, instances, threads, findings, call sites, limits and faults.

use std::sync::Arc;

use epollshim_format::call::FUNCTIONS;
use epollshim_format::findings::Id;
use epollshim_format::kernel_memory;
use serde_json::{Map, Value, json};

use super::error_name;
use crate::described::Descriptor;
use crate::facts::{self, SiteFacts, Watched};
use crate::findings::Found;
use crate::model::{CallCounters, Histogram, Instance, Limit, Process, Thread, summed_rules};
use crate::sites::Site;

/// The limits of some processes. Counts of equal limits are added, and so are their peaks.
pub(super) fn limits(processes: &[Process]) -> Value {
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

/// The fault rules of some processes, with the sums of their counts.
pub(super) fn faults(processes: &[Process]) -> Value {
    let rules = summed_rules(processes).into_iter().map(|of| {
        let firings: Vec<Value> = processes
            .iter()
            .flat_map(|process| process.rules.iter().map(move |rule| (process, rule)))
            .filter(|(_, rule)| rule.text == of.text)
            .flat_map(|(process, rule)| rule.firings.iter().map(|firing| firing.json(process)))
            .collect();
        json!({ "rule": of.text, "matched": of.matched, "fired": of.fired, "legal": of.legal, "firings": firings })
    });
    rules.collect()
}

pub(super) fn of_call(counted: &CallCounters, latency: Option<&Histogram>) -> Value {
    json!({
        "calls": counted.calls,
        "errors": counted.errors.iter().map(|(error, times)| (error_name(*error).to_owned(), Value::from(*times)))
            .collect::<Map<_, _>>(),
        "injected": counted.injected,
        "limited": counted.limited,
        "latency_ns": latency.map(distribution),
    })
}

pub(super) fn distribution(histogram: &Histogram) -> Value {
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

/// The most instances that have their stacks. A damaged file may have any number of instances.
pub(super) const STACKS: usize = 500;

pub(super) fn of_instance(
    process: &Process,
    instance: &Instance,
    stack: &[Arc<Site>],
    watched: Option<Watched>,
) -> Value {
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

pub(super) fn of_thread(thread: &Thread) -> Value {
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

/// Each frame of a stack, including inlined ones, the innermost first.
pub fn frames(stack: &[Arc<Site>]) -> Vec<String> {
    stack.iter().flat_map(|site| site.frames()).collect()
}

pub(super) fn of_finding(found: &Found) -> Value {
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

pub(super) fn of_site(site: &SiteFacts) -> Value {
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
