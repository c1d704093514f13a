//! The report as text. What is wrong is as wide as the terminal that stderr is, and as 80 columns
//! elsewhere; nothing is cut off.

use core::fmt::{self, Display, Write};

use epollshim_format::call::{Call, FUNCTIONS};
use epollshim_format::descriptor::Descriptor;
use epollshim_format::findings::{Finding, Message, Tally};
use epollshim_format::scale::{Grouped, Scaled};
use epollshim_format::{errno, kernel_memory};

use super::census;
use super::facts::{Described, Distribution, Facts, InstanceFacts};
use super::sites::Site;
use super::symbols;
use crate::buffer::Buffer;
use crate::policy::{limits, rules};
use crate::process::End;
use crate::{config, log, record, seccomp};

/// How many instances are listed one by one.
const LISTED: usize = 20;

/// Text from the program, without anything that a terminal would interpret.
struct Plain<'a>(&'a [u8]);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                f.write_char(if letter.is_control() { '?' } else { letter })?;
            }
            if !chunk.invalid().is_empty() {
                f.write_char('?')?;
            }
        }
        Ok(())
    }
}

/// Err: there was not enough memory.
pub fn render(facts: &Facts, out: &mut Buffer<u8>) -> fmt::Result {
    let ended = match facts.end {
        End::Exit => "ended by exit",
        End::UnderscoreExit => "ended by _exit",
        End::Exec => "about to exec",
        End::Signal => "aborted by a limit",
        End::Aborted => "ended by abort",
        End::ExitGroup => "ended by syscall(SYS_exit_group)",
        End::Raised => "ended by a signal that it sent to itself",
        End::Running => "still running",
    };
    writeln!(
        out,
        "epollshim: {} (pid {}), {ended} after {}\n",
        Plain(facts.comm()),
        facts.pid,
        Scaled::time(facts.duration)
    )?;
    not_seen(facts, out)?;
    findings(facts, out)?;
    calls(facts, out)?;
    instances(facts, out)?;
    watches(facts, out)?;
    waits(facts, out)?;
    census::text(facts, out)?;
    let totals = &facts.ledger.totals;
    writeln!(
        out,
        "\nKernel memory (estimate): {} now, {} at the peak\n  ({} B per instance, {} B per watch)",
        Scaled::bytes(facts.ledger.memory()),
        Scaled::bytes(totals.memory_peak.get()),
        kernel_memory::INSTANCE,
        kernel_memory::INTEREST,
    )?;
    policy(out)?;
    coverage(facts, out)?;
    suppressions(facts, out)
}

/// Instances that the program, or its runtime, uses where the library does not see it.
#[inline(never)] // for size
fn not_seen(facts: &Facts, out: &mut impl Write) -> fmt::Result {
    if super::unseen::is_go() {
        out.write_str("NOT SEEN: Go's runtime makes its epoll calls itself\n\n")?;
    }
    if facts.unseen() != 0 {
        let plural = if facts.unseen() == 1 { "" } else { "s" };
        writeln!(
            out,
            "NOT SEEN: no call that the library saw created {} epoll instance{plural} (fd {}):\n  the program makes \
             system calls itself, or received them from another process.\n  strace -f -e trace=/^epoll shows \
             these calls\n",
            facts.unseen(),
            facts.unseen_epfds(),
        )?;
    }
    Ok(())
}

/// What was suppressed, with a line for each rule.
fn suppressions(facts: &Facts, out: &mut impl Write) -> fmt::Result {
    let rules = facts.suppressed().count();
    if rules == 0 {
        return Ok(());
    }
    let used = facts.suppressed().filter(|(_, count)| *count != 0).count();
    writeln!(out, "\nSuppressions: {used} used, {} not used", rules - used)?;
    for (rule, count) in facts.suppressed() {
        match count {
            0 => write!(out, "  not used     ")?,
            1 => write!(out, "  1 finding    ")?,
            _ => write!(out, "  {count} findings   ")?,
        }
        writeln!(out, "{}", Plain(rule))?;
    }
    Ok(())
}

