//! The report as text: what is wrong first, then what all processes did together, then each process.
//!
//! Sentences are wrapped at the width of the terminal ([`Look`]); names and places are never cut.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

use epollshim_format::call::{Call, FUNCTIONS};
use epollshim_format::findings::{Severity, Tally};
use epollshim_format::kernel_memory;
use epollshim_format::recording::thread::KIND_NAMES;

use crate::Set;
use crate::census;
use crate::described;
use crate::facts::{self, Facts, SiteFacts, Watched};
use crate::findings::Found;
use crate::json::error_name;
use crate::load::shown;
use crate::look::{Colour, Look};
use crate::model::{Counters, Histogram, Instance, Process, makes_calls_unseen, what_is_unseen};
use crate::modules::plain;
use crate::runs;
use crate::scale::{bytes, count, grouped, time};
use crate::sites::Site;

/// How many of a kind are listed one by one.
const LISTED: usize = 20;
const SITES: usize = 12;
const FINDINGS: usize = 30;
/// Where what belongs to a finding begins.
const INDENT: &str = "           ";

pub fn render(set: &Set, look: Look, out: &mut dyn Write) -> io::Result<()> {
    if set.processes.len() > 1 {
        out.write_all(together(set, look).as_bytes())?;
    } else {
        out.write_all(notes(set, look).as_bytes())?;
    }
    for (index, process) in set.processes.iter().enumerate() {
        if set.processes.len() > 1 {
            let rule = if index == 0 { "=" } else { "-" };
            writeln!(out, "\n{}\n", rule.repeat(look.width))?;
        }
        out.write_all(of_process(process, set.processes.len() > 1, look).as_bytes())?;
    }
    out.write_all(suppressions(set, look).as_bytes())?;
    not_read(set, look, out)
}

/// How many processes of a family have a page of their own.
const PAGES: usize = 6;

/// All processes together first, then those that matter, the worst first: with findings above `info`, parts that are missing, a
/// violent end, or calls.
pub fn render_family(set: &Set, look: Look, out: &mut dyn Write) -> io::Result<()> {
    if set.processes.len() < 2 {
        return render(set, look, out);
    }
    out.write_all(together(set, look).as_bytes())?;
    let mut order: Vec<(Weight, &Process)> =
        set.processes.iter().map(|process| (Weight::of(process), process)).collect();
    order.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let matter = order.iter().take(PAGES).take_while(|(weight, _)| *weight > Weight::default()).count();
    let (shown, others) = order.split_at_checked(matter).unwrap_or_default();
    for (_, process) in shown {
        writeln!(out, "\n{}\n", "-".repeat(look.width))?;
        out.write_all(of_process(process, true, look).as_bytes())?;
    }
    if !others.is_empty() {
        let mut page = Page::new(look);
        page.gap();
        let names: Vec<String> =
            others.iter().map(|(_, other)| format!("{} ({})", plain(&other.header.comm), other.header.pid)).collect();
        page.wrapped("", &format!("Not shown individually: {}", names.join(", ")));
        out.write_all(page.text.as_bytes())?;
    }
    out.write_all(suppressions(set, look).as_bytes())?;
    not_read(set, look, out)
}

/// How much a process of a family matters. The default: not at all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Weight {
    worst: Option<Severity>,
    is_violent: bool,
    is_partial: bool,
    calls: u64,
}

impl Weight {
    fn of(process: &Process) -> Weight {
        let severities = process.findings.iter().map(|finding| finding.severity);
        Weight {
            worst: severities.filter(|severity| *severity > Severity::Info).max(),
            is_violent: process.end() == "signal",
            is_partial: process.partial(),
            calls: process.counters().all_calls(),
        }
    }
}

fn not_read(set: &Set, look: Look, out: &mut dyn Write) -> io::Result<()> {
    if !set.failures.is_empty() {
        writeln!(out, "\n{}", look.paint(Colour::Trouble, "Not read:"))?;
        for failure in &set.failures {
            writeln!(out, "  {}\n    {}", shown(&failure.path), plain(failure.what.as_bytes()))?;
        }
    }
    Ok(())
}

/// What has to be known before anything is believed, of one process alone.
fn notes(set: &Set, look: Look) -> String {
    let mut page = Page::new(look);
    if let Some(note) = runs::note(&set.runs) {
        page.wrapped("", &note);
        page.gap();
    }
    page.text
}

