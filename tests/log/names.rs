//! Names of log files: patterns, exec, and relative paths.

use std::path::Path;

use super::{bare, lines, one_line_per_call, read, tally, troubles, undisturbed};
use testkit::{reports, scratch, shim, show};

#[test]
fn a_log_named_after_process_and_program_is_one_of_each() {
    let dir = scratch("names");
    let reports = undisturbed(&["calls=3", "name=another", "calls=3", "forks=3"], dir.join("%e.%p.%%.log"));
    assert_eq!(reports.len(), 4);
    for report in &reports {
        let pid = report["process"]["pid"].as_u64().unwrap();
        let log = read(&dir.join(format!("log_troubles.{pid}.%.log")));
        one_line_per_call(&log, std::slice::from_ref(report));
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 4);
}

#[test]
fn a_program_after_exec_appends_to_the_same_file() {
    let log = scratch("exec").join("log");
    let reports = undisturbed(&["calls=3", "exec", "calls=4"], &log);
    assert_eq!(reports.len(), 2, "{reports:?}");
    let sum: u64 = reports.iter().map(|report| tally(report).2).sum();
    assert_eq!(lines(&read(&log)).len() as u64, sum);
    // The next run appends as well: a log is never truncated.
    undisturbed(&["calls=3"], &log);
    assert!(lines(&read(&log)).len() as u64 > sum);
}

#[test]
fn a_relative_path_is_relative_to_the_directory_where_the_program_started() {
    let dir = scratch("relative 100% here");
    let run = |report: &str| {
        let mut command = bare(troubles(), &["calls=3", "chdir=/", "calls=3", "forks=1"]);
        command.current_dir(&dir).env("LD_PRELOAD", shim()).env("EPOLLSHIM_LOG", "log").env("EPOLLSHIM_REPORT", report);
        let output = command.env("EPOLLSHIM_REPORT_FORMAT", "json").output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{}", show(&output));
    };
    run("report.json");
    one_line_per_call(&read(&dir.join("log")), &reports(&dir.join("report.json")));
    assert!(!Path::new("/log").exists() && !Path::new("/report.json").exists());
}
