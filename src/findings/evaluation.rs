//! Findings that follow from totals: evaluated for each report, and when the process ends.

use super::{churn, ghosts, herd, leak, limits, loops, processes, sizes, stalled};
use crate::process::End;

/// Evaluates the ledger and the counters. It may run any number of times, because its results
/// replace the earlier ones.
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

/// Evaluates a part while the process runs, for a process that is killed before a report: findings
/// that stay true and cost little. `now` is CLOCK_MONOTONIC.
pub fn at_times(now: u64) {
    processes::shared_by_now();
    herd::look(now);
    ghosts::look(now);
}
