//! Whether a descriptor could be seen by anybody at all: not in a process of one thread whose table
//! no other process has.

use crate::sync::{AtomicI32, Ordering};
use crate::{procfs, sys};

/// The process that has been found to have another table than its parent: that stays so. A fork
/// copies the word, and the child has another pid.
static APART_FROM_PARENT: AtomicI32 = AtomicI32::new(0);

/// Whether nobody but the calling thread, which has blocked all signals, can use or copy its
/// descriptor table now.
///
/// Another process can have the same table after clone(CLONE_FILES) without CLONE_THREAD: a child,
/// or the parent. (A sister made by CLONE_PARENT is not looked for.)
pub fn has_the_table() -> bool {
    procfs::has_one_thread() && !sys::has_children() && is_apart_from_parent()
}

fn is_apart_from_parent() -> bool {
    let own = sys::getpid();
    if APART_FROM_PARENT.load(Ordering::Relaxed) == own {
        return own > 0;
    }
    // An exec gives a process a table of its own (Linux v6.1 fs/exec.c, begin_new_exec). Of a
    // forked one the kernel is asked; where it will not say (kcmp(2) is forbidden, the parent is in
    // another pid namespace), somebody may have the table.
    let is_as_executed = super::forker() == 0 && super::pid() == own;
    let is_apart = is_as_executed || sys::same_descriptors(own, sys::getppid()) == Ok(false);
    if is_apart {
        APART_FROM_PARENT.store(own, Ordering::Relaxed);
    }
    is_apart
}
