//! Entries and counters in plain Rust.

pub mod counters;
#[cfg(not(test))]
pub mod entries;
