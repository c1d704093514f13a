//! `epollshim run`: a program under the shim.
//!
//! The program takes this one's place by exec. No parent remains that would have to pass signals on, hand the terminal
//! over, stop and continue with its child, and die as it died; the process id, the controlling terminal, ignored
//! signals, the signal mask, descriptors and limits are those that the caller gave.

use std::ffi::OsString;
use std::io::ErrorKind;

use crate::args::Run;
use crate::check::verdict::{self, Reason, Seen};
use crate::program::{self, Target};
use crate::text::{reason, shown};
use crate::{Failure, elf, privilege, say, sys};
use options::Settled;

mod options;
mod shim;

const PRELOAD: &str = "LD_PRELOAD";
const ASAN_OPTIONS: &str = "ASAN_OPTIONS";

/// Returns only where the program could not be started.
pub fn run(asked: &Run) -> Result<i32, Failure> {
    let mut environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let settled = options::settle(asked, &mut environment)?;
    if let Settled::Ignored(problem) = settled {
        say(&problem);
        say("the program runs without the shim (on-bad-config: ignore)");
    } else {
        let library = shim::find(asked.shim.as_deref())?;
        let limits = Limits::of(asked.command.first());
        let old = take(&mut environment, PRELOAD);
        let preload = if limits.is_foreign() {
            shim::without(old.as_deref())
        } else {
            let options = take(&mut environment, ASAN_OPTIONS);
            environment.push((ASAN_OPTIONS.into(), shim::asan_options(options.as_deref())));
            Some(shim::preload(&library, old.as_deref()))
        };
        environment.extend(preload.map(|value| (PRELOAD.into(), value)));
        if !asked.quiet {
            limits.warn();
        }
    }
    let name = asked.command.first().map(shown).unwrap_or_default();
    let error = sys::execute(&asked.command, &environment);
    let status = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
    // exec says ENOENT of a file that is there where its interpreter is not.
    let why = match asked.command.first().and_then(program::find) {
        Some(path) if status == 127 && path.exists() => "its interpreter is missing".to_string(),
        _ => reason(&error),
    };
    Err(Failure { status, text: format!("{name}: {why}") })
}

/// Removes a variable, and returns its value.
fn take(environment: &mut Vec<(OsString, OsString)>, name: &str) -> Option<OsString> {
    let place = environment.iter().position(|(other, _)| other == name)?;
    let (_, value) = environment.swap_remove(place);
    environment.retain(|(other, _)| other != name);
    Some(value)
}

/// Where the shim will not act in a program. Empty for a file that cannot be read: exec reports what is wrong.
#[derive(Default)]
struct Limits {
    program: String,
    reasons: Vec<Reason>,
}

impl Limits {
    fn of(command: Option<&OsString>) -> Limits {
        let Some(path) = command.and_then(program::find) else { return Limits::default() };
        let Ok(Target { path: file, header, .. }) = program::follow(&path) else { return Limits::default() };
        let elf = header.is_native().then(|| elf::read_file(&file).ok()).flatten();
        let privilege = privilege::of(&file);
        let mut reasons = verdict::outside(&header, elf.as_ref(), privilege.as_ref());
        // What is seen when this user starts it is seen now.
        reasons.retain(|found| found.seen == Seen::Not);
        reasons.extend(elf.as_ref().and_then(verdict::go));
        let through = if file == path { String::new() } else { format!(" (by {})", shown(&file)) };
        Limits { program: format!("{}{through}", shown(&path)), reasons }
    }

    /// Whether the program has another loader than the library is built for. Such a loader fails, or prints a line, when
    /// LD_PRELOAD names the library. (A static or privileged program ignores LD_PRELOAD, and passes it on to its children.)
    fn is_foreign(&self) -> bool {
        self.reasons.iter().any(|reason| matches!(reason.id, "architecture" | "interpreter"))
    }

    fn warn(&self) {
        let without = if self.is_foreign() { "; it and its children run without the shim" } else { "" };
        for reason in &self.reasons {
            say(&format!("warning: {}: {}{without}", self.program, reason.text));
        }
    }
}
