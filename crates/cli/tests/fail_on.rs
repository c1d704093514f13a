//! Tests `--fail-on`, for jobs that must stop at a finding, and `--suppressions`, which leaves out
//! known ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::PathBuf;

use common::{compile, epollshim, output, run, scratch, stderr, stdout};

#[test]
fn the_exit_status_shows_whether_a_named_finding_was_made() {
    let directory = scratch("fail-on");
    let program = compile("size_lie", &[]);
    let recordings = directory.join("rec");
    let ran = output(epollshim().args(["run", "--report=none", "--record"]).arg(&recordings).arg("--").arg(&program));
    assert!(ran.status.success(), "{}", stderr(&ran));
    for (named, status) in [
        ("size-lie", 0),
        ("warning", 0),
        ("all", 1),
        ("ghost,size-lie:info", 1),
        ("error", 0),
        ("ghost,leak", 0),
        ("size-lie:info", 1),
        ("size-lie:warning", 0),
        ("size-lie:error", 0),
        ("info", 1),
    ] {
        let printed = output(epollshim().arg("report").arg(&recordings).args(["--fail-on", named]));
        assert_eq!(printed.status.code(), Some(status), "{named}: {}", stderr(&printed));
        let line = if status == 1 { "epollshim: 1 finding that --fail-on names: size-lie\n" } else { "" };
        assert_eq!(stderr(&printed), line, "{named}");
    }
}

#[test]
fn an_id_counts_from_warning_up_unless_it_says_otherwise() {
    let recordings = scratch("info").join("rec");
    let program = compile("everything", &[]);
    let ran = output(epollshim().args(["run", "--report=none", "--record"]).arg(&recordings).arg("--").arg(&program));
    assert!(ran.status.success(), "{}", stderr(&ran));
    let found = output(epollshim().arg("report").arg(&recordings));
    assert!(stdout(&found).contains("  info     leak "), "{}", stdout(&found));
    for (named, status) in [("leak", 0), ("leak:warning", 0), ("leak:error", 0), ("leak:info", 1), ("ctl-error", 1)] {
        let printed = output(epollshim().arg("report").arg(&recordings).args(["--fail-on", named]));
        assert_eq!(printed.status.code(), Some(status), "{named}: {}", stderr(&printed));
    }
}

#[test]
fn a_recording_that_is_missing_or_partial_fails_and_misuse_is_2() {
    let program = compile("everything", &[]);
    let directory = scratch("partial");
    let (partial, empty) = (directory.join("rec"), directory.join("empty"));
    std::fs::create_dir(&empty).unwrap();
    let report = |place: &std::path::Path, words: &[&str]| {
        let printed = output(epollshim().arg("report").args(words).arg(place));
        (printed.status.code(), stderr(&printed))
    };
    for place in [&empty, &directory.join("nowhere")] {
        let (status, said) = report(place, &["--fail-on=error"]);
        assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.contains("--fail-on needs a recording"), "{said}");
        assert_eq!(report(place, &[]).0, Some(2));
    }
    // Every call is recorded, and there is no space for all of them.
    let mut run = epollshim();
    run.args(["run", "--report=none", "--record-ring=full", "--record-max=64K", "--record"]).arg(&partial);
    assert!(output(run.arg("--").arg(&program).arg("5000")).status.success());
    let (status, said) = report(&partial, &["--fail-on=error"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("PARTIAL"), "{said}");
    assert_eq!(report(&partial, &[]), (Some(0), String::new()));
    for words in [&["--fail-on=leak:fatal"][..], &["--fail-on=leek"], &["--fail-on=error", "--format=xml"]] {
        let (status, said) = report(&partial, words);
        assert_eq!((status, said.lines().count()), (Some(2), 1), "{said}");
    }
}

#[test]
fn with_all_descriptor_numbers_in_use_a_finding_still_fails_the_job() {
    let program = compile("emfile", &[]);
    for (mode, id) in [("sockets", "fd-leak"), ("closed", "fd-leak"), ("accept", "exhausted")] {
        let recordings = scratch(mode).join("rec");
        let run = |flags: &[&str]| output(epollshim().arg("run").args(flags).arg("--").arg(&program).arg(mode));
        for (named, status) in [("all", 1), ("warning", 1), (id, 1), ("ghost", 0)] {
            let ran = run(&["--report=none", "--fail-on", named]);
            assert_eq!(ran.status.code(), Some(status), "{mode} {named}: {}", stderr(&ran));
            assert_eq!(stderr(&ran).contains(id), status == 1, "{mode} {named}: {}", stderr(&ran));
        }
        // The whole report, and a recording that is read later.
        let ran = run(&["--fail-on=warning"]);
        assert_eq!(ran.status.code(), Some(1), "{mode}: {}", stderr(&ran));
        assert!(stderr(&ran).contains("Findings: ") && !stderr(&ran).contains("PARTIAL"), "{mode}: {}", stderr(&ran));
        assert!(run(&["--report=none", "--census", "--record", recordings.to_str().unwrap()]).status.success());
        for (named, status) in [("all", 1), ("warning", 1), (id, 1), ("ghost", 0)] {
            let printed = output(epollshim().arg("report").arg(&recordings).args(["--fail-on", named]));
            assert_eq!(printed.status.code(), Some(status), "{mode} {named}: {}", stderr(&printed));
        }
    }
}

