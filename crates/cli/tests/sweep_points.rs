//! Tests which failures `epollshim sweep` tries, where, and in which phase (c-tests/sweep).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;

use common::sweep::{finds, has_one_find, program, program_with, repeat, stays, sweep, swept};
use common::{output, run, scratch, stderr, stdout};
use serde_json::Value;

fn trials(all: &Value) -> &Vec<Value> {
    all["trials"].as_array().unwrap()
}

fn text<'a>(trial: &'a Value, key: &str) -> &'a str {
    trial[key].as_str().unwrap_or_default()
}

/// The points that were tried: function, stack, occurrence.
fn points(all: &Value) -> BTreeSet<String> {
    let name = |trial: &Value| {
        format!("{} {} {}", text(trial, "function"), text(trial, "stack"), trial["occurrence"].as_u64().unwrap())
    };
    trials(all).iter().map(name).collect()
}

/// Calls in threads and forked children are the same points in every clean run, and each failure
/// happens where it is meant to: the program prints the function in which its call failed.
#[test]
fn every_clean_run_has_the_same_points_and_every_hit_is_at_its_stack() {
    let program = program_with("tree", &["-pthread"]);
    let command = [program.to_str().unwrap()];
    let mut known = None;
    let mut clean_runs = 0;
    while clean_runs < 10 {
        let (all, _) = swept(&["--all-errors", "--calls", "dup,epoll_create1,fork,pthread_create"], &command);
        clean_runs += all["clean_runs"].as_u64().unwrap();
        assert_eq!(all["unsteady_points"], 0, "{all}");
        let found = points(&all);
        // first_copy and second_copy in a thread and in a child, own_loop, fork, pthread_create:
        // each twice, however often it is called.
        assert_eq!(found.len(), 14, "{found:?}");
        assert_eq!(known.get_or_insert_with(|| found.clone()), &found);
        assert_eq!(all["not_reached"], 0, "{all}");
        for trial in trials(&all) {
            let function = trial["frames"][0].as_str().unwrap().split(' ').next().unwrap();
            let said = format!("message: {function}: ");
            let has_said = |line: &Value| line.as_str().unwrap().starts_with(&said);
            assert!(function == "main" || trial["evidence"].as_array().unwrap().iter().any(has_said), "{trial}");
        }
    }
}

#[test]
fn a_seed_draws_the_same_sample_again() {
    let program = program_with("tree", &["-pthread"]);
    let command = [program.to_str().unwrap()];
    let sample = |flags: &[&str]| {
        let (all, _) = swept(flags, &command);
        assert_eq!((all["points"].as_u64(), all["sample"]["shallow"].as_u64()), (Some(3), Some(3)), "{all}");
        (points(&all), all["sample"]["seed"].to_string())
    };
    let (first, seed) = sample(&["--shallow", "3"]);
    assert_eq!(sample(&["--shallow", "3", "--seed", &seed]), (first, seed));
    let text = stdout(&run(&["sweep", "--shallow", "2", "--seed", "7", "--", command[0]]));
    assert!(text.contains(" points: --shallow 2 --seed 7\n"), "{text}");
}

/// The server copies a descriptor at one place in all phases, three times before it is ready.
/// Checks of the sweep make no such calls.
#[test]
fn a_fault_of_one_phase_is_left_to_it() {
    let program = program("turns");
    let program = program.to_str().unwrap();
    let workload = format!("{program} 7000 ask");
    let flags = ["--calls", "dup", "--workload", &workload, "--ready-when", "line ^ready"];
    let command = [program, "7000", "serve"];
    let (all, status) = swept(&flags, &command);
    let phases: BTreeSet<(&str, u64)> =
        trials(&all).iter().map(|trial| (text(trial, "phase"), trial["occurrence"].as_u64().unwrap())).collect();
    assert_eq!(phases, [("serve", 1), ("start", 1), ("start", 2), ("stop", 1)].into(), "{all}");
    assert_eq!((finds(&all).len(), status, &all["not_reached"]), (1, 1, &0.into()), "{all}");
    let find = &all["finds"][0];
    assert_eq!((text(find, "verdict"), text(find, "phase"), &find["same"]), ("abort", "serve", &3.into()), "{find}");
    // The line of the find, unchanged.
    let again = output(&mut repeat(text(find, "line"), &scratch("repeat")));
    assert_eq!(again.status.code(), Some(1), "{}", stderr(&again));
    assert!(stdout(&again).contains("1. abort: dup fails with EMFILE while it serves (3 of 3 runs)"), "{again:?}");
    let (all, status) = swept(&[&flags[..], &["--phase", "start,stop"]].concat(), &command);
    assert_eq!((all["points"].as_u64(), status), (Some(3), 0), "{all}");
}

