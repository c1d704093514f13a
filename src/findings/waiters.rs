//! A descriptor is closed under a thread that waits: on it, or on an instance that watches it.
//!
//! Each thread says in its block what it waits on. What it says may be old (it was cancelled, has jumped out, or comes back this
//! moment), so before something is told the kernel is asked whether the thread is inside the wait. That opens a file in /proc: a
//! few times a process, and never under a seccomp filter.

use core::sync::atomic::{AtomicU32, Ordering};

use epollshim_format::findings::{Id, Severity};

use super::{Note, is_known, note};
use crate::thread::Block;
use crate::{aside, ledger, procfs, sys, thread};

/// How often the kernel is asked for what was not told before.
const QUESTIONS: u32 = 32;

/// Before the real close of a descriptor that the ledger knows; of a dup2 onto it, after.
pub fn closing(fd: i32, site: usize) {
    let own = thread::block().map_or(0, |block| core::ptr::from_ref(block) as usize);
    let slot = ledger::slot_of(fd);
    if slot.instance() != 0 {
        let waiter = thread::all()
            .filter(|block| core::ptr::from_ref(*block) as usize != own)
            .find(|block| block.waits_on().is_some_and(|(epfd, _)| epfd == fd));
        if let Some(waiter) = waiter {
            closed_under(waiter, Severity::Error, fd, -1, site);
        }
    }
    ledger::each_watcher(fd, |index, owner| {
        // Only its first waiter is looked at: to look at every thread would cost a close more than all else.
        if owner == 0 || owner == own {
            return;
        }
        // SAFETY: the owner of an instance's counters is the address of a block.
        let waiter = unsafe { thread::block_at(owner) };
        if let Some((epfd, _)) = waiter.waits_on()
            && ledger::slot_of(epfd).instance() == index
        {
            closed_under(waiter, Severity::Warning, epfd, fd, site);
        }
    });
}

#[cold]
#[inline(never)]
fn closed_under(waiter: &Block, severity: Severity, epfd: i32, fd: i32, site: usize) {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let Some((_, at)) = waiter.waits_on() else { return };
    let is_watched = u8::from(fd >= 0);
    let found = Note {
        variant: is_watched,
        epfd,
        fd,
        site,
        other: at,
        detail: [u64::from(is_watched), 0, 0, 0],
        ..Note::of(Id::CloseInWait, severity)
    };
    if is_known(&found) || ASKED.fetch_add(1, Ordering::Relaxed) < QUESTIONS && is_waiting(waiter) {
        note(&found);
    }
}

/// Whether the block's thread is inside a wait, says the kernel.
fn is_waiting(waiter: &Block) -> bool {
    let is_wait = |number| [libc::SYS_epoll_wait, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2].contains(&number);
    let Some(tid) = waiter.tid() else { return false };
    !sys::is_filtered() && aside::undisturbed(|| procfs::is_in_call(tid, is_wait)) == Some(true)
}
