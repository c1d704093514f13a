//! Whether anybody else can see this process's descriptors: nobody can if it has one thread, and no
//! other process has its table.

use crate::sync::{AtomicI32, Ordering};
use crate::{procfs, sys};

/// The process that was found to have another table than its parent, which does not change. A fork
/// copies the word, and the child has another pid.
static APART_FROM_PARENT: AtomicI32 = AtomicI32::new(0);

/// Whether only the calling thread, which has blocked all signals, can use or copy its descriptor
/// table now.
///
/// Another process can have the same table after clone(CLONE_FILES) without CLONE_THREAD: a child,
/// or the parent. (A sibling made by CLONE_PARENT is not looked for.)
pub fn has_the_table() -> bool {
    procfs::has_one_thread() && !sys::has_children() && is_apart_from_parent()
}

fn is_apart_from_parent() -> bool {
    let own = sys::getpid();
    if APART_FROM_PARENT.load(Ordering::Relaxed) == own {
        return own > 0;
    }
    // An exec gives a process a table of its own (Linux v6.1 fs/exec.c, begin_new_exec). For a
    // forked one the kernel is asked. If it does not say (kcmp(2) is forbidden, the parent is in
    // another pid namespace), another process may have the table.
    let is_as_executed = super::forker() == 0 && super::pid() == own;
    let is_apart = is_as_executed || sys::same_descriptors(own, sys::getppid()) == Ok(false);
    if is_apart {
        APART_FROM_PARENT.store(own, Ordering::Relaxed);
    }
    is_apart
}
