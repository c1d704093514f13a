//! `epollshim run`: runs a program under the shim.
//!
//! This process stays as the parent of the program, as perf-stat(1) and strace(1) do. When the
//! program has ended, it reports, however the program ended. The program inherits everything that
//! the caller gave: process group, terminal, ignored and blocked signals, descriptors, limits.
//!
//! With `--exec` the program replaces this process. It keeps the process id, as process 1 and
//! supervisors need, and has no parent that reports.
//!
//! ```text
//! options   turns flags into variables, and checks them
//! shim      finds the library
//! plan      decides where processes record, and what is reported
//! place     the directory of recordings
//! watch     handles signals and job control until the program ends
//! family    finds the processes that the program has started
//! looks     checks which of them have epoll instances
//! unlogged  finds processes whose lines the log lacks
//! outcome   writes the report
//! ```

use std::ffi::OsString;
use std::io::{Error, ErrorKind};
use std::time::Instant;

use crate::args::Run;
use crate::check::facts;
use crate::check::verdict::{self, Reason, Seen};
use crate::program;
use crate::sys::child::{self, Change, Child};
use crate::text::{base, reason, shown};
use crate::{Failure, say, sys, take};
use looks::Looks;
use options::Settled;
use outcome::Ended;
use plan::Plan;

mod family;
mod looks;
mod options;
mod outcome;
mod place;
mod plan;
pub(crate) mod shim;
mod unlogged;
mod watch;

const PRELOAD: &str = "LD_PRELOAD";
const ASAN_OPTIONS: &str = "ASAN_OPTIONS";

/// The exit status if the program exited with 0, and the report could not be written.
const UNWRITTEN: i32 = 2;

/// Returns the exit status of the program. With `--exec` it returns only if the program could not
/// be started.
pub fn run(asked: &Run) -> Result<i32, Failure> {
    let mut environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    plan::forget_another_run(&mut environment);
    let settled = options::settle(asked, &mut environment)?;
    if let Settled::Ignored(problem) = settled {
        say(&problem);
        say("the program runs without the shim (on-bad-config: ignore)");
        return Err(not_started(asked, &sys::execute(&asked.command, &environment)));
    }
    let library = shim::find(asked.shim.as_deref())?;
    let limits = Limits::of(asked.command.first());
    let old = take(&mut environment, PRELOAD);
    let preload = if limits.is_foreign {
        shim::without(old.as_deref())
    } else {
        let options = take(&mut environment, ASAN_OPTIONS);
        environment.push((ASAN_OPTIONS.into(), shim::asan_options(options.as_deref())));
        Some(shim::preload(&library, old.as_deref()))
    };
    environment.extend(preload.map(|value| (PRELOAD.into(), value)));
    let plan = if asked.exec { None } else { Some(Plan::of(asked, &mut environment)?) };
    if !asked.quiet {
        limits.warn();
    }
    match plan {
        None => Err(not_started(asked, &sys::execute(&asked.command, &environment))),
        Some(plan) => stay(asked, &environment, &plan, &limits),
    }
}

/// Starts the program as a child, waits for its end, and reports.
fn stay(asked: &Run, environment: &[(OsString, OsString)], plan: &Plan, limits: &Limits) -> Result<i32, Failure> {
    let place = plan.place.as_ref();
    let clean_up = || place.map(|place| place.remove());
    let is_mute = !child::is_open(2);
    let start = Instant::now();
    let child = Child::start(&asked.command, environment).map_err(|error| {
        clean_up();
        not_started(asked, &error)
    })?;
    let began = family::began(child.pid);
    child::let_go(plan.needs_descriptors());
    let mut looks = Looks::new(place.map(|place| place.path.as_path()), began);
    let how = watch::wait_for_end(&child, &mut looks)
        .map_err(|error| Failure::usage(format!("waitpid: {}", reason(&error))))?;
    let after = start.elapsed();
    let signals = child.leave(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT]);
    child::ignore_broken_pipes();
    if let Some(error) = child.trouble() {
        clean_up();
        return Err(not_started(asked, &error));
    }
    sys::allow_descriptors();
    let private = place.filter(|place| place.is_private).map(|place| place.path.clone());
    outcome::clean_up_at(signals, private);
    let name = asked.command.first().map(|name| base(name.as_ref())).unwrap_or_default();
    let is_outside = limits.is_outside();
    let unseen = limits.unseen();
    let ended =
        Ended { name, pid: child.pid, began, how, after, is_outside, unseen, looks, is_quiet: asked.quiet, is_mute };
    let verdict = outcome::report(plan, &ended);
    match how {
        Change::Exited(0) if verdict.is_unwritten => Ok(UNWRITTEN),
        Change::Exited(0) if verdict.fails => Ok(1),
        Change::Exited(status) => Ok(status),
        Change::Killed(signal) | Change::Stopped(signal) => {
            child::end_by(signal);
            Ok(128 + signal)
        }
    }
}

/// Why a program was not executed. The exit status is that of env(1) and nohup(1).
fn not_started(asked: &Run, error: &Error) -> Failure {
    let name = asked.command.first().map(shown).unwrap_or_default();
    let status = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
    // execve(2) also fails with ENOENT if the file exists and its interpreter does not.
    let why = match asked.command.first().and_then(program::find) {
        Some(path) if status == 127 && path.exists() => "its interpreter is missing".to_string(),
        _ => reason(error),
    };
    Failure { status, text: format!("{name}: {why}") }
}

/// What the shim will not see of a program. Empty for a file that cannot be read: exec reports the
/// error.
#[derive(Default)]
struct Limits {
    program: String,
    /// The most serious reason.
    reason: Option<Reason>,
    /// The program has a loader that the library is not built for. Such a loader fails, or prints a
    /// line, if LD_PRELOAD names the library. (Static and privileged programs ignore LD_PRELOAD,
    /// and pass it on to their children.)
    is_foreign: bool,
}

impl Limits {
    fn of(command: Option<&OsString>) -> Limits {
        let Some(path) = command.and_then(program::find) else { return Limits::default() };
        let Ok(facts) = facts::of_file(&path) else { return Limits::default() };
        let verdict = verdict::judge(&facts);
        let through = if facts.path == path { String::new() } else { format!(" (by {})", shown(&facts.path)) };
        Limits {
            program: format!("{}{through}", shown(&path)),
            reason: verdict.unseen_when_started().cloned(),
            is_foreign: verdict.reasons.iter().any(|reason| matches!(reason.id, "architecture" | "interpreter")),
        }
    }

    /// Whether nothing of the program is seen.
    fn is_outside(&self) -> bool {
        self.reason.as_ref().is_some_and(|reason| reason.seen == Seen::Not)
    }

    /// Why the program is not seen, and which command shows it instead. None: no reason is known.
    fn unseen(&self) -> Option<String> {
        let Reason { id, text, .. } = self.reason.as_ref()?;
        let without = if self.is_foreign { "; it and its children run without the shim" } else { "" };
        let shows = match *id {
            "architecture" => "strace -f shows its calls",
            "io-uring" => "epollshim inspect PID shows what it watches by epoll",
            _ => "epollshim inspect PID, or strace -f -e trace=/^epoll, shows what it does",
        };
        Some(format!("{text}{without}; {shows}"))
    }

    fn warn(&self) {
        if let (Some(reason), Some(unseen)) = (&self.reason, self.unseen()) {
            say(&format!("warning: {}: {}: {unseen}", self.program, reason.seen.words()));
        }
    }
}
