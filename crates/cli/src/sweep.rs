//! `epollshim sweep`: finds the failing calls that a program does not survive.
//!
//! Clean runs find the points at which the program makes a call that can fail. Each point is then
//! failed in a run of its own, and the result is compared with the clean runs.
//!
//! ```text
//! options   checks the flags
//! phases    the phases of a server: start, serve, stop
//! points    where calls can fail, from the logs of clean runs
//! clean     makes the clean runs
//! found     the points of all clean runs
//! failures  what is tried at a point
//! at        selects points by a place on their stacks
//! sample    draws some of the points, by a seed
//! only      one failure, given by the user
//! trial     what is done to the program in one run, and the result
//! names     names the functions on call stacks
//! plan      makes all trials, and repeats suspicious runs
//! order     the order of the trials
//! slots     how many runs work at the same time
//! limits    fewer descriptors and tasks, without faults
//! runner    makes runs, several at a time, and ends them all
//! folder    the folders of runs
//! spec      the request to the process that makes a run, and its answer
//! one_run   that process
//! stage     watches the program, and runs the workload
//! start     why a clean run fails
//! callers   reads the stacks of threads
//! tracer    finds out where the program crashes
//! procfs    reads /proc for the program's processes
//! mask      masks what differs from run to run
//! observe   reads what a run left; what clean runs have in common
//! verdict   judges a run
//! outcome   the result of all trials, grouped by cause
//! repeat    the command line that repeats a trial
//! text, json, junit, html
//!           print the result
//! output    writes the result, in one of these formats
//! notes     keeps track of trials while they are made
//! progress  prints how far a sweep is
//! accept    lists of accepted finds
//! resume    keeps finished trials for the next sweep
//! identity  identifies the program that was tried
//! calm      tests that runs without a fault are not suspicious
//! cost      tests the time that a sweep takes beside its runs
//! ```

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::args::Sweep;
use crate::sys::{Signals, child};
use crate::text::{reason, shown};
use crate::{Failure, say};
use accept::Accepted;
use clean::{CleanRuns, clean_runs};
use folder::Folder;
use found::Found;
use names::Names;
use notes::Notes;
use options::Settled;
use outcome::Swept;
use output::Output;
use points::{Aim, Counting, MOST_OCCURRENCES, OCCURRENCES, Point};
use repeat::Repeat;
use runner::{Ask, Runner};
use spec::{FAULTS, RECORDINGS};
use trial::Trial;

mod accept;
mod at;
mod callers;
#[cfg(test)]
mod calm;
mod clean;
#[cfg(test)]
mod cost;
mod failures;
mod folder;
mod found;
mod html;
mod identity;
mod json;
mod junit;
mod limits;
mod mask;
mod names;
mod notes;
mod observe;
mod one_run;
mod only;
mod options;
mod order;
mod outcome;
mod output;
mod phases;
mod plan;
mod points;
mod procfs;
mod progress;
mod repeat;
mod resume;
mod runner;
mod sample;
mod slots;
mod spec;
mod stage;
mod start;
mod text;
mod tracer;
mod trial;
mod verdict;

/// Drawn seeds are below this, so that they are easy to type.
const MOST_SEED: u64 = 1_000_000;

/// If this process was started to make one run, makes it and returns its exit status.
#[must_use]
pub fn as_one_run(arguments: &[OsString]) -> Option<i32> {
    let [name, folder, parent, ..] = arguments else { return None };
    if name != one_run::NAME {
        return None;
    }
    let parent = parent.to_str()?.parse().ok()?;
    Some(one_run::main(Path::new(folder), parent))
}

/// Runs the sweep, writes the result, and returns the exit status.
pub fn sweep(asked: &Sweep) -> Result<i32, Failure> {
    let accepted = Accepted::read(&asked.accept)?;
    let settled = Settled::of(asked)?;
    let output = Output::open(asked)?;
    // Before the first thread starts, which inherits the mask.
    let signals = Signals::block(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP]);
    let notes = Notes::open(asked, &settled)?;
    let top = Folder::of_sweep()?;
    let runner = Arc::new(Runner::new(settled, &top.0, asked.share_network));
    let interrupted = Arc::clone(&runner);
    // This thread waits until the process ends.
    std::thread::spawn(move || signals.wait().inspect(|signal| interrupted.end(*signal)));
    let mut swept = if asked.limits { limits::limits(asked, &runner, &notes) } else { faults(asked, &runner, &notes) };
    notes.progress.end();
    if let Ok(swept) = &mut swept {
        swept.accepted = accepted;
    }
    drop(top);
    if let Some(signal) = runner.ended_by() {
        if let Ok(swept) = &swept {
            let _ = crate::to_stderr(text::render(swept).as_bytes());
        }
        say(&output.interrupted());
        child::end_by(signal);
        return Ok(128 + signal);
    }
    output.write(&swept?)
}

