//! The options that the library reads from the environment.
//!
//! Parsing borrows from its input and allocates nothing. It reports the first problem, and applies
//! all other options, so that `EPOLLSHIM_ON_BAD_CONFIG=ignore` works in any place.

use crate::limits::{self, Limits};
use crate::log_filter::{self, Filter};
use crate::problem::Bad;
use crate::{faults, scan, suggest};

pub use crate::problem::{Fault, Problem};

/// The beginning of every option's name.
pub const PREFIX: &str = "EPOLLSHIM_";

/// Where the exit report goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report<'a> {
    /// Descriptor 2, if it is still the file that it was at load.
    Stderr,
    None,
    /// A descriptor, if it is still the file that it was at load: `-` (1), `/dev/stdout`,
    /// `/dev/fd/N`.
    Descriptor(i32),
    /// A path with `%p` (pid), `%e` (program name), `%t` (start time), `%%`.
    File(&'a [u8]),
}

/// Where a line for each call goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Log<'a> {
    /// Descriptor 2, if it is still the file that it was at load.
    Stderr,
    /// As in [`Report::Descriptor`].
    Descriptor(i32),
    /// A path with the patterns of [`Report::File`].
    File(&'a [u8]),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Text,
    Json,
}

/// Which time begins a line of the text log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogTime {
    None,
    /// The date and the time of day at the beginning of the call, in UTC (RFC 3339), with
    /// microseconds.
    Wall,
    /// Seconds from the start of the process to the beginning of the call, with microseconds.
    Relative,
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
    /// The names of programs in which the library is active, comma-separated; None: it is active in
    /// every program.
    pub only: Option<&'a [u8]>,
    pub on_bad_config: OnBadConfig,
    /// None: the variable is not set.
    pub limit: Option<Limits>,
    /// Valid rules for [`faults::parse`]; empty: none.
    pub inject: &'a [u8],
    /// Whether faults that no kernel causes are allowed.
    pub impossible: bool,
    /// Where the log of the rules' decisions goes.
    pub inject_log: Option<Log<'a>>,
    /// A log of decisions to repeat.
    pub inject_replay: Option<&'a [u8]>,
    /// None: a random seed is drawn.
    pub seed: Option<u64>,
    pub log: Option<Log<'a>>,
    pub log_format: Format,
    pub log_time: LogTime,
    pub log_filter: Filter,
    /// The directory that the processes of a session share; None: the user's own.
    pub session: Option<&'a [u8]>,
    /// The directory of recordings; None: no recording.
    pub record: Option<&'a [u8]>,
    /// The number of calls of each thread that a recording holds: a power of two; 0: all calls.
    pub ring: u32,
    /// The size in bytes up to which a recording grows that holds all calls.
    pub record_max: u64,
    /// A file for [`crate::suppressions::parse`].
    pub suppressions: Option<&'a [u8]>,
    /// Whether the census follows every descriptor from its creation to its close.
    pub census: bool,
    /// How many callers are kept of each epoll_create, ADD and creation of a descriptor; 0: only
    /// the direct caller.
    pub stacks: u32,
}

impl Options<'_> {
    /// Whether the census is needed: it was requested, or a limit needs it.
    #[must_use]
    pub fn wants_census(&self) -> bool {
        self.census || self.limit.is_some_and(|limits| limits.descriptors.is_some())
    }
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            report: Report::Stderr,
            format: Format::Text,
            only: None,
            on_bad_config: OnBadConfig::Exit,
            limit: None,
            inject: b"",
            impossible: false,
            inject_log: None,
            inject_replay: None,
            seed: None,
            log: None,
            log_format: Format::Text,
            log_time: LogTime::None,
            log_filter: Filter::default(),
            session: None,
            record: None,
            ring: 1024,
            record_max: 1 << 30,
            suppressions: None,
            census: false,
            stacks: 0,
        }
    }
}

