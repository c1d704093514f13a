//! Which process owns the ledger's memory. Children may share their parent's memory, also from
//! other pid namespaces, and a filter may keep a process from asking the kernel for its ids. The
//! parent's ledger and report must remain the parent's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;
use testkit::modes::{MODES, Mode};
use testkit::{Run, c_program, reports, run, scratch, shim};

static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| c_program("hosts/shared_memory"));
static LAUNCHER: LazyLock<PathBuf> = LazyLock::new(|| c_program("hosts/refused_from_start"));

/// What c-tests/hosts/shared_memory.c prints if this user has not the right to do what it asks.
const SKIPPED: i32 = 77;

/// The reports of one run under the library, which must end and print like the same run without it.
/// None: skipped.
fn reports_of(mode: Mode, arguments: &[&str]) -> Option<Vec<Value>> {
    let bare = run(Command::new(&*PROGRAM).args(arguments));
    if bare.status.code() == Some(SKIPPED) {
        println!("skipped {arguments:?}: {}", bare.stdout.trim());
        return None;
    }
    assert!(bare.status.success(), "{arguments:?} without the library: {}\n{}", bare.status, bare.stdout);
    let directory = scratch("owner");
    let shimmed = run(mode.preload(Command::new(&*PROGRAM).args(arguments), &directory));
    same(&bare, &shimmed, &format!("{mode:?} {arguments:?}"));
    assert_eq!(shimmed.stderr, bare.stderr, "{mode:?} {arguments:?}");
    Some(written(&directory))
}

fn same(bare: &Run, shimmed: &Run, what: &str) {
    assert_eq!(shimmed.status, bare.status, "{what}:\n{}{}", shimmed.stdout, shimmed.stderr);
    assert_eq!(shimmed.stdout, bare.stdout, "{what}:\n{}", shimmed.stderr);
}

fn written(directory: &Path) -> Vec<Value> {
    let path = directory.join("report.json");
    if path.exists() { reports(&path) } else { Vec::new() }
}

fn calls(report: &Value, name: &str) -> u64 {
    report["calls"][name]["calls"].as_u64().unwrap_or(0)
}

fn has_finding(report: &Value, id: &str) -> bool {
    report["findings"].as_array().unwrap().iter().any(|finding| finding["id"] == id)
}

/// The report of the parent, the only process that has added interests: it contains everything that
/// the parent did, and nothing else.
fn parents_report<'a>(reports: &'a [Value], how: &str, what: &str) -> &'a Value {
    let of_parent: Vec<&Value> = reports.iter().filter(|report| calls(report, "epoll_ctl") != 0).collect();
    let [report] = of_parent[..] else { panic!("{what}: {} reports of the parent", of_parent.len()) };
    let expected = [("epoll_create1", 1), ("epoll_ctl", 10), ("epoll_wait", 14)];
    for (name, count) in expected {
        assert_eq!(calls(report, name), count, "{what}: {name}");
        assert_eq!(report["calls"][name]["errors"], serde_json::json!({}), "{what}: {name}");
    }
    assert_eq!(report["process"]["end"], "exit", "{what}");
    assert_eq!(report["instances"]["created"], 1, "{what}");
    assert_eq!(report["instances"]["live"], 1, "{what}");
    // A child that shares the table closes the parent's descriptors.
    let closed = if how.contains("files") { 10 } else { 0 };
    assert_eq!(report["watches"]["live"], 10 - closed, "{what}");
    assert_eq!(report["watches"]["vanished"], closed, "{what}");
    if report["census"].is_object() && !how.contains("instruction") {
        // Recorded when it happened, and not only found when the report was made.
        assert_eq!(report["census"]["healed"], 0, "{what}: {}", report["census"]);
        assert!(!has_finding(report, "double-close"), "{what}: {}", report["findings"]);
    }
    report
}

/// Tries one way to create the child, in both modes.
fn leaves_the_parent_whole(how: &str, end: &str, place: &str) {
    for mode in MODES {
        let what = format!("{mode:?} {how} {end} {place}");
        if let Some(reports) = reports_of(mode, &[how, end, place]) {
            let parent = parents_report(&reports, how, &what);
            if place == "init" {
                assert_eq!(parent["process"]["pid"], 1, "{what}");
            }
        }
    }
}

fn each_leaves_the_parent_whole(hows: &[&str], ends: &[&str], places: &[&str]) {
    for how in hows {
        for end in ends {
            places.iter().for_each(|place| leaves_the_parent_whole(how, end, place));
        }
    }
}

