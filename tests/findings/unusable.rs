//! Calls on a descriptor that is not there: waits that fail in a row.

use super::{line_marked, line_of, serious};
use crate::common::{c_program_with, report, run, scratch, under_shim};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// Runs a program with an argument. Returns the binary and the report, and the descriptors that it tells.
pub fn examine(program: &str, mode: &str, options: &[(&str, &str)]) -> (PathBuf, Value, (i64, i64)) {
    let binary = c_program_with(&format!("findings/{program}"), &[]);
    let path = scratch(&format!("{program}_{mode}")).join("report");
    let run = run(under_shim(Command::new(&binary).arg(mode).envs(options.iter().copied()), &path));
    assert!(run.status.success(), "{program} {mode}: {}\n{}", run.status, run.stderr);
    let told: Vec<i64> = run.stdout.lines().last().unwrap().split(' ').map(|number| number.parse().unwrap()).collect();
    (binary, report(&path), (told[0], told[1]))
}

pub fn of<'report>(report: &'report Value, id: &str) -> Vec<&'report Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["id"] == id).collect()
}

#[test]
fn waits_that_fail_in_a_row_are_an_ignored_error() {
    for (mode, call, closed, says) in [
        ("closed", "HERE", Some("CLOSED"), "EBADF, since the epoll descriptor was closed"),
        // Which call closed a range is known with a census alone.
        ("range", "HERE", None, "EBADF, since the epoll descriptor was closed"),
        ("syscall", "RAW", Some("CLOSED"), "EBADF, since the epoll descriptor was closed"),
        ("reused", "HERE", Some("CLOSED"), "EINVAL, since the epoll descriptor was closed, and the number is another"),
        ("zero", "HERE", None, "EINVAL, since the number is no epoll descriptor"),
        ("room", "HERE", None, "EINVAL, since maxevents is 0"),
    ] {
        let (binary, report, (epfd, _)) = examine("failed_waits", mode, &[]);
        let [finding] = of(&report, "ignored-error")[..] else { panic!("{mode}: {report:#}") };
        assert_eq!(serious(&report).len(), 1, "{mode}: {report:#}");
        assert_eq!(finding["severity"], "error", "{mode}: {finding:#}");
        assert_eq!(finding["epfd"], epfd, "{mode}: {finding:#}");
        assert_eq!(finding["count"], 100, "{mode}: {finding:#}");
        assert!(finding["message"].as_str().unwrap().contains(says), "{mode}: {finding:#}");
        let line = |key: &str| finding[key].as_str().map(|site| line_of(&binary, site));
        assert_eq!(line("site"), Some(line_marked("failed_waits", call)), "{mode}: {finding:#}");
        let closed = closed.map(|mark| line_marked("failed_waits", mark));
        assert_eq!(line("other_site"), closed, "{mode}: {finding:#}");
    }
}

#[test]
fn waits_that_fail_now_and_then_or_by_a_fault_are_none() {
    for mode in ["ok", "few", "now_and_then"] {
        let (_, report, _) = examine("failed_waits", mode, &[]);
        assert!(serious(&report).is_empty(), "{mode}: {report:#}");
    }
    let inject = [("EPOLLSHIM_INJECT", "epoll_wait:error=EBADF:when=2+")];
    let binary = c_program_with("findings/failed_waits", &[]);
    let path = scratch("failed_waits_injected").join("report");
    // The program finds that its waits fail, and says so.
    run(under_shim(Command::new(&binary).arg("ok").envs(inject), &path));
    assert!(of(&report(&path), "ignored-error").is_empty());
}
