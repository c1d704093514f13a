//! Programs in seccomp(2) sandboxes: none is killed because of a system call of the library, and
//! the report names what a filter kept from it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "hosts_seccomp/servers.rs"]
mod servers;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use testkit::modes::{MODES, Mode};
use testkit::{Run, c_program_with, reports, run, scratch};

/// The program, linked with libseccomp if that is installed.
fn program() -> (PathBuf, bool) {
    static PROGRAM: OnceLock<(PathBuf, bool)> = OnceLock::new();
    let build = || {
        let has_library = Path::new("/usr/include/seccomp.h").exists();
        let flags: &[&str] = if has_library { &["-DWITH_LIBSECCOMP", "-lseccomp"] } else { &[] };
        (c_program_with("hosts/seccomp", flags), has_library)
    };
    PROGRAM.get_or_init(build).clone()
}

/// Runs one variant bare and preloaded: the output and the end must be the same. Returns what was
/// reported.
fn same(program: &Path, way: &str, mode: Mode) -> (Vec<Value>, String) {
    let bare = run(Command::new(program).arg(way));
    let directory = scratch(way);
    let shimmed = run(mode.preload(Command::new(program).arg(way), &directory));
    let outcome = |run: &Run| format!("{}\n{}", run.status, run.stdout);
    assert_eq!(outcome(&bare), outcome(&shimmed), "{way}, {mode:?}: {}", shimmed.stderr);
    assert!(!bare.stdout.contains("FAIL"), "{way}: {}", bare.stdout);
    let report = directory.join("report.json");
    (if report.exists() { reports(&report) } else { Vec::new() }, shimmed.stderr)
}

fn forbidden(report: &Value) -> Vec<&str> {
    report["coverage"]["seccomp"]["forbidden"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn a_filter_that_kills_on_rt_sigpending_lets_the_program_end() {
    let (program, _) = program();
    for mode in MODES {
        let (reports, _) = same(&program, "pending", mode);
        assert_eq!(reports.len(), 1);
        assert_eq!(forbidden(&reports[0]), ["rt_sigpending"], "{mode:?}");
        assert_eq!(reports[0]["coverage"]["reconciled"], true);
        assert_eq!(reports[0]["coverage"]["seccomp"]["installed"], 1);
    }
}

#[test]
fn a_filter_is_seen_however_it_is_installed() {
    let (program, has_library) = program();
    let mut ways = vec!["foreign", "raw-prctl", "errno", "trap", "fork", "tsync", "thread-later"];
    if has_library {
        ways.push("libseccomp");
    } else {
        eprintln!("skipped: filters by libseccomp (libseccomp-dev is not installed)");
    }
    for way in ways {
        for mode in MODES {
            let (reports, _) = same(&program, way, mode);
            assert_eq!(reports.len(), if way == "fork" { 2 } else { 1 }, "{way}, {mode:?}");
            for report in &reports {
                let forbidden = forbidden(report);
                for name in ["rt_sigpending", "getdents64", "readlinkat"] {
                    assert!(forbidden.contains(&name), "{way}, {mode:?}: {forbidden:?}");
                }
                assert_eq!(report["coverage"]["reconciled"], false, "{way}, {mode:?}");
            }
        }
    }
}

#[test]
fn of_two_filters_each_is_obeyed() {
    let (program, _) = program();
    for mode in MODES {
        let (reports, _) = same(&program, "stacked", mode);
        assert_eq!(reports[0]["coverage"]["seccomp"]["installed"], 2);
        assert_eq!(forbidden(&reports[0]), ["rt_sigpending", "kcmp"], "{mode:?}");
    }
}

#[test]
fn a_filter_of_one_thread_takes_nothing_from_the_others_report() {
    let (program, _) = program();
    for mode in MODES {
        for way in ["one-thread", "strict-thread"] {
            let (reports, _) = same(&program, way, mode);
            assert_eq!(reports[0]["coverage"]["reconciled"], true, "{way}, {mode:?}");
        }
    }
}

#[test]
fn a_filter_that_looks_at_arguments_is_obeyed() {
    let (program, _) = program();
    for mode in MODES {
        let (reports, stderr) = same(&program, "arguments", mode);
        assert!(reports.is_empty(), "no file may be opened for writing");
        assert!(stderr.contains("the report of process"), "{mode:?}: {stderr}");
    }
}

#[test]
fn memory_masks_and_identity_may_be_forbidden() {
    let (program, _) = program();
    for mode in MODES {
        let (reports, _) = same(&program, "no-memory", mode);
        assert_eq!(reports.len(), 1, "{mode:?}: what a report needs was mapped before");
        let (reports, _) = same(&program, "no-masks", mode);
        assert_eq!(forbidden(&reports[0]), ["rt_sigprocmask"], "{mode:?}");
        same(&program, "no-identity", mode);
    }
}

#[test]
fn a_program_that_may_only_write_and_end_does_so() {
    let (program, _) = program();
    for mode in MODES {
        for way in ["write-only", "write-only-main", "strict", "strict-exit"] {
            same(&program, way, mode);
        }
    }
}

#[test]
fn a_filter_that_the_kernel_refuses_forbids_nothing() {
    let (program, _) = program();
    for mode in MODES {
        let (reports, _) = same(&program, "refused", mode);
        assert_eq!(reports[0]["coverage"]["seccomp"]["installed"], 0);
        assert_eq!(forbidden(&reports[0]), [""; 0], "{mode:?}");
        assert_eq!(reports[0]["coverage"]["reconciled"], true);
    }
}

#[test]
fn a_program_without_the_processor_s_counter_may_wait() {
    let (program, _) = program();
    for mode in MODES {
        same(&program, "no-counter", mode);
    }
}

#[test]
fn a_filter_from_before_exec_kills_no_process() {
    let (program, _) = program();
    for way in ["launch", "launch-errno"] {
        for mode in MODES {
            let (reports, stderr) = same(&program, way, mode);
            assert_eq!(reports.len(), 1, "{way}, {mode:?}: {stderr}");
            assert_eq!(reports[0]["coverage"]["seccomp"]["inherited"], true, "{way}, {mode:?}");
            let names = forbidden(&reports[0]);
            assert_eq!(names.contains(&"rt_sigpending"), way == "launch", "{way}, {mode:?}: {names:?}");
        }
    }
}

#[test]
fn names_are_kept_from_before_the_filter() {
    let (program, _) = program();
    let run = run(Command::new(&program).arg("no-opening").env("LD_PRELOAD", testkit::shim()));
    assert!(run.status.success() && run.stdout.contains("all checks hold"), "{}", run.stdout);
    assert!(run.stderr.contains("epollshim: seccomp (pid ") && run.stderr.contains("at seccomp+0x"), "{}", run.stderr);
}

#[test]
fn the_text_report_names_what_a_filter_forbids() {
    let (program, _) = program();
    let run = run(Command::new(&program).arg("foreign").env("LD_PRELOAD", testkit::shim()));
    assert!(run.stderr.contains("NOT compared with the kernel's lists (seccomp)"), "{}", run.stderr);
    assert!(run.stderr.contains("seccomp filter forbids"), "{}", run.stderr);
    assert!(run.stderr.contains("rt_sigpending"), "{}", run.stderr);
}
