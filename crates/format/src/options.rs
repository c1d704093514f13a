//! The options that the shim reads from the environment, and what is said of a bad one.
//!
//! Parsing borrows from its input and allocates nothing. The first problem found is the one told; all
//! other options still hold, so that `EPOLLSHIM_ON_BAD_CONFIG=ignore` is known whatever its place.

use core::fmt;

use crate::suggest;

/// What every option's name begins with.
pub const PREFIX: &str = "EPOLLSHIM_";

/// Where the exit report goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report<'a> {
    /// Descriptor 2, if it is still the file that it was at load.
    Stderr,
    None,
    /// A path with `%p` (pid), `%e` (program name), `%t` (start time), `%%`.
    File(&'a [u8]),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnBadConfig {
    Exit,
    Ignore,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options<'a> {
    pub report: Report<'a>,
    pub format: Format,
    /// Program names to act in, comma-separated; None: in all.
    pub only: Option<&'a [u8]>,
    pub on_bad_config: OnBadConfig,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options { report: Report::Stderr, format: Format::Text, only: None, on_bad_config: OnBadConfig::Exit }
    }
}

/// What is wrong with an option: shown as one line that names the variable, the word, and the remedy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Problem<'a> {
    pub variable: &'a [u8],
    pub fault: Fault<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault<'a> {
    /// The value is not one of the words that the option knows.
    Word { word: &'a [u8], allowed: &'static [&'static str] },
    /// The value, or an element of the list, is empty.
    Empty { wanted: &'static str },
    /// A `%` that stands for nothing.
    Pattern { at: &'a [u8] },
    /// A file name that ends in a slash, or is longer than the system takes.
    Path { path: &'a [u8], why: &'static str },
    /// An option of the contract that this version does not have yet.
    NotYet,
    /// A name that is nearly an option's.
    Unknown { meant: &'static str },
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.variable.escape_ascii())?;
        match self.fault {
            Fault::Word { word, allowed } => {
                write!(f, "unknown word '{}'; allowed: ", word.escape_ascii())?;
                for (index, known) in allowed.iter().enumerate() {
                    write!(f, "{}{known}", if index == 0 { "" } else { ", " })?;
                }
                let near = core::str::from_utf8(word).ok();
                match near.and_then(|word| suggest::nearest(word, allowed.iter().copied())) {
                    Some(meant) => write!(f, "; did you mean {meant}?"),
                    None => Ok(()),
                }
            }
            Fault::Empty { wanted } => write!(f, "empty; wanted: {wanted}"),
            Fault::Pattern { at } => write!(
                f,
                "unknown pattern at '{}'; allowed: %p (pid), %e (program name), %t (start time), %% (a percent sign)",
                at.escape_ascii()
            ),
            Fault::Path { path, why } => {
                write!(f, "'{}' {why}; wanted: stderr, none or a file name", path.escape_ascii())
            }
            Fault::NotYet => write!(f, "this version of epollshim does not have this option yet; unset it"),
            Fault::Unknown { meant } => write!(f, "no such option; did you mean {meant}?"),
        }
    }
}

const REPORT: &str = "EPOLLSHIM_REPORT";
const REPORT_FORMAT: &str = "EPOLLSHIM_REPORT_FORMAT";
const ONLY: &str = "EPOLLSHIM_ONLY";
const ON_BAD_CONFIG: &str = "EPOLLSHIM_ON_BAD_CONFIG";
const HERE: [&str; 4] = [REPORT, REPORT_FORMAT, ONLY, ON_BAD_CONFIG];
const NOT_YET: [&str; 12] = [
    "EPOLLSHIM_LIMIT",
    "EPOLLSHIM_INJECT",
    "EPOLLSHIM_INJECT_IMPOSSIBLE",
    "EPOLLSHIM_SESSION",
    "EPOLLSHIM_SEED",
    "EPOLLSHIM_LOG",
    "EPOLLSHIM_LOG_FORMAT",
    "EPOLLSHIM_LOG_FILTER",
    "EPOLLSHIM_RECORD",
    "EPOLLSHIM_STACKS",
    "EPOLLSHIM_CENSUS",
    "EPOLLSHIM_SUPPRESSIONS",
];

/// The longest path that the system takes (PATH_MAX of limits.h, without the final zero byte).
const LONGEST_PATH: usize = 4095;

/// Reads the options out of `NAME=VALUE` entries; other variables are passed over.
pub fn parse<'a>(environment: impl Iterator<Item = &'a [u8]>) -> (Options<'a>, Option<Problem<'a>>) {
    let mut options = Options::default();
    let mut first = None;
    for entry in environment {
        let Some(equals) = entry.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = entry.split_at(equals);
        if !name.starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let value = value.get(1..).unwrap_or_default();
        if let Err(fault) = set(&mut options, name, value) {
            first.get_or_insert(Problem { variable: name, fault });
        }
    }
    (options, first)
}

fn set<'a>(options: &mut Options<'a>, name: &[u8], value: &'a [u8]) -> Result<(), Fault<'a>> {
    let Ok(name) = core::str::from_utf8(name) else { return Ok(()) };
    match name {
        REPORT => options.report = report(value)?,
        REPORT_FORMAT => options.format = word(value, &["text", "json"], &[Format::Text, Format::Json])?,
        ON_BAD_CONFIG => {
            options.on_bad_config = word(value, &["exit", "ignore"], &[OnBadConfig::Exit, OnBadConfig::Ignore])?;
        }
        ONLY => {
            if value.split(|byte| *byte == b',').any(<[u8]>::is_empty) {
                return Err(Fault::Empty { wanted: "program names, separated by commas" });
            }
            options.only = Some(value);
        }
        other if NOT_YET.contains(&other) => return Err(Fault::NotYet),
        other => {
            if let Some(meant) = suggest::nearest(other, HERE.iter().chain(&NOT_YET).copied()) {
                return Err(Fault::Unknown { meant });
            }
        }
    }
    Ok(())
}

fn word<'a, T: Copy>(value: &'a [u8], allowed: &'static [&'static str], meanings: &[T]) -> Result<T, Fault<'a>> {
    allowed
        .iter()
        .zip(meanings)
        .find(|(word, _)| word.as_bytes() == value)
        .map(|(_, meaning)| *meaning)
        .ok_or(Fault::Word { word: value, allowed })
}

