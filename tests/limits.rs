//! Limits (SPEC, section 5), tested by programs that reach them: each row of the table, racing
//! threads, how reservations could get lost, the processes of one session, and the C interface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::{c_program, report, reports, scratch, show, under_shim};

/// The directory of sessions: given, refused, and default.
#[path = "limits/directory.rs"]
mod directory;

/// A run under limits, in a session of its own.
struct Limited {
    output: Output,
    report: PathBuf,
}

impl Limited {
    fn new(limits: &str, program: &Path, arguments: &[&str]) -> Limited {
        let directory = scratch("limits");
        let report = directory.join("report.json");
        let mut command = Command::new(program);
        command.args(arguments).env("EPOLLSHIM_LIMIT", limits).env("EPOLLSHIM_SESSION", directory.join("session"));
        let output = under_shim(&mut command, &report).output().expect("the program starts");
        Limited { output, report }
    }

    /// Asserts that the program found what it expected.
    #[track_caller]
    fn passes(self) -> Limited {
        assert!(self.output.status.success(), "{}", show(&self.output));
        self
    }

    fn report(&self) -> Value {
        report(&self.report)
    }

    /// The report of the process that was started. The reports of its children come before it.
    fn last_report(&self) -> Value {
        reports(&self.report).pop().expect("a report")
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

/// The entry of one limit in the report.
fn of<'a>(report: &'a Value, key: &str) -> &'a Value {
    let limits = report["limits"].as_array().expect("a list");
    limits.iter().find(|limit| limit["key"] == key).unwrap_or_else(|| panic!("{key}: {report}"))
}

fn row(limits: &str, name: &str) -> Limited {
    Limited::new(limits, &c_program("limit_rows"), &[name]).passes()
}

/// Asserts that the peak of a limit is the limit, and that as many calls were refused as `calls`
/// count as limited.
#[track_caller]
fn held(run: &Limited, key: &str, limit: u64, calls: &[&str]) {
    let report = run.report();
    let entry = of(&report, key);
    assert_eq!((&entry["limit"], &entry["peak"]), (&json!(limit), &json!(limit)), "{entry}");
    let limited: u64 = calls.iter().map(|call| report["calls"][call]["limited"].as_u64().unwrap()).sum();
    assert!(limited > 0, "{report}");
    assert_eq!(entry["denied"], limited, "{report}");
    assert_eq!(entry["let_through"], 0, "{entry}");
    assert_eq!(run.stderr(), "", "a limit that denies prints nothing");
}

// ---- the table ----

const CREATIONS: [&str; 2] = ["epoll_create", "epoll_create1"];

#[test]
fn instances_beyond_the_limit_get_emfile_from_every_call_that_creates_one() {
    held(&row("instances=3", "instances"), "instances", 3, &CREATIONS);
}

#[test]
fn the_users_instances_beyond_the_limit_get_emfile() {
    held(&row("user-instances=3", "instances"), "user-instances", 3, &CREATIONS);
}

#[test]
fn with_no_instance_allowed_the_kernel_is_never_asked_for_one() {
    let run = row("instances=0", "none");
    held(&run, "instances", 0, &CREATIONS);
    assert_eq!(run.report()["instances"]["created"], 0);
}

#[test]
fn watches_beyond_the_limit_get_enospc_unless_the_kernel_has_a_reason_of_its_own() {
    held(&row("watches=3", "watches"), "watches", 3, &["epoll_ctl"]);
    held(&row("user-watches=3", "watches"), "user-watches", 3, &["epoll_ctl"]);
    held(&row("instance-watches=2", "instance-watches"), "instance-watches", 2, &["epoll_ctl"]);
}

#[test]
fn memory_beyond_the_limit_is_enomem_from_creations_and_additions() {
    let calls = ["epoll_create", "epoll_create1", "epoll_ctl"];
    held(&row("memory=1600", "memory"), "memory", 1600, &calls);
}

#[test]
fn the_size_promised_to_epoll_create_is_ignored_warned_about_or_enforced() {
    let run = row("size=enforce", "size-enforced");
    let report = run.report();
    assert_eq!(
        *of(&report, "size"),
        json!({"key": "size", "limit": null, "peak": 2, "denied": 6, "let_through": 0, "mode": "enforce"})
    );
    assert_eq!(report["calls"]["epoll_ctl"]["limited"], 6);
    assert_eq!(run.stderr(), "");

    let run = row("size=warn", "size-free");
    assert_eq!(of(&run.report(), "size")["let_through"], 2);
    assert_eq!(run.stderr().lines().count(), 1, "{}", run.stderr());
    assert!(run.stderr().contains("the size of 2 promised to epoll_create"), "{}", run.stderr());
    // on-limit=abort applies to limits, and not to a mode that only warns.
    row("size=warn,on-limit=abort", "size-free");
    let run = row("size=enforce,on-limit=warn", "size-free");
    assert_eq!(of(&run.report(), "size")["let_through"], 2);

    let run = row("size=ignore", "size-free");
    assert_eq!((run.report()["limits"].clone(), run.stderr()), (json!([]), String::new()));
}

