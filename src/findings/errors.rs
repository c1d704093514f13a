//! Calls that fail in a way that no correct program causes. Each is noted when it fails.
//!
//! Some programs let an `epoll_ctl` fail on purpose, and fix it with their next call. libuv adds,
//! and modifies if the interest exists; libevent modifies, and adds if it does not exist. Such a
//! failure is noted at once, so that it is reported even if the process is killed. It is moved to
//! another entry of the table if the thread's next `epoll_ctl` is for the same pair and succeeds.

use crate::sync::{AtomicU64, Ordering};

use epollshim_format::findings::{Cause, Id, Severity, ignored_error, thresholds};
use libc::c_int;

use super::{Note, again, batch, count_again, descriptors, ghosts, has_short_list, note, retract};
use crate::frame::Frame;
use crate::ledger::core::Registration;
use crate::ledger::records::Long;
use crate::procfs;
use crate::sigsafe::on_own_stack;
use crate::thread::Block;
use crate::{ledger, sys, thread};

/// What a thread's last `epoll_ctl` has left open: the next one may decide it. Only that thread and
/// its signal handlers read and write it.
pub struct Pending {
    /// One more than epfd in the lower 32 bits, and one more than fd above; [`Pending::NOTHING`]:
    /// nothing is open. 0: the block is not in use.
    pair: AtomicU64,
    /// The call's return address in the upper 48 bits. Below: the [`Cause`] of its failure,
    /// [`REUSED`], [`RETURNED`] or [`BATCH`].
    what: AtomicU64,
}

/// An ADD of a number under which a ghost is watched. It is stale data if it succeeds.
const REUSED: u64 = 0x100;
/// An ADD of a ghost whose number refers to its file again.
const RETURNED: u64 = 0x200;
/// A flag in addition to the cause: an ADD of a descriptor that is already registered.
const EXISTS: u64 = 0x400;
/// A batch whose events are examined (batch.rs).
const BATCH: u64 = 0x800;

/// An `epoll_ctl`.
#[derive(Clone, Copy)]
struct Ctl {
    epfd: c_int,
    operation: c_int,
    fd: c_int,
    site: usize,
}

impl Pending {
    /// The value if nothing is open. It is not 0, which means that the block is not in use.
    pub const NOTHING: u64 = u64::MAX;
    /// The offset of the word that has this value while nothing is open.
    pub const PAIR: usize = core::mem::offset_of!(Pending, pair);

    #[inline(always)]
    pub fn is_open(&self) -> bool {
        self.pair.load(Ordering::Relaxed) != Self::NOTHING
    }

    #[inline(always)]
    pub fn forget(&self) {
        self.pair.store(Self::NOTHING, Ordering::Relaxed);
    }

    /// From now on [`ctl_succeeded`] is called after each success of `epoll_ctl`. Does nothing if
    /// something is open already.
    pub fn open_for_batch(&self) {
        if !self.is_open() {
            self.leave(0, BATCH, 0);
        }
    }

    pub fn close_for_batch(&self) {
        if self.is_open() && self.what.load(Ordering::Relaxed) == BATCH {
            self.forget();
        }
    }

    #[inline(always)]
    fn leave(&self, pair: u64, what: u64, site: usize) {
        self.what.store((site as u64) << 16 | what, Ordering::Relaxed);
        self.pair.store(pair, Ordering::Relaxed);
    }
}

/// Called before the calling thread adds a number under which a ghost is watched.
#[cold]
#[inline(never)]
pub fn adding_over_ghost(registration: &Registration) {
    if let Some(block) = thread::block() {
        block.part::<Pending>().leave(descriptors(registration.epfd, registration.fd), REUSED, registration.site);
    }
}