/// What was kept back: a line a rule.
fn suppressions(set: &Set, look: Look) -> String {
    let mut page = Page::new(look);
    let used = set.suppressions.iter().filter(|one| one.findings != 0).count();
    if !set.suppressions.is_empty() {
        page.line(format!("\nSuppressions: {used} used, {} not used", set.suppressions.len() - used));
    }
    for one in &set.suppressions {
        let times = match one.findings {
            0 => "not used".to_owned(),
            1 => "1 finding".to_owned(),
            more => format!("{} findings", grouped(more)),
        };
        page.line(format!("  {times:<13}{}", one.rule));
    }
    page.text
}

fn of_process(process: &Process, is_one_of_several: bool, look: Look) -> String {
    let facts = Facts::of(process);
    let mut page = Page::new(look);
    let header = &process.header;
    let comm = plain(&header.comm);
    let lived = time(process.duration);
    let after = if process.end_is_known() { format!(" after {lived}") } else { format!(" after at least {lived}") };
    let heading = format!("epollshim: {comm} (pid {}), {}{after}", header.pid, process.ended());
    page.line(look.paint(Colour::Heading, &heading));
    if !header.arguments.is_empty() {
        let arguments: Vec<String> = header.arguments.iter().map(|argument| plain(argument)).collect();
        page.wrapped("  ", &arguments.join(" "));
    }
    if process.owner.differs {
        page.line(format!("  recorded by user {}, not by the directory's owner", process.owner.shown()));
    }
    partial(process, &mut page);
    if header.children_lost > 0 {
        let error = header.children_trouble.map_or("?", error_name);
        let children = count(header.children_lost, "forked process", "forked processes");
        page.trouble(format!("  MISSING: {children} could not create a recording ({error})"));
    }
    not_seen(std::slice::from_ref(process), &mut page);
    page.gap();
    if !is_one_of_several {
        findings(&facts, &mut page);
    } else if !facts.findings.is_empty() {
        // They stand above, with those of the other processes.
        page.line(format!("Findings: {} (above)", tally(&facts)));
        page.gap();
    }
    calls(&facts.counters, &mut page);
    page.gap();
    page.line(the_instances(&facts));
    let mut watched = facts::watched(process);
    let instances = facts::by_id(process);
    for instance in instances.iter().take(LISTED) {
        one_instance(process, instance, watched.remove(&instance.index), &mut page);
    }
    page.more(instances.len().saturating_sub(LISTED));
    sums(&facts, &mut page);
    let census = census::text(process);
    if !census.is_empty() {
        page.gap();
        census.into_iter().for_each(|line| page.line(line));
    }
    threads(process, &mut page);
    sites(&facts, &mut page);
    records(&facts, &mut page);
    armed(process, &mut page);
    control(process, &mut page);
    coverage(&facts, &mut page);
    page.text
}

/// Limits and faults, as the exit report has them.
fn armed(process: &Process, page: &mut Page) {
    if !process.limits.is_empty() {
        page.gap();
        page.line(format!("{:<22}{:>14}{:>14}{:>14}{:>14}", "Limits", "limit", "peak", "refused", "let through"));
        for of in &process.limits {
            let limit = of.limit.map_or_else(|| of.mode.unwrap_or_default().to_owned(), grouped);
            let [peak, denied, let_through] = [of.peak, of.denied, of.let_through].map(grouped);
            page.line(format!("  {:<20}{limit:>14}{peak:>14}{denied:>14}{let_through:>14}", of.key));
        }
    }
    if !process.rules.is_empty() {
        page.gap();
        page.line(format!("{:<50}{:>14}{:>14}", "Faults", "matched", "fired"));
        for of in &process.rules {
            let [matched, fired] = [of.matched, of.fired].map(grouped);
            // A long one has a line of its own.
            let is_long = of.text.chars().count() > 48;
            if is_long {
                page.wrapped("  ", &of.text);
            }
            page.line(format!("  {:<48}{matched:>14}{fired:>14}", if is_long { "" } else { &of.text }));
            if !of.legal {
                page.line("    (impossible: no kernel does this)".into());
            }
            if let Some(last) = of.firings.last() {
                page.line(format!("    last: {}", last.said(process)));
                if let Some(site) = process.site(last.site) {
                    page.frames("      called at ", &site, &process.stack(last.site));
                }
            }
        }
        if let Some(seed) = process.header.seed {
            page.line(format!("  to repeat random choices: EPOLLSHIM_SEED={seed}"));
        }
    }
}

