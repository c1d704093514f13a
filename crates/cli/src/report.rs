//! `epollshim report`: reports on recordings.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use epollshim_recording::findings::{self, Found};
use epollshim_recording::model::Process;
use epollshim_recording::{Error, Format, Options, Set, load_all, render, render_for, replace_file};

use crate::args::{FailOn, Report};
use crate::text::{count, printable, reason, without_number};
use crate::{Failure, say, suppressions, terminal};

/// The exit status if something is missing that may be a finding of `--fail-on`.
const MISSING: i32 = 1;

/// Writes the report, and returns the exit status.
pub fn report(asked: &Report) -> Result<i32, Failure> {
    // The command line accepts only known formats.
    let format = Format::named(&asked.format).unwrap_or(Format::Text);
    let options = Options { debug: asked.debug.clone(), latest: asked.latest, ..Options::default() };
    let suppressions = read_suppressions(&asked.suppressions)?;
    let must_be_there = !asked.fail_on.is_empty();
    let mut set = load_all(&asked.paths, &options).map_err(|error| unreadable(&error, must_be_there))?;
    set.suppress(&suppressions);
    write(&set, format, asked.output.as_deref())?;
    judge(&set, &asked.fail_on)
}

/// The exit status after a report. Prints a line on stderr for each reason why it is not 0.
pub fn judge(set: &Set, fail_on: &[FailOn]) -> Result<i32, Failure> {
    let missing = if fail_on.is_empty() { missing(set) } else { lacking(set) };
    if let Some(what) = &missing {
        say(what);
    }
    Ok(verdict(set, fail_on).max(if missing.is_some() { MISSING } else { 0 }))
}

/// The text of all files of suppressions.
pub fn read_suppressions(files: &[PathBuf]) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    for file in files {
        let text = suppressions::read(file).map_err(|what| Failure::usage(format!("--suppressions: {what}")))?;
        all.extend_from_slice(&text);
        all.push(b'\n');
    }
    Ok(all)
}

/// Why there is nothing to report on. A missing recording fails like a finding if it must exist.
pub fn unreadable(error: &Error, must_be_there: bool) -> Failure {
    let text = printable(&without_number(&error.to_string()));
    match must_be_there && error.is_missing() {
        true => Failure { status: MISSING, text: format!("{text}; --fail-on needs a recording") },
        false => Failure::usage(text),
    }
}

/// One line on recordings that could not be read, that are incomplete, or that could not be
/// created: a finding of `--fail-on` may be missing. None: all are complete.
pub fn lacking(set: &Set) -> Option<String> {
    missing(set).or_else(|| partial(set))
}

/// One line on recordings that could not be read, or not completely. None: all were read.
pub fn missing(set: &Set) -> Option<String> {
    let cut = set.processes.iter().filter(|process| process.notes.is_cut_short);
    let unread = set.failures.iter().map(|failure| (&failure.path, failure.what.as_str()));
    let cut = cut.map(|process| (&process.path, process.notes.kept.first().map_or("cut short", String::as_str)));
    named(set, "could not be read completely", unread.chain(cut).collect())
}

/// One line on recordings that are incomplete because there was no space, or whose forked processes
/// have no recording.
pub fn partial(set: &Set) -> Option<String> {
    let lacks =
        |process: &&Process| process.partial() || process.findings_dropped > 0 || process.header.children_lost > 0;
    let why = |process: &Process| match (process.partial(), process.header.children_lost) {
        (true, _) => "the report says under PARTIAL what is missing".to_owned(),
        (false, 0) => format!("{} did not fit", count(process.findings_dropped as usize, "finding")),
        (false, lost) => format!(
            "{} could not create a recording",
            if lost == 1 { "1 forked process".to_owned() } else { format!("{lost} forked processes") }
        ),
    };
    let partial: Vec<_> = set.processes.iter().filter(lacks).map(|process| (&process.path, why(process))).collect();
    let partial = partial.iter().map(|(path, why)| (*path, why.as_str()));
    named(set, "PARTIAL, findings may be missing", partial.collect())
}

fn named(set: &Set, how: &str, of: Vec<(&PathBuf, &str)>) -> Option<String> {
    let (path, what) = of.first()?;
    let all = set.processes.len() + set.failures.len();
    let more = if of.len() > 1 { " (the first of them)" } else { "" };
    let line = format!("{} of {} {how}: {}: {what}{more}", of.len(), count(all, "recording"), path.display());
    Some(printable(&line))
}

/// Writes a report to a file or to stdout. On a terminal, text has its width and colours.
pub fn write(set: &Set, format: Format, output: Option<&Path>) -> Result<(), Failure> {
    write_with(output, &|out| match output {
        Some(_) => render(set, format, out),
        None => render_for(set, format, terminal::stdout(), out),
    })
}

/// Writes the output of `render` to a file, which is replaced completely or not at all, or to
/// stdout.
pub fn write_with(output: Option<&Path>, render: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    match output {
        Some(file) => replace_file(file, render)
            .map_err(|error| Failure::usage(format!("{}: {}", printable(&file.to_string_lossy()), reason(&error))))?,
        None => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            match render(&mut out).and_then(|()| out.flush()) {
                // `epollshim report rec | head`
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) => return Err(Failure::usage(format!("stdout: {}", reason(&error)))),
                Ok(()) => {}
            }
        }
    }
    Ok(())
}

/// Returns 1 if there is a finding that `fail_on` names, and prints its id on stderr. Otherwise
/// returns 0.
pub fn verdict(set: &Set, fail_on: &[FailOn]) -> i32 {
    let all = findings::of(&set.processes);
    let named: Vec<&Found> = all.iter().filter(|found| fail_on.iter().any(|one| one.names(&found.finding))).collect();
    if named.is_empty() {
        return 0;
    }
    let mut ids: Vec<&str> = named.iter().map(|found| found.finding.id.name()).collect();
    ids.sort_unstable();
    ids.dedup();
    say(&format!("{} that --fail-on names: {}", count(named.len(), "finding"), ids.join(", ")));
    1
}