const REPORT: &str = "EPOLLSHIM_REPORT";
const REPORT_FORMAT: &str = "EPOLLSHIM_REPORT_FORMAT";
const ONLY: &str = "EPOLLSHIM_ONLY";
const ON_BAD_CONFIG: &str = "EPOLLSHIM_ON_BAD_CONFIG";
const LIMIT: &str = "EPOLLSHIM_LIMIT";
const INJECT: &str = "EPOLLSHIM_INJECT";
const INJECT_IMPOSSIBLE: &str = "EPOLLSHIM_INJECT_IMPOSSIBLE";
const INJECT_LOG: &str = "EPOLLSHIM_INJECT_LOG";
const INJECT_REPLAY: &str = "EPOLLSHIM_INJECT_REPLAY";
const SEED: &str = "EPOLLSHIM_SEED";
const LOG: &str = "EPOLLSHIM_LOG";
const LOG_FORMAT: &str = "EPOLLSHIM_LOG_FORMAT";
const LOG_TIME: &str = "EPOLLSHIM_LOG_TIME";
const LOG_FILTER: &str = "EPOLLSHIM_LOG_FILTER";
const SESSION: &str = "EPOLLSHIM_SESSION";
const RECORD: &str = "EPOLLSHIM_RECORD";
const RECORD_RING: &str = "EPOLLSHIM_RECORD_RING";
const RECORD_MAX: &str = "EPOLLSHIM_RECORD_MAX";
const SUPPRESSIONS: &str = "EPOLLSHIM_SUPPRESSIONS";
const CENSUS: &str = "EPOLLSHIM_CENSUS";
const STACKS: &str = "EPOLLSHIM_STACKS";
/// The names of all options. Each has a flag of `epollshim run` with the same name.
pub const NAMES: [&str; 21] = [
    REPORT,
    REPORT_FORMAT,
    ONLY,
    ON_BAD_CONFIG,
    LIMIT,
    INJECT,
    INJECT_IMPOSSIBLE,
    INJECT_LOG,
    INJECT_REPLAY,
    SEED,
    LOG,
    LOG_FORMAT,
    LOG_TIME,
    LOG_FILTER,
    SESSION,
    RECORD,
    RECORD_RING,
    RECORD_MAX,
    SUPPRESSIONS,
    CENSUS,
    STACKS,
];

/// The longest path that the system accepts (PATH_MAX of limits.h, without the final zero byte).
const LONGEST_PATH: usize = 4095;
/// The same for a directory in which the library creates files.
const LONGEST_DIRECTORY: usize = 4000;

const DESTINATIONS: &str = "stderr, none or a file name";
const DIRECTORY: &str = "a directory of at most 4000 bytes";
const SUPPRESSION_FILE: &str = "a file of lines such as leak:libfoo.so";
const REPLAY_FILE: &str = "a file written by EPOLLSHIM_INJECT_LOG";
const SEEDS: &str = "a number from 0 to 18446744073709551615, or one in hex after 0x";

/// Reads the options from `NAME=VALUE` entries, and ignores other variables. Returns the first
/// problem as well.
///
/// A problem in the rules of faults is reported last, because the variable that allows impossible
/// faults may come after them.
pub fn parse<'a>(environment: impl Iterator<Item = &'a [u8]>) -> (Options<'a>, Option<Problem<'a>>) {
    let mut options = Options::default();
    let mut first = None;
    let mut faults = None;
    for entry in environment {
        let Some(equals) = entry.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = entry.split_at(equals);
        if !name.starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let value = value.get(1..).unwrap_or_default();
        if name == INJECT.as_bytes() {
            faults = Some(value);
        } else if let Err(fault) = set(&mut options, name, value) {
            first.get_or_insert(Problem { variable: name, fault });
        }
    }
    if let Some(text) = faults {
        match inject(text, options.impossible) {
            Ok(()) => options.inject = text,
            Err(fault) => {
                first.get_or_insert(Problem { variable: INJECT.as_bytes(), fault });
            }
        }
    }
    (options, first)
}