const EVERYWHERE: [&str; 2] = ["plain", "init"];

#[test]
fn a_child_that_shares_memory_in_another_pid_namespace_leaves_the_parent_its_report() {
    each_leaves_the_parent_whole(
        &["clone-pid", "clone-user-pid", "new-vfork", "entered-vfork", "new-clone", "new-spawn", "new-vfork-twice"],
        &["exit"],
        &EVERYWHERE,
    );
    each_leaves_the_parent_whole(&["new-vfork", "clone-pid"], &["exec", "group"], &EVERYWHERE);
}

#[test]
fn a_child_that_shares_memory_and_table_ends_without_its_parents_report() {
    each_leaves_the_parent_whole(&["clone-files", "beside-files"], &["exit", "exec", "group", "kill"], &["plain"]);
    each_leaves_the_parent_whole(&["clone-files", "clone-files-pid", "beside-files-pid"], &["exit"], &EVERYWHERE);
}

#[test]
fn a_child_that_shares_memory_may_end_in_any_way() {
    each_leaves_the_parent_whole(&["vfork", "clone", "beside"], &["exit", "exec", "group", "kill"], &["plain"]);
    each_leaves_the_parent_whole(&["vfork", "vfork-twice", "clone", "beside", "spawn"], &["exit"], &["init"]);
    each_leaves_the_parent_whole(&["vfork-twice", "spawn", "raw-fork-vfork"], &["exit"], &["plain"]);
}

#[test]
fn a_child_by_raw_clone_or_clone3_or_with_storage_of_its_own_leaves_the_parent_whole() {
    each_leaves_the_parent_whole(
        &["raw-clone", "raw-clone-pid", "raw-clone3", "raw-clone3-pid", "storage", "storage-pid", "new-raw-clone3"],
        &["exit"],
        &EVERYWHERE,
    );
    each_leaves_the_parent_whole(&["storage-beside-pid", "beside-pid", "new-beside"], &["exit"], &EVERYWHERE);
}

#[test]
fn a_child_that_no_hook_saw_made_leaves_the_parent_whole() {
    each_leaves_the_parent_whole(&["instruction", "instruction-pid", "new-instruction"], &["exit"], &["plain"]);
}

/// A forked child has memory and a report of its own. Parent and child may both be pid 1, each in a
/// namespace of its own.
#[test]
fn a_forked_child_and_its_parent_that_are_both_pid_1_have_a_report_each() {
    for (how, place) in
        [("fork", "plain"), ("raw-fork", "plain"), ("new-fork", "plain"), ("fork", "init"), ("new-fork", "init")]
    {
        for mode in MODES {
            let what = format!("{mode:?} {how} {place}");
            let Some(reports) = reports_of(mode, &[how, "exit", place]) else { continue };
            let parent = parents_report(&reports, how, &what);
            assert!(has_finding(parent, "fork-shared"), "{what}: {}", parent["findings"]);
            childs_report(&reports, &what);
        }
    }
}

fn childs_report<'a>(reports: &'a [Value], what: &str) -> &'a Value {
    let of_child = |report: &&Value| calls(report, "epoll_create1") == 1 && calls(report, "epoll_ctl") == 0;
    let of_child: Vec<&Value> = reports.iter().filter(of_child).collect();
    let [report] = of_child[..] else { panic!("{what}: {} reports of the child", of_child.len()) };
    assert_eq!(calls(report, "epoll_wait"), 3, "{what}");
    assert_eq!(report["process"]["end"], "_exit", "{what}");
    report
}

#[test]
fn a_filter_that_refuses_getpid_or_lies_hangs_nothing_and_loses_nothing() {
    let rules = [
        "getpid=1",
        "getpid=0",
        "getpid=1,gettid=1",
        "getpid=0,gettid=0",
        "getpid=1,robust_list=38",
        "getpid=1,kcmp=1",
    ];
    for rules in rules {
        for how in ["fork", "raw-fork", "vfork", "clone-files", "spawn", "beside", "raw-fork-vfork"] {
            for mode in MODES {
                let what = format!("{mode:?} {how} under {rules}");
                let Some(reports) = reports_of(mode, &[how, "exit", "plain", rules]) else { continue };
                parents_report(&reports, how, &what);
                if matches!(how, "fork" | "raw-fork") {
                    childs_report(&reports, &what);
                }
            }
        }
    }
}