#[test]
fn a_wait_returns_at_most_the_limit_of_events_and_none_is_lost() {
    let report = row("events=3", "events").report();
    assert_eq!(of(&report, "events")["let_through"], 25, "waits whose maxevents was lowered");
    assert_eq!(of(&report, "events")["denied"], 0);
}

#[test]
fn a_breach_that_only_warns_is_let_through_printed_once_and_counted() {
    let run = row("instances=2,watches=2,on-limit=warn", "warn");
    let report = run.report();
    // A call that the kernel refuses is not counted as let through.
    assert_eq!(of(&report, "instances")["let_through"], 3, "{report}");
    assert_eq!(of(&report, "watches")["let_through"], 3, "{report}");
    assert_eq!(of(&report, "watches")["denied"], 0);
    assert_eq!(report["calls"]["epoll_ctl"]["limited"], 0);
    let stderr = run.stderr();
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(lines[0].contains("limit instances=2") && lines[1].contains("limit watches=2"), "{stderr}");
}

#[test]
fn a_breach_that_aborts_is_printed_reported_and_ends_with_sigabrt() {
    use std::os::unix::process::ExitStatusExt as _;
    let binary = c_program("limit_rows");
    for (limits, row, key, call) in [
        ("instances=2,watches=2,on-limit=abort", "abort-instances", "instances", "epoll_create1"),
        ("instances=2,watches=2,on-limit=abort", "abort-watches", "watches", "epoll_ctl"),
        ("instances=0,on-limit=abort", "abort-at-once", "instances", "epoll_create1"),
    ] {
        let run = Limited::new(limits, &binary, &[row]);
        assert_eq!(run.output.status.signal(), Some(libc::SIGABRT), "{row}: {}", show(&run.output));
        let said = String::from_utf8_lossy(&run.output.stdout).into_owned();
        assert!(!said.contains("FAIL"), "{row}: {said}");
        assert!(said.is_empty() || said.ends_with("now\n"), "{row}: {said}");
        let stderr = run.stderr();
        assert!(stderr.lines().count() == 1 && stderr.contains(&format!("limit {key}=")), "{row}: {stderr}");
        let report = run.report();
        assert_eq!(report["process"]["end"], "signal", "{row}");
        assert_eq!(of(&report, key)["denied"], 1, "{row}: {report}");
        assert_eq!(report["calls"][call]["limited"], 1, "{row}: {report}");
    }
}

#[test]
fn the_text_report_has_one_line_per_limit() {
    let path = scratch("limits").join("report");
    let output = Command::new(c_program("limit_rows"))
        .arg("instances")
        .env("EPOLLSHIM_LIMIT", "instances=3,memory=8M,size=enforce")
        .env("LD_PRELOAD", testkit::shim())
        .env("EPOLLSHIM_REPORT", &path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", show(&output));
    let text = std::fs::read_to_string(path).unwrap();
    let line = |name: &str| {
        let line =
            text.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("Limits"), ["Limits", "limit", "peak", "refused", "let", "through"]);
    assert_eq!(line("instances "), ["instances", "3", "3", "26", "0"]);
    assert_eq!(line("memory ")[1..3], ["8.00", "MiB"], "{text}");
    assert!(line("size ").contains(&"enforce".to_owned()), "{text}");
    assert!(text.contains("(limited 10)"), "{text}");
}

/// The program sets each limit, because only it knows how many descriptors it was started with.
#[test]
fn descriptors_beyond_the_limit_get_emfile_from_every_call_that_makes_one() {
    let binary = c_program("limit_descriptors");
    let run = Limited::new("descriptors=1000", &binary, &["rows"]).passes();
    assert_eq!(run.report()["census"]["healed"], 0, "{}", run.report());
    let run = Limited::new("descriptors=1000", &binary, &["ends"]).passes();
    let report = run.last_report();
    assert!(of(&report, "descriptors")["denied"].as_u64().unwrap() > 5, "{report}");
    let run = Limited::new("descriptors=1000", &binary, &["warn"]).passes();
    let report = run.report();
    let entry = of(&report, "descriptors");
    assert!(entry["denied"] == 0 && entry["let_through"] == 1 && entry["limit"] == 1, "{report}");
    assert!(run.stderr().contains("limit descriptors=1 reached"), "{}", run.stderr());
    Limited::new("instances=1000", &binary, &["without-a-census"]).passes();
    for (count, rounds) in [("5", "3000"), ("1", "2000"), ("2", "2000")] {
        Limited::new("descriptors=1000", &binary, &["race", count, rounds]).passes();
    }
}

// ---- threads ----

fn race(limits: &str, arguments: &[&str]) -> Limited {
    Limited::new(limits, &c_program("limit_race"), arguments).passes()
}

#[test]
fn of_sixteen_threads_that_ask_at_once_exactly_as_many_get_it_as_may() {
    race("instances=7", &["burst", "instances", "7", "1000"]);
    race("watches=5", &["burst", "watches", "5", "1000"]);
    for _ in 0..4 {
        // The first claims of a run also find the process a place in the session, so there are
        // several runs.
        race("user-instances=7", &["burst", "instances", "7", "150"]);
        race("user-watches=5", &["burst", "watches", "5", "150"]);
    }
}

#[test]
fn a_thread_that_gave_its_instance_back_is_never_refused_another() {
    for limits in ["instances=16", "user-instances=16"] {
        let run = race(limits, &["fair", "16", "2000"]);
        let key = limits.split_once('=').unwrap().0;
        assert_eq!(of(&run.report(), key)["denied"], 1, "the one that asked for a seventeenth");
    }
}

#[test]
fn racing_threads_never_exceed_a_limit_and_can_use_all_of_it_again() {
    for (limits, what, limit) in [
        ("instances=8", "instances", "8"),
        ("user-instances=8", "instances", "8"),
        ("watches=100", "watches", "100"),
        ("user-watches=100", "watches", "100"),
        ("memory=12K", "memory", "12288"),
        ("instance-watches=10", "instance-watches", "10"),
    ] {
        let run = race(limits, &[what, limit, "1500"]);
        let key = limits.split_once('=').unwrap().0;
        assert_eq!(of(&run.report(), key)["peak"].to_string(), limit, "{limits}");
    }
    for limits in ["instance-watches=10", "instance-watches=10,user-watches=30,user-instances=5"] {
        race(limits, &["wild", "10", "1000"]);
    }
}

// ---- one process ----

#[test]
fn no_reservation_is_lost_or_returned_twice_however_its_object_ends() {
    let binary = c_program("limit_again");
    for kind in ["instances", "watches", "user-instances", "user-watches"] {
        Limited::new(&format!("{kind}=6"), &binary, &[kind, "6"]).passes();
    }
    Limited::new("memory=4224", &binary, &["instances", "6"]).passes();
}

/// From the environment, to repeat a failure. Otherwise random. The program prints it when it
/// fails.
fn seed() -> String {
    std::env::var("EPOLLSHIM_TEST_SEED").unwrap_or_else(|_| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        (now.as_nanos() % 1_000_000_007).to_string()
    })
}

