//! Compares the metrics, as read by Prometheus' Python client, with the JSON of the same
//! recordings.

use super::count;
use crate::programs::python;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use testkit::skipped;

/// Prints one JSON array per sample: name, labels, value. Exits with 77 if the client is not
/// installed.
const PARSER: &str = "import json, sys
try: from prometheus_client.parser import text_string_to_metric_families as parse
except ImportError: sys.exit(77)
for family in parse(sys.stdin.read()):
    for sample in family.samples: print(json.dumps([sample.name, sample.labels, sample.value]))
";

#[track_caller]
pub fn agree(text: &str, reported: &Value) {
    let Some(python) = python() else { return };
    let mut parser = Command::new(python)
        .args(["-c", PARSER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = parser.stdin.take().unwrap();
    // If the client is not installed, it does not read its input.
    let _ = stdin.write_all(text.as_bytes());
    drop(stdin);
    let output = parser.wait_with_output().unwrap();
    if output.status.code() == Some(77) {
        return skipped("python3 has no prometheus_client: the metrics were not parsed", true);
    }
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    let samples: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // The sum over all programs.
    let sum = |name: &str, labels: &[(&str, &str)]| -> f64 {
        let is_meant =
            |sample: &&Value| sample[0] == name && labels.iter().all(|(label, value)| sample[1][label] == json!(value));
        samples.iter().filter(is_meant).map(|sample| sample[2].as_f64().unwrap()).sum()
    };
    let merged = &reported["merged"];
    let same = |name: &str, labels: &[(&str, &str)], value: &Value| {
        assert_eq!(sum(name, labels), count(value) as f64, "{name} {labels:?}\n{text}");
    };
    for (call, counted) in merged["calls"].as_object().unwrap() {
        same("epollshim_calls_total", &[("call", call)], &counted["calls"]);
        for (errno, times) in counted["errors"].as_object().unwrap() {
            same("epollshim_call_errors_total", &[("call", call), ("errno", errno)], times);
        }
    }
    for change in ["added", "modified", "deleted", "vanished"] {
        same("epollshim_watch_changes_total", &[("change", change)], &merged["watches"][change]);
    }
    for end in ["empty", "full", "interrupted"] {
        same("epollshim_waits_total", &[("end", end)], &merged["waits"][end]);
    }
    for kind in ["IN", "OUT", "RDHUP", "HUP", "ERR", "PRI"] {
        same("epollshim_events_total", &[("kind", kind)], &merged["waits"]["events"][kind]);
    }
    for state in ["seen", "overwritten", "unfinished"] {
        same("epollshim_records_total", &[("state", state)], &merged["records"][state]);
    }
    for (name, value) in [
        ("epollshim_processes", &merged["processes"]),
        ("epollshim_instances", &merged["instances"]["live"]),
        ("epollshim_instances_created_total", &merged["instances"]["created"]),
        ("epollshim_watches", &merged["watches"]["live"]),
        ("epollshim_kernel_memory_bytes", &merged["kernel_memory"]["live"]),
        ("epollshim_wait_blocked_seconds_count", &merged["waits"]["blocked_ns"]["count"]),
        ("epollshim_work_seconds_count", &merged["waits"]["work_ns"]["count"]),
        ("epollshim_batch_events_count", &merged["waits"]["batch"]["count"]),
        ("epollshim_batch_events_sum", &merged["waits"]["events"]["total"]),
    ] {
        same(name, &[], value);
    }
}