#[test]
fn a_filter_that_refuses_other_calls_about_the_process_changes_nothing() {
    for rules in ["kcmp=1", "kcmp=1,tgkill=1", "gettid=1", "robust_list=38", "kcmp=1,tgkill=1,gettid=1,robust_list=1"] {
        for how in ["fork", "vfork", "new-vfork", "clone-files", "instruction-pid", "spawn"] {
            let what = format!("{how} under {rules}");
            let Some(reports) = reports_of(Mode::Default, &[how, "exit", "plain", rules]) else { continue };
            parents_report(&reports, how, &what);
        }
    }
}

/// Runs `program` under the library, which is loaded under a filter. None: this user may not do
/// that.
fn under_filter(rules: &str, mode: Option<Mode>, program: &[&str]) -> (Run, Vec<Value>) {
    let directory = scratch("filter");
    let mut preloaded = Command::new("env");
    if let Some(mode) = mode {
        mode.preload(&mut preloaded, &directory);
    }
    // For the program only: neither the launcher nor env runs under the library.
    let mut command = Command::new(&*LAUNCHER);
    command.arg(rules).arg("env");
    for (name, value) in preloaded.get_envs() {
        let mut word = name.to_owned();
        word.push("=");
        word.push(value.unwrap());
        command.arg(word);
    }
    (run(command.args(program)), written(&directory))
}

#[test]
fn a_process_that_never_learns_its_pid_still_reports() {
    for (rules, has_pid) in [("getpid=1", true), ("getpid=0", true), ("getpid=1,gettid=1", false)] {
        for mode in MODES {
            let what = format!("{mode:?} under {rules}");
            let program = [PROGRAM.to_str().unwrap(), "fork", "exit"];
            let (bare, _) = under_filter(rules, None, &program);
            let (shimmed, reports) = under_filter(rules, Some(mode), &program);
            same(&bare, &shimmed, &what);
            let (parent, child) = (parents_report(&reports, "fork", &what), childs_report(&reports, &what));
            let pid = |report: &Value| report["process"]["pid"].as_u64().unwrap();
            assert_eq!(pid(parent) != 0 && pid(child) != 0 && pid(parent) != pid(child), has_pid, "{what}");
        }
    }
}

#[test]
fn if_no_memory_can_be_wiped_at_fork_one_line_says_why_and_the_program_runs_unchanged() {
    for (error, name) in [("22", "EINVAL"), ("1", "EPERM")] {
        for mode in MODES {
            for how in ["fork", "vfork"] {
                let rules = format!("wipe={error}");
                let program = [PROGRAM.to_str().unwrap(), how, "exit"];
                let (bare, _) = under_filter(&rules, None, &program);
                let (shimmed, reports) = under_filter(&rules, Some(mode), &program);
                let what = format!("{mode:?} {how}: {}", shimmed.stderr);
                same(&bare, &shimmed, &what);
                let line = shimmed.stderr.trim_end();
                assert!(!line.contains('\n') && line.contains("inactive") && line.contains(name), "{what}");
                assert!(line.contains("MADV_WIPEONFORK") && line.contains("4.14"), "{what}");
                assert!(reports.is_empty(), "{what}");
            }
        }
    }
    // As with reports, nothing is printed by default for a program that has nothing to report.
    let (idle, _) = under_filter("wipe=22", Some(Mode::Default), &["true"]);
    assert_eq!((idle.status.code(), idle.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_later_filter_that_keeps_threads_uncounted_is_reported_in_one_line() {
    for mode in MODES {
        let bare = run(Command::new(&*PROGRAM).args(["vfork", "exit", "plain", "wipe=1"]));
        let directory = scratch("late");
        let arguments = ["vfork", "exit", "plain", "wipe=1"];
        let shimmed = run(mode.preload(Command::new(&*PROGRAM).args(arguments), &directory));
        same(&bare, &shimmed, &format!("{mode:?}"));
        let line = shimmed.stderr.trim_end();
        assert!(!line.contains('\n') && line.contains("not counted") && line.contains("EPERM"), "{mode:?}: {line}");
    }
}

/// A record that is never written must not be retried forever.
#[test]
fn a_report_for_a_stderr_that_is_full_and_cannot_be_polled_ends() {
    let program = [PROGRAM.to_str().unwrap(), "vfork", "exit"];
    let launcher = LAUNCHER.to_str().unwrap();
    let preload = format!("LD_PRELOAD={}", shim().display());
    let shimmed =
        run(Command::new(c_program("hosts/full_stderr")).args([launcher, "poll=1", "env", &preload]).args(program));
    assert!(shimmed.status.success(), "{}\n{}", shimmed.status, shimmed.stdout);
}
