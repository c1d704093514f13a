//! The library compiles for another processor, where rustc can.
#![allow(clippy::unwrap_used)]

use std::process::Command;

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Whether rustc has the standard library of the target.
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
    // A directory of its own: whoever builds meanwhile holds the lock of the other. Code is made as
    // well, so that its assembly is looked at.
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
