//! The interface between the sweep and the process that makes one run: its request and its answer,
//! both as JSON in the folder of the run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sys::child::Change;
use crate::sys::counted::Counted;

/// Files in the folder of a run.
pub const SPEC: &str = "spec.json";
pub const OUTCOME: &str = "outcome.json";
pub const OUT: &str = "out";
pub const ERR: &str = "err";
/// The output of the workload, the first time and any later time.
pub const WORK: [&str; 2] = ["work", "again"];
/// The directory in which the program starts, unless the user names another, and its TMPDIR.
pub const HOME: &str = "cwd";
pub const TMP: &str = "tmp";
pub const RECORDINGS: &str = "recordings";
pub const FAULTS: &str = "faults";
/// The directory of EPOLLSHIM_SESSION.
pub const SESSION: &str = "session";

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Spec {
    pub command: Vec<OsString>,
    /// The environment of the program. The workload has `plain`.
    pub environment: Vec<(OsString, OsString)>,
    pub plain: Vec<(OsString, OsString)>,
    pub directory: PathBuf,
    pub folder: PathBuf,
    pub input: Option<PathBuf>,
    pub server: Option<Server>,
    pub times: Times,
    /// How often the workload is repeated after a failure.
    pub again: u32,
    /// Each limit is waited for this many times before the process is killed.
    pub patience: u64,
    pub descriptors: Option<u64>,
    pub processes: Option<u64>,
    pub counted: Option<Counted>,
    /// The descriptors that the program's processes have at rest. If there are more, they are
    /// counted twice.
    pub at_rest: Option<u64>,
    /// Directories of debug files.
    pub debug: Vec<PathBuf>,
    /// Whether the program is traced, to find out where it crashes (ptrace(2)).
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

/// The limits of the parts of a run, or what they took, in milliseconds.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Until the program is ready. For a program that ends by itself, until its end.
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

/// A part that did not end within its limit.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Stuck {
    pub part: Part,
    /// Percent of one processor, during the window after the limit.
    pub percent: u64,
    /// The state of each thread.
    pub threads: Vec<String>,
    /// It printed, or repeated the failing call, without end.
    pub floods: bool,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Outcome {
    /// Why the run could not be made.
    pub trouble: Option<String>,
    /// Which namespaces it had, and what was missing.
    pub has_network: bool,
    pub has_processes: bool,
    pub lacks: Option<String>,
    /// None: it was killed because it did not end.
    pub end: Option<How>,
    /// The stack of the thread that received the signal of a crash. Empty: unknown.
    pub crashed_in: String,
    /// It ended before the stop signal.
    pub ended_early: bool,
    pub stuck: Option<Stuck>,
    pub times: Times,
    /// How the workload ended, each time. None: it was killed at its limit.
    pub work: Vec<Option<How>>,
    /// The descriptors of all its processes after the workload, and the maximum of one process at
    /// any time.
    pub at_rest: u64,
    /// The descriptors of `at_rest` by kind.
    pub open_at_rest: BTreeMap<String, u64>,
    pub most_descriptors: u64,
    /// The maximum number of threads of all its processes.
    pub most_tasks: u64,
    /// Percent of a processor that it used after the workload.
    pub idle_percent: u64,
    /// Processes that a signal ended, and whose parent in the program had not waited for them.
    pub orphans: Vec<(String, i32)>,
}
