//! Decides where a run records, and what it reports.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use epollshim_format::faults::need_session;
use epollshim_recording::Format;

use super::place::{self, Place};
use super::unlogged::Logs;
use crate::args::{FailOn, Run};
use crate::text::{reason, shown};
use crate::{Failure, say, suppressions, sys, take};

const RECORD: &str = "EPOLLSHIM_RECORD";
const REPORT: &str = "EPOLLSHIM_REPORT";
const SESSION: &str = "EPOLLSHIM_SESSION";
const CENSUS: &str = "EPOLLSHIM_CENSUS";
const INJECT: &str = "EPOLLSHIM_INJECT";
const REPLAY: &str = "EPOLLSHIM_INJECT_REPLAY";

pub struct Plan {
    /// None: nothing is recorded.
    pub place: Option<Place>,
    /// Whether a report is written.
    pub reports: bool,
    pub format: Format,
    /// None: standard error.
    pub output: Option<PathBuf>,
    pub debug: Vec<PathBuf>,
    pub fail_on: Vec<FailOn>,
    /// The text of the file of suppressions.
    pub suppressions: Vec<u8>,
    /// EPOLLSHIM_ONLY is set.
    pub has_only: bool,
    pub logs: Logs,
    /// Rules are set, by EPOLLSHIM_INJECT or EPOLLSHIM_INJECT_REPLAY.
    pub has_rules: bool,
}

/// Removes the variables that an outer `epollshim run` has set for its own processes. The inner run
/// reports on its own processes. (A directory of an outer `--record` stays: both record there.)
pub fn forget_another_run(environment: &mut Vec<(OsString, OsString)>) {
    if get(environment, RECORD).is_some_and(place::is_another_run_s)
        && get(environment, REPORT) == Some("none".as_ref())
    {
        take(environment, RECORD);
        take(environment, REPORT);
        if get(environment, CENSUS) == Some("1".as_ref()) {
            take(environment, CENSUS);
        }
    }
}

impl Plan {
    /// Reads the options, creates the directory, and sets variables that are not set. Variables of
    /// the user are not changed.
    pub fn of(asked: &Run, environment: &mut Vec<(OsString, OsString)>) -> Result<Plan, Failure> {
        let report = get(environment, REPORT).unwrap_or(OsStr::new("stderr")).to_owned();
        let is_file = report != "stderr" && report != "none";
        let reports = report != "none" || asked.output.is_some();
        // Without reports of single processes, --report-format applies to the one report.
        let format = match (&asked.format, get(environment, "EPOLLSHIM_REPORT_FORMAT")) {
            (Some(format), _) => format.as_str(),
            (None, Some(format)) if !is_file && format == "json" => "json",
            (None, _) => "text",
        };
        let output = asked.output.clone().filter(|output| output != Path::new("-"));
        if let Some(file) = &output {
            writable(file).map_err(|why| Failure::usage(format!("--output: {}: {why}", shown(file))))?;
        }
        let known = get(environment, "EPOLLSHIM_SUPPRESSIONS").map(|file| suppressions::read(Path::new(file)));
        let mut plan = Plan {
            place: get(environment, RECORD).map(Place::given),
            reports,
            format: Format::named(format).unwrap_or(Format::Text),
            output: asked.output.clone(),
            debug: asked.debug.clone(),
            fail_on: asked.fail_on.clone(),
            suppressions: known.and_then(Result::ok).unwrap_or_default(),
            has_only: get(environment, "EPOLLSHIM_ONLY").is_some(),
            logs: Logs::of(&|name| get(environment, name)),
            has_rules: [INJECT, REPLAY]
                .iter()
                .any(|name| get(environment, name).is_some_and(|value| !value.is_empty())),
        };
        if plan.place.is_none() && (plan.reports || !plan.fail_on.is_empty()) {
            match Place::private() {
                Ok(place) => {
                    environment.push((RECORD.into(), place.path.clone().into()));
                    if needs_session(environment) {
                        environment.push((SESSION.into(), place.top().join("session").into()));
                    }
                    plan.place = Some(place);
                }
                Err(why) if plan.fail_on.is_empty() && asked.output.is_none() => {
                    say(&format!("no directory for recordings: {why}; each process reports itself when it exits"));
                    plan.reports = false;
                }
                Err(why) => return Err(Failure::usage(format!("no directory for recordings: {why}"))),
            }
        }
        if plan.place.is_some() {
            if !is_file {
                take(environment, REPORT);
                environment.push((REPORT.into(), "none".into()));
            }
            if get(environment, CENSUS).is_none() && (plan.reports || !plan.fail_on.is_empty()) {
                environment.push((CENSUS.into(), "1".into()));
            }
        }
        Ok(plan)
    }

    /// Whether the report goes to standard output, or to another inherited descriptor.
    pub fn needs_descriptors(&self) -> bool {
        self.output.as_ref().is_some_and(|path| {
            path == Path::new("-") || ["/dev", "/proc"].iter().any(|directory| path.starts_with(directory))
        })
    }
}

fn get<'a>(environment: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    environment.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_os_str())
}

/// Whether the rules need a session directory, and the user names none.
fn needs_session(environment: &[(OsString, OsString)]) -> bool {
    let rules = get(environment, INJECT).map(OsStr::as_encoded_bytes).unwrap_or_default();
    get(environment, SESSION).is_none() && need_session(rules, true)
}

/// Whether a report can probably be written there. Checked before CMD starts.
fn writable(file: &Path) -> Result<(), String> {
    match file.metadata() {
        Ok(there) if there.is_dir() => return Err("Is a directory".into()),
        Ok(there) if !there.is_file() => return Ok(()),
        _ => {}
    }
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    sys::may_write(directory).map_err(|error| reason(&error))
}
