//! One look at an interest that may stall, and the finding about it.

use epollshim_format::findings::stalled::{self, Look, seen};
use epollshim_format::findings::{Id, Severity, thresholds};

use crate::buffer::Buffer;
use crate::findings::{self, Note, detail_of, has_short_list};
use crate::{clock, ledger, procfs, sys};

/// An interest that may stall, and the result of one look at its descriptor.
#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) epfd: i32,
    pub(super) fd: i32,
    pub(super) events: u32,
    pub(super) data: u64,
    pub(super) waiting: u64,
    /// Bytes that the program has read; `u64::MAX`: the kernel does not count them.
    pub(super) read: u64,
    pub(super) is_listening: bool,
    /// The instance that its loop waits on; -1: the loop does not wait at the moment.
    pub(super) waited: i32,
    /// The call site of the wait that should return its event.
    pub(super) site: usize,
    /// How long its loop has slept meanwhile, as far as known.
    pub(super) asleep: u64,
    /// CLOCK_MONOTONIC and the processor time of the process at the first look.
    pub(super) at: u64,
    pub(super) used: u64,
}

/// Lists the one-shot and edge-triggered interests of an instance, and of those that it watches.
pub(super) fn list(epfd: i32, site: usize, into: &mut Buffer<Item>) {
    let from = into.as_slice().len();
    list_one(epfd, epfd, site, into);
    for at in from..into.as_slice().len() {
        if let Some(inner) = into.as_slice().get(at).filter(|item| ledger::is_instance(item.fd)) {
            list_one(epfd, inner.fd, site, into);
        }
    }
}

#[inline(never)]
fn list_one(waited: i32, epfd: i32, site: usize, into: &mut Buffer<Item>) {
    if !has_short_list(epfd) {
        return;
    }
    procfs::each_listed(epfd, &mut |one| {
        if one.events & (libc::EPOLLET | libc::EPOLLONESHOT) as u32 != 0 || ledger::is_instance(one.fd) {
            into.push(Item { epfd, fd: one.fd, events: one.events, data: one.data, waited, site, ..Item::NOTHING });
        }
    });
}

impl Item {
    pub(super) const NOTHING: Item = Item {
        epfd: -1,
        fd: -1,
        events: 0,
        data: 0,
        waiting: 0,
        read: u64::MAX,
        is_listening: false,
        waited: -1,
        site: 0,
        asleep: 0,
        at: 0,
        used: 0,
    };

    /// Asks how much its descriptor has to read. (One that gives no number of bytes has no data: an
    /// edge-triggered eventfd or timerfd need not be read.)
    pub(super) fn look(&mut self) {
        // If the kernel does not count what was read, the same amount may be new data. But then the
        // instance has returned an event in between, so its count of events serves instead.
        self.read = ledger::crowd_of(self.epfd).map_or(0, |crowd| crowd.events);
        match sys::bytes_waiting(self.fd, libc::FIONREAD) {
            Ok(bytes) => {
                self.waiting = bytes.max(0) as u64;
                if let Ok([.., received]) = sys::tcp_info(self.fd) {
                    self.read = received.wrapping_sub(bytes as u64);
                }
            }
            // A socket that listens: tcp_ioctl of net/ipv4/tcp.c, Linux 6.1.
            Err(libc::EINVAL) if sys::socket_option(self.fd, libc::SO_ACCEPTCONN) == Ok(1) => {
                self.is_listening = true;
                self.waiting = u64::from(sys::connections_waiting(self.fd).unwrap_or(0));
            }
            Err(_) => self.waiting = 0,
        }
    }

    pub(super) fn seen(&self) -> Look {
        look_of(self.waiting, self.read)
    }

    pub(super) fn variant(&self) -> Option<u8> {
        stalled::variant(self.events)
    }

    pub(super) fn descriptors(&self) -> u64 {
        findings::descriptors(self.epfd, self.fd)
    }

    /// The finding about it. None: it cannot stall, or it is not known where it was registered (its
    /// number may not refer to the watched file).
    pub(super) fn note(&self) -> Option<Note> {
        let variant = self.variant()?;
        let known = Note {
            variant,
            epfd: self.epfd,
            fd: self.fd,
            site: self.site,
            other: ledger::site_of(self.epfd, self.fd)?,
            ..Note::of(Id::Stalled, Severity::Info)
        };
        let mut what = detail_of(&known).map_or(0, |[.., what]| what & seen::RESUMED);
        if self.is_listening {
            what |= seen::LISTENS;
        }
        if variant == stalled::EDGE && is_any_held_back() {
            what |= seen::HELD_BACK;
        }
        let spent = processor_time().saturating_sub(self.used);
        let share = |part: u64| spent.saturating_mul(part) >= clock::monotonic().saturating_sub(self.at);
        if share(thresholds::STALLED_WORKS) || share(thresholds::STALLED_MAY_WORK) && does_any_work() {
            what |= seen::AT_WORK;
        }
        let detail = [self.waiting, self.asleep, 0, what];
        Some(Note { severity: stalled::severity(variant, what), detail, ..known })
    }
}

/// The values of a look. `read` is as in [`Item::read`].
pub(super) fn look_of(waiting: u64, read: u64) -> Look {
    Look { waiting, read: (read != u64::MAX).then_some(read) }
}

/// Whether a socket of the process cannot send, because its peer does not read.
fn is_any_held_back() -> bool {
    const LOOKED_AT: i32 = 4_096;
    // Ask sockets only. The kernel passes an ioctl of another file to its file system, which may be
    // a process that does not answer (FUSE).
    let is_socket = |fd| sys::socket_option(fd, libc::SO_TYPE).is_ok();
    (0..=ledger::records().descriptors.highest().min(LOOKED_AT)).filter(|fd| is_socket(*fd)).any(|fd| {
        sys::bytes_waiting(fd, libc::TIOCOUTQ).is_ok_and(|bytes| bytes > 0) && sys::writable(fd, 0) == Ok(false)
    })
}

pub(super) fn processor_time() -> u64 {
    sys::processor_time(0).unwrap_or(0)
}

/// Whether another thread than the caller runs, or is ready to run.
fn does_any_work() -> bool {
    const LOOKED_AT: u32 = 64;
    if procfs::has_one_thread() {
        return false;
    }
    let (own, mut looked_at, mut found) = (sys::gettid(), 0, false);
    procfs::each_thread(|thread| {
        looked_at += 1;
        found = found || thread != own && looked_at <= LOOKED_AT && procfs::is_runnable(thread);
    });
    found
}
