//! A process as text: findings first, then instances and threads, then what could not be observed.

use std::fmt::Write;

use epollshim_format::events::{EPOLLERR, EPOLLHUP, Mask};
use epollshim_format::scale::{Grouped, Scaled};
use epollshim_recording::{Colour, Look};

use super::elsewhere::{amounts, elsewhere};
use super::judge::{Finding, LISTED, shown};
use super::model::{Doing, EDGE, Ghost, Instance, Interest, ONESHOT, Process, Thread};
use super::read::call_name;
use crate::text::{count, wrap};

/// More interests of an instance, and more threads, are only counted. JSON has all.
const LINES: usize = 100;
const INDENT: usize = 11;

pub fn text(process: &Process, findings: &[Finding], look: Look) -> String {
    let mut out = String::new();
    let limit = process.limit.map_or_else(|| "no limit".to_owned(), |limit| format!("limit {}", Grouped(limit)));
    let name = look.paint(Colour::Heading, &process.name);
    let _ = writeln!(out, "{name} (pid {}), observed for {}", process.pid, Scaled::time(process.span()));
    let _ = writeln!(
        out,
        "  {} ({limit}), {}, {}",
        count(process.descriptors.len(), "descriptor"),
        count(process.instances.len(), "epoll instance"),
        count(process.threads.len(), "thread"),
    );
    if !process.instances.is_empty() {
        let (listed, all) = (process.listed().len(), process.descriptors.len());
        let of = format!("{} of {} are listed below", Grouped(listed as u64), count(all, "descriptor"));
        wrap(&mut out, "  ", 2, &format!("{of}: epoll instances, and what they watch"));
    }
    let _ = writeln!(out);
    let heading = match findings.len() {
        0 => "No problems with epoll found".to_owned(),
        some => format!("Findings: {some}"),
    };
    let _ = writeln!(out, "{}", look.paint(Colour::Heading, &heading));
    for finding in findings {
        one_finding(&mut out, finding, look);
    }
    let elsewhere = elsewhere(process);
    if !elsewhere.is_empty() {
        let _ = writeln!(out, "\n{}\n{elsewhere}", look.paint(Colour::Heading, "Outside of epoll (not judged)"));
        out.pop();
    }
    for instance in &process.instances {
        let _ = writeln!(out);
        one_instance(&mut out, process, instance, look);
    }
    let _ = writeln!(out);
    let _ = writeln!(out, "{}", look.paint(Colour::Heading, &format!("Threads: {}", process.threads.len())));
    for thread in process.threads.iter().take(LINES) {
        let _ = writeln!(out, "  {:<8} {:<16} {}", thread.tid, thread.name, doing(thread, process.ended));
    }
    more(&mut out, process.threads.len());
    if !process.missing.is_empty() {
        let _ = writeln!(out);
        let _ = writeln!(out, "{}", look.paint(Colour::Trouble, "Not observed"));
        for what in &process.missing {
            wrap(&mut out, "  ", 2, what);
        }
    }
    out
}

fn more(out: &mut String, all: usize) {
    if all > LINES {
        let _ = writeln!(out, "  and {} more (--format json has all)", Grouped((all - LINES) as u64));
    }
}

fn one_finding(out: &mut String, finding: &Finding, look: Look) {
    let severity = look.paint(Colour::of(finding.severity), &format!("{:<8}", finding.severity.name()));
    let mut line = format!("  {severity} {:<13}", finding.id);
    if let Some(epfd) = finding.epfd {
        let _ = write!(line, "  epfd {epfd}");
    }
    if !finding.fds.is_empty() {
        let numbers: Vec<String> = finding.fds.iter().take(LISTED).map(ToString::to_string).collect();
        let _ = write!(line, "  fd {}", numbers.join(", "));
        if finding.fds.len() > LISTED {
            let _ = write!(line, " and {} more", finding.fds.len() - LISTED);
        }
    }
    let _ = writeln!(out, "{}", line.trim_end());
    wrap(out, &" ".repeat(INDENT), INDENT, &finding.message);
    if let (Some(what), Some(fd)) = (&finding.what, finding.fds.first()) {
        let _ = writeln!(out, "{:INDENT$}fd {fd}: {what}", "");
    }
}

fn one_instance(out: &mut String, process: &Process, instance: &Instance, look: Look) {
    let numbers: Vec<String> = instance.epfds.iter().map(ToString::to_string).collect();
    let waiters: Vec<String> = process
        .threads
        .iter()
        .filter(|thread| process.waits_on(thread).is_some_and(|one| one.epfds == instance.epfds))
        .map(|thread| thread.tid.to_string())
        .collect();
    let waiters = match waiters.as_slice() {
        [] => "no thread waits on it".to_owned(),
        [one] => format!("thread {one} waits on it"),
        some => format!("threads {} wait on it", some.join(", ")),
    };
    let ready = match instance.ready.last() {
        None => "",
        Some(true) => ", a wait would return events",
        Some(false) => ", a wait would return nothing",
    };
    let heading = look.paint(Colour::Heading, &format!("Instance fd {}", numbers.join(", ")));
    let _ = writeln!(out, "{heading}: {}; {waiters}{ready}", count(instance.interests.len(), "interest"));
    for interest in instance.interests.iter().take(LINES) {
        let _ = writeln!(out, "  fd {:<5} {}  {}", interest.fd, mask(interest), state(process, interest));
    }
    more(out, instance.interests.len());
}

