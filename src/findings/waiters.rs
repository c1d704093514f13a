//! Descriptors that are closed while a thread waits on them, or on an instance that watches them.
//!
//! Each thread notes in its block what it waits on. The note may be stale: the thread was
//! cancelled, left the wait by a jump, or is just returning. So before a finding is reported, the
//! kernel is asked whether the thread is inside the wait. That opens a file in /proc: a few times
//! per process, and never under a seccomp filter.

use crate::sync::{AtomicU32, Ordering};

use epollshim_format::findings::{Id, Severity, close_in_wait as closed};
use libc::epoll_event;

use super::watch::Watch;
use super::{Note, is_known, note, raise, refresh};
use crate::ledger::records::Long;
use crate::thread::Block;
use crate::{arch, ledger, procfs, seccomp, sigsafe, thread};

/// How often the kernel is asked about a finding that was not reported before.
const QUESTIONS: u32 = 32;

/// Called before an instance's descriptor is closed while the thread `waiter` waits on it.
pub fn instance_closed(waiter: &Block, fd: i32, site: usize) {
    closed_under(waiter, Severity::Error, fd, -1, site);
}

/// Called before a descriptor that an instance watches is closed. `waiter` is the thread that first
/// waited on the instance (its `owner`). If the first wait is still in progress, it is one of
/// several threads that may be in it. Examining every thread would cost a close more than
/// everything else.
///
/// It is a warning if the instance watches nothing else, because then nothing wakes the thread. It
/// becomes one if the wait returns an event for the number ([`event_came`]).
pub fn watched_closed(waiter: &'static Block, instance: u32, fd: i32, site: usize) {
    if let Some(epfd) = waiter.waits_on()
        && ledger::fd_state(epfd).instance() == instance
    {
        let is_last = ledger::crowd_of(epfd).is_some_and(|crowd| crowd.watches == 0);
        closed_under(waiter, if is_last { Severity::Warning } else { Severity::Info }, epfd, fd, site);
    }
}

/// The descriptor that was closed while a thread waits, until the wait ends. In the waiting
/// thread's block, and written by the thread that closes. All zero: none.
pub struct Closed {
    fd: Long,
    site: Long,
    /// How many waits the waiting thread had begun.
    waits: Long,
}

/// Called when a wait has returned, and a descriptor was closed meanwhile. If an event has that
/// number, the thread cannot know whether it belongs to the closed file.
#[cold]
#[inline(never)]
pub fn event_came(block: &Block, epfd: i32, site: usize, events: &[epoll_event]) {
    let closed: &Closed = block.part();
    let fd = closed.fd.get().wrapping_sub(1);
    closed.fd.set(0);
    // Event data that is a generation or an address does not equal the number.
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
    // A signal handler has interrupted its own thread's wait.
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
