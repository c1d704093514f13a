//! The sums of calls, instances, watches, waits and threads.

use std::fmt::Write as _;

use epollshim_format::call::{Call, FUNCTIONS};
use epollshim_format::kernel_memory;
use epollshim_format::recording::thread::KIND_NAMES;

use super::LISTED;
use super::page::Page;
use crate::facts::{Facts, Watched};
use crate::json::error_name;
use crate::model::{Counters, Histogram, Instance, Process};
use crate::scale::{bytes, grouped, time};

pub(super) fn calls(counters: &Counters, page: &mut Page) {
    page.line(format!("{:<15}{:>16}{:>12}  errors", "Calls", "calls", "failed"));
    for (name, of) in FUNCTIONS {
        let counted = counters.of(of);
        let failed = counted.failures();
        if counted.calls == 0 && failed == 0 {
            continue;
        }
        let mut line = format!("  {name:<13}{:>16}{:>12}", grouped(counted.calls), grouped(failed));
        let errors = counted.errors.iter().map(|(error, times)| format!("{} {}", error_name(*error), grouped(*times)));
        let policy = [("injected", counted.injected), ("limited", counted.limited)];
        let policy = policy.iter().filter(|(_, times)| *times != 0);
        for word in errors.chain(policy.map(|(what, times)| format!("({what} {})", grouped(*times)))) {
            if line.chars().count() + 2 + word.len() > page.look.width {
                page.line(std::mem::replace(&mut line, format!("{:<43}", "")));
            }
            let _ = write!(line, "  {word}");
        }
        page.line(line);
    }
}

pub(super) fn the_instances(facts: &Facts) -> String {
    format!(
        "Instances: {} created, {} alive, {} at the peak",
        grouped(facts.created()),
        grouped(facts.totals.instances),
        grouped(facts.totals.instances_peak)
    )
}

pub(super) fn one_instance(process: &Process, instance: &Instance, watched: Option<Watched>, page: &mut Page) {
    let inherited = if instance.inherited && instance.call().is_some() { "  (inherited)" } else { "" };
    page.line(format!("  #{}  fd {}  {}{inherited}", instance.id, instance.epfd, instance.made_by()));
    if let Some(site) = process.site(instance.site) {
        page.frames("      created at ", &site, &process.stack(instance.site));
    }
    page.line(format!(
        "      watches {} (peak {}), waits {}, events {}",
        grouped(instance.watches),
        grouped(instance.watches_peak),
        grouped(instance.waits),
        grouped(instance.events),
    ));
    if instance.empty.saturating_add(instance.full).saturating_add(instance.interrupted) > 0 {
        page.line(format!(
            "      of its waits: {} empty, {} full, {} interrupted",
            grouped(instance.empty),
            grouped(instance.full),
            grouped(instance.interrupted)
        ));
    }
    let Some(watched) = watched else { return };
    let fds: Vec<String> = watched.fds.iter().take(LISTED).map(ToString::to_string).collect();
    let more = if watched.fds.len() > LISTED { " ..." } else { "" };
    page.wrapped("      ", &format!("watched: fd {}{more}", fds.join(" ")));
    for (address, times) in watched.sites.iter().take(3) {
        if let Some(site) = process.site(*address) {
            page.line(format!("        {} added at {}", grouped(*times), site.best()));
        }
    }
}

pub(super) fn sums(facts: &Facts, page: &mut Page) {
    let (counters, totals) = (&facts.counters, &facts.totals);
    page.gap();
    page.line(format!("Watches: {} alive, {} at the peak", grouped(totals.watches), grouped(totals.watches_peak)));
    page.line(format!(
        "  added {}, modified {}, deleted {}, removed by close {}",
        grouped(counters.successes(Call::CtlAdd)),
        grouped(counters.successes(Call::CtlMod)),
        grouped(counters.successes(Call::CtlDel)),
        grouped(totals.vanished),
    ));
    let count = counters.of(&Call::WAITS).calls;
    if count > 0 {
        page.gap();
        page.line(format!("Waits: {}", grouped(count)));
        page.line(format!(
            "  empty {}, full (n == maxevents) {}, interrupted {}",
            grouped(counters.empty),
            grouped(counters.full),
            grouped(counters.interrupted())
        ));
        let kinds = KIND_NAMES.iter().zip(counters.kinds).filter(|(_, count)| *count != 0);
        let kinds: String = kinds.map(|(name, count)| format!(" {name} {}", grouped(count))).collect();
        page.line(format!("  events {}:{kinds}", grouped(counters.batch.sum)));
        page.line(format!("  {:<18}{:>11}{:>11}{:>11}{:>11}{:>11}", "", "p50", "p90", "p99", "max", "total"));
        row("blocked per wait", &counters.blocked(), time, page);
        row("work between waits", &counters.work, time, page);
        row("events per batch", &counters.batch, grouped, page);
    }
    page.gap();
    page.line(format!(
        "Kernel memory (estimate): {} now, {} at the peak",
        bytes(facts.memory()),
        bytes(totals.memory_peak)
    ));
    page.line(format!("  ({} B per instance, {} B per watch)", kernel_memory::INSTANCE, kernel_memory::INTEREST));
}

fn row(name: &str, histogram: &Histogram, scale: fn(u64) -> String, page: &mut Page) {
    let summary = histogram.summary();
    let Some(quantiles) = summary.quantiles else { return };
    let mut line = format!("  {name:<18}");
    for value in [quantiles.p50, quantiles.p90, quantiles.p99, quantiles.max, summary.sum] {
        let _ = write!(line, "{:>11}", scale(value));
    }
    page.line(line);
}

pub(super) fn threads(process: &Process, page: &mut Page) {
    if process.threads.len() < 2 {
        return;
    }
    page.gap();
    page.line(format!(
        "{:<14}{:>14}{:>12}{:>14}{:>13}{:>13}",
        "Threads", "calls", "failed", "events", "blocked", "work"
    ));
    let mut threads: Vec<_> = process.threads.iter().collect();
    threads.sort_by_key(|thread| (std::cmp::Reverse(thread.counters.all_calls()), thread.tid));
    for thread in threads.iter().take(LISTED) {
        let counters = &thread.counters;
        page.line(format!(
            "  {:<12}{:>14}{:>12}{:>14}{:>13}{:>13}",
            thread.tid,
            grouped(counters.all_calls()),
            grouped(counters.of(&Call::ALL).failures()),
            grouped(counters.batch.sum),
            time(counters.blocked().sum),
            time(counters.work.sum),
        ));
    }
    page.more(threads.len().saturating_sub(LISTED));
}
