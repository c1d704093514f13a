//! JUnit's XML, as CI servers read it (Jenkins' junit-10.xsd): a suite for each program, a test case for each kind of finding. One of
//! errors or warnings fails.
//!
//! A CI server follows a test by the names of its suite, its class and itself, from build to build. So no name has a process's id, an
//! address or a number, and every report has the same test cases: a kind that was not found is one that passed, and two more
//! say whether all recordings were read, and were whole.
//!
//! Written by hand: the crate quick-junit (0.8) writes an attribute `skipped` on `<testsuites>`, which that schema does not have.

use std::collections::BTreeMap;
use std::io::{self, Write};

use epollshim_format::findings::{Id, Severity};

use crate::Set;
use crate::findings::{self, Found};
use crate::load::shown;
use crate::model::Process;
use crate::modules::plain;

pub fn render(set: &Set, out: &mut dyn Write) -> io::Result<()> {
    let mut programs: BTreeMap<String, Vec<&Process>> = BTreeMap::new();
    for process in &set.processes {
        programs.entry(program(process)).or_default().push(process);
    }
    let mut suites: Vec<Suite> = programs.iter().map(|(name, processes)| of_program(name, processes)).collect();
    suites.push(of_recordings(set));
    let sum = |count: fn(&Suite) -> usize| suites.iter().map(count).sum::<usize>();
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<testsuites name="epollshim" tests="{}" failures="{}" errors="{}">"#,
        sum(|suite| suite.cases.len()),
        sum(Suite::failures),
        sum(Suite::errors),
    )?;
    suites.iter().try_for_each(|suite| suite.write(out))?;
    writeln!(out, "</testsuites>")
}

/// The name of a process's program that it has in every run. A process may call itself anything, `worker-4711` too: what has
/// digits counts only if the file or the first argument is named so.
fn program(process: &Process) -> String {
    let header = &process.header;
    let base = |path: &[u8]| plain(path.rsplit(|byte| *byte == b'/').next().unwrap_or_default());
    let (comm, exe) = (plain(&header.comm), base(&header.exe));
    let argument = header.arguments.first().map(|argument| base(argument)).unwrap_or_default();
    let is_stable = !comm.contains(|letter: char| letter.is_ascii_digit())
        || [&exe, &argument].into_iter().any(|name| name.starts_with(&comm));
    if is_stable || exe.is_empty() { comm } else { exe }
}

struct Suite {
    name: String,
    /// Seconds.
    time: f64,
    cases: Vec<Case>,
}

struct Case {
    name: &'static str,
    outcome: Outcome,
    /// Lines.
    text: String,
}

enum Outcome {
    Passed,
    /// Its type, and its message.
    Failed(&'static str, String),
    Error(&'static str, String),
}

fn of_program(name: &str, processes: &[&Process]) -> Suite {
    let found = findings::of(processes.iter().copied());
    let case = |id: &Id| {
        // The worst first.
        let of_kind: Vec<&Found> = found.iter().filter(|found| found.finding.id == *id).collect();
        let worst = of_kind.first().filter(|found| found.finding.severity >= Severity::Warning);
        let outcome =
            worst.map_or(Outcome::Passed, |worst| Outcome::Failed(worst.finding.severity.name(), worst.message()));
        let text = of_kind.iter().map(|found| line(found) + "\n").collect();
        Case { name: id.name(), outcome, text }
    };
    let time = processes.iter().map(|process| process.duration as f64 / 1e9).fold(0.0, f64::max);
    Suite { name: name.to_owned(), time, cases: Id::ALL.iter().map(case).collect() }
}

fn of_recordings(set: &Set) -> Suite {
    let unread =
        set.failures.iter().map(|failure| format!("{}: {}\n", shown(&failure.path), plain(failure.what.as_bytes())));
    let lacks = |process: &&Process| process.partial() || process.header.children_lost > 0;
    let partial = set.processes.iter().filter(lacks).map(|process| {
        let lost = match process.header.children_lost {
            0 => String::new(),
            lost => format!(" ({lost} forked processes could make no recording)"),
        };
        format!("{}: {}{lost}\n", shown(&process.path), process.notes.kept.join("; "))
    });
    let case = |name, message: &str, text: String| {
        let outcome = if text.is_empty() { Outcome::Passed } else { Outcome::Error(name, message.to_owned()) };
        Case { name, outcome, text }
    };
    let cases = vec![
        case("read", "recordings could not be read", unread.collect()),
        case("whole", "recordings do not hold everything", partial.collect()),
    ];
    Suite { name: "recordings".into(), time: 0.0, cases }
}

impl Suite {
    fn failures(&self) -> usize {
        self.cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed(..))).count()
    }

    fn errors(&self) -> usize {
        self.cases.iter().filter(|case| matches!(case.outcome, Outcome::Error(..))).count()
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let name = escaped(&self.name);
        writeln!(
            out,
            r#"  <testsuite name="{name}" tests="{}" failures="{}" errors="{}" skipped="0" time="{:.3}">"#,
            self.cases.len(),
            self.failures(),
            self.errors(),
            self.time,
        )?;
        for case in &self.cases {
            write!(out, r#"    <testcase classname="{name}" name="{}" time="0""#, case.name)?;
            if case.text.is_empty() {
                writeln!(out, "/>")?;
                continue;
            }
            writeln!(out, ">")?;
            let element = match &case.outcome {
                Outcome::Passed => {
                    writeln!(out, "      <system-out>")?;
                    "system-out"
                }
                Outcome::Failed(kind, message) => {
                    writeln!(out, r#"      <failure type="{kind}" message="{}">"#, escaped(message))?;
                    "failure"
                }
                Outcome::Error(kind, message) => {
                    writeln!(out, r#"      <error type="{kind}" message="{}">"#, escaped(message))?;
                    "error"
                }
            };
            for line in case.text.lines() {
                writeln!(out, "{}", escaped(line))?;
            }
            writeln!(out, "      </{element}>\n    </testcase>")?;
        }
        writeln!(out, "  </testsuite>")
    }
}

/// `warning: 3 times, in 2 processes, epfd 5, fd 7, at serve (server.c:12): what it is`.
fn line(found: &Found) -> String {
    let finding = &found.finding;
    let mut parts = Vec::new();
    if finding.count > 1 {
        parts.push(format!("{} times", finding.count));
    }
    if found.processes > 1 {
        parts.push(format!("in {} processes", found.processes));
    }
    parts.extend(finding.epfd.map(|fd| format!("epfd {fd}")));
    parts.extend(finding.fd.map(|fd| format!("fd {fd}")));
    parts.extend(found.descriptor.as_ref().map(crate::described::Descriptor::text));
    parts.extend(found.places().map(|(word, site, _)| format!("{word} at {}", site.best())));
    let gap = if parts.is_empty() { "" } else { ": " };
    format!("{}: {}{gap}{}", finding.severity.name(), parts.join(", "), found.message())
}

/// For text and for attributes in double quotation marks. Characters that XML 1.0 cannot have become `?`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            letter if letter.is_control() => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}
