//! Fault rules: their counts in one process, and the sums over several.

use super::Process;
use crate::firings::Firing;

/// A fault rule, and its counts.
#[derive(Clone)]
pub struct Rule {
    pub text: String,
    pub matched: u64,
    pub fired: u64,
    /// A kernel can return this fault.
    pub legal: bool,
    /// Its last firings, the oldest first. A recording keeps the last firings of all rules
    /// together.
    pub firings: Vec<Firing>,
}

/// A rule of some processes, with the sums of its counts.
pub struct RuleSum<'a> {
    pub text: &'a str,
    pub matched: u64,
    pub fired: u64,
    pub legal: bool,
    /// The processes that have the rule, and those in which it fired.
    pub processes: Vec<&'a Process>,
    pub fired_in: Vec<&'a Process>,
    /// The last firing of which the recordings know, and its process.
    pub last: Option<(&'a Process, &'a Firing)>,
}

/// The rules of these processes, each once.
pub fn summed_rules(processes: &[Process]) -> Vec<RuleSum<'_>> {
    let mut sums: Vec<RuleSum> = Vec::new();
    for process in processes {
        for rule in &process.rules {
            match sums.iter_mut().find(|sum| sum.text == rule.text) {
                Some(sum) => sum.add(process, rule),
                None => {
                    let mut sum = RuleSum::new(rule);
                    sum.add(process, rule);
                    sums.push(sum);
                }
            }
        }
    }
    sums
}

impl<'a> RuleSum<'a> {
    fn new(rule: &'a Rule) -> RuleSum<'a> {
        RuleSum {
            text: &rule.text,
            matched: 0,
            fired: 0,
            legal: rule.legal,
            processes: Vec::new(),
            fired_in: Vec::new(),
            last: None,
        }
    }

    fn add(&mut self, process: &'a Process, rule: &'a Rule) {
        self.matched = self.matched.saturating_add(rule.matched);
        self.fired = self.fired.saturating_add(rule.fired);
        add_once(&mut self.processes, process);
        if rule.fired > 0 {
            add_once(&mut self.fired_in, process);
        }
        if let Some(firing) = rule.firings.last() {
            let is_later = |(before, last): (&Process, &Firing)| unix_time(process, firing) > unix_time(before, last);
            if self.last.is_none_or(is_later) {
                self.last = Some((process, firing));
            }
        }
    }
}

/// A process may have one rule several times.
fn add_once<'a>(processes: &mut Vec<&'a Process>, process: &'a Process) {
    if !processes.last().is_some_and(|last| std::ptr::eq(*last, process)) {
        processes.push(process);
    }
}

/// When a rule fired. Recordings of several boots have different monotonic clocks.
fn unix_time(process: &Process, firing: &Firing) -> u64 {
    process.header.began_unix.saturating_add(firing.at.saturating_sub(process.header.began))
}