#[test]
fn the_same_fault_in_each_process_finds_what_one_does_not() {
    let program = program("both_children");
    let command = [program.to_str().unwrap()];
    let calls = ["--calls", "epoll_create1"];
    let (all, status) = swept(&calls, &command);
    assert_eq!((finds(&all).len(), status, &all["not_reached"]), (0, 0, &0.into()), "one is enough: {all}");
    assert_eq!(points(&all).len(), 2, "the first child's and the second's: {all}");
    let flags = [&calls[..], &["--each-process"]].concat();
    has_one_find("both_children", &flags, "exit 0 with lost output", |output| {
        output.status.code() == Some(0) && stdout(output).is_empty()
    });
}

#[test]
fn calls_that_are_made_and_then_fail_are_tried_on_request() {
    let program = program("del_again");
    let (all, status) = swept(&[], &[program.to_str().unwrap()]);
    assert_eq!((finds(&all).len(), status), (0, 0), "by default only failures of resources are tried: {all}");
    stays("del_again", &["--calls", "epoll_ctl", "--errors", "ENOENT"], "spin");
    let (all, _) = swept(&["--calls", "epoll_ctl", "--errors", "ENOENT"], &[program.to_str().unwrap()]);
    let trial = &trials(&all)[0];
    assert_eq!((text(trial, "operation"), text(trial, "error"), &trial["made"]), ("DEL", "ENOENT:made", &true.into()));
}

#[test]
fn a_close_fails_only_on_what_the_kernel_may_fail_it_on() {
    has_one_find("close_again", &["--calls", "close", "--errors", "EIO"], "exit 0 with lost output", |output| {
        stdout(output).is_empty()
    });
    let (all, _) = swept(&["--calls", "close", "--errors", "EIO"], &[program("close_again").to_str().unwrap()]);
    assert!(trials(&all).iter().all(|trial| text(trial, "on") == "file"), "{all}");
    let (all, status) = swept(&["--calls", "close", "--all-errors"], &[program("whole").to_str().unwrap()]);
    assert_eq!((&all["points"], status), (&0.into(), 0), "it closes an epoll instance: {all}");
}

#[test]
fn memory_is_refused_only_on_request() {
    let program = program("unasked_memory");
    let (all, status) = swept(&["--all-errors"], &[program.to_str().unwrap()]);
    assert!(trials(&all).iter().all(|trial| text(trial, "function") == "socketpair"), "{all}");
    assert_eq!((trials(&all).is_empty(), status), (false, 0), "{all}");
    has_one_find("unasked_memory", &["--calls", "malloc"], "crash", |output| {
        output.status.signal() == Some(libc::SIGSEGV)
    });
}

#[test]
fn a_place_limits_what_is_tried() {
    let program = program_with("tree", &["-pthread"]);
    for (site, points) in [("first_copy", 4), ("child", 6), ("tree.c:54", 2), ("no_such_function", 0)] {
        let (all, _) = swept(&["--at", site], &[program.to_str().unwrap()]);
        assert_eq!(all["points"], points, "{site}: {all}");
    }
}

#[test]
fn every_call_of_a_stack_is_failed_on_request() {
    let program = program_with("tree", &["-pthread"]);
    let (all, _) = swept(&["--calls", "fork", "--every-call"], &[program.to_str().unwrap()]);
    let times: Vec<u64> = trials(&all).iter().map(|trial| trial["occurrence"].as_u64().unwrap()).collect();
    assert_eq!(times, [1, 2, 3], "{all}");
}

#[test]
fn a_program_that_handles_small_batches_and_interruptions_has_no_find() {
    let program = program("whole");
    let (all, status) = swept(&["--success-faults"], &[program.to_str().unwrap()]);
    assert_eq!((finds(&all).len(), status), (0, 0), "{all}");
    // One wait: a small batch, an interruption, two delays.
    assert_eq!((&all["tried"], &all["verdicts"]["same"]), (&4.into(), &4.into()), "{all}");
}

#[test]
fn one_failure_is_tried_on_request() {
    let program = program("whole");
    let (all, status) = swept(&["--only", "epoll_create1:error=EMFILE:when=1"], &[program.to_str().unwrap()]);
    assert_eq!((status, &all["tried"], &all["verdicts"]["clean failure"]), (0, &1.into(), &1.into()), "{all}");
    let not_one = "not one valid rule, such as epoll_ctl:error=ENOMEM:when=1";
    for (rule, why) in [
        ("epoll_create1", not_one),
        ("dup:error=EMFILE;dup:error=EMFILE", not_one),
        ("dup:error=EMFILE:phase=serve", "phase= needs --workload"),
    ] {
        let output = sweep(&["--only", rule], &["true"]);
        assert_eq!(stderr(&output), format!("epollshim: --only: {rule}: {why}\n"));
        assert_eq!(output.status.code(), Some(2));
    }
}
