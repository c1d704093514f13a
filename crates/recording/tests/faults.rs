//! Fault rules in reports, what a report covers, and processes that used no epoll.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;
#[path = "common/directory.rs"]
mod directory;

use common::{CODE, Recording, SECOND, server, with_stacks};
use directory::{Directory, json, rendered};
use epollshim_format::function::Function;
use epollshim_format::recording::{PAGE, census, kind, policy};
use epollshim_recording::model::End;
use epollshim_recording::{Format, Look, Set, load, render_family};

const ACCEPT: &str = "accept4:error=EMFILE:when=2";
const OPEN: &str = "openat,socket:error=EIO";

/// A rule: its text, how many calls it counted, and on how many it fired.
type Rule = (&'static str, u64, u64);
/// A firing: the rule's place, the function, and the time after the start.
type Firing = (u64, Function, u64);

/// A process that made no epoll call, with fault rules and their last firings.
fn with_rules(pid: u64, comm: &[u8], rules: &[Rule], firings: &[Firing]) -> Recording {
    let mut made = Recording::new(pid, comm, SECOND, 4);
    made.totals([0, 0], [0, 0], 0);
    let at = made.segment(kind::POLICY, policy::SIZE, 0);
    let mut end = 0;
    for (index, (text, matched, fired)) in rules.iter().enumerate() {
        let rule = at + policy::FIRST + index * policy::RULE;
        made.text(at + policy::TEXT + end, text.as_bytes());
        for (word, value) in [
            (policy::MATCHED, *matched),
            (policy::FIRED, *fired),
            (policy::IS_LEGAL, 1),
            (policy::WORDS, end as u64 | (text.len() as u64) << 32),
        ] {
            made.word(rule + word, value);
        }
        end += text.len();
    }
    for (index, (rule, function, after)) in firings.iter().enumerate() {
        let firing = at + policy::LAST + index * policy::FIRING;
        for (word, value) in [
            (policy::NUMBER, index as u64 + 1),
            (policy::WHAT, rule | (*function as u64) << 8 | pid << 32),
            (policy::AT, SECOND + after),
            (policy::ORDINAL, 2),
            (policy::SITE, CODE + 0x1130),
        ] {
            made.word(firing + word, value);
        }
    }
    made.word(at + policy::COUNT, rules.len() as u64);
    made.modules(&format!("{CODE:x} {:x} - /srv/app\n", CODE + 0x8000));
    made.ended(SECOND + 9_000_000, 1);
    made
}

#[test]
fn the_faults_of_several_processes_are_summed_before_the_processes() {
    let directory = Directory::new("faults");
    let rules = [(ACCEPT, 3, 1), (OPEN, 9, 1)];
    let master = with_rules(10, b"master", &rules, &[(0, Function::Accept4, 1_000), (1, Function::OpenAt, 7_000)]);
    let rules = [(ACCEPT, 4_000, 1), (OPEN, 1, 0), ("close:error=EIO", 0, 0)];
    let worker = with_rules(20, b"worker", &rules, &[(0, Function::Accept4, 5_000)]);
    for (pid, made) in [(10, master), (20, worker), (30, server(30, SECOND, false))] {
        directory.put(&format!("epollshim.{pid}.1.rec"), &made.bytes);
    }
    let set = load(&directory.0).unwrap();
    let text = rendered(&set, Format::Text);
    let (together, _) = text.split_once("\n====").unwrap();
    let rows: Vec<Vec<&str>> = together
        .lines()
        .filter(|line| line.contains(":error="))
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(
        rows,
        [[ACCEPT, "4,003", "2", "2 of 2"], [OPEN, "10", "1", "1 of 2"], ["close:error=EIO", "0", "0", "0 of 1"]],
        "{together}"
    );
    for last in [
        "    last: in worker (pid 20): accept4, ordinal 2, 5.00 us after the start\n      called at app+0x1130\n",
        "    last: in master (pid 10): openat, ordinal 2, 7.00 us after the start\n",
        "  matched: calls that the rule counted\n  fired: calls that it changed; with error=, those that it made fail\n",
        "  processes: in how many it fired, of how many that had the rule\n",
    ] {
        assert!(together.contains(last), "{last}\n{together}");
    }
    let page = rendered(&set, Format::Html);
    let row = format!("<td><code>{ACCEPT}</code></td><td class=\"n\" data-v=\"4003\">4,003</td>");
    assert!(page.contains("<h2>Faults</h2>") && page.contains(&row), "{page}");
    assert!(page.contains("<td>worker (pid 20): accept4, ordinal 2, 5.00 us after the start</td>"), "{page}");
}

#[test]
fn a_rule_that_fired_on_several_functions_shows_how_often_on_each() {
    let directory = Directory::new("functions");
    let firings = [Function::OpenAt, Function::Socket, Function::OpenAt].map(|function| (0, function, 1_000));
    for (fired, line) in [(3, "    all 3: openat 2, socket 1\n"), (40, "    the last 3: openat 2, socket 1\n")] {
        let made = with_rules(10, b"app", &[(OPEN, 50, fired)], &firings);
        let text = rendered(&load(&directory.put("epollshim.10.1.rec", &made.bytes)).unwrap(), Format::Text);
        assert!(text.contains(line), "{text}");
        assert!(text.contains("  matched: calls that the rule counted\n"), "{text}");
    }
}

#[test]
fn a_program_without_epoll_calls_has_one_line_about_epoll() {
    let directory = Directory::new("without-epoll");
    let mut made = with_rules(10, b"app", &[], &[]);
    let at = made.segment(kind::CENSUS, PAGE, 0);
    made.word(at + census::AT_START, 3);
    let one = load(&directory.put("epollshim.10.1.rec", &made.bytes)).unwrap();
    directory.put("epollshim.20.1.rec", &with_rules(20, b"app", &[], &[]).bytes);
    let two = load(&directory.0).unwrap();
    let sections = ["Calls ", "Instances:", "Watches:", "Waits:", "Kernel memory", "Threads "];
    let lines = ["saw no epoll calls of this process\n", "saw no epoll calls of any process\n"];
    for (set, line) in [&one, &two].into_iter().zip(lines) {
        let text = rendered(set, Format::Text);
        assert!(text.contains(&format!("\n\nEpoll: the library {line}")), "{text}");
        assert!(text.contains("\n\nCoverage: "), "{text}");
        let has = |section: &&str| text.lines().any(|line| line.starts_with(section));
        assert_eq!(sections.iter().find(|section| has(section)), None, "{text}");
        let page = rendered(set, Format::Html);
        assert!(page.contains("<p>The library saw no epoll calls of any process.</p>"), "{page}");
        assert!(!page.contains("<svg") && !page.contains("watches alive"), "{page}");
        assert_eq!(json(set)["merged"]["waits"]["empty"], 0, "JSON has all keys");
    }
    // An instance that the library did not see created, or a part that is missing: nothing is left
    // out.
    let killed = server(40, SECOND, true);
    let mut partial = with_rules(50, b"app", &[], &[]);
    partial.word(epollshim_format::recording::header::THREADS_DROPPED, 1);
    for bytes in [killed.bytes, with_stacks().bytes, partial.bytes] {
        let text = rendered(&load(&directory.put("epollshim.1.1.rec", &bytes)).unwrap(), Format::Text);
        assert!(text.contains("\nInstances: ") && !text.contains("Epoll: "), "{text}");
    }
}

#[test]
fn the_coverage_says_what_was_compared_with_the_kernel_and_what_was_missed() {
    let directory = Directory::new("coverage");
    let mut set = load(&directory.put("epollshim.88.1.rec", &with_stacks().bytes)).unwrap();
    set.processes[0].totals.unseen_watches = 7;
    let coverage = |set: &Set| {
        let text = rendered(set, Format::Text);
        text.split_once("\nCoverage: ").unwrap().1.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let text = coverage(&set);
    assert!(text.contains("A process that ended by itself compared its open descriptors with /proc"), "{text}");
    assert!(text.ends_with("watches that changed without a call which the library saw: 7"), "{text}");
    set.processes[0].header.end = End::NotYet;
    assert!(coverage(&set).contains("Nothing was compared with the kernel's lists."));
    set.processes[0].reconciled = true;
    let text = coverage(&set);
    assert!(text.starts_with("compared with the kernel's lists for this report Counted: "), "{text}");
    assert!(text.contains("Open descriptors and watches are those of the kernel's lists"), "{text}");
    let page = rendered(&set, Format::Html);
    assert!(page.contains("watches that changed without a call which the library saw: 7."), "{page}");
}

#[test]
fn run_shows_a_process_in_which_a_rule_fired_and_only_names_the_others() {
    let directory = Directory::new("fired");
    for (pid, fired) in [(10, 0), (20, 1)] {
        let made = with_rules(pid, b"app", &[(ACCEPT, 3, fired)], &[]);
        directory.put(&format!("epollshim.{pid}.1.rec"), &made.bytes);
    }
    let mut out = Vec::new();
    render_family(&load(&directory.0).unwrap(), Look::default(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("\nepollshim: app (pid 20), ") && !text.contains("\nepollshim: app (pid 10), "), "{text}");
    assert!(text.contains("\nNot shown individually: app (10)\n"), "{text}");
}
