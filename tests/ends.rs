//! A process that ends in one of nine ways, with free descriptors or with none, leaves a recording
//! with the same contents, which are those of the exit report if there is one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{c_program, c_program_with, report, run, scratch, shim};

/// Each way to end, and its name in the recording.
const WAYS: [(&str, &str); 9] = [
    ("exit", "exit"),
    ("_exit", "_exit"),
    ("quick_exit", "exit"),
    ("pthread_exit", "exit"),
    ("exit_group", "exit_group"),
    ("abort", "abort"),
    ("SIGTERM", "signal"),
    ("SIGSEGV", "signal"),
    ("SIGKILL", "signal"),
];
/// The ways to end that write an exit report.
const REPORTED: [&str; 5] = ["exit", "_exit", "quick_exit", "pthread_exit", "exit_group"];

fn recorded(folder: &Path) -> Value {
    let command = shim().with_file_name("epollshim");
    let output = Command::new(command).args(["report", "--format", "json"]).arg(folder).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert_eq!(report["processes"].as_array().map(Vec::len), Some(1), "{report:#}");
    report["processes"][0].clone()
}

/// The facts that do not depend on how the process ends: the findings (id, severity, place,
/// message), the sums of the census, and its rows for the call sites of the program itself.
fn facts(report: &Value) -> Value {
    let mut findings: Vec<String> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {} {} {}", one["id"], one["severity"], one["site"], one["message"]))
        .collect();
    findings.sort();
    let census = &report["census"];
    let mut rows: Vec<String> = census["sites"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["site"].as_str().is_some_and(|site| site.starts_with("ways_to_end")))
        .filter(|row| row["live"] != 0)
        .map(|row| format!("{} {} {} {}", row["site"], row["kind"], row["live"], row["born"]))
        .collect();
    rows.sort();
    let sums = ["live", "peak", "born", "closed", "at_start"].map(|sum| census[sum].clone());
    json!({ "findings": findings, "rows": rows, "sums": sums })
}

/// Runs the program under `epollshim run`, and returns the only process of its report.
fn by_run(binary: &Path, way: &str, arguments: &[&str]) -> Value {
    let folder = scratch(&format!("ends-run-{way}-{}", arguments.len()));
    let place = folder.join("report.json");
    let mut command = Command::new(shim().with_file_name("epollshim"));
    command.args(["run", "--format", "json", "-o"]).arg(&place).arg("--").arg(binary);
    // Output goes to files, as in the other runs: findings contain the kinds of the open
    // descriptors.
    let said = std::fs::File::create(folder.join("said")).unwrap();
    command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
    let status = command.arg(way).args(arguments).status().unwrap();
    let report = std::fs::read(&place).unwrap_or_else(|error| {
        let said = std::fs::read_to_string(folder.join("said")).unwrap_or_default();
        panic!("{way}: {error}: {status}: {said}")
    });
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["processes"].as_array().map(Vec::len), Some(1), "{way}: {report:#}");
    report["processes"][0].clone()
}

fn each_end_gives_the_same_facts(arguments: &[&str]) {
    let binary = c_program("ways_to_end");
    let mut first: Option<Value> = None;
    let mut wrong = Vec::new();
    for (way, end) in WAYS {
        let folder = scratch(&format!("ends-{way}-{}", arguments.len()));
        let (recording, exit) = (folder.join("rec"), folder.join("report"));
        let run = run(Command::new(&binary)
            .arg(way)
            .args(arguments)
            .env("LD_PRELOAD", shim())
            .env("EPOLLSHIM_RECORD", &recording)
            .env("EPOLLSHIM_CENSUS", "1")
            .env("EPOLLSHIM_REPORT", &exit)
            .env("EPOLLSHIM_REPORT_FORMAT", "json"));
        let process = recorded(&recording);
        // `pthread_exit` loads libgcc when it is first called, and aborts if no descriptor is free.
        let is_abort = way == "pthread_exit" && run.status.code().is_none();
        let end = if is_abort { "signal" } else { end };
        assert_eq!(process["process"]["end"], end, "{way}: {}{}", run.stdout, run.stderr);
        let mut views = vec![("recording", process), ("run", by_run(&binary, way, arguments))];
        if REPORTED.contains(&way) && !is_abort {
            views.push(("exit report", report(&exit)));
        }
        for (view, report) in views {
            if view != "exit report" {
                assert_eq!(report["process"]["end"], end, "{way}, {view}: {report:#}");
                assert_eq!(report["recording"]["partial"], false, "{way}, {view}: {report:#}");
            }
            let facts = facts(&report);
            let expected = first.get_or_insert_with(|| facts.clone());
            if *expected != facts {
                wrong.push(format!("{way}, {view}: {facts:#}"));
            }
        }
    }
    let first = first.unwrap();
    assert!(wrong.is_empty(), "exit: {first:#}\n{}", wrong.join("\n"));
    let severity = if arguments.is_empty() { "warning" } else { "error" };
    let leak = format!("\"fd-leak\" \"{severity}\" \"ways_to_end+");
    assert!(first["findings"].to_string().replace('\\', "").contains(&leak), "{first:#}");
}

