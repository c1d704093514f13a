//! While a log, a fault or a limit is armed, hooks take the slow path (src/hooks/armed.rs). If no
//! rule or limit applies, the slow path changes nothing: the C programs of `c-tests/` behave as
//! bare with a log, with a rule that never fires, and with limits that are never reached.
//!
//! Programs that measure what a call costs are not included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use testkit::{c_program, c_program_with, reports, scratch, under_shim};

#[derive(Clone, Copy, PartialEq)]
enum Armed {
    /// A log to a file.
    Log,
    /// A rule that never fires.
    Rule,
    /// Limits that are never reached.
    Limits,
    Recording,
    /// All three, with the log in JSON.
    All,
}

const NEVER: (&str, &str) = ("EPOLLSHIM_INJECT", "all:error=EIO:when=4000000000");
const WIDE: (&str, &str) = ("EPOLLSHIM_LIMIT", "instances=100000,watches=1000000,memory=1G");

/// The lines on standard output, and last how the program ended.
fn lines(command: &mut Command) -> (Vec<String>, String) {
    let run = testkit::run(command);
    if run.status.signal() == Some(libc::SIGSEGV) {
        panic!("{command:?}: {}\n{}", run.status, run.stderr);
    }
    (run.stdout.lines().map(str::to_owned).chain([run.status.to_string()]).collect(), run.stderr)
}

/// The lines of the bare program, which runs once for all tests of this file.
fn bare_lines(binary: &Path, arguments: &[&str]) -> Vec<String> {
    type Lines = Arc<OnceLock<Vec<String>>>;
    static KNOWN: Mutex<BTreeMap<String, Lines>> = Mutex::new(BTreeMap::new());
    let known = KNOWN.lock().unwrap().entry(format!("{} {arguments:?}", binary.display())).or_default().clone();
    known.get_or_init(|| lines(Command::new(binary).args(arguments)).0).clone()
}

/// Asserts that the program ends and prints as bare. Returns the reports.
#[track_caller]
fn same(binary: &Path, arguments: &[&str], armed: Armed) -> Vec<Value> {
    let bare = bare_lines(binary, arguments);
    assert!(!bare.iter().any(|line| line.contains("FAIL")), "{} fails bare: {bare:?}", binary.display());
    let directory = scratch("armed");
    let (report, log) = (directory.join("report.json"), directory.join("log"));
    let mut command = Command::new(binary);
    under_shim(command.args(arguments), &report);
    if matches!(armed, Armed::Log | Armed::All) {
        command.env("EPOLLSHIM_LOG", &log);
    }
    if matches!(armed, Armed::Rule | Armed::All) {
        command.env(NEVER.0, NEVER.1);
    }
    if matches!(armed, Armed::Limits | Armed::All) {
        command.env(WIDE.0, WIDE.1);
    }
    if armed == Armed::Recording {
        command.env("EPOLLSHIM_RECORD", directory.join("recordings"));
    }
    if armed == Armed::All {
        command.env("EPOLLSHIM_LOG_FORMAT", "json").env("EPOLLSHIM_LOG_FILTER", "all");
    }
    let (shimmed, stderr) = lines(&mut command);
    let what = format!("{command:?}");
    for (bare, shimmed) in bare.iter().zip(&shimmed) {
        assert_eq!(shimmed, bare, "{what}\n{stderr}");
    }
    assert_eq!(shimmed.len(), bare.len(), "{what}\n{stderr}");
    let reports = if report.exists() { reports(&report) } else { Vec::new() };
    let _ = std::fs::remove_dir_all(&directory);
    for report in &reports {
        let nothing = |list: &Value, key: &str| list.as_array().unwrap().iter().all(|entry| entry[key] == 0);
        assert!(nothing(&report["faults"], "fired") && nothing(&report["limits"], "denied"), "{what}: {report}");
    }
    reports
}

