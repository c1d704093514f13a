//! One event that two threads received: both wait on one instance, level-triggered, and the second
//! was woken before the first had handled it.
//!
//! When the kernel delivers a level-triggered event, it puts it back into the ready list and wakes
//! the next waiting thread (ep_send_events and ep_done_scan of fs/eventpoll.c, Linux 6.1). So a
//! second thread gets the same event at once, unless the first handles it before.
//!
//! That is intended if the file holds work for both: a pipe of jobs, datagrams, several connections
//! that wait to be accepted. So only two kinds are reported: a connection (a stream has one
//! reader), and a listening socket at which, repeatedly, one connection waits while two threads
//! come for it.
//!
//! Called only for instances that several threads wait on, and for waits that could block, because
//! only these are timed.

use crate::sync::Ordering;

use epollshim_format::findings::{Id, Severity, herd, thresholds};
use libc::epoll_event;

use super::{Note, put};
use crate::ledger::records::{Doubles, Instance};
use crate::sigsafe::on_own_stack;
use crate::{ledger, procfs, seccomp, sys, thread};

/// An event that two threads received.
struct Double {
    epfd: i32,
    data: u64,
    /// Nanoseconds between the two returns.
    apart: u64,
    /// The instance's counts, including this event.
    doubled: u64,
    waits: u64,
}

/// A wait of the calling thread returned events, of which `first` is the first.
pub fn waited(instance: &Instance, epfd: i32, first: *const epoll_event) {
    Watcher(&instance.doubles).waited(epfd, first);
}

/// The part of an instance's record that belongs to this module.
#[derive(Clone, Copy)]
struct Watcher<'instance>(&'instance Doubles);

impl Watcher<'_> {
    /// A wait of the calling thread returned events, of which `first` is the first.
    fn waited(self, epfd: i32, first: *const epoll_event) {
        let Some(block) = thread::block() else { return };
        let now = block.counters.last_wait_end.load(Ordering::Relaxed);
        if now == 0 || first.is_null() {
            return;
        }
        // SAFETY: the kernel has just written it; the type has an alignment of 1.
        let data = unsafe { (&raw const (*first).u64).read_unaligned() };
        let own = block.address();
        let waits = self.0.waits.fetch_add(1, Ordering::Relaxed) + 1;
        // Acquire: pairs with the Release below. The other thread's event and time were stored
        // before.
        let by = self.0.by.load(Ordering::Acquire);
        let at = self.0.at.load(Ordering::Relaxed);
        let is_the_same = by != own && by != 0 && self.0.data.load(Ordering::Relaxed) == data;
        let apart = now.saturating_sub(at);
        if is_the_same && apart < thresholds::HERD_TOGETHER && is_at_work(by, at) {
            let doubled = self.0.doubled.fetch_add(1, Ordering::Relaxed) + 1;
            self.look(&Double { epfd, data, apart, doubled, waits });
        }
        self.0.by.store(0, Ordering::Relaxed);
        self.0.data.store(data, Ordering::Relaxed);
        self.0.at.store(now, Ordering::Relaxed);
        self.0.by.store(own, Ordering::Release);
    }

    #[cold]
    #[inline(never)]
    fn look(self, double: &Double) {
        let listener = self.0.listener.load(Ordering::Relaxed);
        if listener != 0 {
            if double.data == self.0.listener_data.load(Ordering::Relaxed) {
                self.look_at_listener(listener, double);
            }
        } else if double.doubled >= self.0.due.load(Ordering::Relaxed).max(thresholds::HERD_DOUBLES) {
            self.0.due.store(2 * double.doubled, Ordering::Relaxed);
            if double.doubled >= double.waits / thresholds::HERD_SHARE && !seccomp::hinders() {
                self.examine(double);
            }
        }
    }

    fn examine(self, double: &Double) {
        let Some(Some((listed, _))) = on_own_stack(|| procfs::the_one_with(double.epfd, double.data)) else { return };
        // The kernel delivers an edge or a one-shot event to one thread, so these are two events.
        if listed.events & (libc::EPOLLET | libc::EPOLLONESHOT) as u32 != 0 {
            return;
        }
        let option = |option| sys::socket_option(listed.fd, option).unwrap_or(-1);
        if option(libc::SO_TYPE) != libc::SOCK_STREAM {
            return;
        }
        if option(libc::SO_ACCEPTCONN) == 0 {
            return report(double.epfd, listed.fd, [double.doubled, double.waits, 0, 0]);
        }
        // Relaxed: a thread that reads the words of two sockets asks about one of them.
        self.0.waits_before.store(double.waits, Ordering::Relaxed);
        self.0.looks.store(0, Ordering::Relaxed);
        self.0.rich.store(0, Ordering::Relaxed);
        self.0.listener_data.store(double.data, Ordering::Relaxed);
        self.0.listener.store(listed.fd, Ordering::Relaxed);
    }

    /// Two threads have come for a connection at a listening socket. If only one waits each time,
    /// they came for the same.
    fn look_at_listener(self, fd: i32, double: &Double) {
        if double.apart >= thresholds::HERD_CLOSE_TOGETHER {
            return;
        }
        let Ok(waiting) = sys::connections_waiting(fd) else { return self.0.listener.store(0, Ordering::Relaxed) };
        let rich = self.0.rich.fetch_add(u64::from(waiting > 1), Ordering::Relaxed) + u64::from(waiting > 1);
        let looks = self.0.looks.fetch_add(1, Ordering::Relaxed) + 1;
        if looks < thresholds::HERD_DOUBLES {
            return;
        }
        self.0.listener.store(0, Ordering::Relaxed);
        let waits = double.waits.saturating_sub(self.0.waits_before.load(Ordering::Relaxed));
        if rich <= looks / thresholds::HERD_RICH && looks >= waits / thresholds::HERD_SHARE_OF_LISTENER {
            report(double.epfd, fd, [looks, waits, 1, 0]);
        }
    }
}

/// Whether the thread that received an event at that time has not waited again.
fn is_at_work(by: usize, at: u64) -> bool {
    // SAFETY: the caller passes a `by` that is not 0. `waited` stores only addresses of blocks in
    // it, and blocks are never unmapped.
    let block = unsafe { thread::block_at(by) };
    block.waits_on().is_none() && block.counters.last_wait_end.load(Ordering::Relaxed) == at
}

fn report(epfd: i32, fd: i32, detail: [u64; 4]) {
    let note = Note {
        variant: herd::ONE_INSTANCE,
        epfd,
        fd,
        site: ledger::site_of(epfd, fd).unwrap_or(0),
        detail,
        ..Note::of(Id::Herd, Severity::Warning)
    };
    let [doubled, ..] = detail;
    put(&note, doubled);
}