/// How many findings are listed one by one.
const FINDINGS_LISTED: usize = 30;

fn findings(facts: &Facts, out: &mut Buffer<u8>) -> fmt::Result {
    let all = facts.findings();
    let dropped = crate::findings::dropped();
    if all.is_empty() && dropped == 0 {
        return Ok(());
    }
    writeln!(out, "Findings: {}  (epollshim explain ID tells what to do)", all.iter().collect::<Tally>())?;
    for finding in all.iter().take(FINDINGS_LISTED) {
        write!(out, "  {:<8} {:<13}", finding.severity.name(), finding.id.name())?;
        if finding.count > 1 {
            write!(out, " {} times", Grouped(finding.count))?;
        }
        for (name, fd) in [("epfd", finding.epfd), ("fd", finding.fd)] {
            if let Some(fd) = fd {
                write!(out, "  {name} {fd}")?;
            }
        }
        writeln!(out)?;
        let mut wrapped = Wrapped { out, column: 0, is_apart: false, width: facts.width };
        write!(wrapped, "{}", Message(finding))?;
        writeln!(out)?;
        match census::of_leak(finding) {
            Some(index) => census::examples(index, out)?,
            None => descriptor(finding, out)?,
        }
        let roles = finding.roles();
        for (role, place) in
            [(roles.site, finding.site), (roles.other, finding.other), ("created", finding.created_at())]
        {
            if let Some(site) = facts.map.site(place as usize) {
                let role = if role.is_empty() { "called" } else { role };
                writeln!(out, "{:INDENT$}{role} at {site}{}", "", Function(facts, &site))?;
                census::stack(facts, place as usize, out)?;
            }
        }
    }
    if all.len() > FINDINGS_LISTED {
        writeln!(out, "  and {} more (EPOLLSHIM_REPORT_FORMAT=json lists all)", all.len() - FINDINGS_LISTED)?;
    }
    if dropped != 0 {
        writeln!(out, "  {} more did not fit in the table of findings", Grouped(dropped))?;
    }
    writeln!(out)
}

/// What the finding's descriptor was when it was found, and what has its number now if that differs.
fn descriptor(finding: &Finding, out: &mut Buffer<u8>) -> fmt::Result {
    let Some(Described { fd, kept, now }) = Described::of(finding) else { return Ok(()) };
    let label = if finding.describes_what_is_watched() { ", still watched" } else { "" };
    writeln!(out, "{:INDENT$}fd {fd}{label}: {}", "", Descriptor(kept.as_bytes()))?;
    match now {
        Some(now) => writeln!(out, "{:INDENT$}fd {fd} now: {}", "", Descriptor(now.as_bytes())),
        None => Ok(()),
    }
}

/// The name of the exported function that contains a site, in brackets, if there is one.
struct Function<'a>(&'a Facts, &'a Site<'a>);

impl Display for Function<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match symbols::function(&self.0.map, self.1, self.1.address()) {
            Some(name) => write!(f, " ({})", Plain(name)),
            None => Ok(()),
        }
    }
}

/// Text of words, indented, in lines as wide as the terminal.
struct Wrapped<'a, W: Write> {
    out: &'a mut W,
    column: usize,
    /// A space stands before what comes next.
    is_apart: bool,
    width: usize,
}

const INDENT: usize = 11;

impl<W: Write> Write for Wrapped<'_, W> {
    /// A piece that does not end in a space may continue in the next piece. The line breaks before
    /// pieces and words that do not fit.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while !rest.is_empty() {
            let length = rest.bytes().position(|byte| byte == b' ').unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
            if !word.is_empty() && (self.column == 0 || self.column + 1 + word.len() > self.width) {
                write!(self.out, "{}{:INDENT$}", if self.column == 0 { "" } else { "\n" }, "")?;
                self.column = INDENT;
                self.is_apart = false;
            }
            if self.is_apart {
                self.out.write_str(" ")?;
                self.column += 1;
            }
            self.out.write_str(word)?;
            self.column += word.len();
            self.is_apart = after.starts_with(' ');
            rest = after.strip_prefix(' ').unwrap_or(after);
        }
        Ok(())
    }
}

