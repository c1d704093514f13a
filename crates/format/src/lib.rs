//! What the library and the command share: names, grammars and layouts.
//!
//! It depends on nothing: it makes no system call, allocates nothing and uses no `std`. The
//! library's constructor and its reports may call everything here. Hooks may call [`errno::name`]
//! and use [`call::Call`].
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

/// The schema that the exit report's JSON follows. Within one schema keys are added, never renamed
/// or removed.
pub const REPORT_SCHEMA: &str = "epollshim.report/1";

/// The schema that the lines of a JSON log follow, by the same rule.
pub const LOG_SCHEMA: &str = "epollshim.log/1";
