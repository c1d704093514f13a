//! The report in a terminal of 80 columns, or of as many as it has, in the manner of the shim's own: each process, then all of them.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

use epollshim_format::call::{Call, FUNCTIONS};
use epollshim_format::findings::Tally;
use epollshim_format::kernel_memory;
use epollshim_format::recording::thread::KIND_NAMES;

use crate::Set;
use crate::census;
use crate::described;
use crate::facts::{self, Facts, SiteFacts, Watched};
use crate::json::error_name;
use crate::load::shown;
use crate::model::{Counters, Histogram, Instance, Process};
use crate::modules::plain;
use crate::scale::{bytes, grouped, time};
use crate::sites::Site;

/// Columns where the output is no terminal.
pub const WIDTH: usize = 80;
/// How many of a kind are listed one by one.
const LISTED: usize = 20;
const SITES: usize = 12;
const FINDINGS: usize = 30;
/// Where what belongs to a finding begins.
const INDENT: &str = "           ";

pub fn render(set: &Set, width: usize, out: &mut dyn Write) -> io::Result<()> {
    for (index, process) in set.processes.iter().enumerate() {
        if index > 0 {
            writeln!(out, "\n{}\n", "-".repeat(WIDTH))?;
        }
        out.write_all(of_process(process, width).as_bytes())?;
    }
    if set.processes.len() > 1 {
        writeln!(out, "\n{}\n", "=".repeat(WIDTH))?;
        out.write_all(merged(set, width).as_bytes())?;
    }
    out.write_all(suppressions(set).as_bytes())?;
    if !set.failures.is_empty() {
        writeln!(out, "\nNot read:")?;
        for failure in &set.failures {
            writeln!(out, "  {}\n    {}", shown(&failure.path), plain(failure.what.as_bytes()))?;
        }
    }
    Ok(())
}

/// What was kept back: a line a rule.
fn suppressions(set: &Set) -> String {
    let mut page = Page::default();
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

fn of_process(process: &Process, width: usize) -> String {
    let facts = Facts::of(process);
    let mut page = Page { width, ..Page::default() };
    let header = &process.header;
    let comm = plain(&header.comm);
    page.line(format!("epollshim: {comm} (pid {}), {} after {}", header.pid, process.ended(), time(process.duration)));
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
        page.line(format!(
            "  MISSING: {} forked processes could make no recording ({error})",
            grouped(header.children_lost)
        ));
    }
    page.gap();
    findings(&facts, &mut page);
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
    control(process, &mut page);
    coverage(&facts, &mut page);
    page.text
}

fn merged(set: &Set, width: usize) -> String {
    let facts = Facts::merged(set);
    let mut page = Page { width, ..Page::default() };
    page.line(format!("All {} processes together", set.processes.len()));
    page.gap();
    page.line(format!("{:<26}{:>10}{:>14}{:>10}{:>8}{:>10}", "Processes", "pid", "calls", "watches", "failed", "end"));
    for process in set.processes.iter().take(LISTED) {
        let counters = process.counters();
        page.line(format!(
            "  {:<24}{:>10}{:>14}{:>10}{:>8}{:>10}",
            cut(&plain(&process.header.comm), 24),
            process.header.pid,
            grouped(counters.all_calls()),
            grouped(process.totals.watches),
            grouped(counters.of(&Call::ALL).failures()),
            process.end(),
        ));
    }
    page.more(set.processes.len().saturating_sub(LISTED));
    page.gap();
    findings(&facts, &mut page);
    calls(&facts.counters, &mut page);
    page.gap();
    page.line(the_instances(&facts));
    page.line("  (peaks are sums of the processes' own peaks: at most that many at once)".into());
    sums(&facts, &mut page);
    sites(&facts, &mut page);
    records(&facts, &mut page);
    coverage(&facts, &mut page);
    page.text
}

fn findings(facts: &Facts, page: &mut Page) {
    if facts.findings.is_empty() && facts.findings_dropped == 0 {
        return;
    }
    let tally: Tally = facts.findings.iter().map(|found| &found.finding).collect();
    page.line(format!("Findings: {}  (epollshim explain ID tells what to do)", tally));
    for found in facts.findings.iter().take(FINDINGS) {
        let finding = &found.finding;
        let mut line = format!("  {:<8} {:<13}", finding.severity.name(), finding.id.name());
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
        let roles = finding.roles();
        for (role, site, stack) in [
            (roles.site, &found.site, &found.stack),
            (roles.other, &found.other, &found.other_stack),
            ("created", &found.created, &found.created_stack),
        ] {
            let Some(site) = site else { continue };
            let role = if role.is_empty() { "called" } else { role };
            page.frames(&format!("{INDENT}{role} at "), site, stack);
        }
    }
    page.more(facts.findings.len().saturating_sub(FINDINGS));
    if facts.findings_dropped > 0 {
        page.line(format!("  {} more found no place in the table of findings", grouped(facts.findings_dropped)));
    }
    page.gap();
}