/// Limits, faults, requests from outside, the log, and what was not recorded, if there are any.
fn policy(out: &mut Buffer<u8>) -> fmt::Result {
    if limits::told().next().is_some() {
        writeln!(out, "\n{:<22}{:>14}{:>14}{:>14}{:>14}", "Limits", "limit", "peak", "refused", "let through")?;
    }
    for status in limits::told() {
        write!(out, "  {:<20}", status.key.name())?;
        match (status.limit, status.mode) {
            (Some(limit), _) if status.key == limits::Key::Memory => write!(out, "{:>14}", Scaled::bytes(limit))?,
            (Some(limit), _) => write!(out, "{:>14}", Grouped(limit))?,
            (None, mode) => write!(out, "{:>14}", mode.unwrap_or_default())?,
        }
        match status.key {
            limits::Key::Memory => write!(out, "{:>14}", Scaled::bytes(status.peak))?,
            limits::Key::Events => write!(out, "{:>14}", "")?,
            _ => write!(out, "{:>14}", Grouped(status.peak))?,
        }
        writeln!(out, "{:>14}{:>14}", Grouped(status.denied), Grouped(status.let_through))?;
    }
    if let Some(seed) = config::seed() {
        writeln!(out, "\n{:<50}{:>14}{:>14}", "Faults", "matched", "fired")?;
        for rule in rules::armed() {
            write!(out, "  ")?;
            let mut length = 0;
            for byte in rule.text() {
                out.write_char(if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '?' })?;
                length += 1;
            }
            if length > 48 {
                write!(out, "\n  ")?;
                length = 0;
            }
            for _ in length..48 {
                out.write_char(' ')?;
            }
            writeln!(out, "{:>14}{:>14}", Grouped(rule.matched), Grouped(rule.fired))?;
            if !rule.legal {
                writeln!(out, "    (impossible: no kernel does this)")?;
            }
        }
        if rules::armed().next().is_none() {
            writeln!(out, "  (none armed now)")?;
        }
        writeln!(out, "  to repeat random choices: EPOLLSHIM_SEED={seed}")?;
    }
    if let Some((requests, damaged)) = record::requests() {
        let plural = if requests == 1 { "" } else { "s" };
        write!(out, "\nControl: {} request{plural} from outside", Grouped(requests))?;
        match damaged {
            0 => writeln!(out)?,
            _ => writeln!(out, ", {} IGNORED (control page damaged)", Grouped(damaged))?,
        }
    }
    match log::told() {
        Some((written, dropped)) if dropped > 0 => {
            writeln!(out, "\nLog lines: {} written, {} DROPPED (not writable)", Grouped(written), Grouped(dropped))
        }
        Some((written, _)) => writeln!(out, "\nLog lines: {} written, none dropped", Grouped(written)),
        None => Ok(()),
    }?;
    not_recorded(out)
}

fn not_recorded(out: &mut impl Write) -> fmt::Result {
    let Some(losses) = record::losses() else { return Ok(()) };
    let name = |error| errno::name(error as u32).unwrap_or("?");
    match (losses.has_file, losses.trouble) {
        (_, 0) => {}
        (true, error) => writeln!(out, "\nRecording: PARTIAL, the file could not grow ({})", name(error))?,
        (false, error) => writeln!(out, "\nRecording: NONE, the file could not be created ({})", name(error))?,
    }
    if losses.children > 0 {
        let (count, error) = (Grouped(losses.children), name(losses.children_trouble));
        writeln!(out, "\nRecording: MISSING of forked processes: {count} ({error})")?;
    }
    Ok(())
}

