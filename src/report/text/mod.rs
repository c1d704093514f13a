//! The report as text. The messages of findings are wrapped at the width of the terminal on stderr,
//! or at 80 columns. Nothing is cut off.

mod coverage;
mod findings;
mod plain;
mod policy;

use core::fmt::{self, Write};

use epollshim_format::call::{Call, FUNCTIONS};
use epollshim_format::scale::{Grouped, Scaled};
use epollshim_format::{errno, kernel_memory};

use super::census;
use super::facts::{Distribution, Facts, InstanceFacts};
use crate::buffer::Buffer;
use crate::process::End;

use coverage::coverage;
use findings::findings;
use plain::Plain;
use policy::policy;

/// The most instances that are listed.
const LISTED: usize = 20;

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

/// Instances that the program or its runtime uses without the library seeing it.
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

/// The suppressed findings, with a line for each rule.
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
    write!(out, "  events {}:", Grouped(facts.sums.events()))?;
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