#[test]
fn every_verdict_of_50_000_random_operations_is_what_the_kernels_lists_imply() {
    let seed = seed();
    println!("EPOLLSHIM_TEST_SEED={seed}");
    let binary = c_program("limit_random");
    let common = "instance-watches=4,memory=5100,size=enforce";
    Limited::new(&format!("{common},instances=5,watches=9"), &binary, &[&seed, "50000"]).passes();
    let run = Limited::new(&format!("{common},user-instances=5,user-watches=9"), &binary, &[&seed, "50000", "user"]);
    let report = run.passes().last_report();
    for key in ["user-instances", "user-watches", "memory", "instance-watches", "size"] {
        assert!(of(&report, key)["denied"].as_u64().unwrap() > 0, "{key} was never met: {report}");
    }
}

#[test]
fn limits_hold_before_main_after_exit_began_and_in_handlers_on_the_smallest_stack() {
    Limited::new("instances=4,user-instances=4,watches=3,user-watches=3", &c_program("limit_everywhere"), &[]).passes();
}

#[test]
fn limits_are_set_changed_and_lifted_from_inside_while_threads_run() {
    let binary = c_program("limit_api");
    Limited::new("instances=1000", &binary, &[]).passes();
    // This also works if nothing was set before.
    let directory = scratch("limits");
    let mut command = Command::new(&binary);
    command.env("EPOLLSHIM_SESSION", directory.join("session"));
    let output = under_shim(&mut command, &directory.join("report")).output().unwrap();
    assert!(output.status.success(), "{}", show(&output));
}

// ---- processes of one user ----

fn session(limits: &str, arguments: &[&str]) {
    Limited::new(limits, &c_program("limit_session"), arguments).passes();
}

#[test]
fn eight_processes_that_take_all_they_can_get_have_exactly_the_limit_together() {
    session("user-instances=20", &["together", "20", "40"]);
}

/// CI runs fewer rounds: `EPOLLSHIM_TEST_ROUNDS`.
#[test]
fn processes_killed_at_random_never_exceed_the_limit_and_leave_nothing_behind() {
    let rounds = std::env::var("EPOLLSHIM_TEST_ROUNDS").unwrap_or_else(|_| "200".to_owned());
    session("user-instances=20", &["kill", "20", &rounds]);
    session("user-watches=60", &["kill-watches", "60", &rounds]);
}

#[test]
fn descriptors_kept_by_exec_count_and_the_rest_is_returned() {
    session("user-instances=6", &["exec", "6", "0"]);
    session("instances=6", &["own-exec", "6", "0"]);
}

#[test]
fn inherited_descriptors_count_for_the_child_but_once_for_the_user() {
    session("user-instances=6", &["fork", "6", "0"]);
    session("instances=6", &["own-fork", "6", "0"]);
}
