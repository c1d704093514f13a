//! `epollshim run`: a program under the shim.
//!
//! The program takes this one's place by exec. No parent remains that would have to pass signals on, hand the terminal
//! over, stop and continue with its child, and die as it died; the process id, the controlling terminal, ignored
//! signals, the signal mask, descriptors and limits are those that the caller gave.

use std::ffi::OsString;
use std::io::ErrorKind;

use crate::args::Run;
use crate::check::verdict::{self, Seen};
use crate::program::{self, Target};
use crate::text::{reason, shown};
use crate::{Failure, elf, privilege, say, sys};
use options::Settled;

mod options;
mod shim;

const PRELOAD: &str = "LD_PRELOAD";

/// Returns only where the program could not be started.
pub fn run(asked: &Run) -> Result<i32, Failure> {
    let mut environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let settled = options::settle(asked, &mut environment)?;
    if let Settled::Ignored(problem) = settled {
        say(&problem);
        say("the program runs without the shim (on-bad-config: ignore)");
    } else {
        let library = shim::find(asked.shim.as_deref())?;
        let old = environment.iter().find(|(name, _)| name == PRELOAD).map(|(_, value)| value.clone());
        environment.retain(|(name, _)| name != PRELOAD);
        environment.push((PRELOAD.into(), shim::preload(&library, old.as_deref())));
        if !asked.quiet {
            warn(asked.command.first());
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

/// Says where the shim will not act. What cannot be read is not warned of: exec will say what is the matter.
fn warn(command: Option<&OsString>) {
    let Some(path) = command.and_then(program::find) else { return };
    let Ok(Target { path: file, header, .. }) = program::follow(&path) else { return };
    let elf = header.is_native().then(|| elf::read_file(&file).ok()).flatten();
    let privilege = privilege::of(&file);
    let mut reasons = verdict::outside(&header, elf.as_ref(), privilege.as_ref());
    // What is seen when this user starts it is seen now.
    reasons.retain(|found| found.seen == Seen::Not);
    reasons.extend(elf.as_ref().and_then(verdict::go));
    for found in reasons {
        let through = if file == path { String::new() } else { format!(" (by {})", shown(&file)) };
        say(&format!("warning: {}{through}: {}", shown(&path), found.text));
    }
}
