//! Reports when CMD has ended: one report on all processes, or why there is none.

use std::io::{Error, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use epollshim_format::signal;
use epollshim_recording::model::{Process, RuleSum, summed_rules};
use epollshim_recording::{self as recording, Format, Options, Set};

use super::family::{self, Running};
use super::looks::Looks;
use super::place::Place;
use super::plan::Plan;
use crate::sys::child::Change;
use crate::terminal;
use crate::text::{count, printable, reason, shown};
use crate::{report, say};

/// How long processes that end together with CMD may take, before they count as still running.
const GRACE: Duration = Duration::from_millis(300);
const STEP: Duration = Duration::from_millis(25);
/// At most this many running processes are listed.
const NAMED: usize = 8;

/// How CMD ended.
pub struct Ended {
    pub name: String,
    pub pid: i32,
    /// Its start time, in clock ticks since boot.
    pub began: u64,
    pub how: Change,
    pub after: Duration,
    /// Whether nothing of CMD's epoll calls is seen.
    pub is_outside: bool,
    /// The reason why calls are not seen, as printed before the start.
    pub unseen: Option<String>,
    /// Whether that warning was suppressed (`--quiet`).
    pub is_quiet: bool,
    pub looks: Looks,
    /// Standard error was closed when epollshim started.
    pub is_mute: bool,
}

impl Ended {
    /// `redis-server (pid 7) was killed by SIGKILL after 1.25 s`.
    fn sentence(&self) -> String {
        let Ended { name, pid, .. } = self;
        let after = recording::duration(u64::try_from(self.after.as_nanos()).unwrap_or(u64::MAX));
        match self.how {
            Change::Killed(number) | Change::Stopped(number) => {
                let signal = u8::try_from(number).ok().and_then(signal::name);
                let signal = signal.map_or_else(|| format!("signal {number}"), str::to_owned);
                format!("{name} (pid {pid}) was killed by {signal} after {after}")
            }
            Change::Exited(status) => format!("{name} (pid {pid}) exited with status {status} after {after}"),
        }
    }
}

/// A run that has ended: what the report is made of.
struct Ran<'a> {
    plan: &'a Plan,
    place: &'a Place,
    ended: &'a Ended,
    /// The recordings of the processes that have ended.
    set: Set,
    /// The error if the recordings could not be read.
    unread: Option<String>,
    /// Whether some processes still run.
    some_go_on: bool,
}

/// What the exit status depends on.
#[derive(Default)]
pub struct Verdict {
    /// `--fail-on` names a finding, or could not be judged.
    pub fails: bool,
    /// The report could not be written to its destination.
    pub is_unwritten: bool,
}

/// Writes the report. Removes the private directory, unless processes still run or the report could
/// not be written.
pub fn report(plan: &Plan, ended: &Ended) -> Verdict {
    let Some(place) = &plan.place else { return Verdict::default() };
    let mut running = family::running(&place.path, ended.began);
    let mut waited = Duration::ZERO;
    while !running.is_empty() && waited < GRACE {
        sleep(STEP);
        waited += STEP;
        running = family::running(&place.path, ended.began);
    }
    let (mut set, unread) = load(plan, place, ended);
    // Recordings of processes that still run count, too.
    let missing = [not_fired(plan, &set), plan.logs.lacking(&set.processes)].concat();
    set.processes.retain(|process| !process.runs);
    set.suppress(&plan.suppressions);
    let mut verdict = Verdict::default();
    let runs = |pid| running.iter().any(|process| process.pid == pid);
    let unseen = unseen(ended, &set, &runs);
    let ran = Ran { plan, place, ended, set, unread, some_go_on: !running.is_empty() };
    let written = if plan.reports { ran.write(&unseen) } else { Ok(()) };
    if let Err(error) = &written {
        let to = plan.output.as_deref().map_or_else(|| "stderr".to_owned(), shown);
        say(&format!("{to}: {}", reason(error)));
        verdict.is_unwritten = plan.output.is_some();
    }
    if plan.reports {
        missing.iter().for_each(|what| say(what));
    }
    if !plan.fail_on.is_empty() {
        verdict.fails = ran.fails();
    }
    // A reader that closed the pipe wants no more. After any other error the recordings are still
    // of use.
    let is_lost = ended.is_mute || written.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe);
    if !place.is_private {
        if plan.reports && !ran.set.processes.is_empty() {
            let path = quoted(&place.path);
            say(&format!("recorded in {path}; another report of it: epollshim report {path} --format html -o FILE"));
        }
        if plan.reports && !running.is_empty() {
            go_on(&running, place);
        }
    } else if !running.is_empty() {
        go_on(&running, place);
    } else if is_lost && !ran.set.processes.is_empty() {
        let path = quoted(place.top());
        say(&format!("the recordings are kept in {path}: epollshim report {path}"));
    } else {
        place.remove();
    }
    verdict
}

