//! Fault injection: strace injects the same, what each action and condition does to a program that is made for it, and what
//! it must leave alone.

// A test says by a panic what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

#[path = "programs/installed.rs"]
mod installed;

#[path = "faults/differential.rs"]
mod differential;

#[path = "faults/effects.rs"]
mod effects;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// No program here needs more than a few seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(90);

struct Run {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// Runs to the end, or panics.
fn run(command: &mut Command) -> Run {
    let directory = common::scratch("run");
    let (out, err) = (directory.join("stdout"), directory.join("stderr"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .expect("the program starts");
    let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} hangs; so far it printed:\n{}{}", text(&out), text(&err));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Run { status, stdout: text(&out), stderr: text(&err) }
}

/// A C program of `c-tests/`, built once a test process.
fn program(name: &'static str) -> PathBuf {
    static BUILT: std::sync::Mutex<Vec<(&str, PathBuf)>> = std::sync::Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap();
    if let Some((_, path)) = built.iter().find(|(known, _)| *known == name) {
        return path.clone();
    }
    let path = common::c_program(name);
    built.push((name, path.clone()));
    path
}
