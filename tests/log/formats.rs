//! Times, and lines in JSON.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Logged, PATIENCE, known_counts, line, lines, read, tally, walk};
use testkit::{scratch, show};

#[test]
fn a_line_begins_with_the_time_on_request() {
    let dir = scratch("times");
    let times_of = |time: &str| -> Vec<String> {
        let log = dir.join(time);
        let (output, _) = Logged::new(walk(), &[], &log).with("EPOLLSHIM_LOG_TIME", time).run();
        assert!(output.status.success(), "{}", show(&output));
        let time_of = |text: &str| text.split_once("[pid ").unwrap().0.to_owned();
        read(&log)
            .lines()
            .inspect(|text| assert!(line(&text[text.find("[pid ").unwrap()..]).is_some()))
            .map(time_of)
            .collect()
    };
    assert!(times_of("none").iter().all(String::is_empty));
    let date = |seconds: u64| {
        let output = Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%FT%T"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = date(now());
    let wall = times_of("wall");
    let after = date(now() + 1);
    assert!(wall.is_sorted() && wall.iter().all(|time| time.len() == "2026-11-29T19:30:00.123456Z ".len()), "{wall:?}");
    assert!(before <= wall[0] && wall[wall.len() - 1] <= after, "{before} {after} {wall:?}");
    let relative: Vec<f64> = times_of("relative").iter().map(|time| time.trim().parse().unwrap()).collect();
    assert!(
        relative.is_sorted() && relative.iter().all(|time| (0.0..PATIENCE.as_secs_f64()).contains(time)),
        "{relative:?}"
    );
    assert!(relative[0] < relative[relative.len() - 1], "{relative:?}");
}

/// Parses all lines of a log in JSON, each of which must have every key of the schema.
#[track_caller]
fn json_lines(log: &str) -> Vec<Value> {
    log.lines()
        .map(|text| {
            let line: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(line["schema"], "epollshim.log/1", "{line}");
            for key in ["mono_ns", "wall_ns", "pid", "tid", "duration_ns"] {
                assert!(line[key].is_u64(), "{key}: {line}");
            }
            assert!(line["call"].is_string() && line["args"].is_object() && line["result"].is_i64(), "{line}");
            assert!(line["injected"].is_boolean() && line["limited"].is_boolean(), "{line}");
            assert_eq!(line["errno"].is_string(), line["result"] == -1, "{line}");
            assert!(line["errno"].is_string() || line["errno"].is_null(), "{line}");
            line
        })
        .collect()
}

#[test]
fn json_lines_contain_what_text_lines_contain() {
    let dir = scratch("json");
    let [text, json] = ["text", "json"].map(|format| {
        let log = dir.join(format);
        let (output, _) = Logged::new(walk(), &[], &log).with("EPOLLSHIM_LOG_FORMAT", format).run();
        assert!(output.status.success(), "{}", show(&output));
        read(&log)
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let (text, json) = (lines(&text), json_lines(&json));
    assert_eq!(text.len(), json.len());
    let mut last = 0;
    for (text, json) in text.iter().zip(&json) {
        let said = &text.said;
        assert_eq!(json["call"], text.call.as_str());
        let result = format!(") = {}", json["result"]);
        match json["errno"].as_str() {
            None => assert!(said.ends_with(&result), "{said}: {json}"),
            Some(errno) => assert!(said.contains(&format!("{result} {errno} (")), "{said}: {json}"),
        }
        let [mono, wall, duration] = ["mono_ns", "wall_ns", "duration_ns"].map(|key| json[key].as_u64().unwrap());
        assert!(mono > last, "{json}");
        last = mono;
        assert!(now.abs_diff(wall) < 60_000_000_000 && duration < 60_000_000_000, "{json}");
        let events = json["args"]["events"].as_array().map_or(0, Vec::len);
        if text.call.contains("wait") {
            assert_eq!(events, said.matches("{events=").count(), "{said}: {json}");
            let more = json["args"]["more"].as_u64().unwrap();
            assert_eq!(events as i64 + more as i64, json["result"].as_i64().unwrap().max(0), "{json}");
        }
    }
}

#[test]
fn json_times_rise_in_each_thread() {
    let log = scratch("threads").join("log");
    let (output, reports) = Logged::new(known_counts(), &["16", "20"], &log).with("EPOLLSHIM_LOG_FORMAT", "json").run();
    assert!(output.status.success(), "{}", show(&output));
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    let json = json_lines(&read(&log));
    for line in &json {
        let (tid, mono) = (line["tid"].as_u64().unwrap(), line["mono_ns"].as_u64().unwrap());
        assert!(mono >= last.insert(tid, mono).unwrap_or(0), "{line}");
    }
    assert!(last.len() >= 16, "{last:?}");
    assert_eq!(tally(&reports[0]), (json.len() as u64, 0, json.len() as u64));
}