/// The recordings of this run, and the error if they could not be read.
fn load(plan: &Plan, place: &Place, ended: &Ended) -> (Set, Option<String>) {
    let options = Options { debug: plan.debug.clone(), ..Options::default() };
    let mut set = match recording::load_with(&place.path, &options) {
        Ok(set) => set,
        Err(recording::Error::Nothing { .. }) => return (Set::default(), None),
        Err(recording::Error::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {
            return (Set::default(), None);
        }
        Err(error) => return (Set::default(), Some(printable(&error.to_string()))),
    };
    set.processes.retain(|process| place.has(&process.path));
    set.failures.retain(|failure| place.has(&failure.path));
    if let Change::Killed(number) | Change::Stopped(number) = ended.how {
        // The recording does not have the signal, nor the time of the end.
        let is_it = |process: &&mut Process| i32::try_from(process.header.pid) == Ok(ended.pid);
        for process in set.processes.iter_mut().filter(is_it).filter(|process| !process.end_is_known()) {
            process.signal = u8::try_from(number).ok();
            process.duration = process.duration.max(u64::try_from(ended.after.as_nanos()).unwrap_or(u64::MAX));
        }
    }
    (set, None)
}

/// A sentence for each rule that fired in no process: without it, a program that a mistyped rule
/// never reached seems to have survived the fault. Only recordings have the counts.
fn not_fired(plan: &Plan, set: &Set) -> Vec<String> {
    let rules = summed_rules(&set.processes);
    if rules.is_empty() && plan.has_rules {
        let why = "no process left a recording, which would have the counts";
        return vec![format!("--inject: not known whether a rule fired: {why}; --inject-log FILE lists each fault")];
    }
    let so_far = if set.processes.iter().any(|process| process.runs) { " so far" } else { "" };
    let idle = rules.into_iter().filter(|rule| rule.fired == 0);
    idle.map(|RuleSum { text, matched, .. }| {
        let why = match matched {
            0 => "the program made no call that it names".to_owned(),
            calls => format!("it counted {}, and its conditions held for none", count(calls as usize, "call")),
        };
        printable(&format!("rule '{text}' changed nothing{so_far}: {why}"))
    })
    .collect()
}

/// What is known to have been missed by the library, one sentence each.
fn unseen(ended: &Ended, set: &Set, runs: &dyn Fn(i32) -> bool) -> Vec<String> {
    let known = ended.unseen.iter().filter(|_| ended.is_outside && !ended.is_quiet);
    known.map(|why| format!("{}: {why}", ended.name)).chain(ended.looks.unseen(set, runs)).collect()
}

impl Ran<'_> {
    /// Writes the report, or prints why there is nothing to report.
    fn write(&self, unseen: &[String]) -> Result<(), Error> {
        let Ran { plan, ended, set, .. } = self;
        let is_text = plan.format == Format::Text;
        let mut bytes = Vec::new();
        if set.processes.is_empty() {
            let why = self.why_nothing(!unseen.is_empty());
            if why.is_some() || !unseen.is_empty() {
                say(&format!("{}: nothing to report", ended.sentence()));
            }
            unseen.iter().for_each(|what| say(&format!("NOT SEEN: {what}")));
            if let Some(why) = why {
                say(&why);
            }
            if plan.output.is_none() {
                return Ok(());
            }
            if is_text {
                writeln!(bytes, "epollshim: {}: nothing to report", ended.sentence())?;
            }
        } else if is_text {
            if ended.how != Change::Exited(0) {
                writeln!(bytes, "epollshim: {}\n", ended.sentence())?;
            }
            for what in unseen {
                writeln!(bytes, "epollshim: NOT SEEN: {}\n", printable(what))?;
            }
            let look = if plan.output.is_none() { terminal::stderr() } else { recording::Look::default() };
            recording::render_family(set, look, &mut bytes)?;
        }
        if !is_text {
            recording::render(set, plan.format, &mut bytes)?;
        }
        match &plan.output {
            None => crate::to_stderr(&bytes),
            Some(path) if path == Path::new("-") => {
                let mut out = std::io::stdout().lock();
                out.write_all(&bytes).and_then(|()| out.flush())
            }
            Some(path) => {
                recording::replace_file(path, &|out| out.write_all(&bytes))?;
                if !set.processes.is_empty() {
                    say(&format!("report written to {} ({})", shown(path), count(set.processes.len(), "recording")));
                }
                Ok(())
            }
        }
    }

    /// Why no process has left a recording. None: the reason was given already.
    fn why_nothing(&self, is_known: bool) -> Option<String> {
        let Ran { plan, place, ended, set, .. } = self;
        if let Some(failure) = set.failures.first() {
            return Some(printable(&format!(
                "its recording cannot be read: {}: {}",
                failure.path.display(),
                failure.what
            )));
        }
        if let Some(why) = &self.unread {
            return Some(format!("its recording cannot be read: {why}"));
        }
        if let Some(why) = place.trouble().filter(|_| place.path.exists()) {
            return Some(format!("no recording could be made in {}: {why}", shown(&place.path)));
        }
        if ended.is_outside || is_known {
            return None;
        }
        let who = match (plan.has_only, self.some_go_on) {
            (true, _) => "no process of a program that --only names",
            (false, true) => "no process that has ended",
            (false, false) => "no process",
        };
        Some(format!(
            "{who} made an epoll call that the shim could see; run `epollshim check {}` to see why",
            ended.name
        ))
    }

    /// Whether `--fail-on` makes the exit status 1. Prints why.
    fn fails(&self) -> bool {
        let Ran { plan, ended, set, unread, .. } = self;
        let missing = report::missing(set).or_else(|| report::partial(set)).or_else(|| unread.clone());
        let outside = "--fail-on: the program's epoll calls were not seen, so nothing was checked";
        let saw_none = set.processes.iter().all(|process| process.counters().all_calls() == 0);
        let missing = missing.or_else(|| (saw_none && ended.is_outside).then(|| outside.to_owned()));
        if let Some(what) = &missing {
            say(what);
        }
        report::verdict(set, &plan.fail_on) != 0 || missing.is_some()
    }
}

