//! Tests `epollshim sweep` on programs with one mistake on an error path each (c-tests/sweep), and
//! on one without mistakes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::sweep::{finds, has_one_find, program, program_with, repeat, stays, sweep, swept};
use common::{binary, output, run, scratch, stderr, stdout};
use serde_json::Value;

#[test]
fn a_program_that_fails_cleanly_has_no_find() {
    let program = program("whole");
    let (all, status) = swept(&[], &[program.to_str().unwrap()]);
    assert_eq!((finds(&all).len(), status), (0, 0), "{all}");
    assert_eq!(all["schema"], "epollshim.sweep/1");
    // socketpair, epoll_create1 and the ADD.
    assert_eq!((&all["points"], &all["verdicts"]["clean failure"]), (&3.into(), &3.into()), "{all}");
    let functions: Vec<&str> =
        all["trials"].as_array().unwrap().iter().map(|trial| trial["function"].as_str().unwrap()).collect();
    for function in ["socketpair", "epoll_create1", "epoll_ctl"] {
        assert!(functions.contains(&function), "{functions:?}");
    }
    let text = stdout(&run(&["sweep", "--", program.to_str().unwrap()]));
    assert!(text.ends_with("\nNo finds.\n") && text.contains("\n3 points; 3 failures reached, 0 never\n"), "{text}");
}

#[test]
fn a_crash_is_found_where_it_begins() {
    has_one_find("null_loop", &[], "crash", |output| output.status.signal() == Some(libc::SIGSEGV));
    let program = program("null_loop");
    let text = stdout(&run(&["sweep", "--", program.to_str().unwrap()]));
    assert!(text.contains("1. crash: epoll_create1 fails with EMFILE (3 of 3 runs)\n     at make ("), "{text}");
    assert!(text.contains("\n   SIGSEGV\n   in main (sweep/null_loop.c:"), "{text}");
}

#[test]
fn a_place_has_its_name_also_in_an_object_with_gaps_between_its_segments() {
    for flags in [&["-Wl,--section-start=.far=0x900000"][..], &["-no-pie", "-Wl,--section-start=.far=0x900000"]] {
        let program = program_with("far", flags);
        let (all, _) = swept(&["--calls", "epoll_create1"], &[program.to_str().unwrap()]);
        let frame = all["finds"][0]["frames"][0].as_str();
        assert!(frame.is_some_and(|frame| frame.starts_with("make_far (sweep/far.c:6)")), "{flags:?}: {all}");
    }
}