fn set<'a>(options: &mut Options<'a>, name: &[u8], value: &'a [u8]) -> Result<(), Fault<'a>> {
    const FORMATS: (&[&str], &[Format]) = (&["text", "json"], &[Format::Text, Format::Json]);
    let Ok(name) = core::str::from_utf8(name) else { return Ok(()) };
    match name {
        REPORT => {
            options.report = match destination(value)? {
                Destination::Stderr => Report::Stderr,
                Destination::None => Report::None,
                Destination::Descriptor(number) => Report::Descriptor(number),
                Destination::File(path) => Report::File(path),
            }
        }
        REPORT_FORMAT => options.format = word(value, FORMATS.0, FORMATS.1)?,
        ON_BAD_CONFIG => {
            options.on_bad_config = word(value, &["exit", "ignore"], &[OnBadConfig::Exit, OnBadConfig::Ignore])?;
        }
        ONLY => {
            if value.split(|byte| *byte == b',').any(<[u8]>::is_empty) {
                return Err(Fault::Empty { expected: "program names, separated by commas" });
            }
            options.only = Some(value);
        }
        LIMIT if value.is_empty() => return Err(Fault::Empty { expected: "key=value, such as instances=8" }),
        LIMIT => options.limit = Some(limits::parse(value)?),
        INJECT_IMPOSSIBLE => options.impossible = word(value, &["0", "1"], &[false, true])?,
        SEED if value.is_empty() => return Err(Fault::Empty { expected: SEEDS }),
        SEED => {
            let fault = |bad| Fault::Number { bad, word: value, at: b"", expected: SEEDS };
            options.seed = Some(seed(value).map_err(fault)?);
        }
        LOG => options.log = log(value)?,
        INJECT_LOG => options.inject_log = log(value)?,
        INJECT_REPLAY => options.inject_replay = Some(path(value, REPLAY_FILE)?),
        LOG_FORMAT => options.log_format = word(value, FORMATS.0, FORMATS.1)?,
        LOG_TIME => {
            const TIMES: [LogTime; 3] = [LogTime::None, LogTime::Wall, LogTime::Relative];
            options.log_time = word(value, &["none", "wall", "relative"], &TIMES)?;
        }
        LOG_FILTER if value.is_empty() => {
            return Err(Fault::Empty {
                expected: "names of calls, failed, injected, limited, slow=TIME, epfd=N, fd=N",
            });
        }
        LOG_FILTER => options.log_filter = log_filter::parse(value)?,
        SESSION => options.session = Some(directory(value)?),
        RECORD => options.record = Some(directory(value)?),
        RECORD_RING if value == b"full" => options.ring = 0,
        RECORD_RING => {
            let expected = "full, or a number of calls from 16 to 1048576";
            let most = scan::between(value, 16, 1 << 20).map_err(|bad| Fault::Number {
                bad,
                word: value,
                at: b"",
                expected,
            })?;
            options.ring = u32::try_from(most).unwrap_or(1024).next_power_of_two();
        }
        RECORD_MAX => {
            let expected = "a number of bytes, or one with K, M or G, from 64K to 64G";
            let fault = |bad| Fault::Number { bad, word: value, at: b"", expected };
            options.record_max = scan::bytes(value, 64 << 10, 64 << 30).map_err(fault)?;
        }
        SUPPRESSIONS => options.suppressions = Some(path(value, SUPPRESSION_FILE)?),
        CENSUS => options.census = word(value, &["0", "1"], &[false, true])?,
        STACKS => {
            let expected = "a number of callers from 0 to 64";
            let most =
                scan::between(value, 0, 64).map_err(|bad| Fault::Number { bad, word: value, at: b"", expected })?;
            options.stacks = u32::try_from(most).unwrap_or(0);
        }
        other => {
            if let Some(meant) = suggest::nearest(other, NAMES.iter().copied()) {
                return Err(Fault::Unknown { meant });
            }
        }
    }
    Ok(())
}

