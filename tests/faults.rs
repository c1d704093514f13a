//! Fault injection: whether strace does the same, what each action and condition does to programs
//! that are written for it, and what must stay unchanged.

// Tests report failures by panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "faults/differential.rs"]
mod differential;

#[path = "faults/effects.rs"]
mod effects;

#[path = "faults/stack.rs"]
mod stack;

#[path = "faults/memory.rs"]
mod memory;

#[path = "faults/points.rs"]
mod points;

#[path = "faults/replay.rs"]
mod replay;

#[path = "faults/servers.rs"]
mod servers;

#[path = "faults/tree.rs"]
mod tree;

#[path = "faults/reach.rs"]
mod reach;

use std::path::PathBuf;

use testkit::{Run, run};

/// A C program of `c-tests/`, built once per test process.
fn program(name: &'static str) -> PathBuf {
    static BUILT: std::sync::Mutex<Vec<(&str, PathBuf)>> = std::sync::Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap();
    if let Some((_, path)) = built.iter().find(|(known, _)| *known == name) {
        return path.clone();
    }
    let path = testkit::c_program(name);
    built.push((name, path.clone()));
    path
}
