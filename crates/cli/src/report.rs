//! `epollshim report`: what is in recordings.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use epollshim_recording::findings::{self, Found};
use epollshim_recording::{Format, Options, Set, load_with, render, write_file};

use crate::args::{FailOn, Report};
use crate::text::{count, printable, reason};
use crate::{Failure, say, suppressions};

/// Writes the report that is asked for; the exit status.
pub fn report(asked: &Report) -> Result<i32, Failure> {
    // The command line knows the formats.
    let format = Format::named(&asked.format).unwrap_or(Format::Text);
    let options = Options { debug: asked.debug.clone(), ..Options::default() };
    let mut suppressions = Vec::new();
    for file in &asked.suppressions {
        let text = suppressions::read(file).map_err(|what| Failure::of_use(format!("--suppressions: {what}")))?;
        suppressions.extend_from_slice(&text);
        suppressions.push(b'\n');
    }
    let mut set = load_with(&asked.path, &options).map_err(|error| Failure::of_use(printable(&error.to_string())))?;
    set.suppress(&suppressions);
    write(&set, format, asked.output.as_deref())?;
    let missing = missing(&set).or_else(|| if asked.fail_on.is_empty() { None } else { partial(&set) });
    if let Some(what) = &missing {
        say(what);
    }
    Ok(verdict(&set, &asked.fail_on).max(i32::from(missing.is_some())))
}

/// One line about recordings that could not be read, or not to their end. None: each was read as it was written.
pub fn missing(set: &Set) -> Option<String> {
    let cut = set.processes.iter().filter(|process| process.notes.is_cut_short);
    let unread = set.failures.iter().map(|failure| (&failure.path, failure.what.as_str()));
    let cut = cut.map(|process| (&process.path, process.notes.kept.first().map_or("cut short", String::as_str)));
    named(set, "could not be read whole", unread.chain(cut).collect())
}

/// One line about recordings in which the program had no space for everything.
pub fn partial(set: &Set) -> Option<String> {
    let partial = set.processes.iter().filter(|process| process.partial());
    let partial = partial.map(|process| (&process.path, "the report says under PARTIAL what is missing"));
    named(set, "are PARTIAL: what is missing may be what --fail-on names", partial.collect())
}

fn named(set: &Set, how: &str, of: Vec<(&PathBuf, &str)>) -> Option<String> {
    let (path, what) = of.first()?;
    let all = set.processes.len() + set.failures.len();
    let more = if of.len() > 1 { " (the first of them)" } else { "" };
    let line = format!("{} of {} {how}: {}: {what}{more}", of.len(), count(all, "recording"), path.display());
    Some(printable(&line))
}

/// Writes a report into a file, or to stdout.
pub fn write(set: &Set, format: Format, output: Option<&Path>) -> Result<(), Failure> {
    match output {
        Some(file) => write_file(set, format, file)
            .map_err(|error| Failure::of_use(format!("{}: {}", printable(&file.to_string_lossy()), reason(&error))))?,
        None => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            match render(set, format, &mut out).and_then(|()| out.flush()) {
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
