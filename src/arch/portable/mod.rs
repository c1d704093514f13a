//! Entries in plain Rust.

pub mod entries;