/// Whether limits or faults are armed, and a page of them and of requests alone.
pub fn armed_alone(process: &Process, look: Look) -> (bool, String) {
    let mut page = Page::new(look);
    armed(process, &mut page);
    let is_armed = !page.text.is_empty();
    control(process, &mut page);
    (is_armed, page.text)
}

/// Several processes: what was found in any of them, and their sums.
fn together(set: &Set, look: Look) -> String {
    let facts = Facts::merged(set);
    let mut page = Page::new(look);
    let heading = format!("epollshim: all {} processes together", set.processes.len());
    page.line(look.paint(Colour::Heading, &heading));
    if let Some(note) = runs::note(&set.runs) {
        page.wrapped("  ", &note);
    }
    for line in lacks(set) {
        page.trouble(format!("  {line}"));
    }
    not_seen(&set.processes, &mut page);
    page.gap();
    findings(&facts, &mut page);
    page.line(format!("{:<22}{:>9}{:>14}{:>10}{:>8}  end", "Processes", "pid", "calls", "watches", "failed"));
    for process in set.processes.iter().take(LISTED) {
        let counters = process.counters();
        let is_partial = if process.partial() { "  PARTIAL" } else { "" };
        page.line(format!(
            "  {:<20}{:>9}{:>14}{:>10}{:>8}  {}{is_partial}",
            plain(&process.header.comm),
            process.header.pid,
            grouped(counters.all_calls()),
            grouped(process.totals.watches),
            grouped(counters.of(&Call::ALL).failures()),
            process.ended(),
        ));
    }
    page.more(set.processes.len().saturating_sub(LISTED));
    page.gap();
    calls(&facts.counters, &mut page);
    page.gap();
    page.line(the_instances(&facts));
    page.line("  (peaks are added over the processes: the true peak may be lower)".into());
    sums(&facts, &mut page);
    sites(&facts, &mut page);
    records(&facts, &mut page);
    coverage(&facts, &mut page);
    page.text
}

/// Why the sums over all processes are too low; nothing where they are whole.
pub fn lacks(set: &Set) -> Vec<String> {
    let mut lines = Vec::new();
    let partial = set.processes.iter().filter(|process| process.partial()).count();
    if partial > 0 {
        let all = count(set.processes.len() as u64, "recording", "recordings");
        let are = if partial == 1 { "is" } else { "are" };
        lines.push(format!("PARTIAL: {partial} of {all} {are} incomplete, so the totals are too low"));
    }
    let lost = set.processes.iter().fold(0, |sum: u64, process| sum.saturating_add(process.header.children_lost));
    if lost > 0 {
        lines.push(format!(
            "MISSING: {} could not create a recording",
            count(lost, "forked process", "forked processes")
        ));
    }
    if !set.failures.is_empty() {
        let unread = count(set.failures.len() as u64, "recording", "recordings");
        lines.push(format!("MISSING: {unread} could not be read (listed at the end of this report)"));
    }
    lines
}

fn tally(facts: &Facts) -> Tally {
    facts.findings.iter().map(|found| &found.finding).collect()
}

fn findings(facts: &Facts, page: &mut Page) {
    if facts.findings.is_empty() && facts.findings_dropped == 0 {
        return;
    }
    let heading = page.look.paint(Colour::Heading, &format!("Findings: {}", tally(facts)));
    page.line(format!("{heading}  (epollshim explain ID tells what to do)"));
    for found in facts.findings.iter().take(FINDINGS) {
        one_finding(found, page);
    }
    page.more(facts.findings.len().saturating_sub(FINDINGS));
    if facts.findings_dropped > 0 {
        page.line(format!("  {} more did not fit in the table of findings", grouped(facts.findings_dropped)));
    }
    page.gap();
}

/// A finding as `run` and `report` print it: what it is, where, and what to do.
pub fn finding(found: &Found, look: Look) -> String {
    let mut page = Page::new(look);
    one_finding(found, &mut page);
    page.text
}

