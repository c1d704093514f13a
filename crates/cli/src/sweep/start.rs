//! Decides whether a clean run succeeded. If it did not, nothing is tried.

use super::observe::{Observation, end_text};
use super::spec::{How, Part};
use crate::args::Sweep;
use crate::text::{printable, shown};

/// What is wrong, where, and what to do, in one line. None: the run is clean.
pub fn failure(asked: &Sweep, seen: &Observation) -> Option<String> {
    let name = asked.command.first().map(shown).unwrap_or_default();
    let outcome = &seen.outcome;
    let after = |text: &[u8]| match last_line(text) {
        line if line.is_empty() => String::new(),
        line => format!(": {}", printable(&line)),
    };
    let said = after(&seen.messages);
    if let Some(trouble) = &outcome.trouble {
        return Some(format!("{name}: cannot be started: {trouble}"));
    }
    if let Some(stuck) = &outcome.stuck {
        let what = match (stuck.part, asked.workload.is_some()) {
            (Part::Start, false) => "does not end by itself; a server needs --workload COMMAND",
            (Part::Start, true) => "is not ready; say what to wait for with --ready-when",
            (Part::Work, _) => "is busy, and the workload gets no answer",
            (Part::Stop, _) => "does not end after the stop signal; choose another one with --stop-with",
        };
        return Some(format!("{name}: without any fault, in {} s it {what}{said}", asked.timeout));
    }
    match outcome.end {
        Some(How::Killed(signal)) if asked.workload.is_none() || outcome.ended_early => {
            let signal = super::observe::signal_name(signal);
            return Some(format!("{name}: is ended by {signal} without any fault{said}"));
        }
        _ => {}
    }
    if asked.workload.is_some() {
        if outcome.ended_early {
            return Some(format!(
                "{name}: ended before the stop signal ({}); it must stay in the foreground{said}",
                end_text(outcome.end)
            ));
        }
        let said = after(if seen.work_messages.is_empty() { &seen.messages } else { &seen.work_messages });
        return match outcome.work.first() {
            Some(Some(How::Exited(0))) => None,
            Some(Some(end)) => Some(format!("the workload fails without any fault: it {}{said}", end_text(Some(*end)))),
            _ => Some(format!("the workload does not end in {} s without any fault{said}", asked.timeout)),
        };
    }
    match outcome.end {
        Some(How::Exited(0)) => None,
        end => {
            let hint =
                if asked.dir.is_none() { "; it runs in an empty directory, unless --dir names another" } else { "" };
            Some(format!("{name}: {} without any fault{hint}{said}", end_text(end)))
        }
    }
}

fn last_line(text: &[u8]) -> String {
    let line = text.split(|byte| *byte == b'\n').rfind(|line| !line.trim_ascii().is_empty());
    String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
}
