//! Findings that follow from sums: evaluated for each report, and when the process ends.

use super::{churn, ghosts, herd, leak, limits, loops, processes, sizes, stalled};
use crate::process::End;

/// Evaluates the ledger and the counters. It may run any number of times: its results replace the
/// earlier ones.
pub fn evaluate(end: End) {
    sizes::evaluate();
    ghosts::evaluate();
    loops::late();
    loops::polling();
    herd::evaluate();
    leak::evaluate(end);
    churn::evaluate();
    processes::evaluate();
    limits::evaluate();
    stalled::evaluate(end);
}

/// A part of it, at a moment while the process runs (`now`: CLOCK_MONOTONIC), for who is killed before a report: what remains true once it
/// is, and takes little.
pub fn at_times(now: u64) {
    processes::shared_by_now();
    herd::look(now);
    ghosts::look(now);
}