/// Called after an `epoll_ctl` has succeeded, if the thread had left something open.
#[cold]
#[inline(never)]
pub fn ctl_succeeded(block: &Block, epfd: c_int, operation: c_int, fd: c_int, caller: usize) {
    let pending: &Pending = block.part();
    if pending.what.load(Ordering::Relaxed) == BATCH {
        if !batch::ctl_succeeded(block, epfd, operation, fd, caller) {
            pending.forget();
        }
        return;
    }
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
        && let Some(fixed) = cause.fixed()
    {
        let (failed, error) = match cause {
            cause if cause.is_of_add() => (libc::EPOLL_CTL_ADD, libc::EEXIST),
            _ => (libc::EPOLL_CTL_MOD, libc::ENOENT),
        };
        let call = Ctl { epfd, operation: failed, fd, site };
        retract(&of_ctl(cause, &call, error));
        note(&of_ctl(fixed, &call, error));
    }
}

/// The mask is compared again at the 4th, 16th and 20th failure of a site: the counts that have no
/// other bits than these.
const LOOKS: u64 = 20;

/// Called after an `epoll_ctl` has failed. If `is_ghost`, a ghost was the cause, and is reported
/// already.
#[inline(always)]
pub fn ctl_failed(pending: &Pending, frame: &Frame, error: c_int, is_ghost: bool) {
    // A program that always adds first fails often, mostly with the same cause as the last time.
    if frame.int(1) == libc::EPOLL_CTL_ADD && error == libc::EEXIST && !is_ghost {
        let pair = descriptors(frame.int(0), frame.int(2));
        let last = pending.what.load(Ordering::Relaxed);
        if last & EXISTS != 0 {
            let count = count_again(Id::CtlError, last as u8, frame.caller, pair);
            if count & !LOOKS != 0 {
                return pending.leave(pair, last & 0xffff, frame.caller);
            }
            if count != 0 {
                return exists_again(pending, frame, last as u8);
            }
        }
        if exists_for_another_cause(pending, frame, pair) {
            return;
        }
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
    let cause = if error == libc::EEXIST { compared(epfd, fd, frame.word(3)) } else { cause };
    note(&of_ctl(cause, &call, error));
    if cause.fixed().is_some() {
        let exists = if cause.is_of_add() { EXISTS } else { 0 };
        pending.leave(descriptors(epfd, fd), exists | cause as u64, site);
    }
}

/// Counts an ADD that failed before at this site. False: it did not.
#[cold]
#[inline(never)]
fn exists_for_another_cause(pending: &Pending, frame: &Frame, pair: u64) -> bool {
    let before = Cause::OF_ADD.into_iter().find(|cause| again(Id::CtlError, *cause as u8, frame.caller, pair));
    if let Some(cause) = before {
        pending.leave(pair, EXISTS | cause as u64, frame.caller);
    }
    before.is_some()
}

/// Compares the mask again at a site where `before` was the cause so far.
#[cold]
#[inline(never)]
fn exists_again(pending: &Pending, frame: &Frame, before: u8) {
    let Some(before) = Cause::from_number(before) else { return };
    let pair = descriptors(frame.int(0), frame.int(2));
    pending.leave(pair, EXISTS | compare_again(frame, before) as u64, frame.caller);
}

/// The cause of this failure. If the mask has changed, the finding `before` is replaced.
fn compare_again(frame: &Frame, before: Cause) -> Cause {
    let now = compared(frame.int(0), frame.int(2), frame.word(3));
    if now == before || now == Cause::WatchedAlready {
        return before;
    }
    let call = Ctl { epfd: frame.int(0), operation: frame.int(1), fd: frame.int(2), site: frame.caller };
    retract(&of_ctl(before, &call, libc::EEXIST));
    note(&of_ctl(now, &call, libc::EEXIST));
    now
}

/// Compares the event of an ADD that failed with EEXIST with the one in force. (Every interest has
/// EPOLLERR and EPOLLHUP. A one-shot interest that has fired has none of its events.)
fn compared(epfd: c_int, fd: c_int, event: usize) -> Cause {
    const ALWAYS: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
    /// The kernel clears it if the process may not block suspend (epoll_ctl(2)).
    const EPOLLWAKEUP: u32 = 1 << 29;
    if !has_short_list(epfd) {
        return Cause::WatchedAlready;
    }
    let compare = || {
        let asked = sys::event_at(event)?;
        let mut found = None;
        procfs::each_listed(epfd, &mut |listed| {
            if listed.fd == fd {
                // Two files are watched under the number. It is not known which of them this ADD
                // met.
                found = if found.is_some() { Some(None) } else { Some(Some((listed.events, listed.data))) };
            }
        })?;
        let (events, data) = found??;
        Some(match () {
            () if (events ^ (asked.events | ALWAYS)) & !EPOLLWAKEUP != 0 => Cause::OtherEvents,
            () if data != asked.u64 => Cause::OtherData,
            () => Cause::Redundant,
        })
    };
    on_own_stack(compare).flatten().unwrap_or(Cause::WatchedAlready)
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

/// The likely cause of a failure. None: it is of another kind (no memory, a limit, a bad address).
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

/// The waits of a thread that fail in a row. All zero: none has failed.
pub struct FailedWaits {
    /// One more than epfd in the lower 32 bits, and the error above.
    which: Long,
    /// How many waits the thread had made when the last one failed.
    waits: Long,
    row: Long,
}

/// A wait that has failed.
pub struct FailedWait {
    pub epfd: c_int,
    pub maxevents: c_int,
    pub error: c_int,
    pub site: usize,
}

/// Called after a wait has failed. Only EBADF and EINVAL count: other errors happen in correct
/// programs.
pub fn wait_failed(block: &Block, call: &FailedWait) {
    let &FailedWait { epfd, error, site, .. } = call;
    if !matches!(error, libc::EBADF | libc::EINVAL) {
        return;
    }
    if epfd == -1 {
        if error == libc::EBADF && !again(Id::IgnoredError, 0, site, 0) {
            ignored(epfd, -1, site);
        }
        return;
    }
    let failed: &FailedWaits = block.part();
    let which = u64::from((epfd as u32).wrapping_add(1)) | (error as u64) << 32;
    let waits = block.counters.waits();
    let goes_on = failed.which.get() == which && waits == failed.waits.get().wrapping_add(1);
    failed.which.set(which);
    failed.waits.set(waits);
    failed.row.set(if goes_on { failed.row.get().wrapping_add(1) } else { 1 });
    if failed.row.get() >= thresholds::FAILED_WAITS {
        fails_in_a_row(failed.row.get(), call);
    }
}

#[cold]
#[inline(never)]
fn fails_in_a_row(row: u64, call: &FailedWait) {
    let &FailedWait { epfd, maxevents, error, site } = call;
    let is_closed = error == libc::EBADF;
    let variant = match () {
        () if is_closed => ignored_error::CLOSED,
        () if maxevents <= 0 => ignored_error::NO_ROOM,
        () => ignored_error::NO_INSTANCE,
    };
    let closed_at = if variant == ignored_error::NO_ROOM { None } else { ledger::last_close_of_instance(epfd) };
    let found = Note {
        variant,
        epfd,
        site,
        other: closed_at.unwrap_or(0),
        detail: [error as u64, u64::from(closed_at.is_some()), i64::from(maxevents) as u64, 0],
        ..Note::of(Id::IgnoredError, Severity::Error)
    };
    // The first finding of a row also counts the failures before, which were no row yet.
    let count = if row == thresholds::FAILED_WAITS { row } else { 1 };
    (0..count).for_each(|_| note(&found));
}

#[cold]
#[inline(never)]
fn ignored(epfd: c_int, fd: c_int, site: usize) {
    // -1 in a note means no descriptor, so reports show none for it.
    note(&Note { epfd, fd, site, ..Note::of(Id::IgnoredError, Severity::Error) });
}

/// Called after an `epoll_create` has failed. It is a finding if its size was refused.
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
