//! Descriptors that are closed while a thread waits on an instance that watches them.

use std::process::Command;

use super::{c_program_with, line_marked, line_of, serious};
use testkit::{report, run, scratch, under_shim};

const PROGRAM: &str = "close_watched_in_wait";

/// The close is found, with this severity and at its two places, and nothing else is found.
#[track_caller]
fn is_found(flags: &[&str], severity: &str, says: &str, wait: &str) {
    let binary = c_program_with(&format!("findings/{PROGRAM}"), flags);
    let path = scratch(PROGRAM).join("report");
    let run = run(under_shim(&mut Command::new(&binary), &path));
    assert!(run.status.success(), "{flags:?}: {}", run.stderr);
    let report = report(&path);
    let [finding] = super::unusable::of(&report, "close-in-wait")[..] else { panic!("{flags:?}: {report:#}") };
    assert_eq!(finding["severity"], severity, "{flags:?}: {finding:#}");
    assert_eq!(serious(&report).len(), usize::from(severity != "info"), "{flags:?}: {report:#}");
    assert_eq!(finding["count"], 1, "{flags:?}: {finding:#}");
    assert_eq!(format!("{} {}\n", finding["epfd"], finding["fd"]), run.stdout, "{flags:?}: {finding:#}");
    assert!(finding["message"].as_str().unwrap().contains(says), "{flags:?}: {finding:#}");
    let line = |key: &str| line_of(&binary, finding[key].as_str().unwrap());
    assert_eq!(line("site"), line_marked(PROGRAM, "HERE"), "{flags:?}: {finding:#}");
    assert_eq!(line("other_site"), line_marked(PROGRAM, wait), "{flags:?}: {finding:#}");
}

#[test]
fn an_event_for_the_number_came() {
    is_found(&[], "warning", "returned an event for the number", "WAIT");
    is_found(&["-DFIRST"], "warning", "returned an event for the number", "WAIT");
}

#[test]
fn fibers_80_nothing_is_left_that_wakes_the_thread() {
    is_found(&["-DLAST"], "warning", "nothing can wake it", "LAST");
    is_found(&["-DLAST", "-DFIRST"], "warning", "nothing can wake it", "LAST");
}

#[test]
fn no_event_for_the_number_is_info_and_so_is_one_with_a_generation() {
    is_found(&["-DQUIET"], "info", "may hold an event", "WAIT");
    is_found(&["-DQUIET", "-DFIRST"], "info", "may hold an event", "WAIT");
    is_found(&["-DGENERATION"], "info", "may hold an event", "WAIT");
}
