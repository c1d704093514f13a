//! The changes of the ledger, and what each does. The holder of the lock makes its own change at
//! once, and those of others from the queue.

use core::ops::Range;

use crate::core::{Core, Creation, Registration, Ticket};
use crate::descriptors::FdState;
use crate::events::Events;
use crate::lock::{Hold, Lock, flags};
use crate::lock_protocol::{Guarded, View};
use crate::reservations::PendingRelease;
use crate::sync::AtomicBool;
use crate::{Kernel, Observer};

/// Entries of a table of the recording that are to be written, by their indices.
#[derive(Clone, Copy)]
pub struct Rows {
    pub of_instances: bool,
    pub first: u32,
    pub count: u32,
}

impl Rows {
    pub fn indices(self) -> Range<u32> {
        self.first..self.first.saturating_add(self.count)
    }
}

/// A change of the ledger, in the form in which it waits in the queue while the lock is taken.
#[derive(Clone, Copy)]
pub enum Change {
    Created {
        fd: i32,
        creation: Creation,
        prepaid: u64,
    },
    Adopted {
        fd: i32,
    },
    /// An interest is about to be added. The serial number is reserved for its record.
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
    /// `at` is the return address of the call, in this variant and those below; 0: not known.
    Closed {
        fd: i32,
        at: usize,
    },
    ClosedRange {
        first: i32,
        last: i32,
        at: usize,
    },
    /// The same, by a thread that will report when the kernel has closed the range. Limits count
    /// its descriptors until then.
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
    /// The kernel answered, when the ledger had this version, that it does not have what this word
    /// stands for.
    NotThere {
        fd: i32,
        slot: FdState,
        version: u64,
    },
    /// The recording now has space for these entries.
    Recorded(Rows),
}

impl Change {
    /// The numbers that the change may make known; -1: none.
    pub fn numbers(&self) -> [i32; 2] {
        match self {
            Change::Created { fd, .. } | Change::Adopted { fd } => [*fd, -1],
            Change::Adding(Registration { epfd, fd, .. }, ..)
            | Change::Confirmed(Registration { epfd, fd, .. })
            | Change::Added(Registration { epfd, fd, .. })
            | Change::Found(Registration { epfd, fd, .. })
            | Change::Existed(Registration { epfd, fd, .. }, _) => [*epfd, *fd],
            Change::Duplicated { old, new, .. } => [*old, *new],
            _ => [-1; 2],
        }
    }
}

impl<K: Kernel, O: Observer> Core<K, O> {
    /// Makes a change.
    pub fn make(&self, change: Change) {
        let before = self.version();
        self.changes();
        match change {
            Change::Created { fd, creation, prepaid } => self.charged(prepaid, || self.created(fd, creation)),
            Change::Adopted { fd } => drop(self.adopt(fd)),
            Change::Adding(registration, serial, prepaid) => {
                self.charged(prepaid, || self.reserve_as(&registration, serial));
            }
            Change::Confirmed(registration) => self.confirmed(&registration),
            Change::Added(registration) => self.added(&registration),
            Change::Found(registration) => self.found(&registration),
            Change::Existed(registration, ticket) => self.existed(&registration, ticket),
            Change::Undone(registration, ticket) => self.undo(&registration, ticket),
            Change::Deleted { epfd, fd } => self.deleted(epfd, fd),
            Change::Closed { fd, at } => self.closed(fd, Some(at)),
            Change::ClosedRange { first, last, at } => self.closed_range(first, last, at),
            Change::ClosedFor { first, last, at, closer } => {
                self.reservations.on_behalf_of(closer, || self.closed_range(first, last, at));
            }
            Change::DoneClosing { closer } => self.reservations.settle(closer, |index| self.instance_at(index)),
            Change::Duplicated { old, new, at } => self.duplicated(old, new, at),
            Change::Gone { epfd, fd } => self.gone(epfd, fd),
            Change::NotThere { fd, slot, version } => {
                // A hook notes the close of a known number before the kernel makes it. So a number
                // that is known here and closed in the kernel was closed where no hook saw it,
                // unless anything has changed since the kernel was asked.
                if self.descriptors.get(fd) == slot && version == before {
                    self.heal(fd);
                }
            }
            Change::Recorded(rows) => self.mirror_rows(rows),
        }
    }

    /// Makes a change for which the thread reserved `prepaid` before the call.
    #[inline(always)]
    pub fn charged<T>(&self, prepaid: u64, make: impl FnOnce() -> T) -> T {
        if prepaid == 0 { make() } else { self.reservations.with(prepaid, |index| self.instance_at(index), make) }
    }
}

impl<K: Kernel, O: Observer> Guarded<Change> for Core<K, O> {
    type Events = Events;

    #[inline(always)]
    fn lock(&self) -> &Lock {
        &self.lock
    }

    fn apply(&self, change: Change) {
        self.make(change);
    }

    fn rebuild(&self) {
        Core::rebuild(self);
    }

    fn version(&self) -> u64 {
        Core::version(self)
    }

    fn late(&self) -> &AtomicBool {
        &self.late
    }

    fn before_unlock(&self) {
        if O::totals_changed(&self.totals, self.live_watches(), self.memory()) {
            self.mirror();
        }
    }

    fn take_events(&self) -> Events {
        Core::take_events(self)
    }

    fn deliver(&self, events: Events) {
        O::happened(&events);
    }

    #[inline(always)]
    fn unlocked(&self) {
        if self.lock.slow_path_flags() & flags::MEMORY != 0 {
            self.grow();
        }
        O::unlocked();
    }

    fn is_nearly_out(&self) -> bool {
        Core::is_nearly_out(self)
    }

    fn lose(&self, _: Change) {
        self.totals.lost.add(1);
    }

    fn has_ended(&self, hold: Hold) -> bool {
        K::has_ended(hold)
    }

    fn is_on_another_stack(&self) -> bool {
        K::is_on_another_stack()
    }

    fn is_amid_a_hook(&self, view: View, bytes: usize) -> bool {
        K::is_amid_a_hook(view, bytes)
    }

    fn now(&self) -> u64 {
        K::now()
    }

    fn give_way(&self, is_nearly_full: bool) {
        K::give_way(is_nearly_full);
    }
}