/// Prints which processes still run, and how to report on them later.
fn go_on(running: &[Running], place: &Place) {
    let mut named: Vec<String> =
        running.iter().take(NAMED).map(|process| format!("{} (pid {})", process.name, process.pid)).collect();
    if running.len() > NAMED {
        named.push(format!("and {} more", running.len() - NAMED));
    }
    say(&format!("still running: {}", named.join(", ")));
    let path = quoted(place.top());
    let remove = if place.is_private { format!("; then remove it: rm -r {path}") } else { String::new() };
    say(&format!("report them at any time: epollshim report {path}{remove}"));
}

/// A path, quoted for a shell if necessary.
fn quoted(path: &Path) -> String {
    let text = shown(path);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    if text.bytes().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// If one of the signals arrives before the report is written, removes the private directory and
/// ends by that signal.
pub fn clean_up_at(signals: crate::sys::Signals, directory: Option<PathBuf>) {
    let watch = move || {
        if let Some(number) = signals.wait() {
            if let Some(directory) = directory {
                let _ = std::fs::remove_dir_all(directory);
            }
            crate::sys::child::end_by(number);
            std::process::exit(128 + number);
        }
    };
    // Without the thread, these signals take effect after the report.
    let _ = std::thread::Builder::new().spawn(watch);
}

#[cfg(test)]
mod tests {
    use super::quoted;
    use std::path::Path;

    #[test]
    fn a_path_can_be_pasted_into_a_shell() {
        assert_eq!(quoted(Path::new("/tmp/epollshim-run.7.a")), "/tmp/epollshim-run.7.a");
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
