//! Reports describe descriptors: as the kernel does, as the descriptor was when the finding was
//! made, and also if no descriptor number is free.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{c_program, c_program_with, report, root, run, scratch, under_shim};

/// What the program printed about a descriptor: number, target in /proc, addresses.
struct Truth {
    fd: i64,
    target: String,
    addresses: Vec<String>,
}

struct Done {
    truth: BTreeMap<String, Truth>,
    folder: PathBuf,
    report: PathBuf,
    text: String,
}

/// Runs the program with a census and a recording, in a folder of its own.
fn done(arguments: &[&str], stacks: &str, format: &str) -> Done {
    let folder = scratch("descriptions");
    let report = folder.join("report");
    let program = c_program_with("descriptions", &["-fomit-frame-pointer"]);
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&folder);
    under_shim(&mut command, &report)
        .env("EPOLLSHIM_REPORT_FORMAT", format)
        .env("EPOLLSHIM_CENSUS", "1")
        .env("EPOLLSHIM_STACKS", stacks)
        .env("EPOLLSHIM_RECORD", folder.join("rec"));
    let run = run(&mut command);
    assert!(run.status.success() || arguments.contains(&"kill"), "{}\n{}{}", run.status, run.stdout, run.stderr);
    let truth = run.stdout.lines().map(|line| {
        let (name, rest) = line.split_once(' ').unwrap();
        let (fd, rest) = rest.split_once(' ').unwrap();
        let (target, addresses) = match rest.strip_prefix("socket:") {
            Some(rest) => rest.split_once(' ').map_or((rest, ""), |(target, addresses)| (target, addresses)),
            None => (rest, ""),
        };
        let addresses = addresses.split_whitespace().map(str::to_owned).collect();
        (name.to_owned(), Truth { fd: fd.parse().unwrap(), target: target.to_owned(), addresses })
    });
    let text = std::fs::read_to_string(&report).unwrap_or_default();
    Done { truth: truth.collect(), folder, report, text }
}

