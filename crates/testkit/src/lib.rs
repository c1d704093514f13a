//! What the tests of all packages share. A test may use any of it; nothing else does.
//!
//! | to | use |
//! |---|---|
//! | find the built library and command | [`shim`], [`binary`], [`root`] |
//! | compile a C program | [`c_program`], [`c_program_with`], [`compile`] |
//! | have a folder for a test's files | [`scratch()`] |
//! | run a program until it ends, and get its output | [`run`], [`output`] |
//! | wait for something, with a deadline for the whole test only | [`until`] |
//! | have a port for a server | [`free_port`] |
//! | find a program, or skip the test | [`installed`], [`tool`], [`have`], [`skipped`] |
//! | read what the library reported | [`under_shim`], [`report`], [`reports()`], [`layout`] |
//! | check a document | [`schema`], [`browser`] |
//! | have numbers that look random, the same each time | [`Random`] |
//!
//! A test never asserts how long something took. It waits with [`until`], whose deadline [`HUNG`]
//! is far beyond what a loaded machine needs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod browser;
mod built;
pub mod compile;
mod inherited;
pub mod layout;
pub mod modes;
pub mod place;
mod ports;
mod process;
mod random;
mod reports;
pub mod schema;
mod scratch;
mod tools;

pub use built::{binary, library, root, shim, target};
pub use compile::{c_program, c_program_with, c_program_with_library};
pub use ports::free_port;
pub use process::{HUNG, Run, copy, output, run, show, stderr, stdout, until};
pub use random::Random;
pub use reports::{report, reports, under_shim};
pub use scratch::scratch;
pub use tools::{find, have, installed, python_with_tests, skipped, tokio_echo, tool};

pub use inherited::keep_from_children;
