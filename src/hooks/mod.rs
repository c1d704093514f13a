//! What the loader sees instead of glibc's functions, one file a family.
//!
//! A hook reads as: do it, note it. It has no logic of its own, and keeps the laws of lib.rs. One that only
//! has something to note before the real call ends by jumping to it; one that also has after it goes through entry.rs.
//!
//! Exports exist only in the cdylib: a test binary must not interpose on its own test runner.

#![cfg_attr(portable, allow(dead_code, unused_imports, unused_macros))] // what only entries in assembly call

mod arguments;
pub mod armed;
#[cfg(not(any(test, portable)))]
mod assembly;
mod census_handlers;
mod creators;
pub mod default_handlers;
mod descriptors;
mod entry;
mod epoll;
mod filters;
mod identity;
#[cfg(not(test))]
pub mod memory;
#[cfg(not(any(test, portable)))]
mod parts;
#[cfg(all(portable, not(test)))]
mod portable;
mod process_exit;
mod raw;
mod sharing;
mod spawn_actions;
mod starters;
mod streams;
