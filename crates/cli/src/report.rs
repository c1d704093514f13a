//! `epollshim report`: what is in recordings.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use epollshim_recording::findings::{self, Found};
use epollshim_recording::model::Process;
use epollshim_recording::{Error, Format, Options, Set, load_all, render, render_for, replace_file};

use crate::args::{FailOn, Report};
use crate::text::{count, printable, reason};
use crate::{Failure, say, suppressions, terminal};

/// The exit status where something is missing that `--fail-on` may name.
const MISSING: i32 = 1;

/// Writes the report that is asked for; the exit status.
pub fn report(asked: &Report) -> Result<i32, Failure> {
    // The command line knows the formats.
    let format = Format::named(&asked.format).unwrap_or(Format::Text);
    let options = Options { debug: asked.debug.clone(), latest: asked.latest, ..Options::default() };
    let suppressions = read_suppressions(&asked.suppressions)?;
    let must_be_there = !asked.fail_on.is_empty();
    let mut set = load_all(&asked.paths, &options).map_err(|error| unreadable(&error, must_be_there))?;
    set.suppress(&suppressions);
    write(&set, format, asked.output.as_deref())?;
    judge(&set, &asked.fail_on)
}

/// The exit status of a report that was written, with a line on stderr for each reason why it is not 0.
pub fn judge(set: &Set, fail_on: &[FailOn]) -> Result<i32, Failure> {
    let missing = if fail_on.is_empty() { missing(set) } else { lacking(set) };
    if let Some(what) = &missing {
        say(what);
    }
    Ok(verdict(set, fail_on).max(if missing.is_some() { MISSING } else { 0 }))
}

/// The text of files of suppressions.
pub fn read_suppressions(files: &[PathBuf]) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    for file in files {
        let text = suppressions::read(file).map_err(|what| Failure::of_use(format!("--suppressions: {what}")))?;
        all.extend_from_slice(&text);
        all.push(b'\n');
    }
    Ok(all)
}

/// Why there is nothing to report on. A recording that must be there, and is not, is a failure like a finding.
pub fn unreadable(error: &Error, must_be_there: bool) -> Failure {
    let text = printable(&error.to_string());
    match must_be_there && error.is_missing() {
        true => Failure { status: MISSING, text: format!("{text}: --fail-on fails without a recording") },
        false => Failure::of_use(text),
    }
}

/// One line about what a set lacks of what `--fail-on` may name: recordings that could not be read, that are not whole, or that
/// could not be made. None: nothing.
pub fn lacking(set: &Set) -> Option<String> {
    missing(set).or_else(|| partial(set))
}

/// One line about recordings that could not be read, or not to their end. None: each was read as it was written.
pub fn missing(set: &Set) -> Option<String> {
    let cut = set.processes.iter().filter(|process| process.notes.is_cut_short);
    let unread = set.failures.iter().map(|failure| (&failure.path, failure.what.as_str()));
    let cut = cut.map(|process| (&process.path, process.notes.kept.first().map_or("cut short", String::as_str)));
    named(set, "could not be read whole", unread.chain(cut).collect())
}

/// One line about recordings in which the program had no space for everything, or for its children.
pub fn partial(set: &Set) -> Option<String> {
    let lacks =
        |process: &&Process| process.partial() || process.findings_dropped > 0 || process.header.children_lost > 0;
    let why = |process: &Process| match (process.partial(), process.header.children_lost) {
        (true, _) => "the report says under PARTIAL what is missing".to_owned(),
        (false, 0) => format!("{} found no place", count(process.findings_dropped as usize, "finding")),
        (false, lost) => format!(
            "{} could not create a recording",
            if lost == 1 { "1 forked process".to_owned() } else { format!("{lost} forked processes") }
        ),
    };
    let partial: Vec<_> = set.processes.iter().filter(lacks).map(|process| (&process.path, why(process))).collect();
    let partial = partial.iter().map(|(path, why)| (*path, why.as_str()));
    named(set, "PARTIAL: what is missing may be what --fail-on names", partial.collect())
}

fn named(set: &Set, how: &str, of: Vec<(&PathBuf, &str)>) -> Option<String> {
    let (path, what) = of.first()?;
    let all = set.processes.len() + set.failures.len();
    let more = if of.len() > 1 { " (the first of them)" } else { "" };
    let line = format!("{} of {} {how}: {}: {what}{more}", of.len(), count(all, "recording"), path.display());
    Some(printable(&line))
}

/// Writes a report into a file, or to stdout: text as wide as the terminal, with its colours.
pub fn write(set: &Set, format: Format, output: Option<&Path>) -> Result<(), Failure> {
    write_with(output, &|out| match output {
        Some(_) => render(set, format, out),
        None => render_for(set, format, terminal::stdout(), out),
    })
}

/// Writes what `render` writes into a file, which is replaced whole or not at all, or to stdout.
pub fn write_with(output: Option<&Path>, render: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    match output {
        Some(file) => replace_file(file, render)
            .map_err(|error| Failure::of_use(format!("{}: {}", printable(&file.to_string_lossy()), reason(&error))))?,
        None => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            match render(&mut out).and_then(|()| out.flush()) {
                // `epollshim report rec | head`
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) => return Err(Failure::of_use(format!("stdout: {}", reason(&error)))),
                Ok(()) => {}
            }
        }
    }
    Ok(())
}

/// The exit status: 1 where something was found that must not be there. Says what on stderr.
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
