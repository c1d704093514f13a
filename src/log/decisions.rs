//! The lines of `EPOLLSHIM_INJECT_LOG`: each is in the file before the call goes on. (epollshim_format::faults::decisions has their form.)

use core::fmt::Write;

use epollshim_format::faults::decisions::{Decision, Header};

use super::{file, output, own_pid};
use crate::config::{self, Config, LogTo};
use crate::sync::{AtomicBool, Ordering};
use crate::{procfs, sys};

/// Whether decisions are to be told.
pub fn are_wanted() -> bool {
    config::get().is_some_and(|config| !matches!(config.inject_log, LogTo::Off))
}

/// Writes this process's header. At load: an error is the user's to hear.
pub fn begin(config: &'static Config, rules: &[u8]) -> sys::Result<()> {
    let mut written = Ok(());
    if !matches!(config.inject_log, LogTo::Off) {
        let mut space = [0; 4096];
        let program = procfs::program_name(&mut space);
        let header = Header { pid: own_pid() as u32, program, seed: config::seed(), rules };
        output::write(&config.inject_log, config, |out| write!(out, "{header}"), |result| written = result);
    }
    written
}

/// Tells of a decision. Says so once where that fails: what is missing cannot be repeated.
#[cold]
#[inline(never)]
pub fn decided(decision: &Decision) {
    let Some(config) = config::get() else { return };
    let decision = Decision { pid: own_pid() as u32, tid: sys::gettid() as u32, ..*decision };
    output::write(
        &config.inject_log,
        config,
        |out| write!(out, "{decision}"),
        |written| {
            static IS_SAID: AtomicBool = AtomicBool::new(false);
            if let Err(error) = written
                && !IS_SAID.swap(true, Ordering::Relaxed)
            {
                file::complain("EPOLLSHIM_INJECT_LOG", &config.inject_log, error);
            }
        },
    );
}