/// The events that an interest asks for, as text.
fn mask(interest: &Interest) -> String {
    if interest.is_disarmed() {
        let edge = if interest.events & EDGE != 0 { "|EPOLLET" } else { "" };
        return format!("{}{edge} (disarmed)", Mask(interest.events & ONESHOT));
    }
    // The kernel adds these two to every interest.
    Mask(interest.events & !(EPOLLERR | EPOLLHUP)).to_string()
}

fn state(process: &Process, interest: &Interest) -> String {
    let now = process.descriptors.get(&interest.fd).map(shown);
    let mut text = match (interest.ghost, now) {
        (Some(Ghost::Closed), _) | (None, None) => return "closed, but still watched".to_owned(),
        (Some(Ghost::Other), now) => {
            return format!("another file, still watched; the descriptor is now {}", now.unwrap_or_default());
        }
        (None, Some(now)) => now,
    };
    match process.ready(interest) {
        _ if interest.is_disarmed() => {}
        Some(0) => text.push_str(", not ready"),
        Some(ready) => {
            let _ = write!(text, ", ready: {}", Mask(ready));
        }
        None => {}
    }
    if let Some(descriptor) = process.descriptors.get(&interest.fd) {
        text.push_str(&amounts(descriptor, false));
    }
    text
}

/// What a thread does, and for how long, as far as that is known.
fn doing(thread: &Thread, now: u64) -> String {
    let Some(last) = thread.last() else { return String::new() };
    let mut text = match (last.wait, last.doing) {
        (Some(wait), _) => {
            let timeout = match wait.timeout {
                None => String::new(),
                Some(-1) => ", without a timeout".to_owned(),
                Some(timeout) => format!(", timeout {timeout} ms"),
            };
            format!("waits in {} on fd {}{timeout}", wait.call, wait.epfd)
        }
        (None, Doing::Runs) => "runs".to_owned(),
        (None, Doing::Call(-1)) => "is blocked outside of a system call".to_owned(),
        (None, Doing::Call(number)) => match call_name(number) {
            Some(name) => format!("sleeps in {name}{}", last.fd.map(|fd| format!(" on fd {fd}")).unwrap_or_default()),
            None => format!("sleeps in system call {number}"),
        },
        (None, Doing::Unknown) => match last.state {
            'R' => "runs".to_owned(),
            'S' | 'D' => "sleeps".to_owned(),
            _ => "unknown".to_owned(),
        },
    };
    match last.state {
        'T' | 't' => text.push_str(", stopped"),
        _ if last.doing == Doing::Runs || last.state == 'R' => {}
        _ => match thread.asleep_since {
            Some(since) => {
                let _ = write!(text, "; for at least {}", Scaled::time(now.saturating_sub(since)));
            }
            None => text.push_str("; for an unknown time"),
        },
    }
    if let Some(used) = thread.used().filter(|used| *used > 0) {
        let _ = write!(text, "; used {} of processor time meanwhile", Scaled::time(used));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use epollshim_format::census::Kind;
    use epollshim_format::descriptor::Kept;
    use epollshim_recording::Look;

    use super::super::model::{Descriptor, Instance, Interest, Process};
    use super::text;

    #[test]
    fn the_number_of_listed_descriptors_is_shown_beside_the_number_of_all() {
        let descriptor = |fd| {
            let of = Descriptor {
                kind: Kind::File,
                inode: 7,
                what: Kept::new(),
                looks: Vec::new(),
                unsent: None,
                table: None,
            };
            (fd, of)
        };
        let interest = |fd| Interest { fd, events: 1, data: 0, pos: 0, inode: 7, device: 8, ghost: None };
        let mut process =
            Process { descriptors: (0..6).map(descriptor).collect::<BTreeMap<_, _>>(), ..Process::default() };
        let printed = |process: &Process| text(process, &[], Look::default());
        assert!(!printed(&process).contains("listed below"));
        // 9 was closed.
        process.instances =
            vec![Instance { epfds: vec![4], interests: [3, 5, 9].map(interest).to_vec(), ready: Vec::new() }];
        let text = printed(&process);
        let line = "\n  3 of 6 descriptors are listed below: epoll instances, and what they watch\n\n";
        assert!(text.contains("\n  6 descriptors (") && text.contains(line), "{text}");
    }
}
