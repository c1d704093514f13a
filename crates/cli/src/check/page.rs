//! The facts as text of 80 columns, with the verdict first.

use std::fmt::Write;

use epollshim_format::events::Mask;

use super::calls::system_call;
use super::code::Site;
use super::facts::{Facts, Object};
use super::process::{Instance, Process, Seccomp, SeccompMode};
use super::verdict::{Reason, Verdict};
use crate::elf::{Elf, Kind};
use crate::text::{count, printable, shown, wrap};

/// At most this many interests of an instance, and sites of a call, are listed.
const INTERESTS: usize = 16;
const SITES: usize = 3;

pub fn page(facts: &Facts, verdict: &Verdict) -> String {
    let mut out = format!("{}\n\n", verdict.line);
    let row = |out: &mut String, label: &str, words: &str| wrap(out, &format!("  {label:<11} "), 14, words);
    match &facts.process {
        Some(process) => {
            row(&mut out, "process", &format!("{} ({}): {}", process.pid, process.name, shown(&facts.path)));
            row(&mut out, "shim", shim(process));
        }
        None => {
            for script in &facts.scripts {
                row(&mut out, "script", &shown(script));
            }
            row(&mut out, "program", &shown(&facts.path));
        }
    }
    match &facts.elf {
        Some(elf) => row(&mut out, "kind", &kind(elf)),
        None => row(&mut out, "kind", &facts.header.architecture()),
    }
    if let Some(privilege) = &facts.privilege {
        row(&mut out, "privileges", &privilege.what);
    }
    if let Some(process) = &facts.process {
        row(&mut out, "descriptors", &descriptors(process));
        if let Some(seccomp) = &process.seccomp {
            row(&mut out, "seccomp", &filters(seccomp));
        }
    }
    section(
        &mut out,
        "Why not all calls are seen",
        verdict.reasons.iter().filter(|_| verdict.reasons.len() > 1).map(|Reason { text, .. }| text),
    );
    imports(&mut out, facts);
    direct(&mut out, facts);
    if let Some(process) = &facts.process {
        instances(&mut out, process);
    }
    section(&mut out, "Notes", verdict.notes.iter());
    out
}

fn section<'a>(out: &mut String, title: &str, lines: impl Iterator<Item = &'a String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        let _ = writeln!(out, "\n{title}");
        lines.for_each(|line| wrap(out, "  - ", 4, line));
    }
}

const fn shim(process: &Process) -> &'static str {
    if process.has_shim { "loaded" } else { "not loaded; start the program with epollshim run" }
}

fn kind(elf: &Elf) -> String {
    let mut words = match elf.kind {
        Kind::Dynamic => "dynamic program, x86-64".to_string(),
        Kind::Static => "static program, x86-64".to_string(),
        Kind::StaticPie => "static program (static-pie), x86-64".to_string(),
        Kind::Library => "shared library, x86-64".to_string(),
    };
    if elf.is_go {
        words.push_str(", Go");
    }
    if let Some(interpreter) = &elf.interpreter {
        let _ = write!(words, ", interpreter {}", printable(&String::from_utf8_lossy(interpreter)));
    }
    words
}

fn descriptors(process: &Process) -> String {
    let number = |limit: Option<u64>| limit.map_or("unlimited".to_string(), |limit| limit.to_string());
    let [soft, hard] = process.limits;
    format!("{} open; RLIMIT_NOFILE {}, hard {}", process.descriptors, number(soft), number(hard))
}

fn filters(seccomp: &Seccomp) -> String {
    match (seccomp.mode, seccomp.filters) {
        (SeccompMode::Strict, _) => "strict mode: only read, write, exit and sigreturn".to_string(),
        (SeccompMode::Filter, Some(filters)) => count(filters as usize, "filter"),
        (SeccompMode::Filter, None) => "filtered".to_string(),
    }
}

fn imports(out: &mut String, facts: &Facts) {
    let objects: Vec<&Object> = facts.objects.iter().filter(|object| object.calls.names().next().is_some()).collect();
    if objects.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nFunctions that each object imports");
    let width = objects.iter().map(|object| object.name.chars().count()).max().unwrap_or(0).min(28);
    for object in objects {
        let words: Vec<String> = object.calls.names().map(printable).collect();
        wrap(out, &format!("  {:<width$}  ", object.name), width + 4, &words.join(" "));
    }
}

fn direct(out: &mut String, facts: &Facts) {
    let objects: Vec<&Object> = facts.objects.iter().filter(|object| !object.sites.is_empty()).collect();
    if objects.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nDirect system calls");
    for object in objects {
        // By number. Calls that concern the shim come first, unknown ones last.
        let mut numbers: Vec<Option<u32>> = object.sites.iter().map(|site| site.number).collect();
        numbers.sort_by_key(|number| {
            (number.is_none(), number.and_then(|number| system_call(number).1).is_none(), *number)
        });
        numbers.dedup();
        let mut others = Vec::new();
        let mut words = Vec::new();
        for number in numbers {
            let sites: Vec<&Site> = object.sites.iter().filter(|site| site.number == number).collect();
            match number.map(|number| (number, system_call(number).1)) {
                Some((number, Some(name))) => words.push(format!("{name} ({number}) at {}", places(&sites))),
                Some((number, None)) => others.push(number.to_string()),
                None => words.push(format!("unknown number at {}", places(&sites))),
            }
        }
        if !others.is_empty() {
            words.push(format!("others: {}", others.join(" ")));
        }
        wrap(out, &format!("  {}  ", object.name), 4, &words.join("; "));
    }
}

fn places(sites: &[&Site]) -> String {
    let mut words: Vec<String> = sites.iter().take(SITES).map(|site| format!("{:#x}", site.address)).collect();
    if sites.len() > SITES {
        words.push(format!("and {} more", sites.len() - SITES));
    }
    words.join(" ")
}

fn instances(out: &mut String, process: &Process) {
    if process.instances.is_empty() {
        let _ = writeln!(out, "\nNo epoll instances now");
        return;
    }
    let _ = writeln!(out, "\nEpoll instances now: {}", process.instances.len());
    for Instance { fds, interests } in &process.instances {
        let fds: Vec<String> = fds.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "  fd {}: {}", fds.join(", "), count(interests.len(), "interest"));
        for interest in interests.iter().take(INTERESTS) {
            let now = match (&interest.target, interest.is_ghost) {
                (None, _) => "closed, but still watched".to_string(),
                (Some(target), true) => format!("another file now ({target})"),
                (Some(target), false) => target.clone(),
            };
            wrap(out, &format!("    fd {:<5} ", interest.fd), 13, &format!("{now} {}", Mask(interest.events)));
        }
        if interests.len() > INTERESTS {
            let _ = writeln!(out, "    and {} more (--format json has all)", interests.len() - INTERESTS);
        }
    }
}
