//! The log. Its lines read as those of strace for the same calls. No line is lost without being
//! counted, torn, or mixed with another. Whatever happens to the log, the program behaves as
//! without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "log/counts.rs"]
mod counts;

#[path = "log/files.rs"]
mod files;

#[path = "log/filter.rs"]
mod filter;

#[path = "log/formats.rs"]
mod formats;

#[path = "log/names.rs"]
mod names;

#[path = "log/readers.rs"]
mod readers;

#[path = "log/strace.rs"]
mod strace;

use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use testkit::{c_program, reports, scratch, show};

macro_rules! built_once {
    ($($name:ident: $program:literal;)*) => {
        $(fn $name() -> &'static Path {
            static BINARY: OnceLock<PathBuf> = OnceLock::new();
            BINARY.get_or_init(|| c_program($program))
        })*
    };
}

built_once! {
    walk: "log_walk";
    corners: "log_corners";
    troubles: "log_troubles";
    generations: "log_generations";
    known_counts: "known_counts";
}

/// Much longer than any program here needs, including the one wait of 2 s for a reader. Much
/// shorter than such a wait at each line.
const PATIENCE: Duration = Duration::from_secs(100);

/// A program with a log, and the place of its report.
struct Logged {
    command: Command,
    report: PathBuf,
}

impl Logged {
    fn new(program: &Path, arguments: &[&str], log: impl AsRef<OsStr>) -> Logged {
        let mut command = bare(program, arguments);
        let report = scratch("report").join("report.json");
        testkit::under_shim(&mut command, &report).env("EPOLLSHIM_LOG", log);
        Logged { command, report }
    }

    fn with(mut self, name: &str, value: &str) -> Logged {
        self.command.env(name, value);
        self
    }

    /// Runs the program until it ends. Returns its reports as well.
    fn run(mut self) -> (Output, Vec<Value>) {
        let output = self.command.output().unwrap();
        (output, reports(&self.report))
    }
}

fn bare(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("EPOLLSHIM_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn read(path: &Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap_or_default()).unwrap()
}

/// How many lines a report counts as written and as dropped, and how many epoll calls.
fn tally(report: &Value) -> (u64, u64, u64) {
    let calls = report["calls"].as_object().unwrap().values().map(|call| call["calls"].as_u64().unwrap()).sum();
    (report["log"]["written"].as_u64().unwrap(), report["log"]["dropped"].as_u64().unwrap(), calls)
}

/// Asserts that both runs have the same status, and printed the same on standard output.
#[track_caller]
fn same_as_bare(bare: &Output, logged: &Output) {
    assert!(!String::from_utf8_lossy(&bare.stdout).contains("FAIL"), "{}", show(bare));
    assert_eq!(logged.status, bare.status, "{}", show(logged));
    let [bare, shimmed] = [bare, logged].map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    for (bare, shimmed) in bare.lines().zip(shimmed.lines()) {
        assert_eq!(shimmed, bare);
    }
    assert_eq!(shimmed.lines().count(), bare.lines().count());
}

/// A parsed line of the text log: `[pid P tid T] CALL(ARGUMENTS) = RESULT<duration>`, and marks.
#[derive(Debug)]
struct Line {
    pid: u64,
    call: String,
    /// `CALL(ARGUMENTS) = RESULT`, and the errno with its text.
    said: String,
    has_duration: bool,
    injected: bool,
    limited: bool,
}

/// Parses a line. None: it is not one complete line of one call.
fn line(text: &str) -> Option<Line> {
    let rest = text.strip_prefix("[pid ")?;
    if rest.contains("[pid ") || rest.contains(|letter: char| !letter.is_ascii() || letter.is_ascii_control()) {
        return None;
    }
    let (pid, rest) = rest.split_once(" tid ")?;
    let (tid, rest) = rest.split_once("] ")?;
    tid.parse::<u64>().ok()?;
    let (rest, limited) = rest.strip_suffix(" (LIMITED)").map_or((rest, false), |rest| (rest, true));
    let (rest, signalled) = rest.strip_suffix(" (SIGNALLED)").map_or((rest, false), |rest| (rest, true));
    let (rest, delayed) = rest.strip_suffix(" (DELAYED)").map_or((rest, false), |rest| (rest, true));
    let (rest, made_up) = rest.strip_suffix(" (INJECTED)").map_or((rest, false), |rest| (rest, true));
    let injected = signalled || delayed || made_up;
    let (rest, has_duration) = match rest.strip_suffix('>').and_then(|rest| rest.rsplit_once(" <")) {
        Some((rest, time)) if time.split_once('.').is_some_and(|(_, part)| part.len() == 6) => (rest, true),
        Some(_) => return None,
        None => (rest, false),
    };
    let (call, arguments) = rest.split_once('(')?;
    let (_, result) = arguments.rsplit_once(") = ")?;
    let (number, errno) = result.split_once(' ').map_or((result, None), |(number, errno)| (number, Some(errno)));
    match number.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok()?,
        None => number.parse::<i64>().ok()?,
    };
    match errno {
        // `= 0x2 (flags O_RDWR)`
        Some(name) if name.starts_with('(') => _ = name.strip_suffix(')')?,
        Some(errno) => {
            let (name, text) = errno.split_once(" (")?;
            if number != "-1" || !name.starts_with('E') || !text.ends_with(')') {
                return None;
            }
        }
        None => {}
    }
    Some(Line { pid: pid.parse().ok()?, call: call.to_owned(), said: rest.to_owned(), has_duration, injected, limited })
}

/// Parses all lines of a log, which must be complete.
#[track_caller]
fn lines(log: &str) -> Vec<Line> {
    assert!(log.is_empty() || log.ends_with('\n'), "the last line is cut");
    log.lines().map(|text| line(text).unwrap_or_else(|| panic!("no line of one call: {text:?}"))).collect()
}

/// Asserts that each call has one complete line, as the report of its process counts them. Nothing
/// may have hindered the log.
#[track_caller]
fn one_line_per_call(log: &str, reports: &[Value]) {
    let mut by_process: BTreeMap<u64, u64> = BTreeMap::new();
    for line in lines(log) {
        *by_process.entry(line.pid).or_default() += 1;
    }
    for report in reports {
        let (written, dropped, calls) = tally(report);
        let pid = report["process"]["pid"].as_u64().unwrap();
        assert_eq!((written, dropped), (calls, 0), "{report}");
        assert_eq!(by_process.remove(&pid).unwrap_or(0), written, "{report}");
    }
    assert!(by_process.is_empty(), "of processes without a report: {by_process:?}");
}

/// Asserts that the program behaves as without a log. Returns the reports.
#[track_caller]
fn undisturbed(steps: &[&str], log: impl AsRef<OsStr>) -> Vec<Value> {
    let plain = bare(troubles(), steps).output().unwrap();
    assert_eq!(plain.status.code(), Some(7), "{}", show(&plain));
    let (output, reports) = Logged::new(troubles(), steps, log).run();
    same_as_bare(&plain, &output);
    for report in &reports {
        let (written, dropped, calls) = tally(report);
        assert_eq!(written + dropped, calls, "{report}");
    }
    reports
}
