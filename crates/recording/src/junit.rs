//! JUnit's XML, as CI servers read it (Jenkins' junit-10.xsd): a suite for each program, and a test
//! case for each kind of finding. A case with errors or warnings fails.
//!
//! A CI server identifies a test from build to build by the names of its suite, its class and its
//! case. Therefore no name contains a process id, an address or a number, and every report has the
//! same test cases. A kind that was not found is a case that passed. Two more cases show whether
//! all recordings could be read, and whether they were complete.

use std::collections::BTreeMap;
use std::io::{self, Write};

use epollshim_format::findings::{Id, Severity};

use crate::Set;
use crate::findings::{self, Found};
use crate::load::shown;
use crate::model::Process;
use crate::modules::plain;
use crate::suites::{self, Case, Outcome, Suite};

pub fn render(set: &Set, out: &mut dyn Write) -> io::Result<()> {
    let mut programs: BTreeMap<String, Vec<&Process>> = BTreeMap::new();
    for process in &set.processes {
        programs.entry(program(process)).or_default().push(process);
    }
    let mut suites: Vec<Suite> = programs.iter().map(|(name, processes)| of_program(name, processes)).collect();
    suites.push(of_recordings(set));
    suites::write(&suites, out)
}

/// The name that a process's program has in every run. A process may change its name, for example
/// to `worker-4711`. A name with digits is used only if the name of the executable or of the first
/// argument begins with it.
fn program(process: &Process) -> String {
    let header = &process.header;
    let base = |path: &[u8]| plain(path.rsplit(|byte| *byte == b'/').next().unwrap_or_default());
    let (comm, exe) = (plain(&header.comm), base(&header.exe));
    let argument = header.arguments.first().map(|argument| base(argument)).unwrap_or_default();
    let is_stable = !comm.contains(|letter: char| letter.is_ascii_digit())
        || [&exe, &argument].into_iter().any(|name| name.starts_with(&comm));
    if is_stable || exe.is_empty() { comm } else { exe }
}

fn of_program(name: &str, processes: &[&Process]) -> Suite {
    let found = findings::of(processes.iter().copied());
    let case = |id: &Id| {
        // The worst first.
        let of_kind: Vec<&Found> = found.iter().filter(|found| found.finding.id == *id).collect();
        let worst = of_kind.first().filter(|found| found.finding.severity >= Severity::Warning);
        let outcome = worst
            .map_or(Outcome::Passed, |worst| Outcome::Failed(worst.finding.severity.name().into(), worst.message()));
        let text = of_kind.iter().map(|found| line(found) + "\n").collect();
        Case { name: id.name().into(), time: 0.0, outcome, text }
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
            lost => format!(" (forked processes that could not create a recording: {lost})"),
        };
        format!("{}: {}{lost}\n", shown(&process.path), process.notes.kept.join("; "))
    });
    let case = |name: &str, message: &str, text: String| {
        let outcome =
            if text.is_empty() { Outcome::Passed } else { Outcome::Error(name.to_owned(), message.to_owned()) };
        Case { name: name.to_owned(), time: 0.0, outcome, text }
    };
    let cases = vec![
        case("read", "recordings could not be read", unread.collect()),
        case("whole", "recordings are incomplete", partial.collect()),
    ];
    Suite { name: "recordings".into(), time: 0.0, cases }
}

/// `warning: 3 times, in 2 processes, epfd 5, fd 7, called at serve (server.c:12): the message`.
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