#[test]
fn a_name_that_is_none_is_a_usage_error() {
    let printed = run(&["report", "--fail-on", "leek", "/nowhere"]);
    assert_eq!(printed.status.code(), Some(2));
    assert!(stderr(&printed).contains("did you mean leak?"), "{}", stderr(&printed));
    assert_eq!(stderr(&printed).lines().count(), 1, "{}", stderr(&printed));
}

/// A file of suppressions with this text, and a recording with a size-lie.
fn known(text: &str) -> (PathBuf, PathBuf) {
    let directory = scratch("known");
    let (program, recordings, file) = (compile("size_lie", &[]), directory.join("rec"), directory.join("known.supp"));
    let ran = output(epollshim().args(["run", "--report=none", "--record"]).arg(&recordings).arg("--").arg(&program));
    assert!(ran.status.success(), "{}", stderr(&ran));
    std::fs::write(&file, text).unwrap();
    (recordings, file)
}

#[test]
fn suppressed_findings_are_not_reported_and_do_not_fail_the_job() {
    // A function can be named even if the program does not export it, since the reader has its
    // symbols.
    for (rule, is_told) in [("size-lie:^size_lie$", false), ("size-lie:^main$", false), ("size-lie:libfoo", true)] {
        let (recordings, file) = known(&format!("# known\n{rule}\n"));
        let report = |format| {
            let mut report = epollshim();
            report.arg("report").arg(&recordings).args(["--fail-on=all", "--format", format]);
            output(report.arg("--suppressions").arg(&file))
        };
        let printed = report("text");
        assert_eq!(printed.status.code(), Some(i32::from(is_told)), "{rule}: {}", stderr(&printed));
        assert_eq!(stdout(&printed).contains("Findings:"), is_told, "{rule}: {}", stdout(&printed));
        let line = if is_told { "not used   " } else { "1 finding  " };
        assert!(stdout(&printed).ends_with(&format!("  {line}  {rule}\n")), "{rule}: {}", stdout(&printed));
        // A finding of severity info does not fail its test case, and is part of its output.
        let junit = stdout(&report("junit"));
        assert!(junit.contains("failures=\"0\"") && junit.contains("promised 2") == is_told, "{rule}: {junit}");
    }
}

#[test]
fn a_bad_line_is_reported_before_anything_starts_or_is_read() {
    let file = scratch("bad").join("known.supp");
    std::fs::write(&file, "leak:libfoo.so\nleek:x\n").unwrap();
    let name = file.to_str().unwrap();
    let wanted =
        format!("epollshim: --suppressions: {name}:2: unknown finding 'leek' in 'leek:x'; did you mean leak?\n");
    for printed in [
        run(&["run", "--suppressions", name, "--", "echo", "started"]),
        run(&["report", "--suppressions", name, "/nowhere"]),
    ] {
        assert_eq!(
            (printed.status.code(), stderr(&printed), stdout(&printed)),
            (Some(2), wanted.clone(), String::new())
        );
    }
    let by_variable = output(epollshim().args(["run", "echo", "started"]).env("EPOLLSHIM_SUPPRESSIONS", name));
    assert_eq!(stderr(&by_variable), wanted.replace("--suppressions", "EPOLLSHIM_SUPPRESSIONS"));
    let ignored = run(&["run", "--on-bad-config=ignore", "--suppressions", name, "--", "echo", "started"]);
    assert_eq!((ignored.status.code(), stdout(&ignored)), (Some(0), "started\n".into()));
}

#[test]
fn a_relative_suppressions_file_is_found_after_the_program_changes_its_directory() {
    let (_, file) = known("size-lie:size_lie\n");
    let program = compile("size_lie", &[]);
    let mut command = epollshim();
    command.current_dir(file.parent().unwrap()).args(["run", "--suppressions", "known.supp", "--", "sh", "-c"]);
    let printed = output(command.arg(format!("cd / && exec {}", program.display())));
    assert!(printed.status.success(), "{}", stderr(&printed));
    assert!(stderr(&printed).ends_with("  1 finding    size-lie:size_lie\n"), "{}", stderr(&printed));
}
