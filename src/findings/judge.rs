//! What only the sums tell: judged as a report is made, and when the process ends.

use super::{census, ghosts, herd, leak, limits, loops, processes, sizes};
use crate::process::End;

/// Looks at what the ledger and the counters say now. Any number of times: what is so replaces what was.
pub fn judge(end: End) {
    sizes::judge();
    ghosts::judge();
    loops::late();
    loops::polling();
    herd::judge();
    leak::judge(end);
    processes::judge();
    limits::judge();
    census::judge(end);
}
