//! Lists of accepted finds: `--accept` and `--write-accept`.
//!
//! The syntax is that of suppressions (`epollshim_format::suppressions`): one line
//! `verdict:pattern` per entry, with the reason above it:
//!
//! ```text
//! # libuv aborts on purpose where it has no memory
//! abort:^epoll_create1 ENOMEM uv__platform_loop_init$
//! ```
//!
//! The pattern is matched against the name of a find: the call, the failure, and the innermost
//! place. The reason is the comment directly above an entry. Entries below share it, up to the next
//! comment or empty line.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use epollshim_format::suggest::nearest;
use epollshim_format::suppressions::matches;
use serde_json::Value;

use super::outcome::Swept;
use super::verdict::Verdict;
use crate::text::{printable, reason, shown};
use crate::{Failure, suppressions};

/// The beginning of a placeholder for a reason.
const UNREASONED: &str = "WHY?";
const WANTED: &str = "wanted: verdict:pattern, such as crash:^epoll_create1 EMFILE make$";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The file name and the line.
    pub place: String,
    verdict: Verdict,
    /// The entry as it was written.
    pub text: String,
    pub reason: String,
}

/// The entries of all lists, in order.
#[derive(Default)]
pub struct Accepted(Vec<Entry>);

impl Accepted {
    /// Reads the lists of `--accept`.
    pub fn read(files: &[PathBuf]) -> Result<Accepted, Failure> {
        let mut all = Vec::new();
        for file in files {
            let wrong = |what: String| Failure::usage(format!("--accept: {what}"));
            let entries = parse(&read(file).map_err(wrong)?, &shown(file)).map_err(wrong)?;
            if let Some(entry) = entries.iter().find(|entry| entry.is_unreasoned()) {
                let what = "has no reason; write it in a comment on the line above: # why";
                return Err(wrong(format!("{}: {} {what}", entry.place, printable(&entry.text))));
            }
            all.extend(entries);
        }
        Ok(Accepted(all))
    }

    /// The first entry that accepts a find with this name.
    pub fn entry(&self, verdict: Verdict, name: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.accepts(verdict, name))
    }

    /// The entries that match no find of a sweep.
    pub fn unused<'a>(&'a self, swept: &Swept) -> Vec<&'a Entry> {
        let finds = names(swept);
        let accepts_one = |entry: &Entry| finds.iter().any(|(verdict, name, _)| entry.accepts(*verdict, name));
        self.0.iter().filter(|entry| !accepts_one(entry)).collect()
    }
}

impl Entry {
    fn accepts(&self, verdict: Verdict, name: &str) -> bool {
        self.verdict == verdict && matches(pattern(&self.text).as_bytes(), name.as_bytes())
    }

    fn is_unreasoned(&self) -> bool {
        self.reason.is_empty() || self.reason.starts_with(UNREASONED)
    }
}

/// The list of `--write-accept`.
pub struct Written {
    path: PathBuf,
    /// The previous contents.
    text: String,
    entries: Vec<Entry>,
}

impl Written {
    /// Reads the existing list, if any. Its entries are not changed.
    pub fn open(path: &Path) -> Result<Written, Failure> {
        let wrong = |what: String| Failure::usage(format!("--write-accept: {what}"));
        if !path.exists() {
            has_folder(path).map_err(wrong)?;
            return Ok(Written { path: path.to_path_buf(), text: String::new(), entries: Vec::new() });
        }
        let text = read(path).map_err(wrong)?;
        let entries = parse(&text, &shown(path)).map_err(wrong)?;
        Ok(Written { path: path.to_path_buf(), text, entries })
    }

    /// Appends the finds that neither this list nor a list of `--accept` contains. Returns their
    /// number.
    pub fn add(&self, swept: &Swept) -> Result<usize, Failure> {
        let mut text = self.text.clone();
        if text.is_empty() {
            text.push_str(
                "# Accepted finds of `epollshim sweep`: a verdict, a colon, and a pattern as in a file of\n\
                 # suppressions. Replace each line that begins with WHY? by a reason.\n",
            );
        } else if !text.ends_with('\n') {
            text.push('\n');
        }
        let is_listed = |verdict, name: &str| {
            self.entries.iter().any(|entry| entry.accepts(verdict, name))
                || swept.accepted.entry(verdict, name).is_some()
        };
        let mut added = BTreeSet::new();
        for (verdict, name, what) in names(swept) {
            let line = format!("{}:^{}$", word(verdict), printable(&name));
            if !is_listed(verdict, &name) && added.insert(line.clone()) {
                let _ = write!(text, "\n# {UNREASONED} {}\n{line}\n", printable(&what));
            }
        }
        let written = epollshim_recording::replace_file(&self.path, &|out| out.write_all(text.as_bytes()));
        written.map_err(|error| Failure::usage(format!("{}: {}", shown(&self.path), reason(&error))))?;
        Ok(added.len())
    }
}

/// Whether a file can be created there. Fails if its directory does not exist.
pub fn has_folder(path: &Path) -> Result<(), String> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if parent.is_dir() { Ok(()) } else { Err(format!("{}: no such directory", shown(parent))) }
}

