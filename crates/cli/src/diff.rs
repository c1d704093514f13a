//! `epollshim diff`: compares two recordings.

use std::path::Path;

use epollshim_recording::diff::{Diff as Differences, FindingChange, between};
use epollshim_recording::{Look, Options, Set, load_with};

use crate::args::{Diff, Format};
use crate::report::{lacking, read_suppressions, unreadable, write_with};
use crate::text::count;
use crate::{Failure, say, terminal};

/// Writes the differences, and returns the exit status.
pub fn diff(asked: &Diff) -> Result<i32, Failure> {
    let options = Options { debug: asked.debug.clone(), latest: asked.latest, ..Options::default() };
    let suppressions = read_suppressions(&asked.suppressions)?;
    let load = |path: &Path, must_be_there| {
        let mut set = load_with(path, &options).map_err(|error| unreadable(&error, must_be_there))?;
        set.suppress(&suppressions);
        Ok::<Set, Failure>(set)
    };
    let a = load(&asked.a, false)?;
    let b = load(&asked.b, asked.fail_on.is_some())?;
    let differences = between(&a, &b);
    write_with(asked.output.as_deref(), &|out| match asked.format {
        Format::Text => {
            let look = if asked.output.is_none() { terminal::stdout() } else { Look::default() };
            differences.text(&a, &b, look, out)
        }
        Format::Json => differences.json(&a, &b, out),
    })?;
    let Some(least) = asked.fail_on else { return Ok(0) };
    let lacking = lacking(&b);
    if let Some(what) = &lacking {
        say(what);
    }
    Ok(verdict(&differences, |change| change.is_new_from(least.0)).max(i32::from(lacking.is_some())))
}

/// Returns 1 if there are new findings, and prints their ids on stderr. Otherwise returns 0.
fn verdict(differences: &Differences, is_new: impl Fn(&FindingChange) -> bool) -> i32 {
    let new: Vec<&FindingChange> = differences.findings.iter().filter(|change| is_new(change)).collect();
    if new.is_empty() {
        return 0;
    }
    let mut ids: Vec<&str> = new.iter().map(|change| change.found.finding.id.name()).collect();
    ids.sort_unstable();
    ids.dedup();
    say(&format!("{}: {}", count(new.len(), "new finding"), ids.join(", ")));
    1
}
