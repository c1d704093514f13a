//! What each C program of `c-tests/` shows, on this machine (tests/c_programs.rs) or on another
//! host (tests/other_hosts.rs). Each program checks itself, and must end the same way and print the
//! same lines with and without the shim. Some results are then compared with the shim's report.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use testkit::place::Place;
use testkit::{Run, report, reports, run, scratch};

/// Passes every check to `$then!`: what it shows, and the function of this file that shows it, with
/// its arguments after the place. (Checks with a census and call stacks are a list of their own:
/// [`WITH_A_CENSUS`].)
macro_rules! every_check {
    ($then:ident) => {
        $then! {
            instances_are_created_and_refused_as_natively: passes("epoll_create");
            interests_are_added_changed_and_refused_as_natively: passes("epoll_ctl");
            waits_deliver_every_event_and_errno_as_natively: passes("epoll_wait");
            descriptors_are_born_and_die_as_natively: passes("descriptors");
            raw_system_calls_pass_untouched_with_six_arguments: passes("raw_syscall");
            every_hook_has_the_prototype_of_the_headers: passes("prototypes");
            a_thread_may_exit_in_a_handler_that_interrupted_a_hook: passes("exit_in_handler");
            a_signal_handler_may_use_epoll_on_a_tiny_stack: passes("signal_handlers");
            epoll_works_before_main_and_after_exit: passes("constructor_user");
            a_vfork_child_that_closes_everything_leaves_its_parent_whole: passes("vfork_child");
            a_clone_vm_child_leaves_its_parent_whole: passes("clone_vm_child");
            a_thread_with_storage_of_its_own_making_may_use_epoll: passes("own_tls");
            posix_spawn_system_and_popen_leave_the_parent_whole: passes("posix_spawn_child");
            forked_children_use_what_they_inherit_and_end_in_every_way: passes("fork_children");
            a_fork_amid_busy_threads_gives_a_working_child: passes("fork_from_threads");
            a_fork_in_a_signal_handler_gives_a_working_child: passes("fork_in_signal_handler");
            a_fork_by_raw_system_call_gives_a_process_of_its_own: passes("raw_clone_fork");
            a_daemon_on_descriptors_0_1_2_sends_its_clients_nothing_of_ours: passes("daemon_closefrom");
            numbers_change_hands_and_the_ledger_follows: passes("dup2_over_epoll");
            an_instance_travels_through_a_socket_and_back: passes("scm_rights");
            an_unwinder_finds_its_way_from_every_instruction_of_a_hook: passes("unwind_everywhere");
            a_handler_may_leave_a_hook_by_siglongjmp: passes("longjmp_out");
            threads_that_only_dup_and_close_are_followed: passes("descriptor_threads");
            months_of_work_do_not_make_the_ledger_grow: passes("long_life");
            a_crowd_of_threads_and_handlers_is_followed_to_the_last_step: passes("crowd");
            a_dup_at_the_moment_of_an_add_is_neither_hidden_nor_forgotten: passes("dup_while_adding");
            a_ledger_that_is_asked_amid_busy_threads_mends_nothing: passes("asked_amid_threads");
            the_highest_descriptor_numbers_are_followed: passes("high_numbers");
            whatever_makes_descriptors_gives_what_it_gives_natively: passes("births");
            a_sandbox_that_refuses_all_other_system_calls_changes_nothing: unchanged("seccomp", &[None, Some("first")]);
            a_cancelled_wait_runs_its_cleanup_handlers: passes("cancel_epoll_wait");
            a_cancelled_wait_unwinds_a_program_built_for_exceptions: passes_with_exceptions("cancel_epoll_wait");
            a_daemon_is_silent_to_its_clients_with_the_report_on_stderr: silent_daemon();
            what_is_added_to_an_instance_that_nobody_saw_made_is_known_at_once: unseen_instance();
            a_descriptor_closed_before_epoll_ctl_returned_leaves_no_interest: close_storm();
            every_way_to_end_keeps_its_status_and_is_reported: every_way_to_end();
            a_process_replaced_by_raw_system_call_keeps_its_status: unchanged("exit_paths", &[Some("syscall_execve")]);
            an_instance_goes_through_exec_and_is_reported_on_both_sides: inherited_by_exec();
            a_parent_and_its_forked_child_both_report: both_report();
            known_counts_are_reported_exactly_with_one_thread: counts_are_exact(&["1", "1000"]);
            known_counts_are_reported_exactly_with_sixteen_threads: counts_are_exact(&["16", "300"]);
            known_counts_are_reported_exactly_with_calls_from_a_signal_handler: counts_are_exact(&["1", "1000", "signal"]);
            known_counts_are_reported_exactly_with_calls_from_signal_handlers_of_threads: counts_are_exact(&["16", "300", "signal"]);
            the_ledger_equals_the_kernel_after_100_000_random_operations: random_operations(&[]);
            the_ledger_knows_100_000_random_operations_without_healing: random_operations(&["strict"]);
        }
    };
}
pub(crate) use every_check;

