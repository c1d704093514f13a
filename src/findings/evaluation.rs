//! What only the sums tell: evaluated for each report, and when the process ends.

use super::{ghosts, herd, leak, limits, loops, processes, sizes};
use crate::process::End;

/// Looks at what the ledger and the counters say now. Any number of times: what is so replaces what
/// was.
pub fn evaluate(end: End) {
    sizes::evaluate();
    ghosts::evaluate();
    loops::late();
    loops::polling();
    herd::evaluate();
    leak::evaluate(end);
    processes::evaluate();
    limits::evaluate();
}
