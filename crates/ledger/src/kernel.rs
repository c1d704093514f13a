//! What the ledger asks of the system that it runs on, and what it notifies.
//!
//! Implementors are types without values: their state belongs to the process. No function of theirs
//! may allocate, wait for a lock or panic.

use crate::core::Totals;
use crate::events::Events;
use crate::lock::Hold;
use crate::lock_protocol::View;
use crate::records::{Instance, Interest};
use crate::reservations::Kind;

/// Where records lie.
pub trait Memory: 'static {
    /// Maps zeroed memory, aligned to a page. None: there is no memory.
    fn map(bytes: usize) -> Option<*mut u8>;

    /// Unmaps memory.
    ///
    /// # Safety
    /// `start` and `bytes` are a whole mapping of [`Memory::map`], and nothing refers to it any
    /// more.
    unsafe fn unmap(start: *mut u8, bytes: usize);
}

/// What the ledger must ask the kernel.
pub trait Kernel: Memory {
    /// Whether two descriptors refer to one open file description (kcmp(2)); None: the kernel does
    /// not say. A number that is not open is no duplicate of any. Not called under the lock.
    fn are_aliases(fd: i32, other: i32) -> Option<bool>;

    /// CLOCK_MONOTONIC, in nanoseconds.
    fn now() -> u64;

    /// Whether the thread of a frame that holds the lock has ended.
    fn has_ended(hold: Hold) -> bool;

    /// Whether the caller runs on another stack than the frames that it may have interrupted.
    fn is_on_another_stack() -> bool;

    /// Whether a signal handler runs in the `bytes` above a frame of the calling thread, and has
    /// interrupted a hook. True also where that is not known.
    fn is_amid_a_hook(view: View, bytes: usize) -> bool;

    /// Yields the processor, for longer if the queue of changes `is_nearly_full`.
    fn give_way(is_nearly_full: bool);

    /// Adds one of a kind to the user's count, which processes keep together, whatever the limit
    /// is.
    fn claim(kind: Kind);

    /// Subtracts one.
    fn release(kind: Kind);

    /// Whether one more of what this process had claimed before an exec, or before a close that was
    /// not made, is to be claimed again.
    fn take_former(kind: Kind) -> bool;

    /// This process's number among those that share instances by fork; 0: it has none yet.
    fn process_number() -> u32;

    /// Whether related processes have used each other's instances, so that the ends of instances
    /// matter.
    fn has_shared_by_fork() -> bool;
}

/// An observer that follows the records, entry by entry, if the lock says so (`Lock::is_followed`).
/// The holder of the ledger's lock calls each function but the last two. What it calls may write
/// only memory that is mapped already: no system call, no file. Everything else is reported as an
/// [`Event`](crate::Event).
pub trait Observer: 'static {
    /// An instance, or the descriptor that it is known by, is new.
    fn instance_noted(_index: u32, _instance: &Instance, _epfd: i32) {}

    /// The waits of an instance were marked.
    fn instance_marked(_index: u32, _instance: &Instance) {}

    /// An instance has ended. Its entry is free.
    fn instance_gone(_index: u32) {}

    /// An interest is new. Its instance has `watches` interests now.
    fn interest_noted(_index: u32, _interest: &Interest, _watches: u64) {}

    /// An interest has ended, and its entry is free. Its instance has `watches` interests left.
    fn interest_gone(_index: u32, _instance: u32, _watches: u64) {}

    /// Changes have been made. The arguments are the totals, the number of interests, and bytes of
    /// the kernel's memory. True: the observer has none of the entries yet, and asks for each of
    /// them.
    fn totals_changed(_totals: &Totals, _watches: u64, _bytes: u64) -> bool {
        false
    }

    /// Whether the thread of this block (`Owner::block`) may be inside a wait. If so, it is
    /// notified of a close of what it waits on.
    fn is_waiting(_block: usize) -> bool {
        false
    }

    /// Whether any thread may be inside a wait on this descriptor.
    fn is_waited_on(_epfd: i32) -> bool {
        false
    }

    /// Delivers the events of a former holder of the lock. That thread calls it when the lock is
    /// free.
    fn happened(_events: &Events) {}

    /// The lock is free. Called after each change while changes are followed.
    fn unlocked() {}
}

#[cfg(test)]
pub mod tests {
    //! Kernels for tests.

    extern crate std;

    use std::alloc::{Layout, alloc_zeroed, dealloc};

    use super::{Kernel, Memory, Observer};
    use crate::lock::Hold;
    use crate::lock_protocol::View;
    use crate::reservations::Kind;

    /// Memory from the test's allocator.
    pub struct Heap;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 4096).unwrap()
    }

    impl Memory for Heap {
        fn map(bytes: usize) -> Option<*mut u8> {
            // SAFETY: `bytes` is never 0, so the layout has a size.
            let start = unsafe { alloc_zeroed(layout(bytes)) };
            (!start.is_null()).then_some(start)
        }

        unsafe fn unmap(start: *mut u8, bytes: usize) {
            // SAFETY: the caller promises that it came from `map`.
            unsafe { dealloc(start, layout(bytes)) };
        }
    }

    /// A kernel that answers nothing.
    impl Kernel for Heap {
        fn are_aliases(_: i32, _: i32) -> Option<bool> {
            None
        }
        fn now() -> u64 {
            0
        }
        fn has_ended(_: Hold) -> bool {
            false
        }
        fn is_on_another_stack() -> bool {
            false
        }
        fn is_amid_a_hook(_: View, _: usize) -> bool {
            true
        }
        fn give_way(_: bool) {}
        fn claim(_: Kind) {}
        fn release(_: Kind) {}
        fn take_former(_: Kind) -> bool {
            false
        }
        fn process_number() -> u32 {
            0
        }
        fn has_shared_by_fork() -> bool {
            false
        }
    }

    /// An observer that ignores everything.
    pub struct Nobody;

    impl Observer for Nobody {}
}
