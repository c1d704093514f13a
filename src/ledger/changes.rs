//! The changes of the ledger that there are, and what each does: by the holder of the lock, at once or from a note.

use super::core::{Creation, Registration, Ticket};
use super::descriptors::FdState;
use super::reservations::PendingRelease;
use super::{CORE, reservations};
use crate::record::Rows;
use crate::sys;

/// A change of the ledger, as it waits in the lock's queue when the lock is taken.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Created {
        fd: i32,
        creation: Creation,
        prepaid: u64,
    },
    Adopted {
        fd: i32,
    },
    /// An interest is about to be added; the serial number is promised to its record.
    Adding(Registration, u32, u64),
    Confirmed(Registration),
    Added(Registration),
    Found(Registration),
    Existed(Registration, Ticket),
    Undone(Registration, Ticket),
    Deleted {
        epfd: i32,
        fd: i32,
    },
    /// `at` is the return address of the call, here and below; 0: not known.
    Closed {
        fd: i32,
        at: usize,
    },
    ClosedRange {
        first: i32,
        last: i32,
        at: usize,
    },
    /// The same, by a thread that will say when the kernel has done it: limits count till then.
    ClosedFor {
        first: i32,
        last: i32,
        at: usize,
        closer: &'static PendingRelease,
    },
    DoneClosing {
        closer: &'static PendingRelease,
    },
    Duplicated {
        old: i32,
        new: i32,
        at: usize,
    },
    Gone {
        epfd: i32,
        fd: i32,
    },
    /// The kernel does not have what this word stands for.
    NotThere {
        fd: i32,
        slot: FdState,
    },
    /// The recording has space for these entries now.
    Recorded(Rows),
}

pub(super) fn apply(change: Change) {
    CORE.changes();
    match change {
        Change::Created { fd, creation, prepaid } => charged(prepaid, || CORE.created(fd, creation)),
        Change::Adopted { fd } => drop(CORE.adopt(fd)),
        Change::Adding(registration, serial, prepaid) => {
            charged(prepaid, || CORE.reserve_as(&registration, serial));
        }
        Change::Confirmed(registration) => CORE.confirmed(&registration),
        Change::Added(registration) => CORE.added(&registration),
        Change::Found(registration) => CORE.found(&registration),
        Change::Existed(registration, ticket) => CORE.existed(&registration, ticket),
        Change::Undone(registration, ticket) => CORE.undo(&registration, ticket),
        Change::Deleted { epfd, fd } => CORE.deleted(epfd, fd),
        Change::Closed { fd, at } => CORE.closed(fd, Some(at)),
        Change::ClosedRange { first, last, at } => CORE.closed_range(first, last, at),
        Change::ClosedFor { first, last, at, closer } => {
            reservations::on_behalf_of(closer, || CORE.closed_range(first, last, at));
        }
        Change::DoneClosing { closer } => closer.settle(|index| CORE.instance_at(index)),
        Change::Duplicated { old, new, at } => CORE.duplicated(old, new, at),
        Change::Gone { epfd, fd } => CORE.gone(epfd, fd),
        Change::NotThere { fd, slot } => {
            // Asked again: the number, and the records, may have come back to life since. Whoever closes a number that the
            // ledger knows says so first, so that one which is known here, and not there, was closed out of sight.
            if CORE.descriptors.get(fd) == slot && !is_there(fd, slot) {
                CORE.heal(fd);
            }
        }
        Change::Recorded(rows) => CORE.mirror_rows(rows),
    }
}

/// Makes a change for which so much was charged ahead.
#[inline(always)]
pub(super) fn charged<T>(prepaid: u64, make: impl FnOnce() -> T) -> T {
    if prepaid == 0 { make() } else { reservations::with(prepaid, |index| CORE.instance_at(index), make) }
}

/// Whether the kernel has a descriptor that may be what its word in the table says.
pub(super) fn is_there(fd: i32, slot: FdState) -> bool {
    sys::is_open(fd) && (slot.instance() == 0 || crate::procfs::may_be_epoll(fd))
}
