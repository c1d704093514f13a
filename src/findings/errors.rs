//! Calls that fail as they fail in no correct program. Each is noted when it fails.
//!
//! Some programs let an `epoll_ctl` fail on purpose, and correct it by their next call: libuv adds,
//! and modifies what exists already; libevent modifies, and adds what does not exist. So a failure
//! that can be corrected is noted at once (it is reported even if the process is killed), and moved
//! to another entry of the table if the thread's next `epoll_ctl` is for the same pair and
//! succeeds.

use crate::sync::{AtomicU64, Ordering};

use epollshim_format::findings::{Cause, Id, Severity};
use libc::c_int;

use super::{Note, again, descriptors, ghosts, note, retract};
use crate::frame::Frame;
use crate::ledger::core::Registration;
use crate::{ledger, sys, thread};

/// What a thread's last `epoll_ctl` has left open. Only that thread and its signal handlers read
/// and write it.
pub struct Pending {
    /// One more than epfd in the lower 32 bits, and one more than fd above; [`Pending::NOTHING`]:
    /// nothing is open. 0: the block is not in use.
    pair: AtomicU64,
    /// Its return address in the upper 48 bits; below, the cause of its failure, [`REUSED`] or
    /// [`RETURNED`].
    what: AtomicU64,
}

/// An ADD of a number under which a ghost is watched: stale data, if it succeeds.
const REUSED: u64 = 0x100;
/// An ADD of a ghost whose number refers to its file again.
const RETURNED: u64 = 0x200;

/// An `epoll_ctl`.
#[derive(Clone, Copy)]
struct Ctl {
    epfd: c_int,
    operation: c_int,
    fd: c_int,
    site: usize,
}

impl Pending {
    /// The value for no descriptors. (Not 0, so that it also shows that the block is in use.)
    pub const NOTHING: u64 = u64::MAX;
    /// Where the word lies that has this value while nothing is open.
    pub const PAIR: usize = core::mem::offset_of!(Pending, pair);

    #[inline(always)]
    pub fn is_open(&self) -> bool {
        self.pair.load(Ordering::Relaxed) != Self::NOTHING
    }

    #[inline(always)]
    pub fn forget(&self) {
        self.pair.store(Self::NOTHING, Ordering::Relaxed);
    }

    #[inline(always)]
    fn leave(&self, pair: u64, what: u64, site: usize) {
        self.what.store((site as u64) << 16 | what, Ordering::Relaxed);
        self.pair.store(pair, Ordering::Relaxed);
    }
}

/// The calling thread is about to add a number under which a ghost is watched.
#[cold]
#[inline(never)]
pub fn adding_over_ghost(registration: &Registration) {
    if let Some(block) = thread::block() {
        block.part::<Pending>().leave(descriptors(registration.epfd, registration.fd), REUSED, registration.site);
    }
}

/// An `epoll_ctl` has succeeded, and the thread had left something open.
#[cold]
#[inline(never)]
pub fn ctl_succeeded(pending: &Pending, epfd: c_int, operation: c_int, fd: c_int) {
    let is_same = pending.pair.swap(Pending::NOTHING, Ordering::Relaxed) == descriptors(epfd, fd);
    let word = pending.what.load(Ordering::Relaxed);
    let (what, site) = (word & 0xffff, (word >> 16) as usize);
    if !is_same {
        return;
    }
    if what == REUSED {
        if operation == libc::EPOLL_CTL_ADD {
            ghosts::added_over(epfd, fd, site);
        }
    } else if what == RETURNED {
        ghosts::corrected(epfd, fd);
    } else if let Some(cause) = Cause::from_number(what as u8)
        && let Some(mended) = cause.mended()
    {
        let (failed, error) = match cause {
            Cause::WatchedAlready => (libc::EPOLL_CTL_ADD, libc::EEXIST),
            _ => (libc::EPOLL_CTL_MOD, libc::ENOENT),
        };
        let call = Ctl { epfd, operation: failed, fd, site };
        retract(&of_ctl(cause, &call, error));
        note(&of_ctl(mended, &call, error));
    }
}

