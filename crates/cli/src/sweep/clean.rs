//! The clean runs of a sweep, in which no call fails.

use std::path::Path;

use super::folder::Folder;
use super::notes::Notes;
use super::observe::{Clean, Observation};
use super::runner::{Ask, Runner};
use super::slots::Slots;
use super::spec::Times;
use super::{one_run, start};
use crate::Failure;
use crate::args::Sweep;
use crate::text::printable;

/// Clean runs are sufficient if this many in a row bring nothing new.
const SAME_RUNS: u32 = 2;
/// How many callers a clean run records. One is enough to enable stack walking, which the names of
/// points need.
const STACKS: u32 = 1;

/// The clean runs of a sweep, and their folders.
pub struct CleanRuns {
    pub runs: Vec<(Observation, Folder)>,
    pub clean: Clean,
    pub lacks: Option<String>,
    pub has_network: bool,
}

/// Makes clean runs until two in a row bring nothing new. Fails if one fails, or if they differ.
pub fn clean_runs(
    asked: &Sweep,
    runner: &Runner,
    notes: &Notes,
    ask: Ask,
    mut shows_more: impl FnMut(&Folder) -> Result<bool, Failure>,
) -> Result<CleanRuns, Failure> {
    let limit = asked.timeout * 1000;
    let ask = Ask { stacks: STACKS, times: Times { start: limit, work: limit, stop: limit }, ..ask };
    let (mut runs, mut same, slots) = (Vec::new(), 0, Slots::new(1));
    while runs.len() < asked.clean_runs as usize && same < SAME_RUNS {
        notes.progress.clean_run(runs.len() + 1, asked.clean_runs as usize);
        let (seen, folder) = runner.run(&ask, slots.take()).map_err(Failure::usage)?;
        let is_unmounted = |trouble: &String| trouble.starts_with(one_run::UNMOUNTED);
        if seen.outcome.trouble.as_ref().is_some_and(is_unmounted) && runner.share_processes() {
            continue;
        }
        if let Some(why) = start::failure(asked, &seen) {
            return Err(Failure::usage(why));
        }
        same = if shows_more(&folder)? { 0 } else { same + 1 };
        runs.push((seen, folder));
    }
    let seen: Vec<(&Observation, &Path)> = runs.iter().map(|(seen, folder)| (seen, folder.0.as_path())).collect();
    let clean = Clean::of(&seen, &runner.settled.masks).map_err(|difference| {
        Failure::usage(format!(
            "two clean runs differ: {}; exclude what may differ with --mask REGEX",
            printable(&difference)
        ))
    })?;
    let first = runs.first().map(|(seen, _)| &seen.outcome);
    let lacks = first.and_then(|outcome| outcome.lacks.clone());
    let has_network = first.is_some_and(|outcome| outcome.has_network);
    Ok(CleanRuns { runs, clean, lacks, has_network })
}