/// The output of `epollshim report` for a recording.
fn recorded(folder: &Path, format: &str) -> String {
    let command = testkit::binary();
    let output = Command::new(command).args(["report", "--format", format]).arg(folder.join("rec")).output().unwrap();
    assert!(output.status.success(), "{}", testkit::show(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn recorded_json(folder: &Path) -> Value {
    let report: Value = serde_json::from_str(&recorded(folder, "json")).unwrap();
    report["processes"][0].clone()
}

/// The descriptors of a census, by their numbers.
fn by_number(report: &Value) -> BTreeMap<i64, Value> {
    let sites = report["census"]["sites"].as_array().unwrap();
    let all = sites.iter().flat_map(|site| site["descriptors"].as_array().unwrap());
    all.map(|one| (one["fd"].as_i64().unwrap(), one.clone())).collect()
}

fn finding(report: &Value, id: &str) -> Value {
    let all = report["findings"].as_array().unwrap();
    all.iter().find(|finding| finding["id"] == id).unwrap_or_else(|| panic!("no {id}: {all:#?}")).clone()
}

fn is_as_the_kernel_has_it(done: &Done, report: &Value) {
    let all = by_number(report);
    let folder = done.folder.canonicalize().unwrap();
    for (name, truth) in &done.truth {
        let of = &all[&truth.fd];
        let is = |key: &str, value: Value| assert_eq!(of[key], value, "{name}: {key} of {of}");
        let path = |file: &str| json!(folder.join(file).to_str().unwrap());
        for (key, place) in [("local", 0), ("peer", 1)] {
            if let Some(address) = truth.addresses.get(place) {
                is(key, json!(address));
            }
        }
        match name.as_str() {
            "v4-listener" | "v6-listener" => is("state", json!("LISTEN")),
            "v4-client" | "v4-server" | "v6-client" | "v6-server" => is("state", json!("ESTABLISHED")),
            "v4-half" => {
                is("state", json!("CLOSE_WAIT"));
                is("family", json!("inet"));
                is("protocol", json!("tcp"));
            }
            "udp" => is("protocol", json!("udp")),
            "unix-listener" => {
                is("local", json!("stream.sock"));
                is("type", json!("stream"));
                is("state", json!("LISTEN"));
            }
            "unix-dgram" => is("type", json!("dgram")),
            "unix-abstract" => assert!(of["local"].as_str().unwrap().starts_with("@epollshim-test-"), "{of}"),
            "unix-pair" => {
                is("peer", json!("unnamed"));
                is("type", json!("seqpacket"));
                assert_eq!(format!("[{}]", of["inode"]), truth.target, "{of}");
            }
            "file" => {
                is("path", path("kept file.txt"));
                is("deleted", Value::Null);
            }
            "odd-file" => {
                is("path", path("odd (deleted)"));
                is("deleted", Value::Null);
            }
            "deleted" => {
                is("path", path("gone.txt"));
                is("deleted", json!(true));
            }
            "directory" => is("kind", json!("directory")),
            "memfd" => {
                is("kind", json!("memfd"));
                is("path", json!("/memfd:a memfd"));
            }
            "null" | "pty" => {
                is("kind", json!("device"));
                is("path", json!(truth.target));
            }
            kind => {
                is("kind", json!(kind));
                is("name", json!(truth.target));
            }
        }
        if name.starts_with('v') || name.starts_with('u') {
            is("kind", json!("socket"));
        }
    }
    assert_eq!(done.truth.len(), 23);
    // Eight of the twelve equal descriptors are described, and all are counted.
    let eventfds = all.values().filter(|one| one["kind"] == "eventfd").count();
    assert_eq!(eventfds, 8, "{all:#?}");
}

#[test]
fn each_descriptor_is_described_as_by_the_kernel_also_if_no_number_is_free() {
    for how in [&["open"][..], &["open", "full"]] {
        let done = done(how, "0", "json");
        is_as_the_kernel_has_it(&done, &report(&done.report));
        is_as_the_kernel_has_it(&done, &recorded_json(&done.folder));
    }
}

#[test]
fn text_names_paths_and_addresses_and_groups_equal_descriptors() {
    let done = done(&["open"], "0", "text");
    for text in [done.text.clone(), recorded(&done.folder, "text")] {
        let has = |part: &str| assert!(text.contains(part), "{part}\n{text}");
        let half = &done.truth["v4-half"].addresses;
        has(&format!("tcp {} -> {} CLOSE_WAIT", half[0], half[1]));
        has("/gone.txt (deleted)");
        has("unix stream inode ");
        has("stream.sock LISTEN");
        let first = done.truth["eventfd"].fd;
        let numbers: Vec<String> = (first..first + 8).map(|fd| fd.to_string()).collect();
        has(&format!("fd {}: anon_inode:[eventfd]", numbers.join(" ")));
        has("and 4 more");
        has("created at ");
        assert!(!text.contains("the other place"), "{text}");
        assert!(!text.contains('\x1b'), "no colours where no terminal is: {text}");
    }
    let html = recorded(&done.folder, "html");
    assert!(html.contains("/gone.txt (deleted)"));
}

/// Asserts that this is the connection of the ghost, which is closed when the report is written.
fn is_the_watched_connection(done: &Done, descriptor: &Value) {
    let truth = &done.truth["watched"];
    assert_eq!(descriptor["fd"], truth.fd, "{descriptor}");
    assert_eq!((&descriptor["local"], &descriptor["peer"]), (&json!(truth.addresses[0]), &json!(truth.addresses[1])));
    assert_eq!(descriptor["state"], "ESTABLISHED");
}

#[test]
fn a_descriptor_closed_before_the_report_is_described_as_it_was_at_the_finding() {
    for (id, mode) in [("ghost", "ghost"), ("stale-data", "stale")] {
        let done = done(&[mode, "kill"], "8", "json");
        let found = finding(&recorded_json(&done.folder), id);
        is_the_watched_connection(&done, &found["descriptor"]);
        let text = recorded(&done.folder, "text");
        assert!(text.contains(", still watched: tcp 127.0.0.1:"), "{text}");
    }
    let done = done(&["ghost"], "8", "json");
    let found = finding(&report(&done.report), "ghost");
    is_the_watched_connection(&done, &found["descriptor"]);
    assert_eq!((&found["site_role"], &found["other_role"]), (&json!("closed"), &json!("registered")));
    assert_eq!(found["descriptor_now"], Value::Null, "{found}");
    // The finding has the call stack of the close and that of the ADD.
    for stack in ["stack", "other_stack"] {
        assert!(found[stack].as_array().unwrap().len() >= 3, "{found:#}");
    }
}

#[test]
fn a_double_close_describes_the_descriptor_and_names_three_places() {
    let done = done(&["double"], "8", "json");
    for report in [report(&done.report), recorded_json(&done.folder)] {
        let found = finding(&report, "double-close");
        assert_eq!((&found["descriptor"]["kind"], &found["descriptor"]["closed"]), (&json!("socket"), &json!(true)));
        assert_eq!((&found["site_role"], &found["other_role"]), (&json!("closed again"), &json!("first closed")));
        for stack in ["stack", "other_stack"] {
            assert!(found[stack].as_array().unwrap().len() >= 3, "{found:#}");
        }
    }
    let source = std::fs::read_to_string(root().join("c-tests/descriptions.c")).unwrap();
    let line = |mark: &str| source.lines().position(|line| line.contains(&format!("/* {mark} */"))).unwrap() + 1;
    let text = recorded(&done.folder, "text");
    for (role, mark) in [("closed again", "AGAIN"), ("first closed", "FIRST"), ("created", "MADE")] {
        let place = format!("{role} at close_twice (c-tests/descriptions.c:{})", line(mark));
        assert!(text.contains(&place), "{place}\n{text}");
    }
}

#[test]
fn a_forked_child_reports_what_it_inherited_and_created_without_a_finding() {
    let folder = scratch("descriptions-fork");
    let run = run(Command::new(c_program("descriptions_fork"))
        .env("LD_PRELOAD", testkit::shim())
        .env("EPOLLSHIM_CENSUS", "1")
        .env("EPOLLSHIM_REPORT_FORMAT", "json")
        .env("EPOLLSHIM_REPORT", folder.join("%p")));
    assert!(run.status.success(), "{}", run.stderr);
    let child = report(&folder.join(run.stdout.trim()));
    let sites = child["census"]["sites"].as_array().unwrap();
    let pipes = sites.iter().find(|site| site["kind"] == "pipe" && site["site"] != Value::Null).unwrap();
    let of = |key: &str| pipes[key].as_u64().unwrap();
    assert_eq!((of("live"), of("born"), of("inherited")), (4, 2, 2), "{pipes}");
}

#[test]
fn a_leak_lists_what_it_counts_and_not_the_watched_descriptors_of_the_same_call() {
    let folder = scratch("watched-and-leaked");
    let mut command = Command::new(c_program("watched_and_leaked"));
    under_shim(&mut command, &folder.join("report"))
        .env("EPOLLSHIM_CENSUS", "1")
        .env("EPOLLSHIM_RECORD", folder.join("rec"));
    let run = run(&mut command);
    assert!(run.status.success(), "{}", run.stderr);
    let unwatched: Vec<i64> = run.stdout.split_whitespace().map(|fd| fd.parse().unwrap()).collect();
    let found = finding(&recorded_json(&folder), "fd-leak");
    let listed: Vec<i64> =
        found["descriptors"].as_array().unwrap().iter().map(|one| one["fd"].as_i64().unwrap()).collect();
    assert_eq!(listed, unwatched[..8], "{found:#}");
    let text = recorded(&folder, "text");
    for part in ["12 of 24 ends of pipes made here are open at the end", "and 4 more"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}
