//! The helper: a kernel thread of the process that lives as long as one piece of work, and has a
//! descriptor table of its own.
//!
//! It shares memory, thread-local storage, credentials, working directory and umask with the thread
//! that starts it, which waits for it. Only the descriptor table differs (`Files::unshare`). It
//! belongs to the program's thread group, so that
//!
//! - a SIGKILL, an exit or an exec by another thread ends it too, and leaves nothing behind;
//! - the program's `wait` calls never see it: it is no child;
//! - getpid, RLIMIT_CPU and the times of the process are what they would be without it.
//!
//! One thing is visible: for a short time the process has one thread more (`/proc/PID/task`,
//! RLIMIT_NPROC, `pids.max`).
//!
//! The caller waits on a futex and not by CLONE_VFORK: a thread in that wait does not take part in a
//! stop of the process, and a shell would wait for ever to learn that ^Z has stopped it.

use core::ffi::c_void;

use crate::arch::stack::start;
use crate::filters::verdict;
use crate::sync::{AtomicU32, Ordering};
use crate::{sys, valgrind};

/// CLONE_UNTRACED: a debugger that follows threads would report each helper, and wait for it.
/// CLONE_FILES: the helper leaves the shared table by `close_range`, which copies nothing of it,
/// however large it is.
const FLAGS: i32 = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_UNTRACED
    | libc::CLONE_CHILD_CLEARTID;

/// How long the caller sleeps at most before it looks again. Normally the kernel wakes it.
const NAP: i64 = 500_000_000;

/// Runs `run(work)` in a helper, on the stack whose upper end (aligned to 16) is given, and waits
/// for its end. Does nothing if no helper can be started: no more threads are allowed (EAGAIN), or
/// the program has left its pid namespace (EINVAL).
///
/// The caller has blocked all signals, so they are blocked in the helper as well.
pub fn run(top: *mut u8, work: *mut c_void, run: extern "C-unwind" fn(*mut c_void)) {
    if !is_allowed() {
        return;
    }
    let is_alive = AtomicU32::new(1);
    let Ok(tid @ 1..) = i32::try_from(start(top, work, run, is_alive.as_ptr(), FLAGS)) else { return };
    // The kernel clears the word when the helper has left the memory for good (CLONE_CHILD_CLEARTID). Acquire: what it wrote is there.
    while is_alive.load(Ordering::Acquire) != 0 {
        if let Err(error) = sys::futex_wait(&is_alive, 1, NAP)
            && !matches!(error, libc::EAGAIN | libc::EINTR | libc::ETIMEDOUT)
        {
            sys::yield_now();
        }
    }
    wait_until_gone(tid);
}

/// Whether a helper may be tried. valgrind does not support such a thread. The helper's own calls,
/// and the one that starts it, are made without checking the program's seccomp filters. They are
/// checked here.
fn is_allowed() -> bool {
    let calls = [
        (libc::SYS_clone, [FLAGS as usize, 0, 0, 0, 0, 0]),
        (libc::SYS_close_range, [0, u32::MAX as usize, libc::CLOSE_RANGE_UNSHARE as usize, 0, 0, 0]),
        (libc::SYS_futex, [0; 6]),
        (libc::SYS_exit, [0; 6]),
    ];
    !valgrind::is_running() && calls.iter().all(|(number, words)| verdict::allows(*number, words))
}

/// The kernel closes the helper's table, and removes it from the list of threads, after it has
/// cleared the word. Only then may a program of one thread unshare its user namespace, and only
/// then are the file's locks free.
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
    // The list is changed under the lock that this call takes (Linux v6.1 kernel/exit.c,
    // release_task and do_wait).
    let _ = sys::has_children();
}
