//! The library compiles for another processor if rustc supports the target.
#![allow(clippy::unwrap_used)]

use std::process::Command;

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Whether the standard library of the target is installed.
fn is_installed() -> bool {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output().unwrap();
    let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    output.status.success() && files.any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

#[test]
fn the_library_compiles_for_aarch64() {
    if !is_installed() {
        eprintln!("skipped: {TARGET} is not installed (rustup target add {TARGET})");
        return;
    }
    // Uses a directory of its own, because another build may hold the lock of the usual one. It
    // generates code, so that the assembly is checked too.
    let target = testkit::target().join("tmp/aarch64");
    let output = Command::new(env!("CARGO"))
        .current_dir(testkit::root())
        .args(["rustc", "--offline", "--package", "epollshim", "--lib", "--crate-type", "rlib", "--profile", "checks"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(target)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("warning:"), "{said}");
}
