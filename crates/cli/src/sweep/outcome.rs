//! All that a sweep has found out, and the finds by their causes.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::names::Names;
use super::points::Point;
use super::repeat::Repeat;
use super::trial::{Trial, Tried};
use super::verdict::Verdict;

pub struct Swept {
    /// As it was given.
    pub command: Vec<OsString>,
    pub workload: Option<String>,
    pub clean_runs: u32,
    /// Milliseconds of a clean run.
    pub clean_took: u64,
    pub took: u64,
    pub jobs: u32,
    pub points: Vec<Point>,
    /// Of them, those that not every clean run came to.
    pub unsteady: usize,
    pub names: Names,
    pub repeat: Repeat,
    pub tried: Vec<Tried>,
    /// Trials that were to be made.
    pub planned: usize,
    /// Runs that could not be made.
    pub lost: usize,
    /// Why runs were not shut off.
    pub lacks: Option<String>,
}

/// Suspicious trials with one cause.
pub struct Find<'a> {
    pub first: &'a Tried,
    pub others: Vec<&'a Tried>,
}

impl Swept {
    /// The worst first; then those that came again most often.
    pub fn finds(&self) -> Vec<Find<'_>> {
        let mut groups: BTreeMap<(Verdict, String, String), Vec<&Tried>> = BTreeMap::new();
        for tried in self.tried.iter().filter(|tried| tried.judged.verdict.is_find()) {
            let key = match tried.trial.point() {
                Some(point) => (tried.judged.verdict, point.call(), self.site(point)),
                None => (tried.judged.verdict, String::new(), String::new()),
            };
            groups.entry(key).or_default().push(tried);
        }
        let mut finds: Vec<Find> = groups
            .into_values()
            .filter_map(|mut all| {
                all.sort_by_key(|tried| (std::cmp::Reverse(tried.same), tried.order()));
                let (first, others) = all.split_first()?;
                Some(Find { first, others: others.to_vec() })
            })
            .collect();
        finds.sort_by_key(|find| (find.first.judged.verdict, std::cmp::Reverse(find.first.same)));
        finds
    }

    /// The innermost place of a point.
    fn site(&self, point: &Point) -> String {
        let frame = self.names.get(&point.stack).and_then(|frames| frames.first());
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
        // Of limits, the highest that fails.
        (occurrence, u64::MAX - self.trial.descriptors().or(self.trial.processes()).unwrap_or(0))
    }
}