/// The verdict of each find, its name, and what happened.
fn names(swept: &Swept) -> Vec<(Verdict, String, String)> {
    let finds = swept.tried.iter().filter(|tried| tried.judged.verdict.is_find());
    finds
        .map(|tried| {
            let evidence = tried.judged.evidence.first().cloned().unwrap_or_default();
            (tried.judged.verdict, swept.name(&tried.trial), evidence)
        })
        .collect()
}

fn read(path: &Path) -> Result<String, String> {
    let text = suppressions::read_text(path)?;
    String::from_utf8(text).map_err(|_| format!("{}: not UTF-8", shown(path)))
}

/// The entries of a list. Fails with the first invalid line.
fn parse(text: &str, file: &str) -> Result<Vec<Entry>, String> {
    let (mut entries, mut reason, mut is_below_entry) = (Vec::new(), String::new(), false);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let place = format!("{file}:{}", index + 1);
        if let Some(comment) = line.strip_prefix('#') {
            if std::mem::take(&mut is_below_entry) {
                reason.clear();
            }
            let gap = if reason.is_empty() { "" } else { " " };
            reason = reason + gap + comment.trim();
        } else if line.is_empty() {
            reason.clear();
        } else {
            is_below_entry = true;
            let verdict = verdict(line).map_err(|what| format!("{place}: {what}"))?;
            entries.push(Entry { place, verdict, text: line.to_owned(), reason: reason.clone() });
        }
    }
    Ok(entries)
}

fn verdict(line: &str) -> Result<Verdict, String> {
    let asked = line.split(':').next().unwrap_or_default();
    let all: Vec<(Verdict, String)> =
        Verdict::ALL.into_iter().filter(|verdict| verdict.is_find()).map(|verdict| (verdict, word(verdict))).collect();
    let Some((verdict, _)) = all.iter().find(|(_, word)| word == asked) else {
        let meant = nearest(asked, all.iter().map(|(_, word)| word.as_str()));
        let hint = meant.map_or_else(|| WANTED.to_owned(), |meant| format!("did you mean {meant}?"));
        return Err(format!("unknown verdict '{}'; {hint}", printable(asked)));
    };
    // These patterns would match every name, or none.
    if matches!(pattern(line), "" | "^" | "$" | "^$") {
        return Err(format!("'{}' has no pattern; {WANTED}", printable(line)));
    }
    Ok(*verdict)
}

fn pattern(line: &str) -> &str {
    line.split_once(':').map_or("", |(_, pattern)| pattern.trim())
}

/// A verdict as one word, as lists contain it.
pub fn word(verdict: Verdict) -> String {
    match serde_json::to_value(verdict) {
        Ok(Value::String(word)) => word,
        _ => verdict.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, parse};

    #[test]
    fn a_reason_is_the_comment_right_above_and_holds_up_to_an_empty_line() {
        let text = "# a list\n\n# two\n#  lines\ncrash:a\nhang:b c\n# other\nspin:d\n\nlost-output:e\n";
        let entries = parse(text, "list").unwrap_or_default();
        let all: Vec<(&str, Verdict, &str)> =
            entries.iter().map(|entry| (entry.place.as_str(), entry.verdict, entry.reason.as_str())).collect();
        let wanted = [
            ("list:5", Verdict::Crash, "two lines"),
            ("list:6", Verdict::Hang, "two lines"),
            ("list:8", Verdict::Spin, "other"),
            ("list:10", Verdict::LostOutput, ""),
        ];
        assert_eq!(all, wanted);
    }

    #[test]
    fn a_find_is_known_by_its_verdict_and_a_pattern_in_its_name() {
        let name = "epoll_ctl(ADD) ENOSPC serve";
        for (line, is_accepted) in [
            ("crash:serve", true),
            ("crash:^epoll_ctl(ADD) * serve$", true),
            ("crash: EMFILE ", false),
            ("crash:^serve", false),
            ("hang:serve", false),
        ] {
            let entries = parse(line, "list").unwrap_or_default();
            let accepts = entries.first().map(|entry| entry.accepts(Verdict::Crash, name));
            assert_eq!(accepts, Some(is_accepted), "{line}");
        }
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_with_it() {
        const WANTED: &str = "wanted: verdict:pattern, such as crash:^epoll_create1 EMFILE make$";
        for (text, wrong) in [
            ("# why\ncrahs:x", "list:2: unknown verdict 'crahs'; did you mean crash?".to_owned()),
            ("not-reached:x", format!("list:1: unknown verdict 'not-reached'; {WANTED}")),
            ("crash", format!("list:1: 'crash' has no pattern; {WANTED}")),
            ("crash: ^$ ", format!("list:1: 'crash: ^$' has no pattern; {WANTED}")),
            ("epoll_create1", format!("list:1: unknown verdict 'epoll_create1'; {WANTED}")),
        ] {
            assert_eq!(parse(text, "list"), Err(wrong));
        }
    }
}
