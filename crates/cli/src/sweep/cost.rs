//! Tests that all trials of a sweep take little longer than as many clean runs
//! (`make test-sweep-calm`).
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::time::Instant;

use super::calm::{NEVER, prepared, small};
use super::folder::Folder;
use super::plan;
use super::points::Point;
use super::runner::Ask;
use super::slots::Slots;
use super::trial::{Failure, Trial};

const RUNS: u32 = 40;
const JOBS: u32 = 2;

/// The bound is wide because the machine may be busy. On a quiet machine, the ratio should be at
/// most 1.3.
#[test]
#[ignore = "a figure of a quiet machine: make test-sweep-calm"]
fn the_trials_take_little_longer_than_as_many_clean_runs() {
    for one in &small() {
        let top = Folder::of_sweep().unwrap();
        let (runner, notes, clean) = prepared(one, &top.0);
        let ask = Ask { rules: NEVER.into(), times: plan::limits_of(&clean.times), ..Ask::default() };
        let slots = Slots::new(1);
        let begin = Instant::now();
        (0..RUNS).for_each(|_| drop(runner.run(&ask, slots.take()).unwrap()));
        let clean_runs = begin.elapsed().as_secs_f64() / f64::from(JOBS);
        let failure = Failure::Call { point: Point::default(), failure: "ENOMEM".into() };
        let trials = vec![Trial { rules: NEVER.into(), in_tree: false, failure }; RUNS as usize];
        let begin = Instant::now();
        let tried = plan::try_all(&runner, &clean, trials, JOBS, &notes);
        let ratio = begin.elapsed().as_secs_f64() / clean_runs;
        eprintln!("{}: {ratio:.2} times as long as the clean runs", one.name());
        assert_eq!(tried.len(), RUNS as usize);
        assert!(ratio < 3.0, "{ratio}");
    }
}
