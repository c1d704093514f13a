//! The helper: a kernel thread of the process that lives as long as one piece of work and has a
//! separate descriptor table.
//!
//! It shares memory, thread-local storage, credentials, working directory and umask with the thread
//! that starts it, which waits for it. Only the descriptor table differs (`Files::unshare`).
//! Because it belongs to the program's thread group,
//!
//! - a SIGKILL, an exit or an exec by another thread also ends it, and nothing is left behind;
//! - the program's `wait` calls never see it, since it is no child;
//! - getpid, RLIMIT_CPU and the process's times are the same as without it.
//!
//! One effect is visible: for a short time the process has one more thread (`/proc/PID/task`,
//! RLIMIT_NPROC, `pids.max`).
//!
//! The caller waits on a futex and not by CLONE_VFORK. A thread in that wait does not take part in
//! a stop of the process, and a shell would wait forever to learn that ^Z has stopped it.

use core::ffi::c_void;

use crate::arch::stack::start;
use crate::filters::verdict;
use crate::sync::{AtomicU32, Ordering};
use crate::{sys, valgrind};

/// CLONE_UNTRACED: a debugger that follows threads would report each helper and wait for it.
/// CLONE_FILES: the helper leaves the shared table by `close_range`, which copies nothing of it,
/// however large the table is.
const FLAGS: i32 = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_UNTRACED
    | libc::CLONE_CHILD_CLEARTID;

/// How long the caller sleeps at most before it checks again. Normally the kernel wakes it.
const NAP: i64 = 500_000_000;

/// Runs `run(work)` in a helper, on the stack with the given upper end (aligned to 16 bytes), and
/// waits until the helper has ended. Does nothing if no helper can be started: no more threads are
/// allowed (EAGAIN), or the program has left its pid namespace (EINVAL).
///
/// The caller has blocked all signals, so they are blocked in the helper as well.
pub fn run(top: *mut u8, work: *mut c_void, run: extern "C-unwind" fn(*mut c_void)) {
    if !is_allowed() {
        return;
    }
    let is_alive = AtomicU32::new(1);
    let Ok(tid @ 1..) = i32::try_from(start(top, work, run, is_alive.as_ptr(), FLAGS)) else { return };
    // The kernel clears the word when the helper no longer uses this memory (CLONE_CHILD_CLEARTID).
    // Acquire: this thread then sees all that the helper wrote.
    while is_alive.load(Ordering::Acquire) != 0 {
        if let Err(error) = sys::futex_wait(&is_alive, 1, NAP)
            && !matches!(error, libc::EAGAIN | libc::EINTR | libc::ETIMEDOUT)
        {
            sys::yield_now();
        }
    }
    wait_until_gone(tid);
}

/// Whether a helper may be started. valgrind does not support such a thread. The helper's own
/// system calls, and the one that starts it, are made without consulting the program's seccomp
/// filters, so this function consults them.
fn is_allowed() -> bool {
    let calls = [
        (libc::SYS_clone, [FLAGS as usize, 0, 0, 0, 0, 0]),
        (libc::SYS_close_range, [0, u32::MAX as usize, libc::CLOSE_RANGE_UNSHARE as usize, 0, 0, 0]),
        (libc::SYS_futex, [0; 6]),
        (libc::SYS_exit, [0; 6]),
    ];
    !valgrind::is_running() && calls.iter().all(|(number, words)| verdict::allows(*number, words))
}

/// Waits until the helper is gone. After it has cleared the word, the kernel closes the helper's
/// table and removes it from the list of threads. Only then may a single-threaded program unshare
/// its user namespace, and only then are the locks of the file free.
fn wait_until_gone(tid: i32) {
    const YIELDS: usize = 64;
    const NAPS: usize = 1000;
    let pid = sys::getpid();
    for step in 0..YIELDS + NAPS {
        if !sys::finds_thread(pid, tid) {
            break;
        }
        if step < YIELDS { sys::yield_now() } else { sys::sleep(20_000) }
    }
    // The kernel changes the list under the lock that this call takes (Linux v6.1 kernel/exit.c,
    // release_task and do_wait).
    let _ = sys::has_children();
}
