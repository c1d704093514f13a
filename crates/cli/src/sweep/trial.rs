//! A trial: what is done to the program, and the result.

use serde::{Deserialize, Serialize};

use super::phases::Phase;
use super::points::Point;
use super::verdict::Judged;

/// What is done to the program.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Failure {
    /// A call at a point fails with this errno, or as `failure` says otherwise.
    Call { point: Point, failure: String },
    /// RLIMIT_NOFILE.
    Descriptors(u64),
    /// RLIMIT_NPROC.
    Processes(u64),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// The rules of EPOLLSHIM_INJECT. Empty: without the library.
    pub rules: String,
    /// The rules count calls over all processes together (`scope=tree`).
    #[serde(default)]
    pub in_tree: bool,
    pub failure: Failure,
}

impl Trial {
    pub fn point(&self) -> Option<&Point> {
        match &self.failure {
            Failure::Call { point, .. } => Some(point),
            Failure::Descriptors(_) | Failure::Processes(_) => None,
        }
    }

    pub fn descriptors(&self) -> Option<u64> {
        match self.failure {
            Failure::Descriptors(number) => Some(number),
            _ => None,
        }
    }

    pub fn processes(&self) -> Option<u64> {
        match self.failure {
            Failure::Processes(number) => Some(number),
            _ => None,
        }
    }

    /// Identifies a trial among those of a sweep, and across sweeps.
    pub fn key(&self) -> (&str, Option<u64>, Option<u64>) {
        (&self.rules, self.descriptors(), self.processes())
    }

    /// The name of the limit that is lowered.
    pub fn limit(&self) -> &'static str {
        match self.failure {
            Failure::Call { .. } => "",
            Failure::Descriptors(_) => "RLIMIT_NOFILE",
            Failure::Processes(_) => "RLIMIT_NPROC",
        }
    }

    /// The function that fails. Trials of one function are siblings.
    pub fn family(&self) -> String {
        self.point().map_or_else(String::new, Point::call)
    }

    /// The function that fails, and its place.
    pub fn place(&self) -> (String, String) {
        self.point().map(|point| (point.call(), point.site().to_owned())).unwrap_or_default()
    }

    /// What is done, as text.
    pub fn text(&self) -> String {
        match &self.failure {
            Failure::Call { point, failure } => {
                let time = match point.occurrence {
                    0 | 1 => String::new(),
                    2 => ", the second time".into(),
                    number => format!(", call {number}"),
                };
                let phase = match point.phase {
                    Phase::Start => "",
                    Phase::Serve => " while it serves",
                    Phase::Stop => " while it stops",
                };
                let what = match failure.split_once(":made") {
                    Some((error, _)) => format!("is made, and fails with {error}"),
                    None if failure.contains('=') => format!("with {failure}"),
                    None => format!("fails with {failure}"),
                };
                format!("{} {what}{phase}{time}", point.call())
            }
            Failure::Descriptors(number) => format!("{number} descriptors"),
            Failure::Processes(number) => format!("{number} processes and threads"),
        }
    }
}

/// A trial that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    pub trial: Trial,
    pub judged: Judged,
    /// The number of runs with this verdict, and the number of all runs.
    pub same: u32,
    pub runs: u32,
    /// The duration of the first run in milliseconds.
    pub took: u64,
}
