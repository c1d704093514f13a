//! The report as text: first the findings, then the sums of all processes, then each process.
//!
//! Sentences are wrapped at the width of the terminal ([`Look`]). Names and places are never cut
//! off.

mod armed;
mod coverage;
mod findings;
mod page;
mod sites;
mod sums;

use std::io::{self, Write};

use epollshim_format::call::Call;
use epollshim_format::findings::Severity;

use crate::Set;
use crate::census;
use crate::facts::{self, Facts};
use crate::json::error_name;
use crate::load::shown;
use crate::look::{Colour, Look};
use crate::model::Process;
use crate::modules::plain;
use crate::runs;
use crate::scale::{count, grouped, time};

pub use armed::armed_alone;
use armed::{armed, control, explained, faults_together};
use coverage::{coverage, not_seen, partial};
pub use findings::finding;
use findings::{findings, tally};
use page::Page;
use sites::{records, sites};
use sums::{calls, one_instance, sums, the_instances, threads};

/// The most rows of a list.
const LISTED: usize = 20;

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

/// The most processes of a family that are shown individually.
const PAGES: usize = 6;

/// Writes all processes together, then the processes that matter, the worst first: those with
/// findings above `info`, with missing parts, killed by a signal, with a fault, or with calls.
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

/// How much a process of a family matters. The default is the lowest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Weight {
    worst: Option<Severity>,
    is_violent: bool,
    is_partial: bool,
    has_fault: bool,
    calls: u64,
}

impl Weight {
    fn of(process: &Process) -> Weight {
        let severities = process.findings.iter().map(|finding| finding.severity);
        Weight {
            worst: severities.filter(|severity| *severity > Severity::Info).max(),
            is_violent: process.end() == "signal",
            is_partial: process.partial(),
            has_fault: process.rules.iter().any(|rule| rule.fired > 0),
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

/// Notes that come before the report of a single process.
fn notes(set: &Set, look: Look) -> String {
    let mut page = Page::new(look);
    if let Some(note) = runs::note(&set.runs) {
        page.wrapped("", &note);
        page.gap();
    }
    page.text
}

/// One line for each suppression rule.
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
        // They are listed above, with the findings of the other processes.
        page.line(format!("Findings: {} (above)", tally(&facts)));
        page.gap();
    }
    if facts.has_epoll() {
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
    } else {
        page.line("Epoll: the library saw no epoll calls of this process".into());
    }
    let census = census::text(process);
    if !census.is_empty() {
        page.gap();
        census.into_iter().for_each(|line| page.line(line));
    }
    if facts.has_epoll() {
        threads(process, &mut page);
    }
    sites(&facts, &mut page);
    records(&facts, &mut page);
    armed(process, &mut page);
    if !is_one_of_several && !process.rules.is_empty() {
        explained("", &mut page);
    }
    control(process, &mut page);
    coverage(&facts, is_one_of_several, &mut page);
    page.text
}

/// Several processes: the findings of all of them, and their sums.
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
    if facts.has_epoll() {
        calls(&facts.counters, &mut page);
        page.gap();
        page.line(the_instances(&facts));
        page.line("  (peaks are added over the processes: the true peak may be lower)".into());
        sums(&facts, &mut page);
    } else {
        page.line("Epoll: the library saw no epoll calls of any process".into());
    }
    sites(&facts, &mut page);
    records(&facts, &mut page);
    faults_together(set, &mut page);
    coverage(&facts, false, &mut page);
    page.text
}

/// Why the sums over all processes are too low. Empty if they are complete.
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
