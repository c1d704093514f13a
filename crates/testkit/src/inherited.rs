//! Descriptors from 3 on that a test runner leaves open: make's job server, an editor's terminal, a
//! CI agent's log.

use std::sync::Once;

/// Keeps programs that tests start from inheriting these descriptors: tests check descriptor
/// numbers. Call it before the first program is started; later calls do nothing.
pub fn keep_from_children() {
    static KEPT: Once = Once::new();
    const CLOSE_RANGE_CLOEXEC: libc::c_int = 4;
    // SAFETY: the call takes no pointers, and closes nothing in this process. Before Linux 5.11 it
    // fails with EINVAL (close_range(2)); then the descriptors are inherited.
    KEPT.call_once(|| _ = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, CLOSE_RANGE_CLOEXEC) });
}
