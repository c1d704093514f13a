//! The result of a sweep, with finds grouped by cause.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::accept::{Accepted, Entry};
use super::names::Names;
use super::points::Point;
use super::repeat::Repeat;
use super::sample::Sample;
use super::trial::{Failure, Trial, Tried};
use super::verdict::Verdict;
use crate::text::base;

pub struct Swept {
    /// The command as it was given.
    pub command: Vec<OsString>,
    pub workload: Option<String>,
    pub clean_runs: u32,
    /// The milliseconds that a clean run took.
    pub clean_took: u64,
    pub took: u64,
    pub jobs: u32,
    pub points: Vec<Point>,
    /// Whether the user did not choose which functions fail.
    pub calls_by_default: bool,
    /// The number of points that not every clean run reached.
    pub unsteady: usize,
    /// Which of the points were tried. None: all.
    pub sample: Option<Sample>,
    pub names: Names,
    pub repeat: Repeat,
    pub accepted: Accepted,
    pub tried: Vec<Tried>,
    /// The number of planned trials.
    pub planned: usize,
    /// How many of them an earlier sweep made (`--resume`).
    pub resumed: usize,
    /// The number of runs that could not be made.
    pub lost: usize,
    /// Why runs were not isolated.
    pub lacks: Option<String>,
    /// Why RLIMIT_NPROC was not lowered.
    pub left_out: Option<String>,
}

/// Suspicious trials with one cause.
pub struct Find<'a> {
    /// The entry that accepts all of them.
    pub accepted: Option<&'a Entry>,
    pub first: &'a Tried,
    pub others: Vec<&'a Tried>,
}

impl Swept {
    /// The finds that count: the worst first, then those that recurred most often.
    pub fn finds(&self) -> Vec<Find<'_>> {
        self.grouped().into_iter().filter(|find| find.accepted.is_none()).collect()
    }

    /// The accepted finds, in the same order.
    pub fn accepted_finds(&self) -> Vec<Find<'_>> {
        self.grouped().into_iter().filter(|find| find.accepted.is_some()).collect()
    }

    fn grouped(&self) -> Vec<Find<'_>> {
        type Cause<'a> = (Verdict, String, String, Option<&'a str>);
        let mut groups: BTreeMap<Cause, (Option<&Entry>, Vec<&Tried>)> = BTreeMap::new();
        for tried in self.tried.iter().filter(|tried| tried.judged.verdict.is_find()) {
            let (call, site) = match tried.trial.point() {
                Some(point) => (point.call(), self.site(point)),
                None => (tried.trial.limit().into(), String::new()),
            };
            let entry = self.entry(tried);
            let cause = (tried.judged.verdict, call, site, entry.map(|entry| entry.place.as_str()));
            groups.entry(cause).or_insert((entry, Vec::new())).1.push(tried);
        }
        let mut finds: Vec<Find> = groups
            .into_values()
            .filter_map(|(accepted, mut all)| {
                all.sort_by_key(|tried| (std::cmp::Reverse(tried.same), tried.order()));
                let (first, others) = all.split_first()?;
                Some(Find { accepted, first, others: others.to_vec() })
            })
            .collect();
        finds.sort_by_key(|find| (find.first.judged.verdict, std::cmp::Reverse(find.first.same)));
        finds
    }

    /// The entry that accepts a find.
    pub fn entry(&self, tried: &Tried) -> Option<&Entry> {
        let is_find = tried.judged.verdict.is_find();
        is_find.then(|| self.accepted.entry(tried.judged.verdict, &self.name(&tried.trial))).flatten()
    }

    /// The name of a find in lists of accepted finds, without its verdict: call, failure and
    /// innermost place. A new build has the same names.
    pub fn name(&self, trial: &Trial) -> String {
        match &trial.failure {
            Failure::Call { point, failure } => format!("{} {failure} {}", point.call(), self.place(point)),
            Failure::Descriptors(number) => format!("RLIMIT_NOFILE {number}"),
            Failure::Processes(number) => format!("RLIMIT_NPROC {number}"),
        }
    }

    /// The function that contains a point, or the object if the function is unknown.
    pub fn place(&self, point: &Point) -> &str {
        let frames = self.names.get(&point.stack);
        frames.and_then(|frames| frames.places.first()).map_or("unknown", String::as_str)
    }

    /// The functions of a trial's call, innermost first. Objects replace unknown functions.
    pub fn places(&self, trial: &Trial) -> &[String] {
        let frames = trial.point().and_then(|point| self.names.get(&point.stack));
        frames.map_or(&[], |frames| &frames.places)
    }

    /// The name of the program, without its directory.
    pub fn program(&self) -> String {
        self.command.first().map(|command| base(command.as_ref())).unwrap_or_default()
    }

    /// The frames of a trial's call, for display.
    pub fn frames(&self, trial: &Trial) -> Vec<String> {
        let frames = trial.point().map(|point| match self.names.get(&point.stack) {
            Some(frames) => frames.shown.clone(),
            None => vec![format!("stack {}", point.stack)],
        });
        frames.unwrap_or_default()
    }

    /// The innermost place of a point.
    fn site(&self, point: &Point) -> String {
        let frame = self.names.get(&point.stack).and_then(|frames| frames.shown.first());
        frame.cloned().unwrap_or_else(|| point.stack.clone())
    }

    pub fn count(&self, verdict: Verdict) -> usize {
        self.tried.iter().filter(|tried| tried.judged.verdict == verdict).count()
    }

    /// The command line that repeats a trial, for a shell.
    pub fn line(&self, trial: &Trial) -> String {
        self.repeat.line(trial)
    }
}

impl Tried {
    fn order(&self) -> (u64, u64) {
        let occurrence = self.trial.point().map_or(0, |point| point.occurrence);
        // Among limits, the highest one that fails comes first.
        (occurrence, u64::MAX - self.trial.descriptors().or(self.trial.processes()).unwrap_or(0))
    }
}
