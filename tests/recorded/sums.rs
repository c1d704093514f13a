//! Checks the sums in a report, and compares it with the exit report of the same process.

use super::{count, processes};
use serde_json::Value;
use std::collections::BTreeMap;

/// Asserts that numbers of parts add up to those of the whole: threads and instances of a process,
/// and processes of the merged view.
#[track_caller]
pub fn add_up(reported: &Value) {
    assert_eq!(reported["schema"], "epollshim.report/1");
    assert_eq!(reported["unread"], serde_json::json!([]));
    let (processes, merged) = (processes(reported), &reported["merged"]);
    assert_eq!(count(&merged["processes"]), processes.len() as u64);
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for process in processes {
        assert_eq!(process["recording"]["partial"], false, "{}", process["recording"]);
        parts(process);
        // Latencies and histograms are merged, not added. Their counts and sums are compared below.
        for key in ["calls", "instances", "watches", "waits", "kernel_memory", "coverage", "records"] {
            leaves(&process[key], key, &mut sums);
        }
    }
    let mut reported = BTreeMap::new();
    for key in ["calls", "instances", "watches", "waits", "kernel_memory", "coverage", "records"] {
        leaves(&merged[key], key, &mut reported);
    }
    assert_eq!(reported, sums, "merged, and the sum of the processes");
}

/// The numbers that add up, by their paths.
fn leaves(value: &Value, path: &str, into: &mut BTreeMap<String, u64>) {
    match value {
        Value::Number(number) => *into.entry(path.to_owned()).or_default() += number.as_u64().unwrap(),
        Value::Object(object) => {
            for (key, value) in object {
                if !["p50", "p90", "p99", "max", "list"].contains(&key.as_str()) {
                    leaves(value, &format!("{path}.{key}"), into);
                }
            }
        }
        _ => {}
    }
}

#[track_caller]
fn parts(process: &Value) {
    let records = &process["records"];
    let [begun, seen, overwritten, unfinished] =
        ["begun", "seen", "overwritten", "unfinished"].map(|key| count(&records[key]));
    assert_eq!(begun, seen + overwritten + unfinished, "{records}");
    let threads = process["threads"].as_array().unwrap();
    let mut by_thread: BTreeMap<&String, u64> = BTreeMap::new();
    for thread in threads {
        for (name, call) in thread["calls"].as_object().unwrap() {
            *by_thread.entry(name).or_default() += count(&call["calls"]);
        }
    }
    let calls = process["calls"].as_object().unwrap();
    let by_call: BTreeMap<&String, u64> = calls.iter().map(|(name, call)| (name, count(&call["calls"]))).collect();
    assert_eq!(by_thread, by_call, "calls of the threads, and of the process");
    let of_threads = |key: &str| threads.iter().map(|thread| count(&thread["records"][key])).sum::<u64>();
    assert_eq!([of_threads("begun"), of_threads("seen")], [begun, seen]);

    let list = process["instances"]["list"].as_array().unwrap();
    assert_eq!(list.len() as u64, count(&process["instances"]["live"]));
    let watches: u64 = list.iter().map(|instance| count(&instance["watches"])).sum();
    assert_eq!(watches, count(&process["watches"]["live"]), "watches of the instances, and of the process");
    for instance in list {
        assert_eq!(instance["watched_fds"].as_array().unwrap().len() as u64, count(&instance["watches"]), "{instance}");
        assert!(instance["site"].is_string(), "{instance}");
    }

    let sites = process["sites"].as_array().unwrap();
    assert_eq!(process["more_sites"], 0);
    let at_sites = |key: &str| sites.iter().map(|site| count(&site[key])).sum::<u64>();
    let calls_at_sites =
        sites.iter().flat_map(|site| site["calls"].as_object().unwrap().values()).map(count).sum::<u64>();
    assert_eq!(calls_at_sites, seen, "calls at the sites, and records");
    assert_eq!([at_sites("instances"), at_sites("watches")], [list.len() as u64, watches], "alive by sites");
}

/// Asserts that the report of the recording contains what the process reported when it ended.
#[track_caller]
pub fn same(recorded: &Value, exit: &Value) {
    for key in ["pid", "ppid", "comm", "exe", "argv", "start_unix_ns", "end", "seed"] {
        assert_eq!(recorded["process"][key], exit["process"][key], "process.{key}");
    }
    for key in ["calls", "watches", "waits", "kernel_memory"] {
        assert_eq!(recorded[key], exit[key], "{key}");
    }
    for key in ["unseen_instances", "unseen_watches", "healed", "lost", "uncounted"] {
        assert_eq!(recorded["coverage"][key], exit["coverage"][key], "coverage.{key}");
    }
    for key in ["created", "live", "peak"] {
        assert_eq!(recorded["instances"][key], exit["instances"][key], "instances.{key}");
    }
    let list = |report: &Value| report["instances"]["list"].as_array().unwrap().clone();
    for (recorded, exit) in list(recorded).iter().zip(list(exit)) {
        for (key, value) in exit.as_object().unwrap() {
            match key.as_str() {
                // The recording has the descriptor number and the flag of the creation.
                "epfds" => assert!(value.as_array().unwrap().contains(&recorded[key][0]), "{recorded}\n{exit}"),
                "cloexec" => {}
                _ => assert_eq!(recorded[key], *value, "{key} of {recorded}\n{exit}"),
            }
        }
    }
    assert_eq!(exit["recording"]["file"], recorded["recording"]["file"]);
    assert_eq!(exit["recording"]["trouble"], Value::Null);
}