#[test]
fn with_free_descriptors() {
    each_end_gives_the_same_facts(&[]);
}

#[test]
fn with_no_descriptor_free_at_the_limit() {
    each_end_gives_the_same_facts(&["full"]);
}

/// A program of c-tests/survives.c, to be run with a census and a recording in that folder.
fn surviving(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(c_program("survives"));
    command
        .args(arguments)
        .env("LD_PRELOAD", shim())
        .env("EPOLLSHIM_RECORD", folder)
        .env("EPOLLSHIM_CENSUS", "1")
        .env("EPOLLSHIM_REPORT", "none");
    command
}

fn finding<'a>(process: &'a Value, id: &str) -> &'a Value {
    let found = process["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == id);
    found.unwrap_or_else(|| panic!("no {id}: {:#}", process["findings"]))
}

#[test]
fn a_program_that_makes_no_epoll_call_has_a_recording_however_it_ends() {
    let folder = scratch("opens").join("rec");
    run(&mut surviving(&["opens"], &folder));
    let process = recorded(&folder);
    assert_eq!(process["process"]["end"], "signal");
    let leak = finding(&process, "fd-leak");
    assert_eq!(leak["severity"], "error", "{leak:#}");
    assert_eq!(process["census"]["kinds"]["socket"], 200, "{:#}", process["census"]);
    // The recording does not contain the time of the kill. The process ran for at least 200 ms
    // according to its census.
    assert_eq!(process["process"]["end_is_exact"], false);
    assert!(process["process"]["duration_ns"].as_u64().unwrap() > 100_000_000, "{:#}", process["process"]);
    let command = shim().with_file_name("epollshim");
    let judged = Command::new(command).args(["report", "--fail-on", "fd-leak"]).arg(&folder).output().unwrap();
    assert_eq!(judged.status.code(), Some(1), "{judged:?}");
    assert!(String::from_utf8_lossy(&judged.stdout).contains("killed after at least"), "{judged:?}");
}

/// The command's output as JSON; None if it is not JSON.
fn json_of(arguments: &[&str]) -> Option<Value> {
    let output = Command::new(shim().with_file_name("epollshim")).args(arguments).output().unwrap();
    serde_json::from_slice(&output.stdout).ok()
}

