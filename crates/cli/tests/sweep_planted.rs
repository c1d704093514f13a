//! Tests `epollshim sweep` on programs with one mistake on an error path each (`c-tests/sweep`,
//! `programs/sweep`). It is found with the right verdict, and its command line repeats it. The same
//! program without the mistake (`-DFIXED`, `--cfg fixed`, `fixed`) has no find.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use common::sweep::{finds, program_with, repeat, swept};
use common::{output, scratch, skipped, stderr, stdout, tool};
use testkit::compile;

/// What a repeated failure shows.
#[derive(Clone, Copy)]
enum Shows {
    Signal(i32),
    /// It has not ended after two seconds.
    Stays,
    /// Status 0, and this is not printed.
    Lacks(&'static str),
    /// Status 0, and no file with this name contains this text.
    NoFile(&'static str, &'static str),
    /// This is printed on stdout or stderr.
    Says(&'static str),
    /// The verdict of a sweep: the line starts a sweep of this single failure.
    Verdict,
}

use Shows::{Lacks, NoFile, Says, Signal, Stays};

/// A program: its file, flags of the sweep, its port if it is a server, its verdict, what its line
/// shows, and some of the evidence.
type Planted = (&'static str, &'static [&'static str], Option<u16>, &'static str, Shows, &'static str);

const PLANTED: &[Planted] = &[
    ("unmade_thread.c", &[], None, "crash", Signal(libc::SIGSEGV), "SIGSEGV"),
    ("missing_worker.c", &["--calls", "pthread_create"], None, "hang", Stays, "in futex"),
    ("taken_for_child.c", &[], None, "exit 0 with lost output", Lacks("both have worked"), ""),
    ("counted_children.c", &[], None, "spin", Stays, "% of a processor"),
    ("open_end.c", &["--calls", "fork"], None, "hang", Stays, "in read of fd 3 (pipe)"),
    ("helper_value.c", &["--calls", "popen"], None, "wrong output", Says("value 0"), "\"value 42\""),
    (
        "unasked_helper.c",
        &["--calls", "posix_spawn"],
        None,
        "exit 0 with lost output",
        NoFile("result", "precious\n"),
        "file result was not written",
    ),
    ("other_number.c", &["--calls", "epoll_create1"], None, "wrong output", Says("2 ready"), ""),
    ("out_of_bounds.c", &[], None, "sanitizer report", Says("runtime error: index -1 out of bounds"), "runtime error"),
    (
        "after_free.c",
        &["--calls", "epoll_ctl"],
        None,
        "sanitizer report",
        Says("heap-use-after-free"),
        "AddressSanitizer",
    ),
    (
        "half_file.c",
        &["--calls", "memfd_create"],
        None,
        "exit 0 with lost output",
        NoFile("saved", "head\nbody\n"),
        "file saved",
    ),
    ("late_errno.c", &[], None, "abort", Signal(libc::SIGABRT), "SIGABRT"),
    ("written_nowhere.c", &[], None, "exit 0 with lost output", NoFile("log", "precious\n"), ""),
    (
        "grandchild.c",
        &["--calls", "epoll_create1"],
        None,
        "other process lost",
        Lacks("SIGSEGV"),
        "grandchild: SIGSEGV",
    ),
    (
        "twice.c",
        &["--calls", "epoll_ctl"],
        None,
        "closed twice",
        Says("watch: No space"),
        "close failed with EBADF: the number was already closed",
    ),
    ("kept_events.c", &["--calls", "epoll_ctl"], Some(7106), "leak", Shows::Verdict, "eventfd: 1, not 0"),
    (
        "unserved_client.c",
        &["--calls", "epoll_ctl"],
        Some(7101),
        "deaf",
        Shows::Verdict,
        "a second workload was served",
    ),
    ("full_table.c", &["--calls", "accept", "--persistent"], Some(7102), "spin", Shows::Verdict, "% of a processor"),
    (
        "content_server.c",
        &["--calls", "accept"],
        Some(7103),
        "exit 0 with lost output",
        Shows::Verdict,
        "the server exits with status 0",
    ),
    ("any_port.c", &["--calls", "bind"], Some(7104), "hang", Shows::Verdict, ""),
    ("thread_unwrap.rs", &["--calls", "socket"], None, "exit 0 with lost output", Lacks("bound"), ""),
    ("forgets.rs", &["--calls", "socketpair"], None, "leak", Says("skipped"), "socket: 1, not 0"),
    ("lost_sender.rs", &["--calls", "pthread_create"], None, "hang", Stays, "in futex"),
    ("no_sockets.py", &["--calls", "socket", "--ready-when", "line ^ready"], Some(7105), "deaf", Shows::Verdict, ""),
    ("lost_worker.py", &["--calls", "pthread_create"], None, "hang", Stays, "in futex"),
    ("ignored_helper.py", &["--calls", "pipe2"], None, "exit 0 with lost output", Lacks("precious"), ""),
];

/// The number of concurrent sweeps. Those of hangs sleep.
const AT_ONCE: usize = 6;

/// Debian's python3. That of a version manager is a script that starts the real one. Only versions
/// up to 3.11 have a server without sockets.
fn python() -> Option<PathBuf> {
    let python =
        Some(PathBuf::from("/usr/bin/python3")).filter(|python| python.exists()).or_else(|| tool("python3"))?;
    let old = output(Command::new(&python).args(["-c", "import sys; sys.exit(sys.version_info >= (3, 12))"]));
    if !old.status.success() {
        skipped("python3 is newer than 3.11", true);
        return None;
    }
    Some(python)
}

/// The command of a program, with its mistake or without it. None: something that it needs is not
/// installed.
fn command(file: &str, is_fixed: bool) -> Option<Vec<String>> {
    let (name, language) = file.rsplit_once('.').unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/sweep").join(file);
    let text = |path: PathBuf| path.into_os_string().into_string().unwrap();
    match language {
        "c" => {
            let mut flags = vec!["-pthread"];
            flags.extend(is_fixed.then_some("-DFIXED"));
            flags.extend((name == "out_of_bounds").then_some("-fsanitize=undefined"));
            flags.extend((name == "after_free").then_some("-fsanitize=address"));
            flags.extend((name == "after_free").then_some("-Wno-use-after-free"));
            Some(vec![text(program_with(name, &flags))])
        }
        "rs" => {
            let flags = ["--edition", "2024", "-g", "--check-cfg", "cfg(fixed)"];
            let fixed = if is_fixed { &["--cfg", "fixed"][..] } else { &[] };
            let program = compile::program("rustc", &flags, &source, fixed).unwrap_or_else(|error| panic!("{error}"));
            Some(vec![text(program)])
        }
        _ => Some(vec![text(python()?), text(source)]),
    }
}

/// What is wrong with the result for a program. Empty: nothing.
fn tried(planted: &Planted, is_fixed: bool) -> String {
    let (file, flags, port, verdict, shows, evidence) = planted;
    let Some(mut command) = command(file, is_fixed) else { return String::new() };
    let mut flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
    if let Some(port) = port {
        command.push(port.to_string());
        let workload = format!("{} ask", command.join(" "));
        flags.extend(["--workload".into(), workload]);
        if !flags.contains(&"--ready-when".to_owned()) {
            flags.extend(["--ready-when".into(), format!("port {port}")]);
        }
        command.push(if is_fixed { "fixed" } else { "serve" }.into());
    } else if is_fixed && file.ends_with(".py") {
        command.push("fixed".into());
    }
    let words = |all: &[String]| -> Vec<&'static str> { all.iter().map(|word| &*word.clone().leak()).collect() };
    let (all, status) = swept(&words(&flags), &words(&command));
    let found = finds(&all);
    if all["reached"] == 0 {
        return format!("{file}: nothing was reached: {all}\n");
    }
    if is_fixed {
        return if found.is_empty() && status == 0 { String::new() } else { format!("{file}, fixed: {all}\n") };
    }
    if !all["finds"][0]["evidence"].to_string().replace("\\\"", "\"").contains(evidence) {
        return format!("{file}: no evidence \"{evidence}\": {}\n", all["finds"][0]);
    }
    match &found[..] {
        [(one, line)] if one == verdict && status == 1 && all["finds"][0]["same"] == 3 => {
            let seen = repeated(line, verdict, *shows, port.is_some());
            if seen.is_empty() { seen } else { format!("{file}: {line}: {seen}\n") }
        }
        _ => format!("{file}: not one find, {verdict}, 3 of 3: {all}\n"),
    }
}

/// What is wrong with the repeat of a find.
fn repeated(line: &str, verdict: &str, shows: Shows, is_server: bool) -> String {
    let folder = scratch("repeat");
    if is_server {
        // The line starts the server and its client, as the sweep did.
        let again = output(&mut repeat(line, &folder));
        let text = stdout(&again);
        let is_right = again.status.code() == Some(1) && text.contains(&format!("\n1. {verdict}: "));
        return if is_right { String::new() } else { format!("{:?} {text}{}", again.status, stderr(&again)) };
    }
    let limit = if matches!(shows, Stays) { 2 } else { 60 };
    let ended = output(&mut repeat(&format!("timeout -s KILL {limit} {line}"), &folder));
    let all = format!("{:?} {}{}", ended.status, stdout(&ended), stderr(&ended));
    let is_killed = ended.status.code() == Some(137) || ended.status.signal() == Some(libc::SIGKILL);
    let is_right = match shows {
        Stays => is_killed,
        Signal(signal) => ended.status.code() == Some(128 + signal) || ended.status.signal() == Some(signal),
        Says(text) => !is_killed && all.contains(text),
        Lacks(text) => ended.status.success() && !stdout(&ended).contains(text),
        NoFile(name, text) => {
            ended.status.success() && fs::read_to_string(folder.join(name)).unwrap_or_default() != text
        }
        Shows::Verdict => false,
    };
    if is_right { String::new() } else { all }
}

#[test]
fn each_planted_mistake_is_found_and_repeated_and_its_fixed_twin_has_none() {
    let queue: Vec<(&Planted, bool)> =
        [false, true].iter().flat_map(|fixed| PLANTED.iter().map(move |one| (one, *fixed))).collect();
    let (queue, wrong) = (Mutex::new(queue), Mutex::new(String::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().pop();
                    let Some((planted, is_fixed)) = next else { break };
                    let found = tried(planted, is_fixed);
                    wrong.lock().unwrap().push_str(&found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong}");
}
