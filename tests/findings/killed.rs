//! Findings that are evaluated at exit are also found in a process that never exits: one that was
//! killed from outside, and one that still runs. (For fd-leak see tests/ends.rs: it depends on
//! whether the number of descriptors keeps growing, which it does not while a program waits to be
//! killed.)

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use testkit::{c_program_with, reports, run, scratch, shim, under_shim};

type Summary = Vec<(String, String, String, i64)>;

/// Id, severity, place and descriptor of each finding above `info`, and of each finding that is
/// never above it.
fn summary(of: &Value) -> Summary {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("").to_owned();
    let mut all: Summary = of["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["severity"] != "info" || finding["id"] == "size-lie" || finding["id"] == "churn")
        .map(|finding| {
            let site = text(finding, "site");
            (text(finding, "id"), text(finding, "severity"), site, finding["epfd"].as_i64().unwrap_or(-1))
        })
        .collect();
    all.sort();
    all
}

/// The command's report of a process whose recording is in that folder.
fn recorded(folder: &Path, pid: u32) -> Value {
    let command = shim().with_file_name("epollshim");
    let output = Command::new(command).args(["report", "--format", "json"]).arg(folder).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let all = report["processes"].as_array().unwrap();
    let own = all.iter().find(|process| process["process"]["pid"] == pid);
    own.unwrap_or_else(|| panic!("{report:#}")).clone()
}

/// The view of the process in `top`.
fn viewed(folder: &Path, pid: u32) -> Value {
    let mut command = Command::new(shim().with_file_name("epollshim"));
    let output = command.args(["top", "--once", "-d", "0.1", "--format", "json"]).arg(folder).output().unwrap();
    let view: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let all = view["processes"].as_array().unwrap();
    all.iter().find(|process| process["pid"] == pid).unwrap_or_else(|| panic!("{view:#}")).clone()
}

/// The report of the process that forked the others.
fn of_parent(all: &[Value]) -> Value {
    let has_child = |one: &&Value| all.iter().any(|other| other["process"]["ppid"] == one["process"]["pid"]);
    all.iter().find(has_child).unwrap_or(&all[0]).clone()
}

/// Asserts that a program has the same findings when it exits, when it is killed at that place, and
/// while it still runs.
pub fn is_found_after_a_kill(program: &str, options: &[(&str, &str)], flags: &[&str]) {
    is_found_after_a_kill_and(program, options, flags, "1");
}

/// The same, with `stays` for the calls that the program makes before it is killed (`STAYS` of
/// finding.h).
fn is_found_after_a_kill_and(program: &str, options: &[(&str, &str)], flags: &[&str], stays: &str) {
    let binary = c_program_with(&format!("findings/{program}"), flags);
    let folder = scratch(&format!("killed-{program}"));
    let (at, recording) = (folder.join("report"), folder.join("rec"));
    let of_exit = run(under_shim(Command::new(&binary).envs(options.iter().copied()), &at));
    assert!(of_exit.status.success(), "{program}: {}", of_exit.stderr);
    let expected = summary(&of_parent(&reports(&at)));
    assert_eq!(expected.is_empty(), flags.contains(&"-DFIXED"), "{program}: {expected:#?}");
    let mut child = started(Command::new(&binary).envs(options.iter().copied()), &recording, stays);
    let live = recorded(&recording, child.id());
    let view = viewed(&recording, child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    let dead = recorded(&recording, child.id());
    assert_eq!(live["process"]["end"], "running", "{program}");
    assert_eq!(dead["process"]["end"], "signal", "{program}");
    assert_eq!(summary(&live), expected, "{program}, while it runs: {live:#}");
    let known: Vec<_> = expected.iter().map(|(id, severity, ..)| (id.clone(), severity.clone())).collect();
    let shown: Vec<_> = summary(&view).into_iter().map(|(id, severity, ..)| (id, severity)).collect();
    assert_eq!(shown, known, "{program}, by top: {view:#}");
    assert_eq!(summary(&dead), expected, "{program}, killed: {dead:#}");
}

/// Starts a program that waits to be killed after it has printed its descriptors (`STAYS` of
/// finding.h), and waits until it has printed them.
fn started(command: &mut Command, recording: &Path, stays: &str) -> Child {
    let mut child = command
        .env("LD_PRELOAD", shim())
        .env("EPOLLSHIM_REPORT", "none")
        .env("EPOLLSHIM_RECORD", recording)
        .env("STAYS", stays)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains(' '), "{command:?}: {line}");
    child
}

/// The program's binary, and the command's report of it after it was killed at its end.
pub fn report_after_a_kill(program: &str, flags: &[&str]) -> (PathBuf, Value) {
    let binary = c_program_with(&format!("findings/{program}"), flags);
    let dead = dead(program, Command::new(&binary).env("EPOLLSHIM_CENSUS", "1"));
    (binary, dead)
}

/// The command's report of a program that was killed at its end.
pub fn dead(program: &str, command: &mut Command) -> Value {
    let recording = scratch(&format!("dead-{program}")).join("rec");
    let mut child = started(command, &recording, "1");
    child.kill().unwrap();
    child.wait().unwrap();
    recorded(&recording, child.id())
}

#[test]
fn abandoned_loops() {
    is_found_after_a_kill("leak", &[], &[]);
    is_found_after_a_kill("leak", &[], &["-DFIXED"]);
    is_found_after_a_kill("leak_pool", &[], &["-DFIXED"]);
}

#[test]
fn limits_that_are_near() {
    is_found_after_a_kill("near_limit", &[], &[]);
    is_found_after_a_kill("near_limit", &[], &["-DFIXED"]);
    is_found_after_a_kill("limited", &[("EPOLLSHIM_LIMIT", "watches=3")], &[]);
    is_found_after_a_kill("limited", &[("EPOLLSHIM_LIMIT", "watches=30")], &["-DFIXED"]);
}

#[test]
fn loops_that_poll() {
    is_found_after_a_kill("poll_loop", &[], &[]);
    is_found_after_a_kill("poll_loop", &[], &["-DFIXED"]);
}

#[test]
fn instances_that_end_as_soon_as_they_are_made() {
    is_found_after_a_kill_and("cases/gunicorn_churn", &[], &["-DCOSTLY"], "calls");
    is_found_after_a_kill("cases/gunicorn_churn", &[], &["-DFIXED"]);
}

#[test]
fn loops_that_are_late() {
    is_found_after_a_kill("late_loop", &[], &[]);
    is_found_after_a_kill("late_loop", &[], &["-DFIXED"]);
}

#[test]
fn findings_that_are_made_when_they_happen() {
    for program in ["size_lie", "ghost", "spin_hup", "full_batch", "double_close", "cases/fibers_19"] {
        is_found_after_a_kill(program, &[("EPOLLSHIM_CENSUS", "1")], &[]);
    }
    for program in ["ghost_quiet", "ghost_forked"] {
        is_found_after_a_kill_and(program, &[], &[], "calls");
        is_found_after_a_kill_and(program, &[], &["-DFIXED"], "calls");
    }
    is_found_after_a_kill("cases/pantavisor_699", &[], &[]);
    is_found_after_a_kill("cases/pantavisor_699", &[], &["-DNO_DEL"]);
}

#[test]
fn findings_about_related_processes() {
    for program in ["no_cloexec", "fork_shared", "herd"] {
        is_found_after_a_kill_and(program, &[], &[], "calls");
        is_found_after_a_kill_and(program, &[], &["-DFIXED"], "calls");
    }
}
