//! What is missing: programs and calls that were not seen, and what a recording had no space for.

use super::LISTED;
use super::page::Page;
use crate::coverage;
use crate::facts::Facts;
use crate::json::error_name;
use crate::model::{Process, makes_calls_unseen, what_is_unseen};
use crate::scale::{count, grouped};

/// Programs that were started without the library, and processes whose epoll calls bypass it.
pub(super) fn not_seen(processes: &[Process], page: &mut Page) {
    if let Some(what) = what_is_unseen(processes) {
        page.wrapped("  ", &format!("NOT SEEN: {what}"));
    }
    for what in processes.iter().filter_map(makes_calls_unseen).take(LISTED) {
        page.wrapped("  ", &format!("NOT SEEN: {what}"));
    }
}

pub(super) fn partial(process: &Process, page: &mut Page) {
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

/// What was seen. The sentences about what was not are left out if they are `above`.
pub(super) fn coverage(facts: &Facts, is_above: bool, page: &mut Page) {
    page.gap();
    let above = if is_above { " (see above)" } else { "" };
    page.line(format!("Coverage: {}{above}", coverage::heading(facts)));
    if !is_above {
        page.hanging("  ", "  ", coverage::explanation(facts));
    }
    for (count, what) in coverage::counts(&facts.totals) {
        page.line(format!("  {what}: {}", grouped(count)));
    }
}
