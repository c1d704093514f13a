//! Finds the processes whose lines the log lacks because their user may not write its file.
//!
//! A server that gives up root cannot write to root's file (docs/log.md, "Whose file"). The library
//! drops its lines. It cannot say so, because such a server has replaced its standard error.
//! Recordings show which user each process became.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use epollshim_recording::model::Process;

use crate::sys;
use crate::text::shown;

/// The files of EPOLLSHIM_LOG and EPOLLSHIM_INJECT_LOG.
#[derive(Default)]
pub struct Logs {
    log: Option<OsString>,
    /// EPOLLSHIM_LOG_FILTER is set: a process may have made no call that is logged.
    is_filtered: bool,
    faults: Option<OsString>,
}

/// Why a process could not write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Why {
    /// The file belongs to this user.
    Foreign(u32),
    /// There is no file, although the process made calls that are logged.
    Missing,
}

impl Logs {
    pub fn of<'a>(value: &impl Fn(&str) -> Option<&'a OsStr>) -> Logs {
        let file = |name| value(name).filter(|value| *value != "stderr" && !value.is_empty()).map(OsStr::to_owned);
        Logs {
            log: file("EPOLLSHIM_LOG"),
            is_filtered: value("EPOLLSHIM_LOG_FILTER").is_some(),
            faults: file("EPOLLSHIM_INJECT_LOG"),
        }
    }

    /// A sentence for each user and reason.
    pub fn lacking(&self, processes: &[Process]) -> Vec<String> {
        let has_lines = |process: &Process| self.is_filtered || process.counters().all_calls() > 0;
        let has_fired = |process: &Process| process.rules.iter().any(|rule| rule.fired > 0);
        let of = |flag, pattern: &Option<OsString>, is_sure, may_have: &dyn Fn(&Process) -> bool| match pattern {
            Some(pattern) => sentences(flag, pattern, is_sure, processes.iter().filter(|one| may_have(one))),
            None => Vec::new(),
        };
        let mut all = of("--log", &self.log, !self.is_filtered, &has_lines);
        all.extend(of("--inject-log", &self.faults, true, &has_fired));
        all
    }
}

/// `is_sure`: each of the processes has logged something, so that a missing file means that it
/// could not be created.
fn sentences<'a>(
    flag: &str,
    pattern: &OsStr,
    is_sure: bool,
    processes: impl Iterator<Item = &'a Process>,
) -> Vec<String> {
    let mut found: BTreeMap<(String, Why), (usize, PathBuf)> = BTreeMap::new();
    for process in processes {
        let path = expanded(pattern, process);
        let Some(why) = why_not(&path, process.owner.uid, is_sure) else { continue };
        found.entry((process.owner.shown(), why)).or_insert((0, path)).0 += 1;
    }
    let is_common = !pattern.as_bytes().contains(&b'%');
    found
        .into_iter()
        .map(|((user, why), (number, path))| sentence(flag, &user, why, number, &path, is_common))
        .collect()
}

fn sentence(flag: &str, user: &str, why: Why, number: usize, path: &Path, is_common: bool) -> String {
    let is_one = is_common || number == 1;
    let who = format!("{number} {} of user {user}", if number == 1 { "process" } else { "processes" });
    let which = if is_one { shown(path) } else { format!("their files (the first: {})", shown(path)) };
    let (did, remedy) = match why {
        Why::Foreign(owner) => {
            let owner = if owner == 0 { "root".to_owned() } else { format!("user {owner}") };
            let belong = if is_one { "belongs" } else { "belong" };
            let remedy = if is_common {
                format!("use one file per process, in a directory where {user} may create files: {flag} DIRECTORY/%p")
            } else {
                // Such a process has logged as its first user, and no name of a file helps.
                let them = if is_one { "it" } else { "them" };
                format!("{owner} had created {them} first; --record DIRECTORY keeps the calls of both users")
            };
            (format!("write to {which}, which {belong} to {owner}"), remedy)
        }
        Why::Missing => (format!("create {which}"), format!("use a directory where {user} may create files")),
    };
    format!("{flag} lacks lines: {who} could not {did}; {remedy}")
}

/// Why a process of this user could not write to a file. None: it could, or it is not known. The
/// library writes only to regular files of its own user, and to whatever else is no regular file.
fn why_not(path: &Path, user: u32, is_sure: bool) -> Option<Why> {
    match fs::metadata(path) {
        Ok(file) if file.is_file() && file.uid() != user => Some(Why::Foreign(file.uid())),
        Ok(_) => None,
        // A process of this command's user could create it. Somebody has removed it since.
        Err(_) => (is_sure && user != sys::effective_user()).then_some(Why::Missing),
    }
}

/// The name of a process's file: `%p`, `%e` and `%t` are its pid, its program and its start.
fn expanded(pattern: &OsStr, process: &Process) -> PathBuf {
    let header = &process.header;
    let mut path = Vec::new();
    let mut bytes = pattern.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        match if byte == b'%' { bytes.next() } else { None } {
            None => path.push(byte),
            Some(b'p') => path.extend(header.pid.to_string().bytes()),
            Some(b't') => path.extend(header.began_unix.to_string().bytes()),
            Some(b'e') => path.extend(header.exe.rsplit(|byte| *byte == b'/').next().unwrap_or_default()),
            Some(other) => path.push(*other),
        }
    }
    OsString::from_vec(path).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Why, sentence, why_not};
    use std::path::Path;

    #[test]
    fn only_the_owner_of_a_regular_file_can_log_to_it() {
        let own = crate::sys::effective_user();
        let file = std::env::temp_dir().join(format!("epollshim-unlogged-{}", std::process::id()));
        let other = own + 1;
        assert_eq!(why_not(&file, other, true), Some(Why::Missing));
        // It may have been removed since, or nothing was logged.
        assert_eq!((why_not(&file, own, true), why_not(&file, other, false)), (None, None));
        std::fs::write(&file, "").unwrap();
        assert_eq!((why_not(&file, other, false), why_not(&file, own, true)), (Some(Why::Foreign(own)), None));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(why_not(Path::new("/dev/null"), other, true), None);
    }

    #[test]
    fn a_sentence_says_who_could_not_write_where_and_what_to_do() {
        let path = Path::new("/l/7");
        let said = |why, number, is_common| sentence("--log", "web", why, number, path, is_common);
        assert_eq!(
            said(Why::Foreign(0), 2, false),
            "--log lacks lines: 2 processes of user web could not write to their files (the first: /l/7), which belong to \
             root; root had created them first; --record DIRECTORY keeps the calls of both users"
        );
        assert_eq!(
            said(Why::Foreign(5), 1, true),
            "--log lacks lines: 1 process of user web could not write to /l/7, which belongs to user 5; use one file per \
             process, in a directory where web may create files: --log DIRECTORY/%p"
        );
        assert_eq!(
            said(Why::Missing, 1, false),
            "--log lacks lines: 1 process of user web could not create /l/7; use a directory where web may create files"
        );
    }
}
