//! The findings in healthy servers: none is an error, and each warning is explained.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::Place;
use testkit::{reports, shim, show};

/// A warning that is true of a server that works: its id, words of its message, and why it is not a
/// defect there.
pub type Explained = (&'static str, &'static str, &'static str);

/// The number of recorded processes, and the findings of all exit reports and of the recordings of
/// the same processes.
pub fn found(place: &Place) -> (usize, Vec<Value>) {
    let mut all = Vec::new();
    let files = std::fs::read_dir(place.path("reports")).unwrap().map(|entry| entry.unwrap().path());
    let reported: Vec<Value> = files.flat_map(|path| reports(&path)).collect();
    let command = shim().with_file_name("epollshim");
    let output = Command::new(command).args(["report", "--format", "json"]).arg(place.path("rec")).output().unwrap();
    assert!(output.status.success(), "{}", show(&output));
    let recorded: Value = serde_json::from_slice(&output.stdout).unwrap();
    let recorded = recorded["processes"].as_array().unwrap();
    for process in reported.iter().chain(recorded) {
        for finding in process["findings"].as_array().unwrap() {
            let mut finding = finding.clone();
            finding["process"] = process["process"]["program"].clone();
            all.push(finding);
        }
    }
    (recorded.len(), all)
}

/// Asserts that nothing is an error, and that each warning is in the table. Returns a line of text
/// with the findings.
#[track_caller]
pub fn is_explained(name: &str, findings: &[Value], explained: &[Explained]) -> String {
    let mut sums: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = BTreeSet::new();
    for finding in findings {
        let [id, severity, message] =
            ["id", "severity", "message"].map(|key| finding[key].as_str().unwrap_or_default());
        *sums.entry(format!("{id} {severity}")).or_default() += 1;
        let is_known = explained.iter().any(|(known, words, _)| *known == id && message.contains(words));
        if severity != "info" && !(severity == "warning" && is_known) {
            wrong.insert(format!("{finding:#}"));
        }
    }
    assert!(wrong.is_empty(), "{name}: {} not explained\n{}", wrong.len(), Vec::from_iter(wrong).join("\n"));
    let words: Vec<String> = sums.into_iter().map(|(what, number)| format!("{number} {what}")).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}