#[test]
fn a_leak_is_reported_live_in_a_snapshot_and_after_a_kill() {
    let folder = scratch("waits").join("rec");
    let mut child = surviving(&["waits"], &folder).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id().to_string();
    let at = folder.to_str().unwrap();
    let is_leak = |report: &Option<Value>| {
        report.as_ref().is_some_and(|report| {
            let findings = report["processes"][0]["findings"].as_array();
            findings.is_some_and(|all| all.iter().any(|one| one["id"] == "fd-leak" && one["severity"] == "error"))
        })
    };
    let (mut live, mut snapshot) = (None, None);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(100) && !(is_leak(&live) && is_leak(&snapshot)) {
        std::thread::sleep(Duration::from_millis(100));
        live = json_of(&["report", "--format", "json", at]);
        snapshot = json_of(&["ctl", &pid, "snapshot", "--format", "json"]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_leak(&live), "{live:#?}");
    assert!(is_leak(&snapshot), "{snapshot:#?}");
    assert_eq!(live.unwrap()["processes"][0]["process"]["end"], "running");
    let process = recorded(&folder);
    assert_eq!(finding(&process, "fd-leak")["severity"], "error");
    assert!(process["census"]["kinds"]["socket"].as_u64() >= Some(64), "{:#}", process["census"]);
    assert!(process["series"].as_array().is_some_and(|rows| !rows.is_empty()), "{:#}", process["series"]);
}

#[test]
fn call_sites_in_a_library_that_was_loaded_late_are_known_after_a_kill() {
    let library: PathBuf = c_program_with("survives_library", &["-shared", "-fPIC"]);
    for stacks in ["0", "4"] {
        let folder = scratch(&format!("late-{stacks}")).join("rec");
        run(surviving(&["late", library.to_str().unwrap()], &folder).env("EPOLLSHIM_STACKS", stacks));
        let process = recorded(&folder);
        let leak = finding(&process, "fd-leak");
        assert!(leak["site"].as_str().is_some_and(|site| site.starts_with("survives_library")), "{leak:#}");
    }
}

#[test]
fn the_child_of_a_fork_has_a_census_of_its_own() {
    let folder = scratch("child").join("rec");
    run(&mut surviving(&["child"], &folder));
    let report = json_of(&["report", "--format", "json", folder.to_str().unwrap()]).unwrap();
    let processes = report["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 2, "{report:#}");
    let (mut opened, mut born): (Vec<_>, Vec<_>) = processes
        .iter()
        .map(|process| (process["census"]["kinds"]["socket"].as_u64(), process["census"]["born"].as_u64()))
        .unzip();
    opened.sort_unstable();
    born.sort_unstable();
    assert_eq!(opened, [Some(20), Some(60)], "{report:#}");
    assert_eq!(born, [Some(20), Some(40)], "{report:#}");
}

#[test]
fn armed_rules_and_limits_are_in_the_recording_with_their_counts() {
    let folder = scratch("armed").join("rec");
    let mut child = surviving(&["waits"], &folder)
        .env("EPOLLSHIM_INJECT", "epoll_wait:error=EINTR:when=3+3")
        .env("EPOLLSHIM_LIMIT", "descriptors=40")
        .spawn()
        .unwrap();
    let at = folder.to_str().unwrap();
    let began = Instant::now();
    let mut process = Value::Null;
    while began.elapsed() < Duration::from_secs(100) && process["limits"][0]["denied"].as_u64() < Some(3) {
        std::thread::sleep(Duration::from_millis(100));
        process =
            json_of(&["report", "--format", "json", at]).map_or(Value::Null, |report| report["processes"][0].clone());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let process = recorded(&folder);
    let (limit, rule) = (&process["limits"][0], &process["faults"][0]);
    assert_eq!((&limit["key"], &limit["limit"]), (&json!("descriptors"), &json!(40)), "{limit:#}");
    assert!(limit["denied"].as_u64() >= Some(3) && limit["peak"] == 40, "{limit:#}");
    assert_eq!(rule["rule"], "epoll_wait:error=EINTR:when=3+3");
    let [matched, fired] = ["matched", "fired"].map(|count| rule[count].as_u64().unwrap());
    assert!(matched >= 3 && fired == matched / 3, "{rule:#}");
}

/// Ten million by `EPOLLSHIM_FLAT=10000000` (make soak).
#[test]
fn memory_and_the_recording_stay_flat_while_descriptors_come_and_go() {
    let count = std::env::var("EPOLLSHIM_FLAT").unwrap_or_else(|_| "200000".to_owned());
    let folder = scratch("flat").join("rec");
    let run = run(&mut surviving(&["flat", &count], &folder));
    let lines: Vec<Vec<u64>> =
        run.stdout.lines().map(|line| line.split(' ').map(|number| number.parse().unwrap()).collect()).collect();
    let [early, late] = &lines[..] else { panic!("{}{}", run.stdout, run.stderr) };
    assert!(early[1] > 0 && early[1] == late[1], "bytes of the recording: {early:?}, {late:?}");
    // The kernel counts pages in batches (proc_pid_statm(5): "inaccurate because of a
    // kernel-internal scalability optimization").
    assert!(late[0] <= early[0] + 512, "KiB resident: {early:?}, {late:?}");
}