/// Lines. Words are put into lines as wide as the terminal; nothing is cut off.
#[derive(Default)]
struct Page {
    text: String,
    width: usize,
}

impl Page {
    fn gap(&mut self) {
        self.text.push('\n');
    }

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
        let width = self.width.max(WIDTH / 2);
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

/// A text with its headings in bold, and what is wrong in the colour of its severity.
pub fn coloured(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        let severity = [(&b"  error "[..], "31;1"), (b"  warning ", "33;1"), (b"  info ", "36")]
            .into_iter()
            .find(|(word, _)| body.starts_with(word));
        let is_heading = body.first().is_some_and(u8::is_ascii_alphabetic);
        match severity {
            Some((word, colour)) => {
                let (word, rest) = body.split_at(word.len());
                out.extend(format!("\x1b[{colour}m").bytes());
                out.extend(word);
                out.extend(b"\x1b[0m");
                out.extend(rest);
            }
            None if is_heading => {
                out.extend(b"\x1b[1m");
                out.extend(body);
                out.extend(b"\x1b[0m");
            }
            None => out.extend(body),
        }
        out.extend(line.get(body.len()..).unwrap_or_default());
    }
    out
}

/// At most so many letters; an ellipsis tells that there were more.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(3)).chain("...".chars()).collect()
}

fn partial(process: &Process, page: &mut Page) {
    let header = &process.header;
    if !process.partial() {
        return;
    }
    page.line("  PARTIAL: this recording does not hold everything".into());
    for note in &process.notes.kept {
        page.wrapped("    - ", note);
    }
    if process.notes.more > 0 {
        page.line(format!("    - and {} more of that kind", grouped(process.notes.more)));
    }
    if let Some(error) = header.trouble {
        page.line(format!("    - the file could not grow: {}", error_name(error)));
    }
    for (count, what) in [
        (header.threads_dropped, "threads found no space"),
        (header.calls_dropped, "calls of such threads are not counted"),
        (header.entries_dropped, "instances or watches found no space in the tables"),
    ] {
        if count > 0 {
            page.line(format!("    - {} {what}", grouped(count)));
        }
    }
    let dropped = process.dropped();
    if dropped > 0 {
        page.line(format!("    - {} records of single calls were dropped:", grouped(dropped)));
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
            if line.chars().count() + 2 + word.len() > WIDTH {
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
        "  added {}, modified {}, deleted {}, vanished at a close {}",
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
        page.line(format!("  {:<18}{:>11}{:>11}{:>11}{:>11}{:>11}", "", "p50", "p90", "p99", "max", "in all"));
        row("blocked in a wait", &counters.blocked(), time, page);
        row("work between two", &counters.work, time, page);
        row("events in a batch", &counters.batch, grouped, page);
    }
    page.gap();
    page.line(format!(
        "Kernel memory (estimate): {} now, {} at the peak",
        bytes(facts.memory()),
        bytes(totals.memory_peak)
    ));
    page.line(format!("  ({} B an instance, {} B a watch)", kernel_memory::INSTANCE, kernel_memory::INTEREST));
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
    let of = if facts.has_rings { "the last records of each thread" } else { "the records of all calls" };
    page.line(format!("Call sites (calls: of {of})"));
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
        told.push(format!("{} in all", time(site.time)));
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
    page.line(format!("Records of single calls: {} left, {lost}", grouped(records.seen)));
    if records.held < records.seen {
        page.line(format!("  (html and perfetto tell the last {} one by one)", grouped(records.held)));
    }
    if records.unfinished > 0 {
        page.line(format!("  {} begun and not ended, or damaged", grouped(records.unfinished)));
    }
    if records.left > 0 {
        page.line(format!("  {} calls without a record: under way, cancelled, left by a jump", grouped(records.left)));
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
        page.line(format!("Control: {} requests from outside{ignored}", grouped(of.requests)));
    }
}

fn coverage(facts: &Facts, page: &mut Page) {
    let totals = &facts.totals;
    page.gap();
    page.line(match facts.reconciled {
        true => "Coverage: the kernel's own lists were compared for this report".into(),
        false => "Coverage: as the shim saw it; a recording is not compared with the kernel".into(),
    });
    for (count, what) in [
        (totals.unseen_instances, "instances made or inherited out of sight"),
        (totals.unseen_watches, "watches changed out of sight"),
        (totals.healed, "entries of the ledger mended"),
        (totals.lost, "changes that could not be noted"),
    ] {
        if count > 0 {
            page.line(format!("  {:>10} {what}", grouped(count)));
        }
    }
}
