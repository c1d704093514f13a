//! What the library and the command write as JSON is what the files of share/ say: `report`, `log`
//! and `check`. (`inspect` has tests/inspect_schema.rs, `sweep` crates/cli/tests/sweep_outputs.rs.)
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use testkit::{binary, c_program, run, schema, scratch, shim, show, until};

fn python() -> Option<&'static str> {
    schema::python().map_err(|why| testkit::skipped(why, false)).ok()
}

/// Programs that together bring about every kind of value.
const PROGRAMS: [&str; 13] = [
    "census_leaks",
    "descriptions",
    "exit_paths",
    "fork_children",
    "known_counts",
    "seccomp",
    "streams",
    "unseen_instance",
    "findings/ctl_error_exists",
    "findings/double_close",
    "findings/fd_leak",
    "findings/ghost",
    "findings/near_limit",
];

/// `command` with every option that adds keys to a report. Recordings and a log go below `folder`.
fn with_everything<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    let suppressions = folder.join("suppressions");
    std::fs::write(&suppressions, "leak:libnone.so\nno-cloexec:*\n").unwrap();
    command
        .env("LD_PRELOAD", shim())
        .env("EPOLLSHIM_REPORT", folder.join("report.json"))
        .env("EPOLLSHIM_REPORT_FORMAT", "json")
        .env("EPOLLSHIM_RECORD", folder.join("rec"))
        .env("EPOLLSHIM_LOG", folder.join("log.json"))
        .env("EPOLLSHIM_LOG_FORMAT", "json")
        .env("EPOLLSHIM_LOG_FILTER", "all")
        .env("EPOLLSHIM_CENSUS", "1")
        .env("EPOLLSHIM_STACKS", "4")
        .env("EPOLLSHIM_LIMIT", "watches=100000,size=warn")
        .env("EPOLLSHIM_INJECT", "epoll_wait:error=EINTR:when=2;epoll_ctl:error=ENOMEM:when=100000")
        .env("EPOLLSHIM_SUPPRESSIONS", suppressions)
}

/// One document, in one line.
fn epollshim(words: &[&str]) -> String {
    let output = Command::new(binary()).args(words).stdin(Stdio::null()).output().unwrap();
    assert!(!output.stdout.is_empty(), "{words:?}: {}", show(&output));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    format!("{value}\n")
}

