//! What a test runner leaves open: descriptors from 3 on (make's job server, a terminal of an editor, a CI agent's log).

use std::sync::Once;

/// Keeps them from the programs that tests start, whose descriptor numbers are checked. Once, before the first is started.
pub fn keep_from_children() {
    static KEPT: Once = Once::new();
    const CLOSE_RANGE_CLOEXEC: libc::c_int = 4;
    // SAFETY: it takes numbers alone, and closes nothing in this process. Before Linux 5.11 it fails: then they are inherited.
    KEPT.call_once(|| _ = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, CLOSE_RANGE_CLOEXEC) });
}