/// The first lines in which two outputs differ, and where.
fn difference(native: &Run, shimmed: &Run) -> Option<String> {
    let mut found = Vec::new();
    if native.status != shimmed.status {
        found.push(format!("ends natively with {}, under the shim with {}", native.status, shimmed.status));
    }
    let (mut left, mut right) = (native.stdout.lines(), shimmed.stdout.lines());
    for number in 1.. {
        match (left.next(), right.next()) {
            (None, None) => break,
            (native, shimmed) if native == shimmed => {}
            (native, shimmed) => {
                let (native, shimmed) = (native.unwrap_or("(the end)"), shimmed.unwrap_or("(the end)"));
                found.push(format!("line {number}\n  natively: {native}\n  shimmed:  {shimmed}"));
            }
        }
    }
    found.truncate(12);
    (!found.is_empty()).then(|| found.join("\n"))
}

/// Runs `binary` natively and under the shim; both must end and print the same. Returns the second
/// run, and the path of its report.
fn same(place: &dyn Place, binary: &Path, arguments: &[&str]) -> (Run, PathBuf) {
    let native = run(place.command(binary).args(arguments));
    assert!(
        !native.stdout.contains("FAIL"),
        "{} fails natively, {}:\n{}{}",
        binary.display(),
        native.status,
        native.stdout,
        native.stderr
    );
    let path = scratch("report").join("report.json");
    let shimmed = run(place.preload(place.command(binary).args(arguments), &path));
    if let Some(difference) = difference(&native, &shimmed) {
        panic!("{} {arguments:?}: {difference}\n--- stderr under the shim ---\n{}", binary.display(), shimmed.stderr);
    }
    (shimmed, path)
}

/// Asserts that a program ends with 0 natively and under the shim. Returns the path of its report.
fn ends_well(place: &dyn Place, binary: &Path) -> PathBuf {
    let (run, report) = same(place, binary, &[]);
    let name = binary.display();
    assert!(run.status.success(), "{name}: ends natively and under the shim with {}\n{}", run.status, run.stderr);
    report
}

pub fn passes(place: &dyn Place, program: &str) {
    ends_well(place, &place.c_program(program, &[]));
}

/// With a census and call stacks, all hooks that these programs call take the slow path.
pub const WITH_A_CENSUS: [&str; 20] = [
    "births",
    "descriptors",
    "raw_syscall",
    "signal_handlers",
    "constructor_user",
    "vfork_child",
    "clone_vm_child",
    "own_tls",
    "posix_spawn_child",
    "fork_children",
    "fork_in_signal_handler",
    "raw_clone_fork",
    "daemon_closefrom",
    "dup2_over_epoll",
    "scm_rights",
    "longjmp_out",
    "exit_in_handler",
    "descriptor_threads",
    "high_numbers",
    "cancel_epoll_wait",
];

pub fn all_with_a_census_and_call_stacks(place: &dyn Place) {
    for program in WITH_A_CENSUS {
        passes_with_a_census_and_call_stacks(place, program);
    }
}

pub fn passes_with_a_census_and_call_stacks(place: &dyn Place, program: &str) {
    let binary = place.c_program(program, &[]);
    let native = run(&mut place.command(&binary));
    assert!(native.status.success(), "{program}: ends natively with {}\n{}", native.status, native.stderr);
    let mut command = place.command(&binary);
    // `descriptor_threads` would walk millions of stacks. And a handler that forks forever leaves
    // the program no time if every child writes a report.
    let stacks = if program == "descriptor_threads" || !place.has_stacks() { "0" } else { "8" };
    command.env("EPOLLSHIM_CENSUS", "1").env("EPOLLSHIM_STACKS", stacks);
    let shimmed = run(command.env("LD_PRELOAD", place.library()).env("EPOLLSHIM_REPORT", "none"));
    if let Some(difference) = difference(&native, &shimmed) {
        panic!("{program}: {difference}\n--- stderr under the shim ---\n{}", shimmed.stderr);
    }
}

