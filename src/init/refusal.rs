//! Messages about options that are well-formed but cannot be put into force.

use core::ffi::CStr;

use epollshim_format::options;

use crate::config::{Config, LogTo};
use crate::findings::suppressions;
use crate::policy::rules::{self, replay};
use crate::session::Trouble;
use crate::{place, stacks};

/// Why an option that is well-formed cannot be put into force.
pub enum Refusal<'a> {
    Rules(rules::Refusal),
    Replay(replay::Refusal, &'a [u8]),
    ReplayRules(options::Fault<'static>),
    InjectLog(i32, &'static Config),
    Session(Trouble, &'static Config),
    Limits,
    Stacks(stacks::Trouble),
    Record(i32, &'static CStr),
    /// An option, its pattern, and the error number of the attempt to write there.
    Place(&'static str, &'static CStr, i32),
    Suppressions(suppressions::Refusal, &'static CStr),
}

impl core::fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Refusal::Rules(refusal) => write!(f, "EPOLLSHIM_INJECT: {refusal}"),
            Refusal::Replay(refusal, path) => {
                write!(f, "EPOLLSHIM_INJECT_REPLAY: '{}': {refusal}", path.escape_ascii())
            }
            Refusal::ReplayRules(fault) => write!(f, "EPOLLSHIM_INJECT_REPLAY: {fault}"),
            Refusal::InjectLog(error, config) => {
                let path = if let LogTo::File(path) = config.inject_log { path } else { c"stderr" };
                write_unwritable(f, "EPOLLSHIM_INJECT_LOG: cannot write", path, *error)
            }
            Refusal::Limits => f.write_str("EPOLLSHIM_LIMIT: another thread is changing the counts; try again"),
            Refusal::Stacks(trouble) => write!(f, "EPOLLSHIM_STACKS: {trouble}"),
            Refusal::Session(trouble, config) => {
                let directory = config.session_directory();
                write!(f, "EPOLLSHIM_SESSION: {}", trouble.of(directory.as_c().unwrap_or_default()))
            }
            Refusal::Suppressions(refusal, file) => {
                write!(f, "EPOLLSHIM_SUPPRESSIONS: {}{refusal}", file.to_bytes().escape_ascii())
            }
            Refusal::Record(error, directory) => {
                write_unwritable(f, "EPOLLSHIM_RECORD: cannot write in", directory, *error)
            }
            Refusal::Place(option, path, error) => {
                f.write_str(option)?;
                write_unwritable(f, ": cannot write", path, *error)
            }
        }
    }
}

fn write_unwritable(f: &mut core::fmt::Formatter<'_>, what: &str, path: &CStr, error: i32) -> core::fmt::Result {
    let name = epollshim_format::errno::name(error as u32).unwrap_or("?");
    write!(f, "{what} '{}': {name}{}", path.to_bytes().escape_ascii(), place::hint(error))
}