/// Fails each call in turn.
fn faults(asked: &Sweep, runner: &Runner, notes: &Notes) -> Result<Swept, Failure> {
    let begin = Instant::now();
    let settled = &runner.settled;
    let only = settled.only.as_ref();
    let functions = only.map_or_else(|| settled.choice.functions(), |(_, functions)| *functions);
    if functions.is_empty() {
        return Err(Failure::usage("--errors: none of them is legal for a selected call"));
    }
    let has_phases = settled.server.is_some();
    let most = if asked.every_call { MOST_OCCURRENCES } else { OCCURRENCES };
    let counting = Counting { in_each_process: asked.each_process, most };
    let mut found = Found::default();
    let ask = Ask { rules: points::rules(functions, has_phases), ..Ask::default() };
    let clean = clean_runs(asked, runner, notes, ask, |folder| {
        let points = points::of_run(&folder.0.join(FAULTS), counting);
        let is_tried = |point: &Point| only.is_some() || !settled.choice.at(point).is_empty();
        points
            .map(|points| found.add_run(points.into_iter().filter(is_tried)))
            .map_err(|what| Failure::usage(format!("{what}: glibc 2.35 or later and libgcc_s.so.1 are needed")))
    })?;
    if !clean.runs.iter().any(|(seen, _)| seen.is_loaded) {
        let name = asked.command.first().map(shown).unwrap_or_default();
        return Err(Failure::usage(format!(
            "{name}: the library was not loaded; run `epollshim check {name}` to see why"
        )));
    }
    let recordings = clean.runs.iter().map(|(_, folder)| folder.0.join(RECORDINGS));
    let names = names::of(found.0.iter().map(|(point, _)| point), recordings, &asked.debug);
    let has_several = clean.runs.iter().any(|(seen, _)| seen.processes > 1);
    let aim = Aim { is_persistent: asked.persistent, in_tree: has_several && !asked.each_process, has_phases };
    if let Some(site) = &asked.at {
        let frames = |point: &Point| names.get(&point.stack).map(|frames| frames.all.as_slice()).unwrap_or_default();
        found.0.retain(|(point, _)| at::is_on_stack(site, point, frames(point)));
    }
    let unsteady = found.unsteady(clean.runs.len());
    let mut points = found.points();
    let sample = match asked.shallow {
        Some(number) => Some(sample::draw(&mut points, number as usize, seed(asked.seed)?)),
        None => None,
    };
    let trials = match only {
        Some((trial, _)) => vec![trial.clone()],
        None => plan::trials(&points, &settled.choice, aim),
    };
    let mut swept = try_all(asked, runner, notes, &clean, trials, begin);
    swept.unsteady = unsteady;
    swept.sample = sample;
    swept.calls_by_default = asked.calls.is_empty() && !asked.success_faults && only.is_none();
    swept.points = only.and_then(|(trial, _)| trial.point()).map_or(points, |point| vec![point.clone()]);
    swept.names = names;
    Ok(swept)
}

/// The given seed, or a random one.
fn seed(asked: Option<u64>) -> Result<u64, Failure> {
    let drawn = || crate::sys::random().map(|number| number as u64 % MOST_SEED);
    asked.map_or_else(drawn, Ok).map_err(|error| Failure::usage(format!("--seed: {}", reason(&error))))
}

fn try_all(
    asked: &Sweep,
    runner: &Runner,
    notes: &Notes,
    clean: &CleanRuns,
    trials: Vec<Trial>,
    begin: Instant,
) -> Swept {
    let processors = std::thread::available_parallelism().map_or(1, |number| number.get() as u32);
    // Two servers cannot use the same port.
    let is_alone = runner.settled.server.is_some() && !clean.has_network;
    let jobs = asked.jobs.unwrap_or(if is_alone { 1 } else { processors });
    let planned = trials.len();
    let (mut tried, open) = notes.begin(asked, &runner.settled, &trials);
    let resumed = tried.len();
    tried.extend(plan::try_all(runner, &clean.clean, open, jobs, notes));
    // The order must not depend on which job was the first to end.
    tried.sort_by_cached_key(|tried| trials.iter().position(|trial| trial.key() == tried.trial.key()));
    Swept {
        command: asked.command.clone(),
        workload: asked.workload.clone(),
        clean_runs: clean.runs.len() as u32,
        clean_took: clean.clean.total,
        took: begin.elapsed().as_millis() as u64,
        jobs,
        points: Vec::new(),
        calls_by_default: false,
        unsteady: 0,
        sample: None,
        names: Names::new(),
        repeat: Repeat::of(asked),
        accepted: Accepted::default(),
        tried,
        planned,
        resumed,
        lost: notes.progress.lost_runs(),
        lacks: clean.lacks.clone(),
        left_out: None,
    }
}