/// Asserts that the program ends and prints the same with each of these arguments, one run for
/// each. None: no argument.
pub fn unchanged(place: &dyn Place, program: &str, arguments: &[Option<&str>]) {
    let binary = place.c_program(program, &[]);
    for argument in arguments {
        same(place, &binary, argument.as_slice());
    }
}

pub fn passes_with_exceptions(place: &dyn Place, program: &str) {
    ends_well(place, &place.c_program(program, &["-fexceptions"]));
}

pub fn silent_daemon(place: &dyn Place) {
    let binary = place.c_program("daemon_closefrom", &[]);
    let native = run(&mut place.command(&binary));
    let shimmed = run(place.command(&binary).env("LD_PRELOAD", place.library()));
    assert_eq!(difference(&native, &shimmed), None, "{}", shimmed.stderr);
}

pub fn unseen_instance(place: &dyn Place) {
    let report = report(&ends_well(place, &place.c_program("unseen_instance", &[])));
    let coverage = &report["coverage"];
    assert_eq!(coverage["unseen_instances"], 1, "{coverage}");
    assert_eq!(coverage["unseen_watches"], 0, "{coverage}");
    assert_eq!((&report["watches"]["added"], &report["watches"]["live"]), (&3.into(), &2.into()), "{report}");
}

pub fn close_storm(place: &dyn Place) {
    let binary = place.c_program("close_storm", &[]);
    for _ in 0..3 {
        let report = report(&ends_well(place, &binary));
        let watches = &report["watches"];
        assert_eq!(watches["added"], 16_000, "{watches}");
        assert_eq!(watches["live"], 0, "{watches}");
        assert_eq!(
            watches["deleted"].as_u64().unwrap() + watches["vanished"].as_u64().unwrap(),
            16_000,
            "each interest ends once: {watches}"
        );
        assert_eq!(report["instances"]["live"], 0);
    }
}

