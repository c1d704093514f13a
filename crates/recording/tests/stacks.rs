//! Recordings with call stacks and a census.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;

use epollshim_format::census::Kind;
use epollshim_format::findings::Finding;
use epollshim_format::recording::census::number;
use epollshim_format::recording::{end, kind};
use epollshim_recording::{Format, Set, load, read, render};
use serde_json::{Value, json};

fn rendered(bytes: &[u8], format: Format) -> String {
    let mut set = Set::default();
    set.processes.push(read(bytes).unwrap());
    let mut out = Vec::new();
    render(&set, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_site_in_the_arena_is_shown_as_its_stack() {
    let bytes = common::with_stacks().bytes;
    let report: Value = serde_json::from_str(&rendered(&bytes, Format::Json)).unwrap();
    let process = &report["processes"][0];
    let instance = &process["instances"]["list"][0];
    assert_eq!(instance["site"], "deep+0x1010", "{process:#}");
    assert_eq!(instance["stack"], json!(["deep+0x1010", "deep+0x2020"]));
    let text = rendered(&bytes, Format::Text);
    assert!(text.contains("      created at deep+0x1010\n      by deep+0x2020\n"), "{text}");
    assert_eq!(process["recording"]["notes"], json!([]));
}

#[test]
fn the_census_is_shown_by_kind_and_by_place() {
    let bytes = common::with_stacks().bytes;
    let report: Value = serde_json::from_str(&rendered(&bytes, Format::Json)).unwrap();
    let census = &report["processes"][0]["census"];
    assert_eq!(census["live"], 8);
    assert_eq!(census["kinds"], json!({"file": 3, "socket": 5}));
    assert_eq!(census["sites"][0]["site"], "deep+0x3030");
    assert_eq!(census["sites"][0]["born"], 7);
    let text = rendered(&bytes, Format::Text);
    assert!(text.contains("Descriptors: 8 open, 9 at the peak; 3 inherited, 7 created, 2 closed\n"), "{text}");
    let rows = |first: &str| -> Vec<String> {
        let row = text.lines().find(|line| line.trim_start().starts_with(first)).unwrap_or_default();
        row.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(rows("files"), ["3", "3", "0", "0"], "open = inherited + created - closed: {text}");
    assert_eq!(rows("sockets"), ["5", "0", "7", "2"], "{text}");
    assert!(text.contains("    5 of 7 sockets\n      created at deep+0x3030\n"), "{text}");
    let page = rendered(&bytes, Format::Html);
    assert!(page.contains("<h2>Descriptors</h2>"), "{page}");
    assert!(page.contains("<td>socket</td><td class=\"n\" data-v=\"5\">5</td>"), "{page}");
    let numbers = ["3", "3", "3", "0", "0"].map(|number| format!("<td class=\"n\" data-v=\"{number}\">{number}</td>"));
    assert!(page.contains(&format!("<td>file</td>{}", numbers.concat())), "{page}");
    assert!(page.contains("<td><code>deep+0x3030</code></td>"), "{page}");
}

#[test]
fn the_reader_evaluates_a_process_that_never_exited() {
    let path = testkit::scratch("files").join(format!("epollshim.judged.{}.rec", std::process::id()));
    for (is_killed, expected) in [(true, vec!["fd-leak info 1", "leak info 1"]), (false, Vec::new())] {
        let mut made = common::with_stacks();
        // Descriptor 5 is open, and was created by the call of the census's second row.
        let at = made.segment(kind::NUMBERS, number::NEAR as usize * 8, 0);
        made.word(at + 5 * 8, 2 | number::ALIVE | (Kind::Socket as u64) << number::KIND);
        if is_killed {
            made.ended(0, end::NOT_YET);
        }
        fs::write(&path, &made.bytes).unwrap();
        let set = load(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let line = |one: &Finding| format!("{} {} {}", one.id.name(), one.severity.name(), one.count);
        let mut found: Vec<String> = set.processes[0].findings.iter().map(line).collect();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[test]
fn each_number_is_in_one_segment() {
    let bounds = (0..number::SEGMENTS).map(number::range);
    let ends = bounds.clone().map(|(first, count)| first + count);
    assert!(bounds.clone().skip(1).zip(ends).all(|((first, _), end)| first == end));
    for (segment, (first, count)) in bounds.enumerate() {
        assert_eq!([first, first + count - 1].map(number::segment), [segment, segment]);
    }
    assert_eq!(number::range(number::SEGMENTS - 1).0 * 2, number::END);
}
