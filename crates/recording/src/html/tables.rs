//! The tables of the page: processes, calls, descriptors, call sites, instances, threads and
//! suppressions.

use epollshim_format::call::{Call, FUNCTIONS};

use super::ROWS;
use super::table::{Cell, Table};
use crate::Set;
use crate::census;
use crate::described;
use crate::facts::{self, Facts};
use crate::json::error_name;
use crate::model::{Process, summed_rules};
use crate::modules::plain;
use crate::scale::{grouped, time};
use crate::sites::Site;

pub(super) fn suppressions(set: &Set) -> Table {
    let mut table =
        Table::new("Suppressions", &["rule", "findings"], "Findings that these rules removed from the report.");
    for one in set.suppressions.iter().take(ROWS) {
        table.row(vec![Cell::code(&one.rule), Cell::number(one.findings, grouped)]);
    }
    table.left_out(set.suppressions.len().saturating_sub(ROWS));
    table
}

/// The fault rules, with the sums of their counts.
pub(super) fn faults(set: &Set) -> Table {
    let mut table = Table::new(
        "Faults",
        &["rule", "matched", "fired", "processes with the rule", "fired in", "fired last on", "called at"],
        "Matched: calls that the rule counted. Fired: calls that it changed; with <code>error=</code>, those that failed. \
         Calls of functions other than epoll's are counted only in this table.",
    );
    for of in summed_rules(&set.processes) {
        let last = of.last.map(|(process, firing)| (Cell::text(&firing.said_of(process)), place(process, firing.site)));
        let (last, called_at) = last.unwrap_or_else(|| (Cell::text(""), Cell::text("")));
        table.row(vec![
            Cell::code(of.text),
            Cell::number(of.matched, grouped),
            Cell::number(of.fired, grouped),
            Cell::number(of.processes.len() as u64, grouped),
            Cell::number(of.fired_in.len() as u64, grouped),
            last,
            called_at,
        ]);
    }
    table
}

/// Descriptors by creating call and kind, of processes with a census.
pub(super) fn census(set: &Set) -> Table {
    let mut table = Table::new(
        "Descriptors",
        &[
            "program",
            "pid",
            "kind",
            "open",
            "peak",
            "inherited",
            "created",
            "closed",
            "created at",
            "examples left open",
        ],
        "The census (<code>EPOLLSHIM_CENSUS=1</code>) at the end of each process. Open = inherited + created - closed. \
         Inherited: open at load or at the fork, or found open although no call that was seen created it.",
    );
    let counted = set.processes.iter().filter_map(|process| Some((process, process.census.as_ref()?)));
    let rows = counted.flat_map(|(process, census)| census.rows.iter().map(move |row| (process, row)));
    for (process, row) in rows.clone().take(ROWS) {
        table.row(vec![
            Cell::text(&plain(&process.header.comm)),
            Cell::bare(process.header.pid),
            Cell::text(row.kind.name()),
            Cell::number(row.live, grouped),
            Cell::number(row.peak, grouped),
            Cell::number(row.inherited(), grouped),
            Cell::number(row.born, grouped),
            Cell::number(row.closed, grouped),
            place(process, row.site),
            Cell::code(&described::lines(&census::described(process, row), row.live).join("; ")),
        ]);
    }
    table.left_out(rows.count().saturating_sub(ROWS));
    table
}

/// A call site, and its callers if stacks were recorded.
fn place(process: &Process, site: u64) -> Cell {
    let stack = process.stack(site);
    let callers: Vec<String> = stack.iter().skip(1).map(|caller| caller.best()).collect();
    Cell::place(&process.site(site).map_or_else(|| "not seen".to_owned(), |site| site.best()), &callers)
}

pub(super) fn processes(set: &Set) -> Table {
    let mut table = Table::new(
        "Processes",
        &[
            "program",
            "pid",
            "user",
            "ended",
            "ran",
            "calls",
            "failed",
            "events",
            "watches",
            "peak",
            "threads",
            "arguments",
        ],
        "",
    );
    for process in set.processes.iter().take(ROWS) {
        let counters = process.counters();
        let all = counters.of(&Call::ALL);
        let arguments: Vec<String> = process.header.arguments.iter().map(|argument| plain(argument)).collect();
        table.row(vec![
            Cell::text(&plain(&process.header.comm)),
            Cell::bare(process.header.pid),
            Cell::text(&process.owner.shown()),
            Cell::text(&process.ended()),
            Cell::number(process.duration, time),
            Cell::number(all.calls, grouped),
            Cell::number(all.failures(), grouped),
            Cell::number(counters.batch.sum, grouped),
            Cell::number(process.totals.watches, grouped),
            Cell::number(process.totals.watches_peak, grouped),
            Cell::number(process.threads.len() as u64, grouped),
            Cell::code(&arguments.join(" ")),
        ]);
    }
    table.left_out(set.processes.len().saturating_sub(ROWS));
    table
}

