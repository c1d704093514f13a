//! Limits and faults that are armed, and requests from outside.

use std::collections::BTreeMap;

use super::page::Page;
use crate::Set;
use crate::firings::Firing;
use crate::look::Look;
use crate::model::{Process, summed_rules};
use crate::scale::grouped;

/// Limits and faults, as in the exit report.
pub(super) fn armed(process: &Process, page: &mut Page) {
    if !process.limits.is_empty() {
        page.gap();
        page.line(format!("{:<22}{:>14}{:>14}{:>14}{:>14}", "Limits", "limit", "peak", "refused", "let through"));
        for of in &process.limits {
            let limit = of.limit.map_or_else(|| of.mode.unwrap_or_default().to_owned(), grouped);
            let [peak, denied, let_through] = [of.peak, of.denied, of.let_through].map(grouped);
            page.line(format!("  {:<20}{limit:>14}{peak:>14}{denied:>14}{let_through:>14}", of.key));
        }
    }
    if !process.rules.is_empty() {
        page.gap();
        page.line(format!("{:<50}{:>14}{:>14}", "Faults", "matched", "fired"));
        for of in &process.rules {
            let counts = [of.matched, of.fired].map(|count| format!("{:>14}", grouped(count))).concat();
            rule(&of.text, of.legal, 48, &counts, page);
            let Some(last) = of.firings.last() else { continue };
            page.wrapped("    ", &format!("last: {}", last.said(process)));
            called_at(process, last, page);
            calls_of(&of.firings, of.fired, page);
        }
        seed(process.header.seed, process.rules.iter().map(|rule| rule.text.as_str()), page);
    }
}

/// The faults of several processes: for each rule the sums of its counts.
pub(super) fn faults_together(set: &Set, page: &mut Page) {
    let sums = summed_rules(&set.processes);
    if sums.is_empty() {
        return;
    }
    page.gap();
    page.line(format!("{:<42}{:>13}{:>13}{:>12}", "Faults", "matched", "fired", "processes"));
    for of in &sums {
        let processes = format!("{} of {}", of.fired_in.len(), of.processes.len());
        let counts = format!("{:>13}{:>13}{processes:>12}", grouped(of.matched), grouped(of.fired));
        rule(of.text, of.legal, 40, &counts, page);
        if let Some((process, last)) = of.last {
            page.wrapped("    ", &format!("last: in {}", last.said_of(process)));
            called_at(process, last, page);
        }
    }
    let mut seeds = set.processes.iter().filter(|process| !process.rules.is_empty()).map(|one| one.header.seed);
    let first = seeds.next().flatten();
    seed(first.filter(|_| seeds.all(|other| other == first)), sums.iter().map(|sum| sum.text), page);
    explained("processes: in how many it fired, of how many that had the rule", page);
}

/// What the columns of the table of faults mean.
pub(super) fn explained(more: &str, page: &mut Page) {
    for what in [
        "matched: calls that the rule counted",
        "fired: calls that it changed; with error=, those that it made fail",
        more,
        "Calls of functions other than epoll's are counted only in this table.",
    ] {
        if !what.is_empty() {
            page.line(format!("  {what}"));
        }
    }
}

/// The line of a rule. A rule that is longer than `width` gets a line of its own.
fn rule(text: &str, legal: bool, width: usize, counts: &str, page: &mut Page) {
    let is_long = text.chars().count() > width;
    if is_long {
        page.wrapped("  ", text);
    }
    page.line(format!("  {:<width$}{counts}", if is_long { "" } else { text }));
    if !legal {
        page.line("    (impossible: no kernel does this)".into());
    }
}

fn called_at(process: &Process, firing: &Firing, page: &mut Page) {
    if let Some(site) = process.site(firing.site) {
        page.frames("      called at ", &site, &process.stack(firing.site));
    }
}

/// Of a rule that fired on several functions: how often on each, as far as the recording has it.
fn calls_of(firings: &[Firing], fired: u64, page: &mut Page) {
    let mut calls: BTreeMap<String, u64> = BTreeMap::new();
    firings.iter().for_each(|firing| *calls.entry(firing.call()).or_default() += 1);
    if calls.len() > 1 {
        let calls: Vec<String> = calls.iter().map(|(call, times)| format!("{call} {times}")).collect();
        let kept = firings.len() as u64;
        let of = if kept < fired { format!("the last {kept}") } else { format!("all {kept}") };
        page.wrapped("    ", &format!("{of}: {}", calls.join(", ")));
    }
}

/// How to repeat the choices of rules with a probability.
fn seed<'a>(seed: Option<u64>, mut rules: impl Iterator<Item = &'a str>, page: &mut Page) {
    if let Some(seed) = seed.filter(|_| rules.any(|text| text.contains(":prob="))) {
        page.line(format!("  to repeat random choices: EPOLLSHIM_SEED={seed}"));
    }
}

/// Returns whether limits or faults are armed, and a page that lists only them and the requests
/// from outside.
pub fn armed_alone(process: &Process, look: Look) -> (bool, String) {
    let mut page = Page::new(look);
    armed(process, &mut page);
    let is_armed = !page.text.is_empty();
    control(process, &mut page);
    (is_armed, page.text)
}

pub(super) fn control(process: &Process, page: &mut Page) {
    let of = process.control;
    if of.requests > 0 || of.damaged > 0 {
        page.gap();
        let ignored = match of.damaged {
            0 => String::new(),
            damaged => format!(", {} IGNORED (control page damaged)", grouped(damaged)),
        };
        let plural = if of.requests == 1 { "" } else { "s" };
        page.line(format!("Control: {} request{plural} from outside{ignored}", grouped(of.requests)));
    }
}
