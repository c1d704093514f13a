//! Limits, faults, requests from outside, the log, and what was not recorded.

use core::fmt::{self, Write};

use epollshim_format::errno;
use epollshim_format::scale::{Grouped, Scaled};

use crate::buffer::Buffer;
use crate::policy::{limits, rules};
use crate::{config, log, record};

/// Writes limits, faults, requests from outside, the log, and what was not recorded, if there are
/// any.
pub(super) fn policy(out: &mut Buffer<u8>) -> fmt::Result {
    if limits::in_force().next().is_some() {
        writeln!(out, "\n{:<22}{:>14}{:>14}{:>14}{:>14}", "Limits", "limit", "peak", "refused", "let through")?;
    }
    for status in limits::in_force() {
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
    match log::counts() {
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
        writeln!(out, "\nRecording: MISSING for forked processes: {count} ({error})")?;
    }
    Ok(())
}