/// An `epoll_ctl` has failed. A failure because of a ghost is reported already.
#[inline(always)]
pub fn ctl_failed(pending: &Pending, frame: &Frame, error: c_int, is_ghost: bool) {
    const AGAIN: Cause = Cause::WatchedAlready;
    let pair = descriptors(frame.int(0), frame.int(2));
    // A program that adds first does so all the time.
    if frame.int(1) == libc::EPOLL_CTL_ADD
        && error == libc::EEXIST
        && !is_ghost
        && again(Id::CtlError, AGAIN as u8, frame.caller, pair)
    {
        return pending.leave(pair, AGAIN as u64, frame.caller);
    }
    ctl_failed_slow(pending, frame, error, is_ghost);
}

#[cold]
#[inline(never)]
fn ctl_failed_slow(pending: &Pending, frame: &Frame, error: c_int, is_ghost: bool) {
    let call = Ctl { epfd: frame.int(0), operation: frame.int(1), fd: frame.int(2), site: frame.caller };
    let Ctl { epfd, operation, fd, site } = call;
    pending.forget();
    if error == libc::EBADF && (epfd == -1 || fd == -1) {
        return ignored(epfd, fd, site);
    }
    if is_ghost {
        if operation == libc::EPOLL_CTL_ADD {
            pending.leave(descriptors(epfd, fd), RETURNED, site);
        }
        return;
    }
    let Some(cause) = cause(epfd, operation, fd, error) else { return };
    note(&of_ctl(cause, &call, error));
    if cause.mended().is_some() {
        pending.leave(descriptors(epfd, fd), cause as u64, site);
    }
}

#[inline(always)]
fn of_ctl(cause: Cause, call: &Ctl, error: c_int) -> Note {
    let Ctl { epfd, operation, fd, site } = *call;
    Note {
        variant: cause as u8,
        epfd,
        fd,
        site,
        detail: [operation as u64, error as u64, 0, 0],
        ..Note::of(Id::CtlError, cause.severity())
    }
}

/// None: a failure of another kind (no memory, a limit, a bad address).
fn cause(epfd: c_int, operation: c_int, fd: c_int, error: c_int) -> Option<Cause> {
    let deletes = operation == libc::EPOLL_CTL_DEL;
    Some(match error {
        libc::EEXIST => Cause::WatchedAlready,
        libc::ENOENT if deletes => Cause::GoneBeforeDel,
        libc::ENOENT => Cause::NotWatched,
        libc::EBADF if !ledger::is_instance(epfd) && !sys::is_open(epfd) => Cause::InstanceClosed,
        libc::EBADF if deletes => Cause::ClosedBeforeDel,
        libc::EBADF => Cause::Closed,
        libc::EPERM if deletes => Cause::GoneBeforeDel,
        libc::EPERM => Cause::NotPollable,
        libc::ELOOP => Cause::NestedTooDeep,
        libc::EINVAL if epfd == fd => Cause::InItself,
        libc::EINVAL => Cause::Invalid,
        _ => return None,
    })
}

/// A wait has failed with EBADF.
#[inline(always)]
pub fn wait_failed(epfd: c_int, site: usize) {
    if epfd == -1 && !again(Id::IgnoredError, 0, site, 0) {
        ignored(epfd, -1, site);
    }
}

#[cold]
#[inline(never)]
fn ignored(epfd: c_int, fd: c_int, site: usize) {
    // -1 is no descriptor that could be shown.
    note(&Note { epfd, fd, site, ..Note::of(Id::IgnoredError, Severity::Error) });
}

/// An `epoll_create` was refused because of its size.
pub fn create_failed(size: c_int, error: c_int, site: usize) {
    if error == libc::EINVAL && size <= 0 {
        note(&Note {
            variant: 1,
            site,
            detail: [0, i64::from(size) as u64, 0, 0],
            ..Note::of(Id::SizeLie, Severity::Warning)
        });
    }
}
