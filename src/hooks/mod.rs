//! The functions that the loader binds instead of glibc's, one file per family.
//!
//! A hook contains no logic of its own: it makes the real call and reports it to the ledger. It
//! follows the rules in lib.rs. A hook that has something to do only before the real call ends in a
//! jump to it. A hook that has something to do after the call goes through entry.rs.
//!
//! The functions are exported only by the cdylib: a test binary must not interpose on its own test
//! runner.

// Only the entries in assembly use some of these items.
#![cfg_attr(portable, allow(dead_code, unused_imports, unused_macros))]

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
