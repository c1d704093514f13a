//! The result of a sweep as JUnit XML, with one test case per trial.
//!
//! CI servers track a test by its name from build to build, so names contain no address and no line
//! number.

use std::collections::BTreeMap;

use epollshim_recording::suites::{self, Case, Outcome, Suite};

use super::outcome::Swept;
use super::text::accepted_line;
use super::trial::Tried;
use super::verdict::Verdict;
use crate::text::{count, printable};

pub fn render(swept: &Swept) -> String {
    let name = swept.program();
    let mut names = BTreeMap::new();
    let mut cases: Vec<Case> = swept.tried.iter().map(|tried| of_trial(swept, tried)).collect();
    for case in &mut cases {
        // Several stacks may have the same functions.
        let number = names.entry(case.name.clone()).and_modify(|number| *number += 1).or_insert(1);
        if *number > 1 {
            case.name += &format!(" #{number}");
        }
    }
    let all = [
        Suite { name, time: swept.took as f64 / 1000.0, cases },
        Suite { name: "sweep".into(), time: 0.0, cases: vec![whole(swept)] },
    ];
    let mut out = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = suites::write(&all, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn of_trial(swept: &Swept, tried: &Tried) -> Case {
    let verdict = tried.judged.verdict;
    let places = swept.places(&tried.trial).join(" < ");
    let name = tried.trial.text() + if places.is_empty() { "" } else { ", in " } + &places;
    let first = tried.judged.evidence.first().map(|line| printable(line)).unwrap_or_default();
    let outcome = match swept.entry(tried) {
        Some(entry) => Outcome::Skipped(accepted_line(swept, tried, 0, entry)),
        None if verdict.is_find() => Outcome::Failed(verdict.title().into(), first),
        None if verdict == Verdict::NotReached => Outcome::Skipped(verdict.title().into()),
        None => Outcome::Passed,
    };
    let mut lines = vec![format!("{}, {} of {}", verdict.title(), tried.same, count(tried.runs as usize, "run"))];
    lines.extend(tried.judged.evidence.iter().map(|line| printable(line)));
    lines.extend(swept.frames(&tried.trial).iter().map(|frame| format!("at {}", printable(frame))));
    lines.push(swept.line(&tried.trial));
    Case { name, time: tried.took as f64 / 1000.0, outcome, text: lines.join("\n") }
}

/// A test case that fails if not everything was tried.
fn whole(swept: &Swept) -> Case {
    let missing = swept.planned.saturating_sub(swept.tried.len());
    let outcome = match missing {
        0 => Outcome::Passed,
        _ => Outcome::Error("whole".into(), format!("{} not made", count(missing, "trial"))),
    };
    Case { name: "whole".into(), time: 0.0, outcome, text: String::new() }
}