/// Every program, with its arguments in tests/c_programs.rs. (Not `crowd` and `long_life`, whose
/// logs have hundreds of megabytes, and not `descriptor_threads`, which fails if the ledger's lock
/// is ever broken, which depends on the load of the machine.)
const PROGRAMS: &[(&str, &[&str])] = &[
    ("epoll_create", &[]),
    ("epoll_ctl", &[]),
    ("epoll_wait", &[]),
    ("descriptors", &[]),
    ("raw_syscall", &[]),
    ("prototypes", &[]),
    ("exit_in_handler", &[]),
    ("signal_handlers", &[]),
    ("constructor_user", &[]),
    ("vfork_child", &[]),
    ("clone_vm_child", &[]),
    ("own_tls", &[]),
    ("unseen_instance", &[]),
    ("posix_spawn_child", &[]),
    ("fork_children", &[]),
    ("fork_from_threads", &[]),
    ("fork_in_signal_handler", &[]),
    ("raw_clone_fork", &[]),
    ("daemon_closefrom", &[]),
    ("dup2_over_epoll", &[]),
    ("scm_rights", &[]),
    ("unwind_everywhere", &[]),
    ("longjmp_out", &[]),
    ("high_numbers", &[]),
    ("seccomp", &[]),
    ("seccomp", &["first"]),
    ("close_storm", &[]),
    ("random_ops", &["20260711", "8000"]),
    ("random_ops", &["20260711", "8000", "strict"]),
    ("log_walk", &[]),
    ("log_walk", &["descriptors"]),
];

const ENDINGS: &[&str] = &[
    "return",
    "exit",
    "_exit",
    "_Exit",
    "quick_exit",
    "thread_after_main",
    "last_thread",
    "thread",
    "handler",
    "closed_stderr",
    "failing_exec",
    "full_table",
    "_exit_in_atexit",
    "exit_from_the_midst",
    "_exit_from_the_midst",
    "exit_amid_threads",
    "_exit_amid_threads",
    "exec_amid_threads",
    "execve",
    "execv",
    "execvp",
    "execvpe",
    "execl",
    "execlp",
    "execle",
    "execl_long",
    "execveat",
    "fexecve",
    "abort",
    "killed",
    "syscall_exit_group",
    "syscall_execve",
    "inherited",
    "fork_exit",
];

/// A program, built once for all tests of this file.
fn built(name: &str) -> PathBuf {
    static BUILT: OnceLock<Vec<(&str, PathBuf)>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let mut names: Vec<&str> = PROGRAMS.iter().map(|(name, _)| *name).collect();
        names.extend(["exit_paths", "cancel_epoll_wait"]);
        names.dedup();
        let built = names.into_iter().map(|name| (name, c_program(name)));
        built.chain([("with -fexceptions", c_program_with("cancel_epoll_wait", &["-fexceptions"]))]).collect()
    });
    built.iter().find(|(known, _)| *known == name).expect("it is listed").1.clone()
}

fn all_are_the_same(armed: Armed) {
    for (name, arguments) in PROGRAMS {
        // Its handler forks every millisecond. A child that creates a recording takes longer, so
        // the program would never leave its handler.
        if armed == Armed::Recording && *name == "fork_in_signal_handler" {
            continue;
        }
        let reports = same(&built(name), arguments, armed);
        if matches!(armed, Armed::Log) && matches!(*name, "fork_children" | "epoll_wait" | "scm_rights" | "vfork_child")
        {
            for report in reports {
                let log = &report["log"];
                let logged = log["written"].as_u64().unwrap() + log["dropped"].as_u64().unwrap();
                let calls = report["calls"].as_object().unwrap().values();
                assert_eq!(logged, calls.map(|call| call["calls"].as_u64().unwrap()).sum::<u64>(), "{name}: {report}");
            }
        }
    }
    for way in ENDINGS {
        same(&built("exit_paths"), &[way], armed);
    }
    same(&built("cancel_epoll_wait"), &[], armed);
    same(&built("with -fexceptions"), &[], armed);
}

#[test]
fn a_log_to_a_file_changes_nothing() {
    all_are_the_same(Armed::Log);
}

#[test]
fn a_rule_that_never_fires_changes_nothing() {
    all_are_the_same(Armed::Rule);
}

#[test]
fn limits_that_are_never_reached_change_nothing() {
    all_are_the_same(Armed::Limits);
}

#[test]
fn a_recording_changes_nothing() {
    all_are_the_same(Armed::Recording);
}

#[test]
fn all_of_them_together_change_nothing() {
    all_are_the_same(Armed::All);
}