fn one_finding(found: &Found, page: &mut Page) {
    let finding = &found.finding;
    let severity = format!("{:<8}", finding.severity.name());
    let severity = page.look.paint(Colour::of(finding.severity), &severity);
    let mut line = format!("  {severity} {:<13}", finding.id.name());
    if finding.count > 1 {
        let _ = write!(line, " {} times", grouped(finding.count));
    }
    if found.processes > 1 {
        let _ = write!(line, " in {} processes", grouped(found.processes));
    }
    for (name, fd) in [("epfd", finding.epfd), ("fd", finding.fd)] {
        if let Some(fd) = fd {
            let _ = write!(line, "  {name} {fd}");
        }
    }
    page.line(line);
    page.hanging(INDENT, INDENT, &found.message());
    if let Some(of) = found.descriptor.as_ref().filter(|_| found.descriptors.is_empty()) {
        let watched = if finding.describes_what_is_watched() { ", still watched" } else { "" };
        page.line(format!("{INDENT}fd {}{watched}: {}", of.fd, of.text()));
    }
    let [_, open, ..] = finding.detail;
    for line in described::lines(&found.descriptors, open) {
        page.line(format!("{INDENT}{line}"));
    }
    for (role, site, stack) in found.places() {
        page.frames(&format!("{INDENT}{role} at "), site, stack);
    }
}

/// Lines for a terminal, or for a file.
struct Page {
    text: String,
    look: Look,
}

impl Page {
    fn new(look: Look) -> Page {
        Page { text: String::new(), look }
    }

    fn gap(&mut self) {
        self.text.push('\n');
    }

    /// Nothing of it is cut: a terminal wraps what it has no room for.
    fn line(&mut self, line: String) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A place, what it was inlined into, and its callers.
    fn frames(&mut self, before: &str, site: &Site, stack: &[Arc<Site>]) {
        let indent = before.len() - before.trim_start().len();
        let mut frames = site.frames();
        self.line(format!("{before}{}", frames.next().unwrap_or_default()));
        for frame in frames.chain(stack.iter().skip(1).flat_map(|caller| caller.frames())) {
            self.line(format!("{:indent$}by {frame}", ""));
        }
    }

    fn trouble(&mut self, line: String) {
        self.line(self.look.paint(Colour::Trouble, &line));
    }

    fn more(&mut self, more: usize) {
        if more > 0 {
            self.line(format!("  and {} more (--format json lists all)", grouped(more as u64)));
        }
    }

    /// Words, as many to a line as fit; each line after the first is indented by two more.
    fn wrapped(&mut self, indent: &str, words: &str) {
        self.hanging(indent, &format!("{indent}  "), words);
    }