/// The path of a file to read.
fn path<'a>(value: &'a [u8], expected: &'static str) -> Result<&'a [u8], Fault<'a>> {
    match value {
        b"" => Err(Fault::Empty { expected }),
        path if path.len() > LONGEST_PATH => Err(Fault::Path { path, why: "is longer than 4095 bytes", expected }),
        path => Ok(path),
    }
}

/// The path of a directory in which the library creates files.
fn directory(value: &[u8]) -> Result<&[u8], Fault<'_>> {
    match value {
        b"" => Err(Fault::Empty { expected: DIRECTORY }),
        path if path.len() > LONGEST_DIRECTORY => Err(Fault::Path { path, why: "is too long", expected: DIRECTORY }),
        path => Ok(path),
    }
}

fn log(value: &[u8]) -> Result<Option<Log<'_>>, Fault<'_>> {
    Ok(match destination(value)? {
        Destination::Stderr => Some(Log::Stderr),
        Destination::None => None,
        Destination::Descriptor(number) => Some(Log::Descriptor(number)),
        Destination::File(path) => Some(Log::File(path)),
    })
}

fn inject(text: &[u8], impossible_allowed: bool) -> Result<(), Fault<'_>> {
    if text.is_empty() {
        return Err(Fault::Empty { expected: "rules such as epoll_wait:error=EINTR:when=3, separated by semicolons" });
    }
    faults::check(text, impossible_allowed).map(|_| ())
}

/// A number in decimal digits, or in hex digits after `0x`.
fn seed(value: &[u8]) -> Result<u64, Bad> {
    match value {
        [b'0', b'x' | b'X', ..] => scan::wide(value),
        _ => scan::digits(value),
    }
}

fn word<'a, T: Copy>(value: &'a [u8], allowed: &'static [&'static str], meanings: &[T]) -> Result<T, Fault<'a>> {
    allowed
        .iter()
        .zip(meanings)
        .find(|(word, _)| word.as_bytes() == value)
        .map(|(_, meaning)| *meaning)
        .ok_or(Fault::Word { word: value, allowed })
}

enum Destination<'a> {
    Stderr,
    None,
    Descriptor(i32),
    File(&'a [u8]),
}

/// The descriptor that a name such as `/dev/fd/3` stands for. A thread with another descriptor
/// table could not open it later by this name.
fn descriptor(value: &[u8]) -> Option<i32> {
    match value {
        b"-" | b"/dev/stdout" => return Some(1),
        b"/dev/stderr" => return Some(2),
        _ => {}
    }
    let number = value.strip_prefix(b"/dev/fd/").or_else(|| value.strip_prefix(b"/proc/self/fd/"))?;
    // Nine digits at most: no sum exceeds an i32.
    if number.is_empty() || number.len() > 9 || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(number.iter().fold(0, |sum, digit| sum * 10 + i32::from(digit & 15)))
}

fn destination(value: &[u8]) -> Result<Destination<'_>, Fault<'_>> {
    match value {
        b"" => return Err(Fault::Empty { expected: DESTINATIONS }),
        b"stderr" => return Ok(Destination::Stderr),
        b"none" => return Ok(Destination::None),
        _ => {}
    }
    match descriptor(value) {
        Some(2) => return Ok(Destination::Stderr),
        Some(number) => return Ok(Destination::Descriptor(number)),
        None => {}
    }
    if value.ends_with(b"/") {
        return Err(Fault::Path { path: value, why: "is a directory", expected: DESTINATIONS });
    }
    if value.len() > LONGEST_PATH {
        return Err(Fault::Path { path: value, why: "is longer than 4095 bytes", expected: DESTINATIONS });
    }
    let mut rest = value;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at + 1) {
            Some(b'p' | b'e' | b't' | b'%') => rest = rest.get(at + 2..).unwrap_or_default(),
            _ => return Err(Fault::Pattern { at: rest.get(at..).unwrap_or(rest) }),
        }
    }
    Ok(Destination::File(value))
}

#[cfg(test)]
mod tests;
