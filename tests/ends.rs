//! Nine ways to end, with descriptors to spare and with none: what the recording tells afterwards is the same in all, and it is what
//! the exit report tells, where there is one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{c_program, report, run, scratch, shim};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The way, and how the recording names it.
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
/// Those with an exit report: until its descriptors are gone, `pthread_exit` loads libgcc, and aborts then.
const REPORTED: [&str; 5] = ["exit", "_exit", "quick_exit", "pthread_exit", "exit_group"];

fn recorded(folder: &Path) -> Value {
    let command = shim().with_file_name("epollshim");
    let output = Command::new(command).args(["report", "--raw", "--format", "json"]).arg(folder).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"));
    assert_eq!(report["processes"].as_array().map(Vec::len), Some(1), "{report:#}");
    report["processes"][0].clone()
}

/// What is the same however it ends: of the findings what, how bad, where and how many; of the census the sums, and the rows of
/// the program's own call sites.
fn facts(told: &Value) -> Value {
    let mut findings: Vec<String> = told["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {} {} {}", one["id"], one["severity"], one["site"], one["message"]))
        .collect();
    findings.sort();
    let census = &told["census"];
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

fn each_way_tells_the_same(arguments: &[&str]) {
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
        let is_full = !arguments.is_empty();
        let end = if is_full && way == "pthread_exit" && run.status.code().is_none() { "signal" } else { end };
        assert_eq!(process["process"]["end"], end, "{way}: {}{}", run.stdout, run.stderr);
        let told = facts(&process);
        // With a descriptor to spare: the report is another part's where there is none.
        if REPORTED.contains(&way) && !is_full {
            let exit = facts(&report(&exit));
            assert_eq!(exit["findings"], told["findings"], "{way}");
            assert_eq!(exit["sums"], told["sums"], "{way}");
        }
        let expected = first.get_or_insert_with(|| told.clone());
        if *expected != told {
            wrong.push(format!("{way}: {told:#}"));
        }
        assert_eq!(process["recording"]["partial"], false, "{way}: {process:#}");
    }
    let first = first.unwrap();
    assert!(wrong.is_empty(), "exit: {first:#}\n{}", wrong.join("\n"));
    let severity = if arguments.is_empty() { "warning" } else { "error" };
    let leak = format!("\"fd-leak\" \"{severity}\" \"ways_to_end+");
    assert!(first["findings"].to_string().replace('\\', "").contains(&leak), "{first:#}");
}

#[test]
fn with_descriptors_to_spare() {
    each_way_tells_the_same(&[]);
}

#[test]
fn with_no_descriptor_free_and_none_to_be_had() {
    each_way_tells_the_same(&["full"]);
}
