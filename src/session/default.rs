//! The directory in which a user's processes count together if the options name none: the first
//! usable one of a list that is the same for all of them.
//!
//! Any user may create a directory of any name in /tmp. Every process skips a directory that
//! belongs to another user or that others may write. An existing directory is preferred to a new
//! one: if the other user's directory disappears, all processes stay where they are.

use core::ffi::CStr;
use core::fmt::Write;

use super::Trouble;
use crate::config::Config;
use crate::path::Path;
use crate::{output, place, sys};

/// How many names to try in /tmp.
const NAMES: usize = 8;

/// `$XDG_RUNTIME_DIR/epollshim`, `/tmp/epollshim-UID`, and the latter followed by `.1` to `.7`.
/// None: there is no such name.
pub fn directory(runtime: &CStr, number: usize) -> Option<Path> {
    let is_runtime = runtime.to_bytes().starts_with(b"/") && !place::is_foreign(runtime);
    let mut path = Path::new();
    let _ = match number.checked_sub(usize::from(is_runtime)) {
        None => {
            path.push(runtime.to_bytes());
            path.write_str("/epollshim")
        }
        Some(0) => write!(path, "/tmp/epollshim-{}", sys::geteuid()),
        Some(number) if number < NAMES => write!(path, "/tmp/epollshim-{}.{number}", sys::geteuid()),
        Some(_) => return None,
    };
    Some(path)
}

/// Opens the default session. Err: why the first of the directories cannot be used, if none can.
pub fn attach(config: &Config) -> Result<(), Trouble> {
    let mut first = None;
    for makes in [false, true] {
        let mut is_first = true;
        for number in 0.. {
            let Some(path) = directory(config.runtime, number) else { break };
            let Some(name) = path.as_c() else { continue };
            match super::attach(name, makes) {
                Ok(()) => {
                    if !is_first {
                        print_directory(config, name);
                    }
                    return Ok(());
                }
                Err(trouble @ (Trouble::NotOwned | Trouble::Directory(libc::ENOTDIR | libc::ELOOP))) => {
                    is_first = false;
                    first.get_or_insert(trouble);
                }
                Err(Trouble::Directory(libc::ENOENT)) if !makes => {}
                Err(trouble) => return Err(*first.get_or_insert(trouble)),
            }
        }
    }
    Err(first.unwrap_or(Trouble::Directory(libc::ENOENT)))
}

/// Prints that the usual directory is not in use, and which one is.
fn print_directory(config: &Config, name: &CStr) {
    let Some(usual) = directory(config.runtime, 0) else { return };
    let mut line = output::Line::new();
    let _ = writeln!(
        line,
        "epollshim: EPOLLSHIM_SESSION: '{}' is not private to this user; counting in '{}' instead",
        usual.as_c().unwrap_or_default().to_bytes().escape_ascii(),
        name.to_bytes().escape_ascii()
    );
    output::to_stderr(config, line.as_bytes());
}

impl Config {
    /// The session's directory, unless another user has it.
    pub fn session_directory(&self) -> Path {
        let mut path = Path::new();
        match self.session {
            Some(directory) => path.push(directory.to_bytes()),
            None => path = directory(self.runtime, 0).unwrap_or(path),
        }
        path
    }
}
