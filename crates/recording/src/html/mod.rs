//! The report as one self-contained html page: nothing is loaded from elsewhere, and the only
//! script sorts the tables.
//!
//! Everything that a program chose (its name, paths, arguments, functions) goes through
//! [`escaped`]. The page's Content-Security-Policy blocks anything that would be loaded
//! nevertheless. Plots are written as SVG (`plot`), because their colours must follow the reader's
//! light or dark scheme, and plotting crates write fixed colours into each shape.

mod tables;
mod timeline;

mod findings;
pub mod page;
mod plot;
mod table;

use std::fmt::Write as _;
use std::io::{self, Write};

use epollshim_format::call::Call;

use crate::Set;
use crate::coverage;
use crate::facts::Facts;
use crate::json::error_name;
use crate::load::shown;
use crate::model::{Process, makes_calls_unseen, what_is_unseen};
use crate::modules::plain;
use crate::runs;
use crate::scale::{bytes, count, date, grouped, time};
use page::escaped;
use plot::{Bars, Line};
use tables::{calls, census, faults, instances, processes, sites, suppressions, threads};

const SCRIPT: &str = include_str!("page.js");
/// The most rows of a table.
const ROWS: usize = 1000;
/// The most command lines in the head of the page.
const COMMANDS: usize = 4;

pub fn render(set: &Set, out: &mut dyn Write) -> io::Result<()> {
    let facts = Facts::merged(set);
    let mut page = String::new();
    head(set, &mut page);
    troubles(set, &mut page);
    findings::section(&facts, &mut page);
    tiles(set, &facts, &mut page);
    if facts.has_epoll() {
        plots(set, &facts, &mut page);
    } else {
        page.push_str("<p>The library saw no epoll calls of any process.</p>\n");
    }
    out.write_all(page.as_bytes())?;
    for table in [processes(set), calls(&facts), faults(set), census(set), sites(&facts), instances(set), threads(set)]
    {
        out.write_all(table.render().as_bytes())?;
    }
    if !set.suppressions.is_empty() {
        out.write_all(suppressions(set).render().as_bytes())?;
    }
    out.write_all(footer(&facts).as_bytes())?;
    out.write_all(page::end(SCRIPT).as_bytes())
}

fn names(set: &Set) -> String {
    let mut names: Vec<String> = set.processes.iter().map(|process| plain(&process.header.comm)).collect();
    names.sort();
    names.dedup();
    let more = if names.len() > 4 { ", ..." } else { "" };
    names.truncate(4);
    names.join(", ") + more
}

fn head(set: &Set, page: &mut String) {
    let names = escaped(&names(set));
    let processes = count(set.processes.len() as u64, "process", "processes");
    page::begin(page, &names, "");
    let _ = write!(
        page,
        "<header>\n<h1>{names}</h1>\n<p class=\"quiet\">what {processes} did with epoll and descriptors</p>\n<dl>\n",
    );
    for (name, what) in identity(set) {
        let _ = writeln!(page, "<dt>{name}</dt><dd>{what}</dd>");
    }
    page.push_str("</dl>\n</header>\n");
}

/// When and where the recordings were made, the commands, and the version that wrote the page.
fn identity(set: &Set) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let began = set.processes.iter().map(|process| process.header.began_unix).min();
    if let Some(began) = began.filter(|began| *began != 0) {
        let ends = set.processes.iter().map(|process| process.header.began_unix.saturating_add(process.duration));
        let length = ends.max().unwrap_or(began).saturating_sub(began);
        facts.push(("Recorded", format!("{}, for {}", date(began), time(length))));
    }
    let mut commands: Vec<String> = Vec::new();
    for process in &set.processes {
        let words: Vec<String> = process.header.arguments.iter().map(|argument| plain(argument)).collect();
        let command = words.join(" ");
        if !command.is_empty() && !commands.contains(&command) {
            commands.push(command);
        }
    }
    let more = commands.len().saturating_sub(COMMANDS);
    let mut shown_commands: Vec<String> =
        commands.iter().take(COMMANDS).map(|command| format!("<code>{}</code>", escaped(command))).collect();
    if more > 0 {
        shown_commands.push(format!("and {more} more, below"));
    }
    if !shown_commands.is_empty() {
        facts.push(("Command", shown_commands.join("<br>")));
    }
    if !set.sources.is_empty() {
        let sources = set.sources.iter().map(|source| format!("<code>{}</code>", escaped(&shown(source))));
        facts.push(("Recordings", sources.collect::<Vec<_>>().join(", ")));
    }
    let machine = &set.machine;
    let mut made = format!("epollshim {}", env!("CARGO_PKG_VERSION"));
    if machine.now_unix != 0 {
        let _ = write!(made, ", {}", date(machine.now_unix));
    }
    if !machine.host.is_empty() {
        let _ = write!(made, ", on {} (Linux {})", escaped(&machine.host), escaped(&machine.kernel));
    }
    facts.push(("Report made by", made));
    if let Some(note) = runs::note(&set.runs) {
        facts.push(("Note", escaped(&note)));
    }
    facts
}

