//! Tests the formats of `epollshim report` with the programs that read them: JSON compared with the
//! exit report, JUnit with the schema of Jenkins, metrics with promtool and node_exporter, stacks
//! for flame graphs, text on a terminal; several arguments, and directories of several runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod pty;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{compile, epollshim, output, scratch, stderr, stdout, tool};
use serde_json::Value;

/// Runs a program with everything that adds to a report, under a new shell, so that each time is
/// another run. Returns its exit report.
fn record(directory: &Path, program: &Path) -> Value {
    let file = |name: &str| directory.with_file_name(name).display().to_string();
    let (report, suppressions) = (file("report.json"), file("known.supp"));
    let _ = fs::remove_file(&report);
    fs::write(&suppressions, "leak:^no_such_function$\n").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "\"$@\"; exit $?", "sh"]).arg(epollshim().get_program());
    command.args(["run", "--report", &report, "--report-format=json", "--census", "--stacks=8", "--seed=7"]);
    command.args(["--limit=instances=1000,size=warn", "--inject=epoll_wait:error=EINTR:when=1000000"]);
    command.args(["--log", &file("calls.log"), "--suppressions", &suppressions, "--record"]);
    let ran = output(command.arg(directory).arg("--").arg(program));
    assert!(ran.status.success(), "{}", stderr(&ran));
    serde_json::from_str(fs::read_to_string(&report).unwrap().lines().next().unwrap()).unwrap()
}

fn recorded(name: &str) -> (PathBuf, Value) {
    let recordings = scratch(name).join("rec");
    let exit = record(&recordings, &compile("everything", &["-g"]));
    (recordings, exit)
}

/// The output of `report`, which prints nothing on stderr.
#[track_caller]
fn report(words: &[&str], places: &[&Path]) -> String {
    let printed = output(epollshim().arg("report").args(words).args(places));
    assert!(printed.status.success() && printed.stderr.is_empty(), "{words:?}: {}", stderr(&printed));
    stdout(&printed)
}

// ---- json ----

/// The keys of a value, recursively, such as `calls.epoll_wait.errors` and `findings[].site`; and
/// those that are null.
fn keys(value: &Value, path: &str, all: &mut BTreeSet<String>, nulls: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                all.insert(path.clone());
                keys(value, &path, all, nulls);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, &format!("{path}[]"), all, nulls)),
        Value::Null => drop(nulls.insert(path.to_owned())),
        _ => {}
    }
}

#[test]
fn a_report_of_a_recording_has_every_key_of_the_exit_report_and_so_has_the_merged_view() {
    let (recordings, exit) = recorded("keys");
    let printed: Value = serde_json::from_str(&report(&["--format=json"], &[&recordings])).unwrap();
    let (mut wanted, mut unused) = (BTreeSet::new(), BTreeSet::new());
    keys(&exit, "", &mut wanted, &mut unused);
    // The exit report has something of everything.
    for key in [
        "limits[].mode",
        "faults[].fired",
        "findings[].stack",
        "census.sites[].fds",
        "census.by_kind[].kind",
        "log.written",
        "suppressions[].rule",
        "instances.list[].epfds",
        "calls.epoll_ctl.errors.EEXIST",
        "calls.epoll_wait.latency_ns.p99",
        "recording.children_lost",
        "coverage.seccomp",
    ] {
        assert!(wanted.contains(key), "{key} is not in {exit}");
    }
    // Not recorded yet, so null or absent.
    const NOT_RECORDED: [&str; 3] = ["log", "suppressions", "coverage.seccomp"];
    for (name, view) in [("processes[0]", &printed["processes"][0]), ("merged", &printed["merged"])] {
        let (mut there, mut nulls) = (BTreeSet::new(), BTreeSet::new());
        keys(view, "", &mut there, &mut nulls);
        let is_below_null = |key: &str| {
            NOT_RECORDED.iter().any(|unknown| nulls.contains(*unknown) && key.starts_with(unknown) && key != *unknown)
        };
        let missing: Vec<&String> = wanted.difference(&there).filter(|key| !is_below_null(key)).collect();
        assert!(missing.is_empty(), "{name} lacks {missing:?}");
        assert_eq!(view["process"]["seed"], exit["process"]["seed"], "{name}");
        assert_eq!(view["census"]["kinds"], exit["census"]["kinds"], "{name}");
        assert_eq!(view["instances"]["live"], exit["instances"]["live"], "{name}");
    }
}

// ---- junit ----