    fn hanging(&mut self, indent: &str, further: &str, words: &str) {
        let width = self.look.width.max(Look::WIDTH / 2);
        let mut line = indent.to_owned();
        for word in words.split(' ').filter(|word| !word.is_empty()) {
            if line.chars().count() + 1 + word.chars().count() > width && line.trim() != "" {
                self.line(std::mem::replace(&mut line, further.to_owned()));
            }
            if line.trim() != "" {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(line);
    }
}

/// Programs that were started without the library, and processes that make epoll calls past it.
fn not_seen(processes: &[Process], page: &mut Page) {
    if let Some(what) = what_is_unseen(processes) {
        page.wrapped("  ", &format!("NOT SEEN: {what}"));
    }
    for what in processes.iter().filter_map(makes_calls_unseen).take(LISTED) {
        page.wrapped("  ", &format!("NOT SEEN: {what}"));
    }
}

fn partial(process: &Process, page: &mut Page) {
    let header = &process.header;
    if !process.partial() {
        return;
    }
    page.trouble("  PARTIAL: this recording is incomplete".into());
    for note in &process.notes.kept {
        page.wrapped("    - ", note);
    }
    if process.notes.more > 0 {
        page.line(format!("    - and {} more notes", grouped(process.notes.more)));
    }
    if let Some(error) = header.trouble {
        page.line(format!("    - the file could not grow: {}", error_name(error)));
    }
    for (count, what) in [
        (header.threads_dropped, "threads not recorded (no space)"),
        (header.calls_dropped, "calls of these threads, not counted"),
        (header.entries_dropped, "instances or watches not recorded (no space)"),
    ] {
        if count > 0 {
            page.line(format!("    - {what}: {}", grouped(count)));
        }
    }
    let dropped = process.dropped();
    if dropped > 0 {
        page.line(format!("    - {} dropped:", count(dropped, "call record", "call records")));
        process.why_dropped().iter().for_each(|why| page.wrapped("      ", why));
    }
}

fn calls(counters: &Counters, page: &mut Page) {
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

fn the_instances(facts: &Facts) -> String {
    format!(
        "Instances: {} created, {} alive, {} at the peak",
        grouped(facts.created()),
        grouped(facts.totals.instances),
        grouped(facts.totals.instances_peak)
    )
}

fn one_instance(process: &Process, instance: &Instance, watched: Option<Watched>, page: &mut Page) {
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

fn sums(facts: &Facts, page: &mut Page) {
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
        page.line(format!("  {} events:{kinds}", grouped(counters.batch.sum)));
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

fn threads(process: &Process, page: &mut Page) {
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

fn sites(facts: &Facts, page: &mut Page) {
    if facts.sites.is_empty() {
        return;
    }
    page.gap();
    let of = if facts.has_rings { "the last call records of each thread" } else { "all call records" };
    page.line(format!("Call sites (calls counted in {of})"));
    for site in facts.sites.iter().take(SITES) {
        one_site(site, page);
    }
    page.more(facts.sites.len().saturating_sub(SITES) + facts.more_sites);
}

fn one_site(site: &SiteFacts, page: &mut Page) {
    let best = site.site.best();
    page.line(format!("  {best}"));
    if !best.starts_with(&site.site.text) {
        page.line(format!("      {}", site.site.text));
    }
    let mut told = Vec::new();
    if !site.calls.is_empty() {
        told.push(site.what());
        told.push(format!("{} total", time(site.time)));
    }
    for (count, what) in [
        (site.failed, "failed"),
        (site.events, if site.events == 1 { "event" } else { "events" }),
        (site.instances, if site.instances == 1 { "live instance" } else { "live instances" }),
        (site.watches, if site.watches == 1 { "live watch" } else { "live watches" }),
    ] {
        if count > 0 {
            told.push(format!("{} {what}", grouped(count)));
        }
    }
    page.wrapped("      ", &told.join(", "));
}

fn records(facts: &Facts, page: &mut Page) {
    let records = &facts.records;
    if records.begun == 0 {
        return;
    }
    page.gap();
    let lost = if records.dropped > 0 {
        format!("{} dropped", grouped(records.dropped))
    } else {
        format!("{} overwritten", grouped(records.overwritten))
    };
    page.line(format!("Call records: {} kept, {lost}", grouped(records.seen)));
    if records.held < records.seen {
        page.line(format!("  (html and perfetto show only the last {})", grouped(records.held)));
    }
    if records.unfinished > 0 {
        page.line(format!("  unfinished or damaged: {}", grouped(records.unfinished)));
    }
    if records.left > 0 {
        page.line(format!(
            "  calls without a record (in progress, cancelled or left by a jump): {}",
            grouped(records.left)
        ));
    }
}

fn control(process: &Process, page: &mut Page) {
    let of = process.control;
    if of.requests > 0 || of.damaged > 0 {
        page.gap();
        let ignored = match of.damaged {
            0 => String::new(),
            damaged => format!(", {} IGNORED (control page damaged)", grouped(damaged)),
        };
        let plural = if of.requests == 1 { "" } else { "s" };
        page.line(format!("Control: {} request{plural} from outside{ignored}", grouped(of.requests)));
    }
}

fn coverage(facts: &Facts, page: &mut Page) {
    let totals = &facts.totals;
    page.gap();
    page.line(match facts.reconciled {
        true => "Coverage: compared with the kernel's lists for this report".into(),
        false => "Coverage: as recorded; not compared with the kernel's lists".into(),
    });
    for (count, what) in [
        (totals.unseen_instances, "instances created or inherited unseen"),
        (totals.unseen_watches, "watches changed unseen"),
        (totals.healed, "wrong records repaired"),
        (totals.lost, "changes not noted"),
    ] {
        if count > 0 {
            page.line(format!("  {what}: {}", grouped(count)));
        }
    }
}
