//! A descriptor is closed while a thread waits on it, or on an instance that watches it.
//!
//! Each thread notes in its block what it waits on. The note may be old (the thread was cancelled,
//! has jumped out, or returns at this moment). So before a finding is reported, the kernel is asked
//! whether the thread is inside the wait. That opens a file in /proc: a few times per process, and
//! never under a seccomp filter.

use crate::sync::{AtomicU32, Ordering};

use epollshim_format::findings::{Id, Severity, close_in_wait as closed};
use libc::epoll_event;

use super::watch::Watch;
use super::{Note, is_known, note, raise, refresh};
use crate::ledger::records::Long;
use crate::thread::Block;
use crate::{arch, ledger, procfs, seccomp, sigsafe, thread};

/// How often the kernel is asked about what was not reported before.
const QUESTIONS: u32 = 32;

/// An instance's descriptor is about to be closed, and this thread waits on it.
pub fn instance_closed(waiter: &Block, fd: i32, site: usize) {
    closed_under(waiter, Severity::Error, fd, -1, site);
}

/// A descriptor that an instance watches is about to be closed. Of the instance's waiting threads
/// only the first that ever waited is examined (its `owner`), or, of an instance whose first wait is
/// under way, some: to look at every thread would cost a close more than all else.
///
/// It is a warning where that was the last that the instance watches, since nothing wakes the thread
/// then; and it becomes one if the wait brings an event for the number ([`event_came`]).
pub fn watched_closed(waiter: &'static Block, instance: u32, fd: i32, site: usize) {
    if let Some(epfd) = waiter.waits_on()
        && ledger::fd_state(epfd).instance() == instance
    {
        let is_last = ledger::crowd_of(epfd).is_some_and(|crowd| crowd.watches == 0);
        closed_under(waiter, if is_last { Severity::Warning } else { Severity::Info }, epfd, fd, site);
    }
}

/// What was closed while a thread waits, until the wait ends; in the thread's block, and written by
/// the thread that closes. All zero: nothing.
pub struct Closed {
    fd: Long,
    site: Long,
    /// How many waits the thread had begun.
    waits: Long,
}

/// The number of an event that a wait has brought is one that was closed meanwhile: the thread
/// cannot tell whether the event is that of the file that it knew.
#[cold]
#[inline(never)]
pub fn event_came(block: &Block, epfd: i32, site: usize, events: &[epoll_event]) {
    let closed: &Closed = block.part();
    let fd = closed.fd.get().wrapping_sub(1);
    closed.fd.set(0);
    // A generation, or an address, is not the number.
    if closed.waits.get() == block.counters.waits() && events.iter().any(|event| { event.u64 } == fd) {
        let found =
            of_watched(Severity::Warning, epfd, fd as i32, closed.site.get() as usize, site, closed::EVENT_CAME);
        refresh(&found);
    }
}

impl Closed {
    #[inline(always)]
    pub fn is_any(&self) -> bool {
        self.fd.get() != 0
    }
}

fn of_watched(severity: Severity, epfd: i32, fd: i32, site: usize, other: usize, how: u64) -> Note {
    Note { variant: 1, epfd, fd, site, other, detail: [1, how, 0, 0], ..Note::of(Id::CloseInWait, severity) }
}

#[cold]
#[inline(never)]
fn closed_under(waiter: &Block, severity: Severity, epfd: i32, fd: i32, site: usize) {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    // This is a handler that has interrupted its own thread's wait.
    if thread::is_own(waiter) {
        return;
    }
    let found = if fd >= 0 {
        let how = if severity == Severity::Info { closed::OTHERS_ARE_LEFT } else { closed::LAST };
        of_watched(severity, epfd, fd, site, waiter.waits_at(), how)
    } else {
        Note { epfd, site, other: waiter.waits_at(), ..Note::of(Id::CloseInWait, severity) }
    };
    if is_known(&found) || ASKED.fetch_add(1, Ordering::Relaxed) < QUESTIONS && is_waiting(waiter) {
        note(&found);
        if fd >= 0 {
            raise(&found);
            let closed: &Closed = waiter.part();
            closed.site.set(site as u64);
            closed.waits.set(waiter.counters.waits());
            closed.fd.set(fd as u64 + 1);
            let _ = waiter.part::<Watch>().look_soon();
        }
    }
}

/// Whether the block's thread is inside a wait, according to the kernel.
pub fn is_waiting(waiter: &Block) -> bool {
    let is_wait =
        |number| [arch::system_call::EPOLL_WAIT, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2].contains(&number);
    let Some(tid) = waiter.tid() else { return false };
    !seccomp::hinders() && sigsafe::on_own_stack(|| procfs::is_in_call(tid, is_wait)) == Some(true)
}
