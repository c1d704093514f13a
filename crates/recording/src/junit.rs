//! JUnit's XML, as CI servers read it: a suite a process, a test case a kind of finding. One of errors or warnings fails.

use std::io::{self, Write};

use epollshim_format::findings::{Id, Severity};

use crate::Set;
use crate::findings::{self, Found};
use crate::load::shown;
use crate::model::Process;
use crate::modules::plain;

pub fn render(set: &Set, out: &mut dyn Write) -> io::Result<()> {
    let suites: Vec<Suite> = set.processes.iter().map(Suite::of).collect();
    let failures: usize = suites.iter().map(Suite::failures).sum();
    let unread = set.failures.len();
    let tests = suites.len() * Id::ALL.len() + unread;
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<testsuites name="epollshim" tests="{tests}" failures="{failures}" errors="{unread}" skipped="0">"#
    )?;
    suites.iter().try_for_each(|suite| suite.tell(out))?;
    if unread > 0 {
        writeln!(
            out,
            r#"  <testsuite name="recordings" tests="{unread}" failures="0" errors="{unread}" skipped="0" time="0">"#
        )?;
        for failure in &set.failures {
            let (file, what) = (escaped(&shown(&failure.path)), escaped(&plain(failure.what.as_bytes())));
            writeln!(out, r#"    <testcase classname="recordings" name="{file}" time="0">"#)?;
            writeln!(out, r#"      <error type="unread" message="{what}"/>"#)?;
            writeln!(out, "    </testcase>")?;
        }
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

struct Suite<'a> {
    process: &'a Process,
    found: Vec<Found>,
}

impl<'a> Suite<'a> {
    fn of(process: &'a Process) -> Suite<'a> {
        Suite { process, found: findings::of(std::slice::from_ref(process)) }
    }

    /// The worst first.
    fn of_kind(&self, id: Id) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(move |found| found.finding.id == id)
    }

    fn fails(&self, id: Id) -> bool {
        self.of_kind(id).any(|found| found.finding.severity >= Severity::Warning)
    }

    fn failures(&self) -> usize {
        Id::ALL.iter().filter(|id| self.fails(**id)).count()
    }

    fn tell(&self, out: &mut dyn Write) -> io::Result<()> {
        let header = &self.process.header;
        let name = escaped(&plain(&header.comm));
        writeln!(
            out,
            r#"  <testsuite name="{name} (pid {})" tests="{}" failures="{}" errors="0" skipped="0" time="{:.3}">"#,
            header.pid,
            Id::ALL.len(),
            self.failures(),
            self.process.duration as f64 / 1e9,
        )?;
        for id in Id::ALL {
            write!(out, r#"    <testcase classname="{name}" name="{}" time="0""#, id.name())?;
            let Some(worst) = self.of_kind(*id).next() else {
                writeln!(out, "/>")?;
                continue;
            };
            writeln!(out, ">")?;
            let element = if self.fails(*id) { "failure" } else { "system-out" };
            if self.fails(*id) {
                let message = escaped(&worst.message());
                writeln!(out, r#"      <failure type="{}" message="{message}">"#, worst.finding.severity.name())?;
            } else {
                writeln!(out, "      <system-out>")?;
            }
            for found in self.of_kind(*id) {
                writeln!(out, "{}", escaped(&line(found)))?;
            }
            writeln!(out, "      </{element}>\n    </testcase>")?;
        }
        writeln!(out, "  </testsuite>")
    }
}

/// `warning: 3 times, epfd 5, fd 7, at serve (server.c:12): what it is`.
fn line(found: &Found) -> String {
    let finding = &found.finding;
    let mut parts = Vec::new();
    if finding.count > 1 {
        parts.push(format!("{} times", finding.count));
    }
    parts.extend(finding.epfd.map(|fd| format!("epfd {fd}")));
    parts.extend(finding.fd.map(|fd| format!("fd {fd}")));
    parts.extend(found.site.as_deref().map(|site| format!("at {}", site.best())));
    parts.extend(found.other.as_deref().map(|site| format!("and {}", site.best())));
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
