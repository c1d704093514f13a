//! The result of a sweep as text, which ends with the finds.

use std::fmt::Write;

use super::outcome::{Find, Swept};
use super::verdict::Verdict;
use crate::text::{count, printable, shown};

/// Lines of evidence that are shown of a find.
const MOST_EVIDENCE: usize = 8;
/// Others of the same cause that are named.
const MOST_OTHERS: usize = 4;

pub fn render(swept: &Swept) -> String {
    let mut out = String::new();
    let name = swept.command.first().map(shown).unwrap_or_default();
    let _ = writeln!(
        out,
        "{name}: {} of {} ms, {} in {:.1} s, {} at a time",
        count(swept.clean_runs as usize, "clean run"),
        swept.clean_took,
        count(swept.tried.len(), "failure") + " tried",
        swept.took as f64 / 1000.0,
        swept.jobs
    );
    let never = swept.count(Verdict::NotReached);
    if !swept.points.is_empty() {
        let reached = swept.tried.len() - never;
        let _ = writeln!(out, "{}, {reached} reached, {never} never", count(swept.points.len(), "point"));
        if swept.unsteady > 0 {
            let _ = writeln!(out, "{} not in every clean run", count(swept.unsteady, "point"));
        }
    }
    if swept.planned == 0 {
        out.push_str("It makes no call that was to fail.\n");
    }
    if swept.tried.len() < swept.planned {
        let _ = writeln!(out, "NOT ALL: {} more were to be tried", swept.planned - swept.tried.len());
    }
    if swept.lost > 0 {
        let _ = writeln!(out, "{} could not be made", count(swept.lost, "run"));
    }
    if let Some(lacks) = &swept.lacks {
        let _ = writeln!(out, "Runs were not shut off from this machine: {lacks}");
    }
    for verdict in Verdict::ALL {
        let number = swept.count(verdict);
        if number > 0 {
            let _ = writeln!(out, "  {:<26}{number:>6}", verdict.name());
        }
    }
    let finds = swept.finds();
    if finds.is_empty() {
        out.push_str("\nNo finds.\n");
        return out;
    }
    let _ = writeln!(out, "\nFinds: {}", finds.len());
    for (place, find) in finds.iter().enumerate() {
        one(swept, find, place + 1, &mut out);
    }
    out
}

fn one(swept: &Swept, find: &Find, place: usize, out: &mut String) {
    let tried = find.first;
    let often = format!("{} of {} runs", tried.same, tried.runs);
    let _ = writeln!(out, "\n{place}. {}: {} ({often})", tried.judged.verdict.name(), tried.trial.text());
    if let Some(point) = tried.trial.point() {
        match swept.names.get(&point.stack) {
            Some(frames) => frames.iter().for_each(|frame| frame_line(out, frame)),
            None => frame_line(out, &format!("stack {}", point.stack)),
        }
    }
    for line in tried.judged.evidence.iter().take(MOST_EVIDENCE) {
        let _ = writeln!(out, "   {}", printable(line));
    }
    for other in find.others.iter().take(MOST_OTHERS) {
        let _ = writeln!(out, "   also: {}", other.trial.text());
    }
    if let Some(more) = find.others.len().checked_sub(MOST_OTHERS).filter(|more| *more > 0) {
        let _ = writeln!(out, "   and {more} more");
    }
    let _ = writeln!(out, "   {}", swept.line(&tried.trial));
}

fn frame_line(out: &mut String, frame: &str) {
    let _ = writeln!(out, "     at {}", printable(frame));
}
