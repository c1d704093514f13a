//! One run: what is asked of the process that makes it, and what that process answers. Both are JSON in the run's own folder.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sys::child::Change;
use crate::sys::counted::Counted;

/// Files of a run's folder.
pub const SPEC: &str = "spec.json";
pub const OUTCOME: &str = "outcome.json";
pub const OUT: &str = "out";
pub const ERR: &str = "err";
/// What the workload prints, the first time and the last time after it.
pub const WORK: [&str; 2] = ["work", "again"];
/// The folder that the program is started in, unless the user names another; and TMPDIR.
pub const HOME: &str = "cwd";
pub const TMP: &str = "tmp";
pub const RECORDINGS: &str = "recordings";
pub const FAULTS: &str = "faults";
/// The directory of EPOLLSHIM_SESSION.
pub const SESSION: &str = "session";

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Spec {
    pub command: Vec<OsString>,
    /// Of the program; the workload has `plain`.
    pub environment: Vec<(OsString, OsString)>,
    pub plain: Vec<(OsString, OsString)>,
    pub directory: PathBuf,
    pub folder: PathBuf,
    pub input: Option<PathBuf>,
    pub server: Option<Server>,
    pub times: Times,
    /// How often the workload is made again after one that failed.
    pub again: u32,
    /// How many times each limit is waited for before what does not end is killed.
    pub patience: u64,
    pub descriptors: Option<u64>,
    pub processes: Option<u64>,
    pub counted: Option<Counted>,
    /// Descriptors that the program's processes have at rest; more are looked at twice.
    pub at_rest: Option<u64>,
    /// Directories of debug files.
    pub debug: Vec<PathBuf>,
    /// Where the program crashes is looked at (ptrace(2)).
    pub traces: bool,
    pub shares_network: bool,
    pub shares_processes: bool,
}

/// A program that serves until the stop signal ends it.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Server {
    pub ready: Ready,
    pub workload: String,
    pub stop: i32,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Any of its processes listens.
    Listens,
    Port(u16),
    Line(String),
}

/// Limits of the parts of a run, or what they took, in milliseconds.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Until it is ready; of a program that ends by itself, until then.
    pub start: u64,
    pub work: u64,
    pub stop: u64,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Exited(i32),
    Killed(i32),
}

impl From<Change> for How {
    fn from(change: Change) -> How {
        match change {
            Change::Exited(status) => How::Exited(status),
            Change::Killed(signal) | Change::Stopped(signal) => How::Killed(signal),
        }
    }
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Start,
    Work,
    Stop,
}

/// What did not end within its limit.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Stuck {
    pub part: Part,
    /// Of one processor, in the window after the limit.
    pub percent: u64,
    /// Where each thread stands.
    pub threads: Vec<String>,
    /// It printed, or made the call that fails, without end.
    pub floods: bool,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Outcome {
    /// Why the run could not be made at all.
    pub trouble: Option<String>,
    /// Which namespaces it had, and what is missing.
    pub has_network: bool,
    pub has_processes: bool,
    pub lacks: Option<String>,
    /// None: it was killed, since it did not end.
    pub end: Option<How>,
    /// The stack of the thread that got the signal of a crash; empty: not known.
    pub crashed_in: String,
    /// It ended before it was told to.
    pub ended_early: bool,
    pub stuck: Option<Stuck>,
    pub times: Times,
    /// The workload's ends, the first time and the second; None: it was killed at its limit.
    pub work: Vec<Option<How>>,
    /// Descriptors of all its processes after the workload, and the most of one process at any look.
    pub at_rest: u64,
    /// The former, by what they are.
    pub open_at_rest: BTreeMap<String, u64>,
    pub most_descriptors: u64,
    /// Threads of all its processes, the most at any look.
    pub most_tasks: u64,
    /// It was busy after the workload: percent of a processor.
    pub idle_percent: u64,
    /// Processes that a signal ended, and that the program had left to others.
    pub orphans: Vec<(String, i32)>,
}