fn report(value: &[u8]) -> Result<Report<'_>, Fault<'_>> {
    match value {
        b"" => return Err(Fault::Empty { wanted: "stderr, none or a file name" }),
        b"stderr" => return Ok(Report::Stderr),
        b"none" => return Ok(Report::None),
        _ => {}
    }
    if value.ends_with(b"/") {
        return Err(Fault::Path { path: value, why: "is a directory" });
    }
    if value.len() > LONGEST_PATH {
        return Err(Fault::Path {
            path: value.get(..32).unwrap_or(value),
            why: "(cut here) is longer than 4095 bytes",
        });
    }
    let mut rest = value;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at + 1) {
            Some(b'p' | b'e' | b't' | b'%') => rest = rest.get(at + 2..).unwrap_or_default(),
            _ => return Err(Fault::Pattern { at: rest.get(at..).unwrap_or(rest) }),
        }
    }
    Ok(Report::File(value))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Format, OnBadConfig, Options, Report, parse};
    use std::string::{String, ToString};

    fn read<'a>(entries: &'a [&'a str]) -> (Options<'a>, Option<String>) {
        let (options, problem) = parse(entries.iter().map(|entry| entry.as_bytes()));
        (options, problem.map(|problem| problem.to_string()))
    }

    fn complaint(entry: &str) -> String {
        read(&[entry]).1.unwrap_or_default()
    }

    #[test]
    fn without_variables_the_defaults_hold() {
        assert_eq!(read(&["PATH=/bin", "EPOLLSHIM", "X=EPOLLSHIM_REPORT=7"]), (Options::default(), None));
    }

    #[test]
    fn every_word_is_understood() {
        let (options, problem) = read(&[
            "EPOLLSHIM_REPORT=/tmp/a-%p-%e-%t-%%.json",
            "EPOLLSHIM_REPORT_FORMAT=json",
            "EPOLLSHIM_ONLY=nginx,redis-server",
            "EPOLLSHIM_ON_BAD_CONFIG=ignore",
        ]);
        assert_eq!(problem, None);
        assert_eq!(options.report, Report::File(b"/tmp/a-%p-%e-%t-%%.json"));
        assert_eq!(options.format, Format::Json);
        assert_eq!(options.only, Some(&b"nginx,redis-server"[..]));
        assert_eq!(options.on_bad_config, OnBadConfig::Ignore);
        assert_eq!(read(&["EPOLLSHIM_REPORT=none"]).0.report, Report::None);
    }

    #[test]
    fn a_complaint_names_the_variable_the_word_and_what_is_allowed() {
        assert_eq!(
            complaint("EPOLLSHIM_REPORT_FORMAT=xml"),
            "EPOLLSHIM_REPORT_FORMAT: unknown word 'xml'; allowed: text, json"
        );
        assert_eq!(
            complaint("EPOLLSHIM_REPORT_FORMAT=jsn"),
            "EPOLLSHIM_REPORT_FORMAT: unknown word 'jsn'; allowed: text, json; did you mean json?"
        );
        assert_eq!(
            complaint("EPOLLSHIM_ONLY=a,,b"),
            "EPOLLSHIM_ONLY: empty; wanted: program names, separated by commas"
        );
        assert!(complaint("EPOLLSHIM_REPORT=/tmp/%q").contains("unknown pattern at '%q'"));
        assert!(complaint("EPOLLSHIM_REPORT=/tmp/x%").contains("unknown pattern at '%'"));
        assert!(complaint("EPOLLSHIM_REPORT=/tmp/").contains("is a directory"));
        assert!(complaint("EPOLLSHIM_REPORT=").contains("empty"));
        assert_eq!(complaint("EPOLLSHIM_REPROT=x"), "EPOLLSHIM_REPROT: no such option; did you mean EPOLLSHIM_REPORT?");
        assert!(complaint("EPOLLSHIM_INJECT=all:error=EMFILE").contains("does not have this option yet"));
        assert_eq!(
            complaint("EPOLLSHIM_REPORT_FORMAT=\u{1b}[31m"),
            "EPOLLSHIM_REPORT_FORMAT: unknown word '\\x1b[31m'; allowed: text, json"
        );
    }

    #[test]
    fn variables_of_a_users_own_are_left_alone() {
        assert_eq!(complaint("EPOLLSHIM_MY_HARNESS=1"), "");
    }

    #[test]
    fn ignore_is_known_wherever_it_stands() {
        let (options, problem) = read(&["EPOLLSHIM_REPORT_FORMAT=xml", "EPOLLSHIM_ON_BAD_CONFIG=ignore"]);
        assert_eq!(options.on_bad_config, OnBadConfig::Ignore);
        assert!(problem.is_some());
    }
}
