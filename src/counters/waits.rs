//! Counts how waits on an instance end.

use crate::arch::counters::{add_at_offset, bump_at_offset};
use core::mem::offset_of;

use epollshim_ledger::records::WaitCounters;
use libc::epoll_event;

/// How a wait ended, as far as it is counted.
#[derive(Clone, Copy)]
pub enum WaitEnd {
    /// `first` is the address of the events; null if it does not matter.
    Events {
        count: u64,
        full: bool,
        first: *const epoll_event,
    },
    Empty,
    Failed {
        interrupted: bool,
    },
}

impl WaitEnd {
    /// The end of a wait that asked for `most` events and returned `result`, with `error` if it
    /// failed. Does not read the events.
    #[inline(always)]
    pub fn of(result: isize, most: i32, error: i32) -> WaitEnd {
        match result {
            0 => WaitEnd::Empty,
            1.. => WaitEnd::Events { count: result as u64, full: result as i32 == most, first: core::ptr::null() },
            _ => WaitEnd::Failed { interrupted: error == libc::EINTR },
        }
    }
}

/// Counts a wait on an instance.
pub trait CountWait {
    /// Only the thread that owns this set may call it.
    fn count_alone(&self, end: WaitEnd);
    /// Any thread may call it.
    fn count_shared(&self, end: WaitEnd);
}

impl CountWait for WaitCounters {
    #[inline(always)]
    fn count_alone(&self, end: WaitEnd) {
        let base = core::ptr::from_ref(self);
        // SAFETY: these are counters of this set, which only the calling thread writes, by this
        // trait's rule.
        unsafe {
            bump_at_offset!(base, offset_of!(Self, waits));
            match end {
                WaitEnd::Events { count, full, .. } => {
                    add_at_offset!(base, offset_of!(Self, events), count);
                    add_at_offset!(base, offset_of!(Self, full), u64::from(full));
                }
                WaitEnd::Empty => bump_at_offset!(base, offset_of!(Self, empty)),
                WaitEnd::Failed { interrupted: true } => bump_at_offset!(base, offset_of!(Self, interrupted)),
                WaitEnd::Failed { interrupted: false } => {}
            }
        }
    }

    fn count_shared(&self, end: WaitEnd) {
        self.waits.add_shared(1);
        match end {
            WaitEnd::Events { count, full, .. } => {
                self.events.add_shared(count);
                self.full.add_shared(u64::from(full));
            }
            WaitEnd::Empty => self.empty.add_shared(1),
            WaitEnd::Failed { interrupted } => self.interrupted.add_shared(u64::from(interrupted)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::new;
    use super::{CountWait, WaitCounters, WaitEnd};
    use epollshim_ledger::records::Counter;

    #[test]
    fn a_thread_alone_counts_its_waits_as_any_thread_does() {
        let (alone, shared) = (new::<WaitCounters>(), new::<WaitCounters>());
        let all = |of: &WaitCounters| [&of.waits, &of.events, &of.empty, &of.full, &of.interrupted].map(Counter::get);
        for (result, error) in [(0, 0), (3, 0), (8, 0), (-1, libc::EINTR), (-1, libc::EBADF)] {
            alone.count_alone(WaitEnd::of(result, 8, error));
            shared.count_shared(WaitEnd::of(result, 8, error));
            assert_eq!(all(&alone), all(&shared), "{result}");
        }
        assert_eq!(all(&alone), [5, 11, 1, 1, 1]);
    }
}
