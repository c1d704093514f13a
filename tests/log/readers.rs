//! Logs on descriptor 2: readers that are gone or slow, and a descriptor that the program replaces.

use std::fs::File;
use std::io::{Read, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Logged, PATIENCE, bare, known_counts, lines, read, same_as_bare, tally, troubles};
use testkit::{reports, scratch, show};

/// Asserts that the program behaves as without a log on this descriptor 2. Returns the reports and
/// the time that it took.
#[track_caller]
fn undisturbed_with_stderr(steps: &[&str], stderr: impl Into<Stdio>) -> (Vec<Value>, Duration) {
    let plain = bare(troubles(), steps).output().unwrap();
    assert_eq!(plain.status.code(), Some(7), "{}", show(&plain));
    let mut logged = Logged::new(troubles(), steps, "stderr");
    logged.command.stderr(stderr).stdout(Stdio::piped());
    let start = Instant::now();
    let output = within(logged.command.spawn().unwrap(), PATIENCE);
    // The command still holds the test's own end of descriptor 2.
    drop(logged.command);
    same_as_bare(&plain, &output);
    let reports = reports(&logged.report);
    for report in &reports {
        let (written, dropped, calls) = tally(report);
        assert_eq!(written + dropped, calls, "{report}");
    }
    (reports, start.elapsed())
}

/// Waits until the program ends, and panics if that takes longer than `patience`.
#[track_caller]
fn within(mut child: Child, patience: Duration) -> Output {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > patience {
            child.kill().unwrap();
            panic!("hangs: {}", show(&child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn a_reader_that_has_gone_only_costs_lines() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let (reports, _) = undisturbed_with_stderr(&["calls=50"], writer);
    assert_eq!(tally(&reports[0]).0, 0, "{}", reports[0]);
    let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(reader);
    let (reports, _) = undisturbed_with_stderr(&["calls=50"], OwnedFd::from(writer));
    assert_eq!(tally(&reports[0]).0, 0, "{}", reports[0]);
}

#[test]
fn a_reader_that_sleeps_holds_the_program_up_once_and_not_a_line() {
    // Short lines and long ones: a pipe holds 64 KiB.
    for steps in [&["calls=2000"][..], &["masks=300"]] {
        let (reader, writer) = pipe().unwrap();
        let (reports, took) = undisturbed_with_stderr(steps, writer);
        let (written, dropped, _) = tally(&reports[0]);
        assert!(written > 10 && dropped > 100, "{}", reports[0]);
        assert!(took >= Duration::from_secs(2) && took < PATIENCE, "{took:?}");
        drop(reader);
    }
}

#[test]
fn a_reader_that_sleeps_holds_sixteen_threads_up_once() {
    for _ in 0..3 {
        let (reader, writer) = pipe().unwrap();
        let mut logged = Logged::new(known_counts(), &["16", "40"], "stderr");
        logged.command.stderr(writer).stdout(Stdio::piped());
        let output = within(logged.command.spawn().unwrap(), PATIENCE);
        assert!(output.status.success(), "{}", show(&output));
        let (written, dropped, calls) = tally(&reports(&logged.report)[0]);
        assert_eq!(written + dropped, calls);
        assert!(dropped > 1000, "{dropped}");
        drop(reader);
    }
}

#[test]
fn a_reader_that_wakes_again_gets_whole_lines() {
    let (mut reader, writer) = pipe().unwrap();
    let mut logged = Logged::new(troubles(), &["masks=3000"], "stderr");
    logged.command.stderr(writer).stdout(Stdio::piped());
    let child = logged.command.spawn().unwrap();
    drop(logged.command);
    let mut log = Vec::new();
    let mut piece = [0; 3000];
    loop {
        let length = reader.read(&mut piece).unwrap();
        if length == 0 {
            break;
        }
        log.extend_from_slice(&piece[..length]);
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = within(child, PATIENCE);
    assert_eq!(output.status.code(), Some(7));
    let (written, dropped, calls) = tally(&reports(&logged.report)[0]);
    let lines = lines(std::str::from_utf8(&log).unwrap()).len() as u64;
    assert_eq!((lines, written + dropped), (written, calls));
    assert_eq!(dropped, 0, "a reader that reads slowly loses nothing");
}

#[test]
fn a_descriptor_2_that_became_something_else_gets_no_byte() {
    for step in ["no-stderr", "other-stderr"] {
        let file = scratch("stderr").join("stderr");
        let (reports, _) = undisturbed_with_stderr(&["calls=3", step], File::create(&file).unwrap());
        let (written, dropped, _) = tally(&reports[0]);
        assert_eq!(lines(&read(&file)).len() as u64, written, "{step}");
        assert_eq!((written, dropped), (7, 54), "{step}");
    }
    let mut closed = Logged::new(troubles(), &["calls=9", "forks=2"], "stderr");
    // SAFETY: close is async-signal-safe, and the child alone uses its descriptor 2.
    unsafe {
        closed.command.pre_exec(|| {
            libc::close(2);
            Ok(())
        });
    }
    let (output, reports) = closed.run();
    assert_eq!(output.status.code(), Some(7), "{}", show(&output));
    assert!(reports.iter().all(|report| tally(report).0 == 0), "{reports:?}");
}
