//! Turns flags into variables, and checks all options with the shim's own parser before anything
//! starts.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use epollshim_format::options::{self, OnBadConfig, PREFIX};

use crate::Failure;
use crate::args::Run;
use crate::suppressions;
use crate::text::{printable, reason, shown};

/// What the parser says of a fault that no kernel returns.
const ALLOWING: &str = "EPOLLSHIM_INJECT_IMPOSSIBLE=1";

/// The result of checking the options.
pub enum Settled {
    Good,
    /// An option is bad, and on-bad-config is `ignore`. The error message.
    Ignored(String),
}

/// Replaces variables of `environment` by the flags of the same name, and checks all options.
pub fn settle(asked: &Run, environment: &mut Vec<(OsString, OsString)>) -> Result<Settled, Failure> {
    let flags = variables(asked);
    environment.retain(|(name, _)| !flags.iter().any(|(flag, _)| *flag == name));
    let entries: Vec<Vec<u8>> = flags
        .iter()
        .map(|(name, value)| (OsStr::new(name), value.as_os_str()))
        .chain(environment.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str())))
        .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
        .collect();
    let (read, problem) = options::parse(entries.iter().map(Vec::as_slice));
    let said_of = |variable: &[u8], what: &dyn Display| match flags.iter().find(|(name, _)| name.as_bytes() == variable)
    {
        // Where the rule was given by a flag, the message names a flag, too.
        Some((name, _)) => format!("{}: {}", flag_of(name), what.to_string().replace(ALLOWING, "--inject-impossible")),
        None => format!("{}: {what}", printable(&String::from_utf8_lossy(variable))),
    };
    let of_suppressions = || {
        let file = Path::new(OsStr::from_bytes(read.suppressions?));
        suppressions::read(file).err().map(|what| said_of(b"EPOLLSHIM_SUPPRESSIONS", &what))
    };
    let of_replay = || {
        let file = Path::new(OsStr::from_bytes(read.inject_replay?));
        let what = format!("{}: {}", shown(file), reason(&unreadable(file)?));
        Some(said_of(b"EPOLLSHIM_INJECT_REPLAY", &what))
    };
    let wrong = match problem {
        Some(problem) => Some(said_of(problem.variable, &problem.fault)),
        None => of_suppressions().or_else(of_replay),
    };
    if let Some(text) = wrong {
        return match read.on_bad_config {
            OnBadConfig::Exit => Err(Failure::usage(text)),
            OnBadConfig::Ignore => Ok(Settled::Ignored(text)),
        };
    }
    let here = std::env::current_dir().map(|path| path.into_os_string().into_vec()).unwrap_or_default();
    environment.extend(flags.into_iter().map(|(name, value)| (name.into(), from_root(name, value, &here))));
    Ok(Settled::Good)
}

/// Why a file cannot be read. A pipe is not opened, since that would take what is in it.
fn unreadable(file: &Path) -> Option<Error> {
    match file.metadata() {
        Ok(data) if data.is_dir() => Some(ErrorKind::IsADirectory.into()),
        Ok(data) if data.is_file() => File::open(file).err(),
        Ok(_) => None,
        Err(error) => Some(error),
    }
}