fn calls(facts: &Facts, out: &mut impl Write) -> fmt::Result {
    writeln!(out, "{:<15}{:>16}{:>12}  errors", "Calls", "calls", "failed")?;
    for (name, calls) in FUNCTIONS {
        let count = facts.sums.calls(calls);
        if count == 0 {
            continue;
        }
        let failed = facts.sums.failures(calls);
        write!(out, "  {name:<13}{:>16}{:>12}", Grouped(count), Grouped(failed))?;
        let mut column = 0;
        for error in 0..errno::NAMED {
            let times = facts.sums.errors(calls, error);
            if times == 0 {
                continue;
            }
            if column == 3 {
                write!(out, "\n{:<43}", "")?;
                column = 0;
            }
            write!(out, "  {} {}", errno::name(error as u32).unwrap_or("other"), Grouped(times))?;
            column += 1;
        }
        for (what, times) in [("injected", facts.sums.injected(calls)), ("limited", facts.sums.limited(calls))] {
            if times != 0 {
                write!(
                    out,
                    "{}  ({what} {})",
                    if column == 3 { "\n                                           " } else { "" },
                    Grouped(times)
                )?;
                column = if column == 3 { 1 } else { column + 1 };
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

fn instances(facts: &Facts, out: &mut Buffer<u8>) -> fmt::Result {
    let totals = &facts.ledger.totals;
    writeln!(
        out,
        "\nInstances: {} created, {} alive, {} at the peak",
        Grouped(facts.created()),
        Grouped(totals.instances.get()),
        Grouped(totals.instances_peak.get())
    )?;
    for instance in facts.instances().take(LISTED) {
        one_instance(facts, &instance, out)?;
    }
    let more = facts.instances().count().saturating_sub(LISTED);
    if more > 0 {
        writeln!(out, "  and {more} more (EPOLLSHIM_REPORT_FORMAT=json lists all)")?;
    }
    Ok(())
}

fn one_instance(facts: &Facts, instance: &InstanceFacts, out: &mut Buffer<u8>) -> fmt::Result {
    write!(out, "  #{}  fd", instance.id)?;
    for fd in facts.descriptors_of(instance.index).take(8) {
        write!(out, " {fd}")?;
    }
    match (instance.call(), instance.size()) {
        (Some(call), Some(size)) => write!(out, "  {call}({size})")?,
        (Some(call), None) if instance.argument == 0 => write!(out, "  {call}(0)")?,
        (Some(call), None) if instance.argument == libc::EPOLL_CLOEXEC => write!(out, "  {call}(EPOLL_CLOEXEC)")?,
        (Some(call), None) => write!(out, "  {call}({:#x})", instance.argument)?,
        (None, _) => write!(out, "  creation not seen")?,
    }
    if let Some(site) = facts.map.site(instance.site) {
        write!(out, "  at {site}")?;
    }
    if instance.inherited && instance.call().is_some() {
        write!(out, "  (inherited)")?;
    }
    writeln!(
        out,
        "\n      watches {} (peak {}), waits {}, events {}",
        Grouped(instance.watches),
        Grouped(instance.peak),
        Grouped(instance.waits),
        Grouped(instance.events),
    )?;
    census::stack(facts, instance.site, out)?;
    if instance.empty + instance.full + instance.interrupted > 0 {
        writeln!(
            out,
            "      of its waits: {} empty, {} full, {} interrupted",
            Grouped(instance.empty),
            Grouped(instance.full),
            Grouped(instance.interrupted)
        )?;
    }
    Ok(())
}

fn watches(facts: &Facts, out: &mut impl Write) -> fmt::Result {
    let totals = &facts.ledger.totals;
    writeln!(
        out,
        "\nWatches: {} alive, {} at the peak\n  added {}, modified {}, deleted {}, removed by close {}",
        Grouped(facts.ledger.live_watches()),
        Grouped(totals.watches_peak.get()),
        Grouped(facts.sums.successes(Call::CtlAdd)),
        Grouped(facts.sums.successes(Call::CtlMod)),
        Grouped(facts.sums.successes(Call::CtlDel)),
        Grouped(totals.vanished.get()),
    )
}

fn waits(facts: &Facts, out: &mut impl Write) -> fmt::Result {
    let count = facts.sums.calls(&Call::WAITS);
    if count == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "\nWaits: {}\n  empty {}, full (n == maxevents) {}, interrupted {}",
        Grouped(count),
        Grouped(facts.sums.empty()),
        Grouped(facts.sums.full()),
        Grouped(facts.sums.interrupted())
    )?;
    write!(out, "  {} events:", Grouped(facts.sums.events()))?;
    for (name, count) in facts.sums.kinds().filter(|(_, count)| *count != 0) {
        write!(out, " {name} {}", Grouped(count))?;
    }
    writeln!(out)?;
    type Row = (&'static str, Distribution, fn(u64) -> Scaled);
    let rows: [Row; 3] = [
        ("blocked per wait", facts.sums.blocked(None), Scaled::time),
        ("work between waits", facts.sums.work(), Scaled::time),
        ("events per batch", facts.sums.batch(), |value| Scaled::new(value, &[(1, "")])),
    ];
    writeln!(out, "  {:<18}{:>11}{:>11}{:>11}{:>11}{:>11}", "", "p50", "p90", "p99", "max", "total")?;
    for (name, row, scale) in rows.iter().filter(|(_, row, _)| row.count != 0) {
        write!(out, "  {name:<18}")?;
        for value in [row.p50, row.p90, row.p99, row.max, row.sum] {
            write!(out, "{:>11}", scale(value))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn coverage(facts: &Facts, out: &mut impl Write) -> fmt::Result {
    let totals = &facts.ledger.totals;
    let uncounted = crate::thread::uncounted();
    let rows = [
        ("instances created or inherited unseen", totals.unseen_instances.get()),
        ("watches changed unseen", totals.unseen_watches.get()),
        ("wrong records repaired", totals.healed.get()),
        ("changes not noted", totals.lost.get()),
        ("calls not counted (no memory)", uncounted),
    ];
    let clean = rows.iter().all(|(_, count)| *count == 0);
    match (facts.reconciled, clean) {
        (true, true) => writeln!(out, "\nCoverage: complete; the kernel's lists agree")?,
        (true, false) => writeln!(out, "\nCoverage: corrected from the kernel's lists, which showed:")?,
        (false, _) if facts.uncompared != 0 => writeln!(
            out,
            "\nCoverage: NOT fully compared with the kernel: kcmp(2) is refused or missing.\n  {} epoll descriptors may be \
             one instance or several.\n  If a seccomp filter refuses it, allow kcmp.",
            facts.uncompared
        )?,
        (false, _) => {
            let why = if seccomp::left_out().next().is_some() { "seccomp" } else { "no /proc, or busy threads" };
            writeln!(out, "\nCoverage: NOT compared with the kernel's lists ({why})")?
        }
    }
    for (what, count) in rows.iter().filter(|(_, count)| *count != 0) {
        writeln!(out, "  {what}: {}", Grouped(*count))?;
    }
    let not_judged = crate::census::not_judged();
    if not_judged != 0 {
        writeln!(out, "  programs started with unknown file actions (what they inherit is not checked): {not_judged}")?;
    }
    forbidden(out)
}

/// What the program's filters kept from the report.
fn forbidden(out: &mut impl Write) -> fmt::Result {
    const WIDTH: usize = 78;
    let mut names = seccomp::left_out().peekable();
    if names.peek().is_none() {
        return Ok(());
    }
    write!(out, "  The program's seccomp filter forbids system calls that the report needs:\n   ")?;
    let mut column = 3;
    while let Some(name) = names.next() {
        let comma = if names.peek().is_some() { "," } else { "" };
        let width = 1 + name.len() + comma.len();
        if column + width > WIDTH {
            write!(out, "\n   ")?;
            column = 3;
        }
        write!(out, " {name}{comma}")?;
        column += width;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_begins_with_the_space_before_a_word() {
        for width in 12..40 {
            let mut text = String::new();
            let mut out = Wrapped { out: &mut text, column: 0, is_apart: false, width };
            for piece in ["of 40; ", "41", " were open", ": ", "34", " sockets", ", 3 files"] {
                out.write_str(piece).unwrap();
            }
            assert!(text.lines().all(|line| line.len() - line.trim_start().len() == INDENT), "{width}: {text}");
        }
    }
}
