//! Call stacks of what makes instances and descriptors (`EPOLLSHIM_STACKS=N`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use testkit::{c_program_with, report, root, run, scratch, shim, under_shim};

/// The functions' lines, the innermost first, of sites in the program itself.
fn lines(binary: &Path, stack: &Value) -> Vec<usize> {
    let name = format!("{}+0x", binary.file_name().unwrap().to_str().unwrap());
    let mut found = Vec::new();
    for site in stack.as_array().unwrap() {
        let Some(offset) = site.as_str().unwrap().strip_prefix(&name) else { continue };
        let call = u64::from_str_radix(offset, 16).unwrap() - 1;
        let output = Command::new("addr2line").arg("-e").arg(binary).arg(format!("{call:#x}")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        found.push(text.trim().rsplit(':').next().unwrap().split(' ').next().unwrap().parse().unwrap_or(0));
    }
    found
}

fn marked(mark: &str) -> usize {
    marked_in("stacks", mark)
}

fn marked_in(program: &str, mark: &str) -> usize {
    let text = std::fs::read_to_string(root().join(format!("c-tests/{program}.c"))).unwrap();
    text.lines().position(|line| line.contains(&format!("/* {mark} */"))).unwrap() + 1
}

fn program() -> std::path::PathBuf {
    c_program_with("stacks", &["-fomit-frame-pointer"])
}

#[test]
fn an_instance_is_reported_with_its_callers_also_without_frame_pointers() {
    let binary = program();
    let path = scratch("stacks").join("report");
    let run = run(under_shim(Command::new(&binary).env("EPOLLSHIM_STACKS", "16").env("EPOLLSHIM_CENSUS", "1"), &path));
    assert!(run.status.success(), "{}\n{}", run.status, run.stderr);
    let report = report(&path);
    let expected = ["INNERMOST", "MIDDLE", "OUTERMOST", "MAIN"].map(marked);
    let instances = report["instances"]["list"].as_array().unwrap();
    assert_eq!(instances.len(), 3, "{instances:#?}");
    for instance in instances {
        assert_eq!(lines(&binary, &instance["stack"])[..4], expected, "{instance:#}");
        assert_eq!(instance["site"], instance["stack"][0]);
    }
    // One place of the census: all three have the same stack. The handler's is another.
    let sites = report["census"]["sites"].as_array().unwrap();
    let epolls: Vec<_> = sites.iter().filter(|site| site["kind"] == "epoll").collect();
    let mut born: Vec<_> = epolls.iter().map(|site| site["born"].as_u64().unwrap()).collect();
    born.sort_unstable();
    assert_eq!(born, [1, 3], "{epolls:#?}");
}

#[test]
fn a_stack_is_as_deep_as_asked_and_absent_where_none_is() {
    let binary = program();
    for (depth, frames) in [("2", 2), ("1", 1), ("0", 0)] {
        let path = scratch("stacks").join("report");
        let run = run(under_shim(Command::new(&binary).env("EPOLLSHIM_STACKS", depth), &path));
        assert!(run.status.success(), "{}", run.stderr);
        let report = report(&path);
        let instance = &report["instances"]["list"][0];
        assert_eq!(instance["stack"].as_array().unwrap().len(), frames, "{depth}: {instance:#}");
        assert!(instance["site"].as_str().unwrap().starts_with("stacks+0x"), "{instance:#}");
    }
}

#[test]
fn text_lists_the_callers_indented() {
    let run = run(Command::new(program()).env("LD_PRELOAD", shim()).env("EPOLLSHIM_STACKS", "8"));
    assert!(
        run.stderr.lines().filter(|line| line.starts_with("           by stacks+0x")).count() >= 9,
        "{}",
        run.stderr
    );
}

#[test]
fn a_recording_has_the_stacks_and_the_census() {
    let folder = scratch("recorded");
    let binary = program();
    let run = run(Command::new(&binary)
        .env("LD_PRELOAD", shim())
        .env("EPOLLSHIM_REPORT", "none")
        .env("EPOLLSHIM_RECORD", &folder)
        .env("EPOLLSHIM_CENSUS", "1")
        .env("EPOLLSHIM_STACKS", "8"));
    assert!(run.status.success(), "{}", run.stderr);
    let command = shim().with_file_name("epollshim");
    let output = Command::new(command).args(["report", "--format", "json"]).arg(&folder).output().expect("the command");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let process = &report["processes"][0];
    for instance in process["instances"]["list"].as_array().unwrap() {
        let stack: Vec<&str> =
            instance["stack"].as_array().unwrap().iter().map(|site| site.as_str().unwrap()).collect();
        let named = ["innermost", "middle", "outermost", "main"];
        assert!(stack.len() > 4 && stack.iter().zip(named).all(|(site, name)| site.starts_with(name)), "{instance:#}");
    }
    assert_eq!(process["census"]["kinds"]["epoll"], 3, "{:#}", process["census"]);
    let notes = process["recording"]["notes"].to_string();
    assert!(!notes.contains("kind 9") && !notes.contains("kind 10"), "{notes}");
}

/// A stack that was walked once is then read from a cache (src/stacks/recalled.rs).
#[test]
fn each_path_to_a_call_keeps_its_own_stack_however_often_it_is_taken() {
    let binary = c_program_with("stacks_paths", &["-fomit-frame-pointer"]);
    for depth in ["3", "8", "16", "64"] {
        let path = scratch("stacks_paths").join("report");
        let options = [("EPOLLSHIM_STACKS", depth), ("EPOLLSHIM_CENSUS", "1")];
        let run = run(under_shim(Command::new(&binary).envs(options), &path));
        assert!(run.status.success(), "{}", run.stderr);
        let mut born = std::collections::BTreeMap::new();
        for site in report(&path)["census"]["sites"].as_array().unwrap().iter().filter(|site| site["kind"] == "epoll") {
            let lines = lines(&binary, &site["stack"]);
            *born.entry(lines[..3].to_vec()).or_insert(0) += site["born"].as_u64().unwrap();
        }
        let path =
            |name: &str| ["LEAF", name, &format!("RUNS_{name}")].map(|mark| marked_in("stacks_paths", mark)).to_vec();
        let expected = ["LEFT", "GROWS", "RIGHT"].map(|name| (path(name), 500));
        assert_eq!(born, expected.into(), "depth {depth}");
    }
}
