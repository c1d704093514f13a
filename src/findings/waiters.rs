//! A descriptor is closed while a thread waits on it, or on an instance that watches it.
//!
//! Each thread notes in its block what it waits on. The note may be old (the thread was cancelled,
//! has jumped out, or returns at this moment). So before a finding is reported, the kernel is asked
//! whether the thread is inside the wait. That opens a file in /proc: a few times per process, and
//! never under a seccomp filter.

use crate::sync::{AtomicU32, Ordering};

use epollshim_format::findings::{Id, Severity};

use super::{Note, is_known, note};
use crate::thread::Block;
use crate::{arch, ledger, procfs, seccomp, sigsafe, thread};

/// How often the kernel is asked about what was not reported before.
const QUESTIONS: u32 = 32;

/// An instance's descriptor is about to be closed, and this thread waits on it.
pub fn instance_closed(waiter: &Block, fd: i32, site: usize) {
    closed_under(waiter, Severity::Error, fd, -1, site);
}

/// A descriptor that an instance watches is about to be closed. Of the instance's waiting threads
/// only the first that ever waited is examined (its `owner`): to look at every thread would cost a
/// close more than all else.
pub fn watched_closed(waiter: &Block, instance: u32, fd: i32, site: usize) {
    if let Some(epfd) = waiter.waits_on()
        && ledger::fd_state(epfd).instance() == instance
    {
        closed_under(waiter, Severity::Warning, epfd, fd, site);
    }
}

#[cold]
#[inline(never)]
fn closed_under(waiter: &Block, severity: Severity, epfd: i32, fd: i32, site: usize) {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    // This is a handler that has interrupted its own thread's wait.
    if thread::is_own(waiter) {
        return;
    }
    let is_watched = u8::from(fd >= 0);
    let found = Note {
        variant: is_watched,
        epfd,
        fd,
        site,
        other: waiter.waits_at(),
        detail: [u64::from(is_watched), 0, 0, 0],
        ..Note::of(Id::CloseInWait, severity)
    };
    if is_known(&found) || ASKED.fetch_add(1, Ordering::Relaxed) < QUESTIONS && is_waiting(waiter) {
        note(&found);
    }
}

/// Whether the block's thread is inside a wait, according to the kernel.
fn is_waiting(waiter: &Block) -> bool {
    let is_wait =
        |number| [arch::system_call::EPOLL_WAIT, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2].contains(&number);
    let Some(tid) = waiter.tid() else { return false };
    !seccomp::hinders() && sigsafe::on_own_stack(|| procfs::is_in_call(tid, is_wait)) == Some(true)
}
