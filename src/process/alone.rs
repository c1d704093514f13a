//! Whether another thread or process can see this process's descriptors. None can if the process
//! has one thread and no other process shares its table.

use crate::sync::{AtomicI32, Ordering};
use crate::{procfs, sys};

/// The process that was found to have another table than its parent, a fact that never changes. A
/// fork copies the word, but the child has another pid.
static APART_FROM_PARENT: AtomicI32 = AtomicI32::new(0);

/// Whether only the calling thread, which has blocked all signals, can now use or copy its
/// descriptor table.
///
/// After clone(CLONE_FILES) without CLONE_THREAD another process has the same table: a child, or
/// the parent. (A sibling made by CLONE_PARENT is not considered.)
pub fn has_the_table() -> bool {
    procfs::has_one_thread() && !sys::has_children() && is_apart_from_parent()
}

fn is_apart_from_parent() -> bool {
    let own = sys::getpid();
    if APART_FROM_PARENT.load(Ordering::Relaxed) == own {
        return own > 0;
    }
    // An exec gives a process a table of its own (Linux v6.1 fs/exec.c, begin_new_exec). For a
    // forked process this asks the kernel. If the kernel does not answer (kcmp(2) is forbidden, or
    // the parent is in another pid namespace), another process may share the table.
    let is_as_executed = super::forker() == 0 && super::pid() == own;
    let is_apart = is_as_executed || sys::same_descriptors(own, sys::getppid()) == Ok(false);
    if is_apart {
        APART_FROM_PARENT.store(own, Ordering::Relaxed);
    }
    is_apart
}