/// The names by which a reader tracks tests: those of suites, classes and cases, in order.
fn names(xml: &str) -> Vec<String> {
    let attributes = |line: &str| -> Vec<String> {
        line.split('"')
            .collect::<Vec<_>>()
            .chunks(2)
            .filter(|pair| pair[0].ends_with("name="))
            .map(|pair| pair[1].to_owned())
            .collect()
    };
    xml.lines().filter(|line| line.trim_start().starts_with("<test")).flat_map(attributes).collect()
}

#[test]
fn junit_is_valid_for_jenkins_and_its_names_stay_the_same_from_run_to_run() {
    let (recordings, _) = recorded("junit");
    let first = report(&["--format=junit"], &[&recordings]);
    let (others, _) = recorded("junit");
    let second = report(&["--format=junit"], &[&others]);
    assert_eq!(names(&first), names(&second));
    // Twice as many processes have the same tests.
    assert_eq!(names(&report(&["--format=junit"], &[&recordings, &others])), names(&first));
    assert!(first.contains(r#"<testcase classname="everything" name="ctl-error" time="0">"#), "{first}");
    assert!(first.contains(r#"<testcase classname="recordings" name="whole" time="0"/>"#), "{first}");
    // A truncated recording is an error of its own. The names stay the same.
    let cut = recordings.join("epollshim.1.1.rec");
    let whole = fs::read(fs::read_dir(&others).unwrap().next().unwrap().unwrap().path()).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    fs::write(recordings.join("epollshim.2.1.rec"), "no recording").unwrap();
    let printed = output(epollshim().args(["report", "--format=junit"]).arg(&recordings));
    assert_eq!(printed.status.code(), Some(1), "{}", stderr(&printed));
    let damaged = stdout(&printed);
    assert_eq!(names(&damaged), names(&first));
    assert!(damaged.contains(r#"<error type="read""#) && damaged.contains(r#"<error type="whole""#), "{damaged}");

    [&first, &damaged].into_iter().for_each(|xml| common::is_valid_for_jenkins(xml));
}

// ---- prometheus ----

#[test]
fn promtool_reports_no_problem_and_node_exporter_serves_the_counters() {
    let (recordings, _) = recorded("metrics");
    let directory = scratch("textfile");
    let file = directory.join("epollshim.prom");
    report(&["--format=prometheus", "-o", file.to_str().unwrap()], &[&recordings]);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing else is left beside it");
    let metrics = fs::read_to_string(&file).unwrap();
    assert!(metrics.ends_with('\n') && !metrics.contains("\n\n"), "{metrics}");
    let series: Vec<&str> =
        metrics.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(series.iter().collect::<BTreeSet<_>>().len(), series.len(), "no series twice:\n{metrics}");
    if let Some(promtool) = tool("promtool") {
        let mut check = Command::new(promtool);
        let checked = output(check.args(["check", "metrics"]).stdin(fs::File::open(&file).unwrap()));
        let said = stdout(&checked) + &stderr(&checked);
        assert!(checked.status.success() && said.is_empty(), "{said}\n{metrics}");
    }
    if let Some(exporter) = tool("prometheus-node-exporter") {
        served(&exporter, &directory, &metrics);
    }
}

/// What node_exporter serves for a directory of metrics.
fn served(exporter: &Path, directory: &Path, metrics: &str) {
    let mut command = Command::new(exporter);
    command.args(["--collector.disable-defaults", "--collector.textfile", "--web.listen-address=127.0.0.1:0"]);
    command.arg(format!("--collector.textfile.directory={}", directory.display()));
    let mut server = Ended(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    // level=info msg="Listening on" address=127.0.0.1:40123
    let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines();
    let listening = |line: String| {
        let rest = line.split("address=").nth(1).filter(|_| line.contains("Listening"))?;
        Some(rest.split([' ', '"']).next().unwrap().to_owned())
    };
    let address = lines.by_ref().map_while(Result::ok).find_map(listening).expect("where it listens");
    let mut page = String::new();
    let mut connection = TcpStream::connect(&address).unwrap();
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    connection.read_to_string(&mut page).unwrap();
    assert!(page.contains("node_textfile_scrape_error 0\n"), "{page}");
    for line in metrics.lines().filter(|line| line.starts_with("# TYPE ")) {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    assert!(page.contains("# TYPE epollshim_calls_total counter\n"), "{page}");
    assert!(page.contains("epollshim_calls_total{call=\"epoll_ctl\",program=\"everything\"} 3\n"), "{page}");
}

struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// ---- folded ----

#[test]
fn folded_stacks_are_counted_by_kind_and_by_finding() {
    let (recordings, _) = recorded("folded");
    let folded = report(&["--format=folded"], &[&recordings]);
    for line in folded.lines() {
        let (stack, count) = line.rsplit_once(' ').unwrap();
        assert!(count.parse::<u64>().unwrap() > 0 && stack.starts_with("everything;"), "{line}");
    }
    let find = |parts: &[&str]| folded.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    // Outermost first.
    assert!(find(&["everything;open descriptors;", "main (", ";leave_files (", " 3"]), "{folded}");
    assert!(find(&["everything;epoll instances;", "main (", ") 1"]), "{folded}");
    assert!(find(&["everything;findings;ctl-error;", "main ("]), "{folded}");
    // Without stacks, the call site is the only frame.
    let bare = scratch("folded-bare").join("rec");
    let program = compile("everything", &["-g"]);
    let ran = output(epollshim().args(["run", "--report=none", "--record"]).arg(&bare).arg("--").arg(program));
    assert!(ran.status.success(), "{}", stderr(&ran));
    let folded = report(&["--format=folded"], &[&bare]);
    let instances: Vec<&str> = folded.lines().filter(|line| line.contains(";epoll instances;")).collect();
    assert!(!instances.is_empty() && instances.iter().all(|line| line.matches(';').count() == 2), "{folded}");
}

// ---- text ----

#[test]
fn text_is_as_wide_as_the_terminal_has_colours_there_and_is_never_cut_elsewhere() {
    let (recordings, _) = recorded("text");
    let shown = |width: u16, variables: &[(&str, &str)]| {
        let mut command = epollshim();
        command.arg("report").arg(&recordings).env("TERM", "xterm").env_remove("NO_COLOR").env_remove("COLUMNS");
        command.envs(variables.iter().copied());
        let mut terminal = pty::Terminal::with(command, width, 50);
        assert!(terminal.wait().success());
        common::until("its last line", || {
            let text = terminal.text();
            text.contains("Coverage:").then_some(text)
        })
    };
    let widest = |text: &str| text.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
    let (narrow, wide) = (shown(80, &[("NO_COLOR", "1")]), shown(200, &[("NO_COLOR", "1")]));
    assert!(widest(&narrow) < widest(&wide) && widest(&wide) > 120, "{wide}");
    assert!(!wide.contains('\u{1b}'), "{wide}");
    let coloured = shown(200, &[]);
    assert!(coloured.contains("\u{1b}[1mepollshim: everything"), "{coloured}");
    // On a pipe there is no colour, and nothing is shortened.
    let piped = report(&[], &[&recordings]);
    assert!(!piped.contains('\u{1b}') && !piped.contains("..."), "{piped}");
    // Findings come first.
    assert!(piped.find("Findings:") < piped.find("\nCalls "), "{piped}");
}

// ---- several arguments, several runs ----

#[test]
fn several_files_and_directories_are_one_report_and_each_file_counts_once() {
    let ((one, _), (two, _)) = (recorded("several"), recorded("several"));
    let file = fs::read_dir(&two).unwrap().next().unwrap().unwrap().path();
    let processes = |places: &[&Path]| -> u64 {
        let printed: Value = serde_json::from_str(&report(&["--format=json"], places)).unwrap();
        assert_eq!(printed["runs"].as_array().unwrap().len(), places.iter().filter(|place| place.is_dir()).count());
        printed["merged"]["processes"].as_u64().unwrap()
    };
    assert_eq!(processes(&[&one, &two]), 2);
    assert_eq!(processes(&[&one, &file]), 2);
    assert_eq!(processes(&[&two, &file]), 1, "named twice, read once");
    let both = report(&[], &[&one, &two]);
    assert!(both.contains("ctl-error     2 times in 2 processes"), "equal findings are one:\n{both}");
    assert!(!both.contains("--latest"), "each directory has one run:\n{both}");
}

#[test]
fn a_directory_with_two_runs_is_reported_as_such_and_the_latest_can_be_selected() {
    let recordings = scratch("runs").join("rec");
    let program = compile("everything", &["-g"]);
    record(&recordings, &program);
    record(&recordings, &program);
    let newest = |printed: &Value| printed["processes"][0]["process"]["pid"].clone();
    let both = report(&[], &[&recordings]);
    assert!(both.contains("was used by 2 runs") && both.contains("--latest"), "{both}");
    let all: Value = serde_json::from_str(&report(&["--format=json"], &[&recordings])).unwrap();
    assert_eq!((all["runs"].as_array().unwrap().len(), &all["merged"]["processes"]), (2, &2.into()));
    let latest: Value = serde_json::from_str(&report(&["--format=json", "--latest"], &[&recordings])).unwrap();
    assert_eq!((&latest["merged"]["processes"], &latest["runs"][0]["left_out"]), (&1.into(), &1.into()));
    assert_eq!(newest(&latest), all["processes"][1]["process"]["pid"]);
    let text = report(&["--latest"], &[&recordings]);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("1 process of an earlier run is left out (--latest)"), "{text}");
}
