//! What the shim and its command share, and nothing else: names, grammars, layouts.
//!
//! It knows nobody: no system call, no allocation, no `std`. Everything here may be called from the
//! shim's constructor and from its report; `errno::name` and `Call` also from a hook.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::indexing_slicing))]

pub mod call;
pub mod census;
pub mod control;
pub mod descriptor;
pub mod errno;
pub mod events;
pub mod faults;
pub mod findings;
pub mod function;
pub mod functions;
pub mod histogram;
pub mod kernel_memory;
pub mod legality;
pub mod limits;
pub mod log_filter;
pub mod options;
pub mod pattern;
pub mod problem;
pub mod quoted;
pub mod recording;
pub mod scale;
mod scan;
pub mod signal;
pub mod suggest;
pub mod suppressions;
pub mod words;

/// The schema that the exit report's JSON follows. Keys are added, never renamed or removed, within
/// it.
pub const REPORT_SCHEMA: &str = "epollshim.report/1";

/// The schema that the lines of a JSON log follow, by the same rule.
pub const LOG_SCHEMA: &str = "epollshim.log/1";
