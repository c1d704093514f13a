//! What every black-box test needs: the built library, C programs, a run bare or under the shim, its report.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// The library that `cargo test` has just built, of the same profile as this test.
pub fn shim() -> PathBuf {
    let test = std::env::current_exe().expect("this test's own path");
    // target/PROFILE/deps/this_test-HASH
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE");
    let library = profile.join("libepollshim.so");
    assert!(library.exists(), "{} is not built", library.display());
    library
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A directory of this test run's own, removed by the operating system's /tmp rules, named after `name`.
pub fn scratch(name: &str) -> PathBuf {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{serial}", std::process::id()));
    std::fs::create_dir_all(&path).expect("scratch directory");
    path
}

/// Compiles `c-tests/NAME.c` with `cc` (once a test process and program) and returns the binary.
pub fn c_program(name: &str) -> PathBuf {
    c_program_with(name, &[])
}

pub fn c_program_with(name: &str, flags: &[&str]) -> PathBuf {
    let source = root().join("c-tests").join(format!("{name}.c"));
    let binary = scratch("cc").join(name);
    let output = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-I"])
        .arg(root().join("include"))
        .arg("-o")
        .arg(&binary)
        .arg(&source)
        .args(flags)
        .args(["-ldl", "-rdynamic"])
        .output()
        .expect("cc");
    assert!(output.status.success(), "cc {}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
    binary
}

/// `command`, with the shim preloaded and its report in JSON at `report`.
pub fn under_shim<'a>(command: &'a mut Command, report: &Path) -> &'a mut Command {
    command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", report).env("EPOLLSHIM_REPORT_FORMAT", "json")
}

pub fn show(output: &Output) -> String {
    format!(
        "{}\n--- stdout ---\n{}--- stderr ---\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The reports in a file: one JSON document a line, one a process.
pub fn reports(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The only report in a file.
pub fn report(path: &Path) -> serde_json::Value {
    let mut all = reports(path);
    assert_eq!(all.len(), 1, "{}: one report expected", path.display());
    all.remove(0)
}