/// The flags that were given, as the variables that they set.
fn variables(asked: &Run) -> Vec<(&'static str, OsString)> {
    let joined =
        |values: &[OsString], separator: &str| (!values.is_empty()).then(|| values.join(OsStr::new(separator)));
    let all = [
        ("EPOLLSHIM_REPORT", asked.report.clone()),
        ("EPOLLSHIM_REPORT_FORMAT", asked.report_format.clone()),
        ("EPOLLSHIM_LIMIT", joined(&asked.limit, ",")),
        ("EPOLLSHIM_INJECT", joined(&asked.inject, ";")),
        ("EPOLLSHIM_INJECT_IMPOSSIBLE", asked.inject_impossible.clone()),
        ("EPOLLSHIM_INJECT_LOG", asked.inject_log.clone()),
        ("EPOLLSHIM_INJECT_REPLAY", asked.inject_replay.clone()),
        ("EPOLLSHIM_SESSION", asked.session.clone()),
        ("EPOLLSHIM_SEED", asked.seed.clone()),
        ("EPOLLSHIM_LOG", asked.log.clone()),
        ("EPOLLSHIM_LOG_FORMAT", asked.log_format.clone()),
        ("EPOLLSHIM_LOG_TIME", asked.log_time.clone()),
        ("EPOLLSHIM_LOG_FILTER", asked.log_filter.clone()),
        ("EPOLLSHIM_RECORD", asked.record.clone()),
        ("EPOLLSHIM_RECORD_RING", asked.record_ring.clone()),
        ("EPOLLSHIM_RECORD_MAX", asked.record_max.clone()),
        ("EPOLLSHIM_SUPPRESSIONS", asked.suppressions.clone()),
        ("EPOLLSHIM_CENSUS", asked.census.clone()),
        ("EPOLLSHIM_STACKS", asked.stacks.clone()),
        ("EPOLLSHIM_ONLY", asked.only.clone()),
        ("EPOLLSHIM_ON_BAD_CONFIG", asked.on_bad_config.clone()),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn flag_of(variable: &str) -> String {
    let name = variable.strip_prefix(PREFIX).unwrap_or(variable);
    format!("--{}", name.to_lowercase().replace('_', "-"))
}

/// Makes a relative file name absolute. Processes that the program starts in other directories
/// would otherwise resolve it there. The name is left as it is if it would become longer than the
/// shim accepts.
fn from_root(variable: &str, value: OsString, here: &[u8]) -> OsString {
    let is_pattern = match variable {
        "EPOLLSHIM_REPORT" | "EPOLLSHIM_LOG" | "EPOLLSHIM_INJECT_LOG"
            if !["stderr", "none", "-"].iter().any(|word| value == *word) =>
        {
            true
        }
        "EPOLLSHIM_SESSION" | "EPOLLSHIM_RECORD" | "EPOLLSHIM_SUPPRESSIONS" | "EPOLLSHIM_INJECT_REPLAY" => false,
        _ => return value,
    };
    if here.is_empty() || value.as_bytes().starts_with(b"/") {
        return value;
    }
    let mut full = Vec::new();
    for &byte in here {
        // A percent sign in the name of the directory must not begin a pattern.
        full.extend_from_slice(if is_pattern && byte == b'%' { b"%%" } else { std::slice::from_ref(&byte) });
    }
    full.push(b'/');
    full.extend_from_slice(value.as_bytes());
    let full = OsString::from_vec(full);
    let entry = [variable.as_bytes(), b"=", full.as_bytes()].concat();
    if options::parse([entry.as_slice()].into_iter()).1.is_none() { full } else { value }
}

#[cfg(test)]
mod tests {
    use super::{from_root, variables};
    use crate::args::Run;
    use epollshim_format::options::NAMES;
    use std::ffi::OsString;

    #[test]
    fn every_flag_sets_the_variable_of_its_name() {
        let one = || Some(OsString::from("1"));
        let asked = Run {
            report: one(),
            report_format: one(),
            limit: vec!["a=1".into(), "b=2".into()],
            inject: vec!["x".into(), "y".into()],
            inject_impossible: one(),
            inject_log: one(),
            inject_replay: one(),
            session: one(),
            seed: one(),
            log: one(),
            log_format: one(),
            log_time: one(),
            log_filter: one(),
            record: one(),
            record_ring: one(),
            record_max: one(),
            suppressions: one(),
            census: one(),
            stacks: one(),
            only: one(),
            on_bad_config: one(),
            ..Run::default()
        };
        let set = variables(&asked);
        assert!(NAMES.iter().all(|name| set.iter().any(|(set, _)| set == name)), "{set:?}");
        assert!(set.contains(&("EPOLLSHIM_LIMIT", "a=1,b=2".into())));
        assert!(set.contains(&("EPOLLSHIM_INJECT", "x;y".into())));
        assert!(variables(&Run::default()).is_empty());
    }

    #[test]
    fn a_relative_file_is_below_the_directory_of_now() {
        for (name, value, full) in [
            ("EPOLLSHIM_REPORT", "r.%p", "/a%%b/r.%p"),
            ("EPOLLSHIM_LOG", "/l", "/l"),
            ("EPOLLSHIM_LOG", "stderr", "stderr"),
            ("EPOLLSHIM_REPORT", "none", "none"),
            ("EPOLLSHIM_REPORT", "-", "-"),
            ("EPOLLSHIM_INJECT_LOG", "f.%p", "/a%%b/f.%p"),
            ("EPOLLSHIM_INJECT_REPLAY", "f.%p", "/a%b/f.%p"),
            ("EPOLLSHIM_SESSION", "s", "/a%b/s"),
            ("EPOLLSHIM_ONLY", "app", "app"),
        ] {
            assert_eq!(from_root(name, value.into(), b"/a%b"), full, "{name}={value}");
        }
        let long = "x".repeat(4090);
        assert_eq!(from_root("EPOLLSHIM_REPORT", long.clone().into(), b"/directory"), long.as_str());
    }
}
