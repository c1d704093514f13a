//! The findings, each with its message and its places.

use std::fmt::Write as _;

use epollshim_format::findings::Tally;

use super::page::Page;
use crate::described;
use crate::facts::Facts;
use crate::findings::Found;
use crate::look::{Colour, Look};
use crate::scale::grouped;

const FINDINGS: usize = 30;
/// The indentation of the lines that belong to a finding.
const INDENT: &str = "           ";

pub(super) fn tally(facts: &Facts) -> Tally {
    facts.findings.iter().map(|found| &found.finding).collect()
}

pub(super) fn findings(facts: &Facts, page: &mut Page) {
    if facts.findings.is_empty() && facts.findings_dropped == 0 {
        return;
    }
    let heading = page.look.paint(Colour::Heading, &format!("Findings: {}", tally(facts)));
    page.line(heading);
    if let Some(worst) = facts.findings.first() {
        page.line(format!("Run `epollshim explain {}` for how to fix it.", worst.finding.id.name()));
    }
    for found in facts.findings.iter().take(FINDINGS) {
        one_finding(found, page);
    }
    page.more(facts.findings.len().saturating_sub(FINDINGS));
    if facts.findings_dropped > 0 {
        page.line(format!("  {} more did not fit in the table of findings", grouped(facts.findings_dropped)));
    }
    page.gap();
}

/// A finding as `run` and `report` print it: what is wrong, where, and what to do.
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