/// Each way in which `exit_paths` can end, and the `process.end` of its report, if it writes one.
pub fn every_way_to_end(place: &dyn Place) {
    const EXIT: Option<&str> = Some("exit");
    const EXEC: Option<&str> = Some("exec");
    const SIGNAL: Option<&str> = Some("signal");
    let binary = place.c_program("exit_paths", &[]);
    let mut wrong = Vec::new();
    for (way, status, end) in [
        ("return", 37, EXIT),
        ("exit", 37, EXIT),
        ("_exit", 37, Some("_exit")),
        ("_Exit", 37, Some("_exit")),
        ("quick_exit", 37, EXIT),
        ("thread_after_main", 37, EXIT),
        ("last_thread", 0, EXIT),
        ("thread", 37, EXIT),
        ("handler", 37, Some("_exit")),
        ("closed_stderr", 37, EXIT),
        ("failing_exec", 37, EXIT),
        ("full_table", 37, EXIT),
        ("_exit_in_atexit", 37, Some("_exit")),
        ("exit_from_the_midst", 37, EXIT),
        ("_exit_from_the_midst", 37, Some("_exit")),
        ("exit_amid_threads", 37, EXIT),
        ("_exit_amid_threads", 37, Some("_exit")),
        ("exec_amid_threads", 38, EXEC),
        ("execve", 38, EXEC),
        ("execv", 38, EXEC),
        ("execvp", 38, EXEC),
        ("execvpe", 38, EXEC),
        ("execl", 38, EXEC),
        ("execlp", 38, EXEC),
        ("execle", 38, EXEC),
        ("execl_long", 38, EXEC),
        ("execveat", 38, EXEC),
        ("fexecve", 38, EXEC),
        ("syscall_exit_group", 37, Some("exit_group")),
        ("abort", 128 + libc::SIGABRT, Some("abort")),
        ("assert", 128 + libc::SIGABRT, Some("abort")),
        ("killed", 128 + libc::SIGKILL, SIGNAL),
        ("raise", 128 + libc::SIGTERM, SIGNAL),
        ("kill", 128 + libc::SIGTERM, SIGNAL),
        ("kill_group", 128 + libc::SIGTERM, SIGNAL),
        ("killpg", 128 + libc::SIGTERM, SIGNAL),
        ("tgkill", 128 + libc::SIGTERM, SIGNAL),
        ("pthread_kill", 128 + libc::SIGTERM, SIGNAL),
        ("syscall_kill", 128 + libc::SIGTERM, SIGNAL),
        ("syscall_tkill", 128 + libc::SIGTERM, SIGNAL),
        ("syscall_tgkill", 128 + libc::SIGTERM, SIGNAL),
        ("send_again", 128 + libc::SIGTERM, SIGNAL),
        ("send_again_own_stack", 128 + libc::SIGTERM, SIGNAL),
        ("survived", 37, EXIT),
    ] {
        let (run, path) = same(place, &binary, &[way]);
        // On this host the program makes a raw system call, which the shim does not see as an exit.
        let end = if place.lacks(way) { None } else { end };
        // A glibc that cannot end a thread ends the process, without calling a function that a
        // library can replace.
        let ends_a_thread = ["thread_after_main", "last_thread"].contains(&way);
        let (status, end) =
            if ends_a_thread && place.lacks("pthread_exit") { (128 + libc::SIGABRT, None) } else { (status, end) };
        let got = run.status.code().or(run.status.signal().map(|signal| 128 + signal));
        let ends: Vec<Value> = match path.exists() {
            true => reports(&path).iter().map(|report| report["process"]["end"].clone()).collect(),
            false => Vec::new(),
        };
        if got != Some(status) || ends != end.map(Value::from).into_iter().collect::<Vec<_>>() {
            wrong.push(format!("{way}: expected {status} and {end:?}, got {got:?} and {ends:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

pub fn inherited_by_exec(place: &dyn Place) {
    let (run, path) = same(place, &place.c_program("exit_paths", &[]), &["inherited"]);
    assert_eq!(run.status.code(), Some(37));
    let ends: Vec<_> = reports(&path).iter().map(|report| report["process"]["end"].clone()).collect();
    assert_eq!(ends, ["exec", "exit"]);
}

pub fn both_report(place: &dyn Place) {
    let (run, path) = same(place, &place.c_program("exit_paths", &[]), &["fork_exit"]);
    assert_eq!(run.status.code(), Some(37));
    let reports = reports(&path);
    assert_eq!(reports.len(), 2, "{reports:?}");
    let [child, parent] = [&reports[0]["process"], &reports[1]["process"]];
    assert_eq!((&child["end"], &parent["end"]), (&Value::from("exit"), &Value::from("exit")));
    assert_eq!(child["ppid"], parent["pid"]);
    // Each report counts the instances that its process created: the child inherited its instance.
    assert_eq!(reports[0]["calls"]["epoll_create1"], Value::Null);
    assert_eq!(reports[0]["calls"]["epoll_wait"]["calls"], 1);
    assert_eq!(reports[1]["calls"]["epoll_create1"]["calls"], 1);
}

/// The report's counts equal the program's own counts exactly.
pub fn counts_are_exact(place: &dyn Place, arguments: &[&str]) {
    let path = scratch("report").join("report.json");
    let binary = place.c_program("known_counts", &[]);
    let run = run(place.preload(place.command(&binary).args(arguments), &path));
    assert!(run.status.success(), "{arguments:?}: {}\n{}{}", run.status, run.stdout, run.stderr);
    let did: Value = serde_json::from_str(&run.stdout).expect("one line of JSON");
    let report = report(&path);
    let mut wrong = Vec::new();
    for (call, own) in did["calls"].as_object().unwrap() {
        let shims = &report["calls"][call];
        if shims["calls"] != own["calls"] || shims["errors"] != own["errors"] {
            wrong.push(format!("{call}: the program made {own}, the report says {shims}"));
        }
    }
    for (key, own) in did["watches"].as_object().unwrap() {
        if report["watches"][key] != *own {
            wrong.push(format!("watches {key}: {own} by the program, {} by the report", report["watches"][key]));
        }
    }
    assert!(wrong.is_empty(), "{arguments:?}:\n{}", wrong.join("\n"));
    assert_eq!(report["instances"]["live"], 0, "{arguments:?}");
    assert_eq!(report["watches"]["live"], 0, "{arguments:?}");
}

/// The seed from the environment, to repeat a failure; otherwise a random one. The program prints
/// it when it fails.
fn seed() -> String {
    std::env::var("EPOLLSHIM_TEST_SEED").unwrap_or_else(|_| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        (now.as_nanos() % 1_000_000_007).to_string()
    })
}

/// After 100,000 random operations, ledger and kernel agree. With `strict` among the arguments, the
/// ledger needed no corrections.
pub fn random_operations(place: &dyn Place, arguments: &[&str]) {
    let seed = seed();
    println!("EPOLLSHIM_TEST_SEED={seed}");
    same(place, &place.c_program("random_ops", &[]), &[&[seed.as_str(), "100000"], arguments].concat());
}