fn tiles(set: &Set, facts: &Facts, page: &mut String) {
    let all = facts.counters.of(&Call::ALL);
    let killed = set.processes.iter().filter(|process| process.end() == "signal").count();
    let epoll = [
        ("calls", grouped(all.calls), format!("{} failed", grouped(all.failures()))),
        ("events", grouped(facts.counters.batch.sum), format!("{} empty waits", grouped(facts.counters.empty))),
        ("instances alive", grouped(facts.totals.instances), format!("{} created", grouped(facts.created()))),
        ("watches alive", grouped(facts.totals.watches), format!("peak {}", grouped(facts.totals.watches_peak))),
        ("kernel memory", bytes(facts.memory()), format!("peak {}", bytes(facts.totals.memory_peak))),
    ];
    let processes = ("processes", grouped(set.processes.len() as u64), format!("{} killed", grouped(killed as u64)));
    page.push_str("<div class=\"tiles\">\n");
    for (name, value, more) in epoll.into_iter().filter(|_| facts.has_epoll()).chain([processes]) {
        let _ = writeln!(page, "<div><b>{value}</b><span>{name}</span><small>{more}</small></div>");
    }
    page.push_str("</div>\n");
}

/// What is missing from the report. Comes before its content.
fn troubles(set: &Set, page: &mut String) {
    let mut lines = Vec::new();
    let lacks = |process: &&Process| {
        let is_unseen = process.header.unseen > 0 || makes_calls_unseen(process).is_some();
        process.partial() || process.header.children_lost > 0 || is_unseen
    };
    for process in set.processes.iter().filter(lacks).take(ROWS) {
        let header = &process.header;
        let mut notes = process.notes.kept.clone();
        if let Some(error) = header.trouble {
            notes.push(format!("the file could not grow: {}", error_name(error)));
        }
        for (count, what) in [
            (process.notes.more, "more notes"),
            (header.threads_dropped, "threads not recorded (no space)"),
            (header.calls_dropped, "calls of these threads, not counted"),
            (header.entries_dropped, "instances or watches not recorded (no space)"),
        ] {
            if count > 0 {
                notes.push(format!("{what}: {}", grouped(count)));
            }
        }
        if header.children_lost > 0 {
            let error = header.children_trouble.map_or("?", error_name);
            let children = count(header.children_lost, "forked process", "forked processes");
            notes.push(format!("{children} could not create a recording: {error}"));
        }
        let unseen = what_is_unseen(std::slice::from_ref(process)).into_iter().chain(makes_calls_unseen(process));
        notes.extend(unseen.map(|what| format!("not seen: {what}")));
        if process.dropped() > 0 {
            let why = process.why_dropped().join("; ");
            notes.push(format!("{} dropped: {why}", count(process.dropped(), "call record", "call records")));
        }
        let name = format!("{} (pid {})", plain(&header.comm), header.pid);
        lines.push(format!("{}: {}", escaped(&name), escaped(&notes.join("; "))));
    }
    for failure in set.failures.iter().take(ROWS) {
        lines.push(format!("{}: not read, {}", escaped(&shown(&failure.path)), escaped(&failure.what)));
    }
    if lines.is_empty() {
        return;
    }
    page.push_str("<section class=\"warning\"><h2>Partial: this report is incomplete</h2>\n<ul>\n");
    for line in lines {
        let _ = writeln!(page, "<li>{line}</li>");
    }
    page.push_str("</ul></section>\n");
}

fn plots(set: &Set, facts: &Facts, page: &mut String) {
    let lives = timeline::lives(set);
    let left = format!("from the last {}", count(facts.records.held, "call record", "call records"));
    let vague = if lives.vague { "; approximate: watches removed by a close have no record" } else { "" };
    let counters = &facts.counters;
    page.push_str("<div class=\"plots\">\n");
    for plot in [
        Line {
            title: "Live watches",
            note: format!("{left}{vague}"),
            unit: "",
            steps: true,
            points: &lives.watches,
            class: "a",
        }
        .render(),
        Line {
            title: "Live instances",
            note: format!("{left}{vague}"),
            unit: "",
            steps: true,
            points: &lives.instances,
            class: "b",
        }
        .render(),
        Line { title: "Call rate", note: left, unit: "/s", steps: false, points: &timeline::rate(set), class: "c" }
            .render(),
        Bars::times("Time blocked per wait", &counters.blocked(), "a").render(),
        Bars::times("Work between waits", &counters.work, "b").render(),
        Bars::sizes("Events per batch", &counters.batch, "c").render(),
    ] {
        page.push_str(&plot);
    }
    page.push_str("</div>\n");
}

fn footer(facts: &Facts) -> String {
    let (heading, explanation) = (coverage::heading(facts), coverage::explanation(facts));
    let mut text = format!("<footer class=\"quiet\"><p>Coverage: {heading}. {explanation}");
    for (count, what) in coverage::counts(&facts.totals) {
        let _ = write!(text, " {what}: {}.", grouped(count));
    }
    let records = &facts.records;
    let _ = writeln!(
        text,
        " Call records: {} kept, {} overwritten, {} dropped, {} unfinished.</p></footer>",
        grouped(records.seen),
        grouped(records.overwritten),
        grouped(records.dropped),
        grouped(records.unfinished)
    );
    text
}