pub(super) fn calls(facts: &Facts) -> Table {
    let mut table =
        Table::new("Calls", &["call", "calls", "failed", "errors", "injected", "limited", "p50", "p99", "max"], "");
    for (name, of) in FUNCTIONS {
        let counted = facts.counters.of(of);
        if counted.calls == 0 {
            continue;
        }
        let errors: Vec<String> =
            counted.errors.iter().map(|(error, times)| format!("{} {}", error_name(*error), grouped(*times))).collect();
        let blocked = of.first().and_then(|call| facts.counters.blocked_in(*call));
        let quantiles = blocked.and_then(|blocked| blocked.summary().quantiles);
        let quantile = |value: Option<u64>| value.map_or(Cell::none(), |value| Cell::number(value, time));
        table.row(vec![
            Cell::code(name),
            Cell::number(counted.calls, grouped),
            Cell::number(counted.failures(), grouped),
            Cell::text(&errors.join(", ")),
            Cell::number(counted.injected, grouped),
            Cell::number(counted.limited, grouped),
            quantile(quantiles.map(|quantiles| quantiles.p50)),
            quantile(quantiles.map(|quantiles| quantiles.p99)),
            quantile(quantiles.map(|quantiles| quantiles.max)),
        ]);
    }
    table
}

pub(super) fn sites(facts: &Facts) -> Table {
    let mut table = Table::new(
        "Call sites",
        &["function", "at", "object", "calls", "failed", "time", "events", "watches", "calls by function"],
        "Calls, times and events are counted in the call records of the file: all, or the last ones of each thread.",
    );
    for site in &facts.sites {
        let at: &Site = &site.site;
        let function = match (&at.function, at.offset) {
            _ if at.behind => String::new(),
            (Some(function), Some(offset)) => format!("{function}+{offset:#x}"),
            (Some(function), None) => function.clone(),
            (None, _) => String::new(),
        };
        table.row(vec![
            Cell::code(&function),
            Cell::code(&at.location().unwrap_or_default()),
            Cell::code(&at.text),
            Cell::number(site.all_calls(), grouped),
            Cell::number(site.failed, grouped),
            Cell::number(site.time, time),
            Cell::number(site.events, grouped),
            Cell::number(site.watches, grouped),
            Cell::text(&site.what()),
        ]);
    }
    table.left_out(facts.more_sites);
    table
}

pub(super) fn instances(set: &Set) -> Table {
    let mut table = Table::new(
        "Instances",
        &["program", "pid", "#", "fd", "created by", "at", "watches", "peak", "waits", "events", "empty", "full"],
        "Instances alive at the end of the process, or now if it still runs.",
    );
    let mut left = ROWS;
    let mut more = 0;
    for process in &set.processes {
        let instances = facts::by_id(process);
        for instance in instances.iter().take(left) {
            table.row(vec![
                Cell::text(&plain(&process.header.comm)),
                Cell::bare(process.header.pid),
                Cell::bare(instance.id),
                Cell::text(&instance.epfd.to_string()),
                Cell::code(&instance.made_by()),
                place(process, instance.site),
                Cell::number(instance.watches, grouped),
                Cell::number(instance.watches_peak, grouped),
                Cell::number(instance.waits, grouped),
                Cell::number(instance.events, grouped),
                Cell::number(instance.empty, grouped),
                Cell::number(instance.full, grouped),
            ]);
        }
        more += instances.len().saturating_sub(left);
        left = left.saturating_sub(instances.len());
    }
    table.left_out(more);
    table
}

pub(super) fn threads(set: &Set) -> Table {
    let mut table = Table::new(
        "Threads",
        &["program", "pid", "thread", "calls", "failed", "events", "blocked", "work", "records", "overwritten"],
        "",
    );
    let all = || {
        set.processes.iter().flat_map(|process: &Process| process.threads.iter().map(move |thread| (process, thread)))
    };
    for (process, thread) in all().take(ROWS) {
        let counted = thread.counters.of(&Call::ALL);
        table.row(vec![
            Cell::text(&plain(&process.header.comm)),
            Cell::bare(process.header.pid),
            Cell::bare(thread.tid),
            Cell::number(counted.calls, grouped),
            Cell::number(counted.failures(), grouped),
            Cell::number(thread.counters.batch.sum, grouped),
            Cell::number(thread.counters.blocked().sum, time),
            Cell::number(thread.counters.work.sum, time),
            Cell::number(thread.seen, grouped),
            Cell::number(thread.overwritten, grouped),
        ]);
    }
    table.left_out(all().count().saturating_sub(ROWS));
    table
}