/// Root may create namespaces. Other users need a user namespace, and the result says if there is
/// none.
#[test]
fn an_unprivileged_user_gets_the_same_result() {
    // SAFETY: takes nothing, and cannot fail.
    if unsafe { libc::geteuid() } != 0 || common::tool("setpriv").is_none() {
        return;
    }
    // A directory that other users may read. The test's own may be below root's home.
    let place = PathBuf::from(format!("/tmp/epollshim-sweep-test.{}", std::process::id()));
    fs::create_dir(&place).unwrap();
    for (from, to) in [(program("null_loop"), "null_loop"), (binary(), "epollshim"), (common::library(), "lib.so")] {
        common::copy(from, place.join(to));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(place.join("epollshim"));
    command.args(["sweep", "--format", "json", "--shim"]).arg(place.join("lib.so")).arg(place.join("null_loop"));
    let output = output(command.env_remove("LD_PRELOAD").env_remove("TMPDIR").stdin(Stdio::null()));
    fs::remove_dir_all(&place).unwrap();
    let all: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    assert_eq!((finds(&all).len(), finds(&all)[0].0.as_str()), (1, "crash"), "{all}");
    assert_eq!(all["not_reached"], 0, "{all}");
}

#[test]
fn an_abort_is_found() {
    has_one_find("gives_up", &[], "abort", |output| output.status.signal() == Some(libc::SIGABRT));
}

#[test]
fn status_0_without_the_output_is_found() {
    has_one_find("says_success", &[], "exit 0 with lost output", |output| {
        output.status.code() == Some(0) && !stdout(output).contains("all done")
    });
}

#[test]
fn a_file_that_is_not_written_is_found() {
    has_one_find("closed_twice", &[], "exit 0 with lost output", |output| {
        output.status.code() == Some(0) && stderr(output).contains("without events")
    });
}

#[test]
fn a_forgotten_descriptor_is_found() {
    has_one_find("forgotten", &[], "leak", |output| {
        output.status.code() == Some(0) && stderr(output).contains("skipped: No space left on device")
    });
}

#[test]
fn a_child_that_crashes_is_found_though_its_parent_succeeds() {
    has_one_find("lost_child", &[], "other process lost", |output| output.status.code() == Some(0));
}

#[test]
fn a_wait_for_an_event_that_never_arrives_is_found() {
    let evidence = stays("lost_count", &[], "hang");
    assert!(evidence.contains("main (sweep/lost_count.c:22)"), "where it waits: {evidence}");
}

#[test]
fn endless_retries_are_found_by_a_failure_that_stays() {
    let program = program("again_and_again");
    let (all, status) = swept(&[], &[program.to_str().unwrap()]);
    assert_eq!((finds(&all).len(), status), (0, 0), "one failure is survived: {all}");
    stays("again_and_again", &["--persistent"], "spin");
}

#[test]
fn a_server_that_serves_no_client_is_found() {
    let program = program("server");
    let program = program.to_str().unwrap();
    let workload = format!("{program} 7000 ask");
    let flags = ["--calls", "epoll_ctl", "--workload", &workload, "--ready-when", "line ^ready"];
    let (all, status) = swept(&flags, &[program, "7000", "serve"]);
    assert_eq!((finds(&all)[0].0.as_str(), status), ("deaf", 1), "{all}");
    assert_eq!(finds(&all).len(), 1, "{all}");
    let (all, status) = swept(&flags, &[program, "7000", "strict"]);
    assert_eq!((finds(&all).len(), status), (0, 0), "{all}");
    assert_eq!(all["verdicts"]["clean failure"], 1, "{all}");
}

/// A client with a time limit of its own gives up, and counts like one that got no answer.
#[test]
fn a_client_that_gives_up_got_no_answer() {
    let program = program("unserved_client");
    let program = program.to_str().unwrap();
    let workload = format!("timeout 4 {program} 7000 ask");
    let flags = ["--calls", "epoll_ctl", "--phase", "serve", "--workload", &workload, "--ready-when", "line ^ready"];
    let (all, status) = swept(&flags, &[program, "7000", "serve"]);
    assert_eq!((finds(&all)[0].0.as_str(), finds(&all).len(), status), ("deaf", 1, 1), "{all}");
}

#[test]
fn fewer_descriptors_find_the_same_mistakes_without_a_fault() {
    let crashes = program("null_loop");
    let (all, status) = swept(&["--limits"], &[crashes.to_str().unwrap()]);
    let found = finds(&all);
    assert_eq!((found.len(), found[0].0.as_str(), status), (1, "crash", 1), "{all}");
    let output = output(&mut repeat(&found[0].1, &scratch("repeat")));
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{}", found[0].1);
    let whole = program("whole");
    assert_eq!(swept(&["--limits"], &[whole.to_str().unwrap()]).1, 0);
}

#[test]
fn fewer_tasks_find_a_worker_that_is_waited_for_and_was_not_made() {
    let program = program_with("missing_worker", &["-pthread"]);
    let (all, status) = swept(&["--limits", "--jobs", "6"], &[program.to_str().unwrap()]);
    let hang = all["finds"].as_array().unwrap().iter().find(|find| find["verdict"] == "hang");
    let hang = hang.unwrap_or_else(|| panic!("{all}"));
    assert_eq!((&hang["processes"], &hang["same"], status), (&2.into(), &3.into(), 1), "{all}");
    let evidence = hang["evidence"].as_array().unwrap();
    let waits = |line: &str| line.contains(": in futex: ") && line.ends_with("main (sweep/missing_worker.c:33)");
    assert!(evidence.iter().any(|line| waits(line.as_str().unwrap())), "{evidence:?}");
    let line = hang["line"].as_str().unwrap();
    // A hung process that was killed counts until it is reaped, so this comes first.
    let enough = line.replace("--nproc=2", "--nproc=3");
    let ended = output(&mut repeat(&format!("timeout -s KILL 60 {enough}"), &scratch("repeat")));
    assert_eq!(stdout(&ended), "all ready\n", "{enough}: {}", stderr(&ended));
    let ended = output(&mut repeat(&format!("timeout -s KILL 2 {line}"), &scratch("repeat")));
    assert!(matches!(ended.status.code(), None | Some(137)), "{line}: {:?}", ended.status);
    let fixed = program_with("missing_worker", &["-pthread", "-DFIXED"]);
    let (all, status) = swept(&["--limits"], &[fixed.to_str().unwrap()]);
    assert_eq!((status, &all["left_out"]), (0, &Value::Null), "{all}");
}

#[test]
fn a_start_that_cannot_work_is_reported_before_anything_is_tried() {
    let server = program("server");
    let server = server.to_str().unwrap();
    let place = scratch("start");
    let once = format!("mkdir {}/done", place.display());
    let mut unloaded = vec![program_with("whole", &["-static"])];
    // SAFETY: takes nothing, and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        let own = place.join("set_user");
        common::copy(program("whole"), &own);
        std::os::unix::fs::chown(&own, Some(65534), None).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o4755)).unwrap();
        unloaded.push(own);
    }
    for program in &unloaded {
        let output = sweep(&[], &[program.to_str().unwrap()]);
        let name = program.display();
        let line = format!("epollshim: {name}: the library was not loaded; run `epollshim check {name}` to see why\n");
        assert_eq!((output.status.code(), stderr(&output)), (Some(2), line));
    }
    let differs = "echo $$ $(od -An -N8 -tx8 /dev/urandom)";
    for (flags, command, line) in [
        (&[][..], &["/no/such/program"][..], "/no/such/program: no such program"),
        (&[], &["/etc/passwd"], "/etc/passwd: not executable"),
        (&[], &["sh", "-c", "echo why >&2; exit 3"], "sh: exits with status 3 without any fault; it runs in an empty"),
        (&["--timeout", "1"], &["sleep", "100"], "sleep: without any fault, in 1 s it does not end by itself"),
        (&[], &["sh", "-c", differs], "two clean runs differ: line 1 is"),
        (&["--workload", "exit 4"], &[server, "7000", "strict"], "the workload fails without any fault: it exits with"),
        (&["--workload", "true", "--ready-when", "x"], &["true"], "--ready-when: unknown condition 'x'; expected"),
        (&["--workload", &once], &[server, "7000", "strict"], "the workload fails without any fault: it exits with"),
        (&["--input", "/"], &["true"], "--input: /: not a file"),
        (&["--input", "/no/such"], &["true"], "--input: /no/such: No such file or directory"),
        (&["--dir", "/etc/passwd"], &["true"], "true: cannot be started: Not a directory"),
        (&["--calls", "nope"], &["true"], "--calls: unknown function nope"),
        (&["--errors", "ENOPE"], &["true"], "--errors: unknown error ENOPE"),
        (&["--mask", "("], &["true"], "--mask: not a regular expression: ("),
    ] {
        let output = sweep(flags, command);
        let text = stderr(&output);
        assert!(text.starts_with(&format!("epollshim: {line}")) && text.lines().count() == 1, "{command:?}: {text}");
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{command:?}");
    }
    let (all, status) = swept(&["--calls", "socketpair"], &["true"]);
    assert_eq!((status, &all["points"], &all["planned"]), (0, &0.into(), &0.into()), "it calls nothing: {all}");
    let (all, status) = swept(&["--mask", "[0-9a-f]+", "--calls", "epoll_ctl"], &["sh", "-c", differs]);
    assert_eq!(
        (status, &all["points"], &all["tried"]),
        (0, &0.into(), &0.into()),
        "masked, and it makes no such call: {all}"
    );
}