fn text(file: PathBuf) -> String {
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A server that is killed at the end.
struct Server(Child);

impl Server {
    fn start(folder: &Path) -> Server {
        let script = "import select, time; e = select.epoll(); print('ready', flush=True)\nwhile True: e.poll(0.02)";
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", script]).stdin(Stdio::null()).stderr(Stdio::null());
        let output = std::fs::File::create(folder.join("stdout")).unwrap();
        let server = Server(with_everything(&mut python, folder).stdout(output).spawn().unwrap());
        until("the server is ready", || (text(folder.join("stdout")) == "ready\n").then_some(()));
        server
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn each_report_and_each_line_of_a_log_is_in_its_schema() {
    let Some(python) = python() else { return };
    let (mut reports, mut lines) = (String::new(), String::new());
    for name in PROGRAMS {
        let program = c_program(name);
        let (plain, folder) = (scratch("plain").join("report.json"), scratch("schema"));
        // Some of them fail with a fault and a limit: they are judged by their own tests.
        // Some make files in the current directory.
        run(testkit::under_shim(Command::new(&program).current_dir(&folder), &plain));
        run(with_everything(Command::new(&program).current_dir(&folder), &folder));
        // A program that uses no epoll has no report without a census, and one whose filter forbids
        // openat has none in a file.
        reports += &std::fs::read_to_string(plain).unwrap_or_default();
        reports += &std::fs::read_to_string(folder.join("report.json")).unwrap_or_default();
        let directory = folder.join("rec").display().to_string();
        let suppressions = folder.join("suppressions").display().to_string();
        reports += &epollshim(&["report", &directory, "--format", "json"]);
        reports += &epollshim(&["report", &directory, "--format", "json", "--suppressions", &suppressions]);
        // Some write a hundred thousand lines.
        let log = text(folder.join("log.json"));
        let step = log.lines().count() / 300 + 1;
        lines.extend(log.lines().step_by(step).flat_map(|line| [line, "\n"]));
    }
    // A program that is steered, that is read while it runs, and that is killed.
    let folder = scratch("killed");
    let server = Server::start(&folder);
    let steered = Command::new(binary()).args(["ctl", &server.pid(), "limit", "watches=7"]).output().unwrap();
    assert!(steered.status.success(), "{}", show(&steered));
    let directory = folder.join("rec").display().to_string();
    reports += &epollshim(&["report", &directory, "--format", "json"]);
    drop(server);
    std::fs::write(folder.join("rec/epollshim.none.1.rec"), "not a recording").unwrap();
    reports += &epollshim(&["report", &directory, "--format", "json"]);
    assert!(reports.lines().count() > 4 * PROGRAMS.len() && lines.lines().count() > 1000, "{reports}");
    schema::is_valid(python, "report", &reports);
    schema::is_valid(python, "log", &lines);
}

#[test]
fn each_verdict_of_check_is_in_its_schema() {
    let Some(python) = python() else { return };
    let folder = scratch("check");
    let script = folder.join("script");
    std::fs::write(&script, "#!/usr/bin/env python3\n").unwrap();
    let set_mode = Command::new("chmod").arg("755").arg(&script).status().unwrap();
    assert!(set_mode.success());
    let server = Server::start(&folder);
    let own = std::process::id().to_string();
    let mut programs: Vec<String> = ["known_counts", "raw_syscall", "seccomp"].map(c_program).map(path).into();
    programs.extend([path(script), path(shim()), "/usr/bin/python3".into(), "/usr/bin/su".into()]);
    programs.extend([server.pid(), own]);
    if let Some([go]) = testkit::installed(["go"]) {
        programs.push(path(go));
    }
    let lines: String = programs.iter().map(|program| epollshim(&["check", "--format", "json", program])).collect();
    schema::is_valid(python, "check", &lines);
}

fn path(path: PathBuf) -> String {
    path.display().to_string()
}

/// Each schema refuses a value of another type, and the loss of a key.
#[test]
fn what_is_not_in_a_schema_is_refused() {
    let Some(python) = python() else { return };
    let folder = scratch("wrong");
    let program = c_program("findings/ctl_error_exists");
    run(with_everything(&mut Command::new(&program), &folder));
    let first = |text: String| serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap();
    let report = first(text(folder.join("report.json")));
    let whole = first(epollshim(&["report", &path(folder.join("rec")), "--format", "json"]));
    let line = first(text(folder.join("log.json")));
    let check = first(epollshim(&["check", "--format", "json", &path(program)]));
    for (name, right, place, wrong) in [
        ("report", &report, "/schema", json!("epollshim.report/2")),
        ("report", &report, "/findings/0/severity", json!("fatal")),
        ("report", &report, "/process/pid", json!("1")),
        ("report", &report, "/instances/live", json!(-1)),
        ("report", &report, "/coverage/reconciled", json!("yes")),
        ("report", &whole, "/processes/0/census/live", json!("3")),
        ("report", &whole, "/merged/waits/batch/p50", json!(1.5)),
        ("log", &line, "/call", json!(null)),
        ("log", &line, "/result", json!("0")),
        ("check", &check, "/verdict", json!("maybe")),
        ("check", &check, "/objects/0/direct", json!(0)),
    ] {
        let mut document = right.clone();
        let value = document.pointer_mut(place).unwrap_or_else(|| panic!("{name}: no {place}: {right:#}"));
        *value = wrong;
        let is_refused = |document: &Value| {
            let output = schema::validate(python, name, "as-shipped", &document.to_string());
            output.status.code() == Some(1) && output.stderr.is_empty()
        };
        assert!(is_refused(&document), "{name}: {place}");
        let mut document = right.clone();
        let (parent, key) = place.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        assert!(is_refused(&document), "{name}: without {place}");
    }
}
