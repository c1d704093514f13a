//! Runs programs under `epollshim run --record`, and checks each format of `epollshim report`.

pub mod metrics;
pub mod page;
pub mod sums;
pub mod trace;

use crate::programs::{Mode, Running};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::show;

/// The command as users get it.
pub fn command() -> PathBuf {
    let command = testkit::shim().with_file_name("epollshim");
    assert!(command.exists(), "{} does not exist: run make tested", command.display());
    command
}

/// Starts a program with `epollshim run --record DIR/rec`. The exit reports of its processes go to
/// DIR.
pub fn start(dir: PathBuf, program: &Path, arguments: &[&str]) -> Running {
    let [record, report] = ["rec", "report-%p.json"].map(|name| dir.join(name).display().to_string());
    let words = ["run", "--exec", "--quiet", "--record", &record, "--report", &report, "--report-format", "json", "--"];
    let words = [&words[..], &[program.to_str().unwrap()], arguments].concat();
    Running::start(Mode::Bare, dir, &command(), &words)
}

/// The output of `epollshim report`, which must print nothing on stderr.
#[track_caller]
pub fn report(recordings: &Path, words: &[&str]) -> String {
    let output: Output = Command::new(command()).arg("report").args(words).arg(recordings).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {}", show(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub fn json(recordings: &Path) -> Value {
    let text = report(recordings, &["--format", "json"]);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Requests each format for recordings that do not change any more. Each must match the JSON, which
/// is returned.
#[track_caller]
pub fn every_format(recordings: &Path) -> Value {
    let reported = json(recordings);
    sums::add_up(&reported);
    readable(&report(recordings, &[]), &reported);
    trace::keeps_the_rules(&report(recordings, &["--format", "perfetto"]), &reported);
    metrics::agree(&report(recordings, &["--format", "prometheus"]), &reported);
    page::is_whole(&report(recordings, &["--format", "html"]), &reported);
    reported
}

pub fn processes(reported: &Value) -> &Vec<Value> {
    reported["processes"].as_array().unwrap()
}

#[track_caller]
pub fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a whole number, not {value}"))
}

/// Formats 1234567 as 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Asserts that the text fits a terminal, names each process, and contains the sums of all.
#[track_caller]
fn readable(text: &str, reported: &Value) {
    for line in text.lines() {
        assert!(!line.ends_with("..."), "nothing is cut: {line}");
        // The name of a place is never cut off.
        let is_place = [" at ", "by ", ": "].iter().any(|word| line.contains(word));
        assert!(line.chars().count() <= 80 || is_place, "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    let processes = processes(reported);
    for process in processes {
        let heading =
            format!("epollshim: {} (pid {})", process["process"]["comm"].as_str().unwrap(), process["process"]["pid"]);
        assert!(text.contains(&heading), "{heading}\n{text}");
    }
    let together = format!("epollshim: all {} processes together", processes.len());
    assert_eq!(text.contains(&together), processes.len() > 1, "{text}");
    // The merged view comes first.
    let last = text.split("\n====").next().unwrap();
    for (name, call) in reported["merged"]["calls"].as_object().unwrap() {
        let line = last.lines().find(|line| line.split_whitespace().next() == Some(name));
        let shown = line.and_then(|line| line.split_whitespace().nth(1));
        assert_eq!(shown, Some(grouped(count(&call["calls"])).as_str()), "{name}\n{last}");
    }
    for (what, number) in [
        ("Instances: ", &reported["merged"]["instances"]["created"]),
        ("Watches: ", &reported["merged"]["watches"]["live"]),
        ("Call records: ", &reported["merged"]["records"]["seen"]),
    ] {
        let wanted = format!("{what}{}", grouped(count(number)));
        assert!(last.contains(&wanted), "{wanted}\n{last}");
    }
}
