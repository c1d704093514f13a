//! `--limits`: fewer and fewer descriptors, then tasks, with no fault injected and no library loaded.

use std::time::Instant;

use super::notes::Notes;
use super::outcome::Swept;
use super::runner::{Ask, Runner};
use super::trial::{Failure as What, Trial};
use super::{CleanRuns, clean_runs, try_all};
use crate::Failure;
use crate::args::Sweep;
use crate::sys;
use crate::sys::counted::Counted;

/// Steps of one limit.
const MOST_STEPS: u64 = 64;
/// Standard input, output and error; the program's first thread.
const LEAST_DESCRIPTORS: u64 = 3;
const LEAST_TASKS: u64 = 1;
/// Steps above the most that was seen: looks are taken now and then, so the peak may have been higher.
const MARGIN: u64 = 4;
/// The first of the users that nobody is. System accounts, those of systemd and of containers are below
/// (systemd's docs/UIDS-GIDS.md).
pub const FIRST_USER: u32 = 2_000_000_000;

/// How the tasks of a run are counted apart from those of all others, runs at the same time among them.
pub fn counted(serial: u64) -> Counted {
    match sys::user() {
        _ if sys::effective_user() == 0 => Counted::AsUser(FIRST_USER + (serial % 1_000_000) as u32),
        (user, group) => Counted::InNamespace(user, group),
    }
}

/// Lowers RLIMIT_NOFILE, then RLIMIT_NPROC, from what the program needs on.
pub fn limits(asked: &Sweep, runner: &Runner, notes: &Notes) -> Result<Swept, Failure> {
    let begin = Instant::now();
    let clean = clean_runs(asked, runner, notes, Ask::default(), |_| Ok(false))?;
    let most = clean.clean.most_descriptors;
    let mut swept = try_all(asked, runner, notes, &clean, steps(LEAST_DESCRIPTORS, most, What::Descriptors), begin);
    if runner.is_over() {
        return Ok(swept);
    }
    match clean_runs(asked, runner, notes, Ask { counts_tasks: true, ..Ask::default() }, |_| Ok(false)) {
        Ok(clean) => add_tasks(asked, runner, notes, &clean, &mut swept, begin),
        Err(failure) => {
            let how = match counted(0) {
                Counted::AsUser(_) => "it does not bind root, and under another user",
                Counted::InNamespace(..) => "the program's own processes must be counted, and in a user namespace",
            };
            swept.left_out = Some(format!("{how}: {}", failure.text));
        }
    }
    Ok(swept)
}

fn add_tasks(asked: &Sweep, runner: &Runner, notes: &Notes, clean: &CleanRuns, swept: &mut Swept, begin: Instant) {
    let more = try_all(asked, runner, notes, clean, steps(LEAST_TASKS, clean.clean.most_tasks, What::Processes), begin);
    swept.clean_runs += more.clean_runs;
    swept.planned += more.planned;
    // Lost runs are counted over all of it.
    swept.lost = more.lost;
    swept.resumed += more.resumed;
    swept.took = more.took;
    swept.tried.extend(more.tried);
}

/// From the most down to the least.
fn steps(least: u64, most: u64, what: fn(u64) -> What) -> Vec<Trial> {
    let most = most.max(least) + MARGIN;
    let step = (most - least).div_ceil(MOST_STEPS).max(1);
    let trial = |number| Trial { rules: String::new(), failure: what(number) };
    (least..=most).rev().step_by(step as usize).map(trial).collect()
}
