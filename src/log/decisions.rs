//! The lines of `EPOLLSHIM_INJECT_LOG`. Each is in the file before the call goes on.
//! `epollshim_format::faults::decisions` has their form.

use core::fmt::{self, Write};

use epollshim_format::faults::decisions::{Decision, Header, object};

use super::{file, output, own_pid};
use crate::config::{self, Config, LogTo};
use crate::sync::AtomicBool;
use crate::{loaded, procfs, sys};

/// Whether the options ask for a log of decisions.
pub fn are_wanted() -> bool {
    config::get().is_some_and(|config| !matches!(config.inject_log, LogTo::Off))
}

/// Writes this process's header. Called at load, so that an error is reported to the user.
pub fn begin(config: &'static Config, rules: &[u8]) -> sys::Result<()> {
    let mut written = Ok(());
    if !matches!(config.inject_log, LogTo::Off) {
        config::learn_file_name();
        let mut space = [0; 4096];
        let program = procfs::program_name(&mut space);
        let header = Header { pid: own_pid() as u32, program, seed: config::seed(), rules };
        output::write(&config.inject_log, config, |out| write!(out, "{header}"), |result| written = result);
    }
    written
}

/// Writes the callers that can be named, innermost first, up to one whose object is unknown.
fn write_frames(out: &mut dyn Write, frames: &[usize]) -> fmt::Result {
    let mut before = " frames=";
    for (path, place) in frames.iter().map_while(|address| loaded::place_in_file(*address)) {
        out.write_str(before)?;
        let base = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        // The program's own object has no path.
        let own = config::file_name().take(if base.is_empty() { usize::MAX } else { 0 });
        object(base.iter().copied().chain(own)).try_for_each(|byte| out.write_char(char::from(byte)))?;
        write!(out, "+{place:#x}")?;
        before = ",";
    }
    Ok(())
}

/// Writes a decision and its callers. Prints once if that fails, because a missing decision cannot
/// be replayed.
#[cold]
#[inline(never)]
pub fn decided(decision: &Decision, frames: &[usize]) {
    let Some(config) = config::get() else { return };
    let decision = Decision { pid: own_pid() as u32, tid: sys::gettid() as u32, ..*decision };
    output::write(
        &config.inject_log,
        config,
        |out| {
            write!(out, "{decision}")?;
            write_frames(out, frames)?;
            out.write_char('\n')
        },
        |written| {
            static IS_SAID: AtomicBool = AtomicBool::new(false);
            if let Err(error) = written {
                file::complain_once(&IS_SAID, "EPOLLSHIM_INJECT_LOG", &config.inject_log, error);
            }
        },
    );
}
