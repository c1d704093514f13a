//! `--limits`: lowers the limits of descriptors and of tasks step by step, without faults and
//! without the library.

use std::time::Instant;

use super::clean::{CleanRuns, clean_runs};
use super::notes::Notes;
use super::outcome::Swept;
use super::runner::{Ask, Runner};
use super::trial::{Failure as What, Trial};
use super::try_all;
use crate::Failure;
use crate::args::Sweep;
use crate::sys;
use crate::sys::counted::Counted;

/// At most this many steps per limit.
const MOST_STEPS: u64 = 64;
/// Standard input, output and error; and one task, the first thread of the program.
const LEAST_DESCRIPTORS: u64 = 3;
const LEAST_TASKS: u64 = 1;
/// Additional steps above the observed maximum. It is sampled, so the true peak may be higher.
const MARGIN: u64 = 4;
/// The first of the user ids that belong to nobody. System accounts, and those of systemd and
/// containers, are below (systemd's docs/UIDS-GIDS.md).
const FIRST_USER: u32 = 2_000_000_000;
/// The number of user ids of one sweep. Another sweep at the same time has others.
const USERS: u32 = 1024;
const SWEEPS: u32 = 1 << 17;

/// How the tasks of a run are counted apart from all others, including those of concurrent runs.
pub fn counted(serial: u64) -> Counted {
    let first = FIRST_USER + std::process::id() % SWEEPS * USERS;
    match sys::user() {
        _ if sys::effective_user() == 0 => Counted::AsUser(first + (serial % u64::from(USERS)) as u32),
        (user, group) => Counted::InNamespace(user, group),
    }
}

/// Lowers RLIMIT_NOFILE and then RLIMIT_NPROC, starting at what the program needs.
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
                Counted::AsUser(_) => "it does not limit root, and as another user",
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
    // Lost runs are counted for the whole sweep.
    swept.lost = more.lost;
    swept.resumed += more.resumed;
    swept.took = more.took;
    swept.tried.extend(more.tried);
}

/// From the highest number down to the least.
fn steps(least: u64, most: u64, what: fn(u64) -> What) -> Vec<Trial> {
    let most = most.max(least) + MARGIN;
    let step = (most - least).div_ceil(MOST_STEPS).max(1);
    let trial = |number| Trial { rules: String::new(), in_tree: false, failure: what(number) };
    (least..=most).rev().step_by(step as usize).map(trial).collect()
}
