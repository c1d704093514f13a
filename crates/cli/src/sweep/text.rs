//! The result of a sweep as text, with the finds at the end.

use std::fmt::Write;

use super::accept::Entry;
use super::outcome::{Find, Swept};
use super::sample::Sample;
use super::trial::Tried;
use super::verdict::Verdict;
use crate::text::{count, printable, shown, wrap};

/// At most this many lines of evidence are shown per find.
const MOST_EVIDENCE: usize = 8;
/// At most this many others of the same cause are listed.
const MOST_OTHERS: usize = 4;

pub fn render(swept: &Swept) -> String {
    let mut out = String::new();
    summary(swept).iter().for_each(|line| wrap(&mut out, "", 4, line));
    for (verdict, number) in verdicts(swept) {
        let _ = writeln!(out, "  {:<26}{number:>6}", verdict.title());
    }
    let finds = swept.finds();
    if finds.is_empty() {
        out.push_str("\nNo finds.\n");
    } else {
        let _ = writeln!(out, "\nFinds: {}", finds.len());
    }
    for (place, find) in finds.iter().enumerate() {
        one(swept, find, place + 1, &mut out);
    }
    let accepted = swept.accepted_finds();
    if !accepted.is_empty() {
        out.push('\n');
    }
    for find in accepted {
        if let Some(entry) = find.accepted {
            wrap(&mut out, "", 4, &accepted_line(swept, find.first, find.others.len(), entry));
        }
    }
    out
}

/// What was done, one sentence per line.
pub fn summary(swept: &Swept) -> Vec<String> {
    let name = swept.command.first().map(shown).unwrap_or_default();
    let mut lines = vec![format!(
        "{name}: {} of {} ms, {} in {:.1} s, {} at a time",
        count(swept.clean_runs as usize, "clean run"),
        swept.clean_took,
        count(swept.tried.len(), "failure") + " tried",
        swept.took as f64 / 1000.0,
        count(swept.jobs as usize, "run")
    )];
    let never = swept.count(Verdict::NotReached);
    if !swept.points.is_empty() {
        let reached = swept.tried.len() - never;
        let failures = count(reached, "failure");
        lines.push(format!("{}; {failures} reached, {never} never", count(swept.points.len(), "point")));
        if let Some(Sample { number, seed, of }) = swept.sample {
            lines.push(format!("A sample of {of} points: --shallow {number} --seed {seed}"));
        }
        if swept.unsteady > 0 {
            lines.push(format!("{} not in every clean run", count(swept.unsteady, "point")));
        }
    }
    if swept.resumed > 0 {
        lines.push(format!("{} of {} were done before", swept.resumed, count(swept.planned, "trial")));
    }
    if swept.planned == 0 {
        lines.push("It makes no call that the sweep fails.".into());
    }
    if swept.calls_by_default {
        lines.push("Not tried: malloc and mmap (name them in --calls), read and write.".into());
    }
    if swept.tried.len() < swept.planned {
        lines.push(format!("INCOMPLETE: {} not tried", count(swept.planned - swept.tried.len(), "failure")));
    }
    if swept.lost > 0 {
        lines.push(format!("{} could not be made", count(swept.lost, "run")));
    }
    if let Some(lacks) = &swept.lacks {
        lines.push(format!("Runs were not isolated from this machine: {}", printable(lacks)));
    }
    if let Some(why) = &swept.left_out {
        lines.push(format!("RLIMIT_NPROC was not lowered: {}", printable(why)));
    }
    lines
}

/// The number of trials per verdict, for the verdicts that occurred.
pub fn verdicts(swept: &Swept) -> Vec<(Verdict, usize)> {
    let all = Verdict::ALL.into_iter().map(|verdict| (verdict, swept.count(verdict)));
    all.filter(|(_, number)| *number > 0).collect()
}

/// `crash: epoll_create1 fails with EMFILE (3 of 3 runs)`
pub fn title(find: &Find) -> String {
    let tried = find.first;
    let often = format!("{} of {} runs", tried.same, tried.runs);
    format!("{}: {} ({often})", tried.judged.verdict.title(), tried.trial.text())
}

/// `accepted: crash: epoll_create1 fails with EMFILE, in make, and 2 more: why`
pub fn accepted_line(swept: &Swept, tried: &Tried, others: usize, entry: &Entry) -> String {
    let place = tried.trial.point().map(|point| format!(", in {}", swept.place(point))).unwrap_or_default();
    let more = if others == 0 { String::new() } else { format!(", and {others} more") };
    let reason = &entry.reason;
    let verdict = tried.judged.verdict.title();
    printable(&format!("accepted: {verdict}: {}{place}{more}: {reason}", tried.trial.text()))
}

fn one(swept: &Swept, find: &Find, place: usize, out: &mut String) {
    let tried = find.first;
    out.push('\n');
    wrap(out, &format!("{place}. "), 3, &title(find));
    for frame in swept.frames(&tried.trial) {
        wrap(out, "     at ", 9, &printable(&frame));
    }
    for line in tried.judged.evidence.iter().take(MOST_EVIDENCE) {
        wrap(out, "   ", 5, &printable(line));
    }
    for other in find.others.iter().take(MOST_OTHERS) {
        wrap(out, "   also: ", 9, &other.trial.text());
    }
    if let Some(more) = find.others.len().checked_sub(MOST_OTHERS).filter(|more| *more > 0) {
        let _ = writeln!(out, "   and {more} more");
    }
    // A line that users paste is never wrapped.
    let _ = writeln!(out, "   {}", swept.line(&tried.trial));
}
