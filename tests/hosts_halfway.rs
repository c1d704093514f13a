//! Hosts that leave the library's hooks half done: permanently, by a fork, or while a signal
//! handler asks a question.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::process::Command;

use testkit::modes::{MODES, Mode};
use testkit::{Run, c_program, run, scratch};

/// The factor by which more is tried: `make soak` sets it to 10.
fn times() -> u32 {
    std::env::var("EPOLLSHIM_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Runs a program bare, and in each of these modes; all must end and print the same. Returns the
/// bare run, and the others.
fn same(binary: &Path, arguments: &[&str], modes: &[Mode]) -> (Run, Vec<(Mode, Run)>) {
    let bare = run(Command::new(binary).args(arguments));
    assert!(bare.status.success(), "bare: {}\n{}", bare.status, bare.stdout);
    let in_mode = |&mode: &Mode| {
        let directory = scratch("halfway");
        let preloaded = run(mode.preload(Command::new(binary).args(arguments), &directory));
        let output =
            format!("{arguments:?} in {mode:?}: {}\n{}{}", preloaded.status, preloaded.stdout, preloaded.stderr);
        assert_eq!(bare.status, preloaded.status, "{output}");
        assert_eq!(bare.stdout, preloaded.stdout, "{output}");
        // Thousands of recordings: before the kernel writes them to the disk.
        std::fs::remove_dir_all(&directory).unwrap();
        (mode, preloaded)
    };
    let preloaded = modes.iter().map(in_mode).collect();
    (bare, preloaded)
}

#[test]
fn a_child_that_is_forked_by_a_handler_continues_in_the_interrupted_call() {
    let binary = c_program("hosts/fork_in_handler_goes_on");
    let children = (600 * times()).to_string();
    for calls in ["ctl", "close", "create", "dup", "poll", "wait"] {
        same(&binary, &[calls, &children], &MODES);
    }
}

#[test]
fn a_handler_that_reads_the_statistics_does_not_change_the_interrupted_call() {
    let binary = c_program("hosts/asked_in_handler");
    let handlers = (2000 * times()).to_string();
    for arguments in [&[&*handlers, "0"][..], &[&handlers, "2"], &[&handlers, "0", "stack"]] {
        same(&binary, arguments, &MODES);
    }
}

/// So many closes that their number alone would make the frame below count as gone (`MOST_OWN` in
/// crates/ledger/src/lock_protocol.rs).
#[test]
fn a_handler_that_makes_thousands_of_calls_does_not_change_the_interrupted_call() {
    same(&c_program("hosts/long_handlers"), &["3", "4300"], &[Mode::Default]);
}

/// Afterwards, calls cost what they cost in a program that leaves nothing half done: within 1.5
/// times bare in the default mode. (With every option on, a call costs more than that, so only the
/// counts are compared.)
#[test]
fn hooks_that_never_return_cost_later_calls_nothing_and_lose_no_change() {
    // A busy machine makes whole runs slower, bare or not. So the least of several runs counts.
    const RUNS: usize = 6;
    let binary = c_program("hosts/left_for_ever");
    let jumps = (400 * times()).to_string();
    let cost = |run: &Run| run.stderr.lines().last().and_then(|line| line.parse::<u64>().ok()).unwrap();
    for way in ["jump", "calls", "deeper", "exit"] {
        let (mut bare, mut preloaded) = (u64::MAX, u64::MAX);
        let is_cheap = (0..RUNS).any(|_| {
            let (bare_run, all) = same(&binary, &[way, &jumps], &[Mode::Default]);
            bare = bare.min(cost(&bare_run));
            preloaded = preloaded.min(cost(&all[0].1));
            preloaded * 2 <= bare * 3
        });
        assert!(is_cheap, "{way}: a round takes {preloaded} ns of processor time afterwards, bare {bare}");
        // 25,000 calls afterwards: a quarter, because none is measured.
        same(&binary, &[way, &jumps, "10"], &[Mode::Everything]);
    }
}
