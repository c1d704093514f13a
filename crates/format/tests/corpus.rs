//! Tries again the inputs that the fuzzer kept (fuzz/corpus).
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod invariants;

use std::fs;
use std::path::Path;

fn each(target: &str, holds: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read(&path).unwrap();
        // Shows the input if the test fails.
        println!("{}: {}", path.display(), text.escape_ascii());
        holds(&text);
        files += 1;
    }
    assert!(files > 0, "{} is empty", directory.display());
}

#[test]
fn faults() {
    each("faults", invariants::faults);
}

#[test]
fn limits() {
    each("limits", invariants::limits);
}

#[test]
fn log_filter() {
    each("log_filter", invariants::log_filter);
}

#[test]
fn suppressions() {
    each("suppressions", invariants::suppressions);
}
