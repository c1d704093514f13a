//! The rules of Chrome's trace-event format (JSON object form), from its document "Trace Event
//! Format", for the phases that a report uses: X (complete), M (metadata), C (counter).

use super::{count, processes};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The reserved colour names of the format, one of which a slice may have.
const COLOURS: [&str; 6] = ["good", "bad", "terrible", "black", "grey", "white"];

#[track_caller]
pub fn keeps_the_rules(text: &str, reported: &Value) {
    let trace: Value = serde_json::from_str(text).unwrap();
    assert!(matches!(trace["displayTimeUnit"].as_str(), Some("ms" | "ns")));
    let mut named: BTreeSet<(u64, u64)> = BTreeSet::new();
    let mut slices: BTreeMap<(u64, u64), Vec<(f64, f64)>> = BTreeMap::new();
    let mut counters: BTreeMap<(u64, String), f64> = BTreeMap::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        let track = (count(&event["pid"]), count(&event["tid"]));
        let name = event["name"].as_str().unwrap_or_else(|| panic!("{event}"));
        let arguments = event["args"].as_object().unwrap_or_else(|| panic!("{event}"));
        let time =
            |key: &str| event[key].as_f64().filter(|time| *time >= 0.0).unwrap_or_else(|| panic!("{key}: {event}"));
        match event["ph"].as_str() {
            Some("M") => {
                assert!(matches!(name, "process_name" | "thread_name") && arguments["name"].is_string(), "{event}");
                if name == "thread_name" {
                    assert!(named.insert(track), "named twice: {event}");
                }
            }
            Some("X") => {
                assert!(event["cat"].is_string(), "{event}");
                assert!(event["cname"].as_str().is_none_or(|colour| COLOURS.contains(&colour)), "{event}");
                slices.entry(track).or_default().push((time("ts"), time("ts") + time("dur")));
            }
            Some("C") => {
                assert!(!arguments.is_empty() && arguments.values().all(Value::is_number), "{event}");
                let before = counters.insert((track.0, name.to_owned()), time("ts"));
                assert!(before.is_none_or(|before| before <= time("ts")), "back in time: {event}");
            }
            other => panic!("phase {other:?}: {event}"),
        }
    }
    for (track, slices) in &mut slices {
        assert!(named.contains(track), "a track without a name: {track:?}");
        // Slices of a track follow one another, or contain one another (a signal handler's call).
        slices.sort_by(|one, other| one.0.total_cmp(&other.0).then(other.1.total_cmp(&one.1)));
        let mut open: Vec<f64> = Vec::new();
        for (begin, end) in slices.iter() {
            // One nanosecond, in microseconds: the rounding of a double.
            open.retain(|until| *until > begin + 0.001);
            assert!(open.iter().all(|until| *end <= until + 0.001), "{track:?}: slices cross at {begin}");
            open.push(*end);
        }
    }
    let drawn: usize = slices.values().map(Vec::len).sum();
    assert_eq!(drawn as u64, count(&reported["merged"]["records"]["seen"]), "a slice a record");
    let pids: BTreeSet<u64> = processes(reported).iter().map(|process| count(&process["process"]["pid"])).collect();
    assert_eq!(named.iter().map(|(pid, _)| *pid).collect::<BTreeSet<u64>>(), pids);
}
