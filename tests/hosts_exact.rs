//! Reports that agree with the kernel are correct, also after races and after events that the
//! library could not see. The cost of the ledger grows with the number of interests, however many
//! instances share files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use testkit::modes::{MODES, Mode};
use testkit::{c_program, reports, run, scratch, under_shim};

/// Runs a program of c-tests/hosts/, all of whose checks must hold.
#[track_caller]
fn holds(name: &str, arguments: &[&str], mode: Mode) {
    let program = c_program(&format!("hosts/{name}"));
    let mut command = Command::new(program);
    let result = run(mode.preload(command.args(arguments), &scratch(name)));
    assert!(result.status.success(), "{name} {arguments:?}, {mode:?}: {}\n{}", result.status, result.stdout);
}

#[test]
fn numbers_of_one_instance_are_one_in_the_ledger_after_threads_raced() {
    // All 3,000 seeds: RACING_SEEDS=3000 (make soak).
    let seeds = std::env::var("RACING_SEEDS").unwrap_or("300".to_owned());
    holds("racing_numbers", &["1", &seeds], Mode::Default);
    holds("racing_numbers", &["5000", "60"], Mode::Everything);
}

#[test]
fn a_comparison_while_threads_race_is_right_when_they_are_done() {
    holds("racing_numbers", &["1", "50", "meanwhile"], Mode::Default);
    holds("racing_numbers", &["1", "10", "meanwhile"], Mode::Everything);
}

#[test]
fn numbers_that_moved_unseen_are_found_and_then_followed() {
    for mode in MODES {
        holds("moved_numbers", &[], mode);
    }
}

fn coverage(program: &Path, empty: &str) -> Value {
    let report = scratch("refused").join("report.json");
    let mut command = Command::new(program);
    let result = run(under_shim(command.arg(empty), &report));
    assert!(result.status.success(), "{}", result.stdout);
    reports(&report)[0]["coverage"].clone()
}

#[test]
fn a_report_lists_what_it_could_not_compare_if_kcmp_is_refused() {
    let program = c_program("hosts/kcmp_refused");
    // Instances with different lists can be distinguished, and a single empty one is like no other.
    for empty in ["0", "1"] {
        let known = coverage(&program, empty);
        assert_eq!((&known["uncompared"], &known["reconciled"]), (&Value::from(0), &Value::from(true)), "{known}");
    }
    let unknown = coverage(&program, "2");
    assert_eq!((&unknown["uncompared"], &unknown["reconciled"]), (&Value::from(2), &Value::from(false)), "{unknown}");
    assert_eq!(unknown["healed"], 0, "{unknown}");

    let result = run(Command::new(&program).arg("2").env("LD_PRELOAD", testkit::shim()));
    let lines = "\nCoverage: NOT fully compared with the kernel: kcmp(2) is refused or missing.\n  2 epoll descriptors may be one \
                 instance or several.\n";
    assert!(result.stderr.contains(lines), "{}", result.stderr);
}

/// The processor time in microseconds that it takes to end many instances that watch the same
/// files: the least of several runs. None: the machine does not allow that many instances.
#[track_caller]
fn cost(program: &Path, arguments: [&str; 3], mode: Option<Mode>, runs: usize) -> Option<u64> {
    const TOO_MANY: i32 = 77;
    (0..runs)
        .map(|_| {
            let mut command = Command::new(program);
            command.args(arguments);
            if let Some(mode) = mode {
                mode.preload(&mut command, &scratch("shared"));
            }
            let result = run(&mut command);
            if result.status.code() == Some(TOO_MANY) {
                testkit::skipped(&format!("ulimit -Hn or max_user_watches is too low: {arguments:?}"), false);
                return None;
            }
            assert!(result.status.success(), "{arguments:?}, {mode:?}: {}\n{}", result.status, result.stdout);
            let words = result.stdout.split_whitespace().collect::<Vec<_>>();
            Some(words[words.len() - 1].parse::<u64>().expect("microseconds"))
        })
        .min()
        .flatten()
}

/// The instances end by close in forward, backward and random order; all at once; by dup2 over
/// them; by closing the files instead; by EPOLL_CTL_DEL.
const ENDS: [&str; 8] = ["forward", "backward", "random", "range", "dup2", "files", "delete", "delete-backward"];

/// Anything below this may be noise: a step of the clock, or a page that is touched for the first
/// time.
const LITTLE: u64 = 2_000;

#[test]
fn instances_that_share_files_end_as_fast_as_bare_in_every_order() {
    let program = c_program("hosts/shared_files");
    for how in ENDS.into_iter().chain(["again"]) {
        let both = [None, Some(Mode::Default)].map(|mode| cost(&program, ["500", "100", how], mode, 2));
        let [Some(bare), Some(shimmed)] = both else { continue };
        println!("{how}: {bare} bare, {shimmed} us");
        assert!(shimmed <= 3 * bare + LITTLE, "{how}: {shimmed} us, bare {bare} us");
    }
}

#[test]
fn ten_thousand_instances_that_share_a_hundred_files_end_as_fast_as_bare() {
    let program = c_program("hosts/shared_files");
    // make soak: all of them.
    let all = std::env::var_os("RACING_SEEDS").is_some();
    for how in if all { &ENDS[..] } else { &["random"][..] } {
        let arguments = ["10000", "100", how];
        let both = [None, Some(Mode::Default)].map(|mode| cost(&program, arguments, mode, 1));
        let [Some(bare), Some(shimmed)] = both else { continue };
        println!("{how}: {bare} bare, {shimmed} us");
        assert!(shimmed <= 3 * bare, "{how}: {shimmed} us, bare {bare} us");
    }
}

#[test]
fn with_everything_on_the_cost_grows_as_the_interests_do() {
    let program = c_program("hosts/shared_files");
    // "child": the first call of a forked child, which copies the tables of the recording.
    for how in ["random", "range", "files", "delete", "child"] {
        let both = ["250", "2000"].map(|instances| {
            let arguments = [instances, "10", how];
            cost(&program, arguments, Some(Mode::Everything), 2)
        });
        let [Some(few), Some(many)] = both else { continue };
        println!("{how}: {few} us, eight times as many {many} us");
        assert!(many <= 8 * 3 * few + LITTLE, "{how}: {few} us, eight times as many {many} us");
    }
}
