//! What the ledger asks of the system that it runs on, and whom it tells of what happens.
//!
//! Both are types without values: what they know is the process's. Nothing here may allocate, wait for a lock or panic.

use crate::core::Totals;
use crate::events::Events;
use crate::lock::Hold;
use crate::records::{Instance, Interest};
use crate::reservations::Kind;

/// Where records lie.
pub trait Memory: 'static {
    /// So many bytes of zeroed memory, aligned to a page. None: there is no memory.
    fn map(bytes: usize) -> Option<*mut u8>;

    /// Gives memory back.
    ///
    /// # Safety
    /// It is a whole mapping of [`Memory::map`], and nobody refers to it any more.
    unsafe fn unmap(start: *mut u8, bytes: usize);
}

/// The kernel, as far as the ledger must ask it.
pub trait Kernel: Memory {
    /// Whether two descriptors refer to one open file description (kcmp(2)); None: the kernel does not say. A number that is
    /// not open is nobody's duplicate. Not called under the lock.
    fn are_aliases(fd: i32, other: i32) -> Option<bool>;

    /// CLOCK_MONOTONIC, in nanoseconds.
    fn now() -> u64;

    /// Whether the thread of a frame that holds the lock has ended.
    fn has_ended(hold: Hold) -> bool;

    /// Whether the caller runs on another stack than the frames that it may have interrupted.
    fn is_on_another_stack() -> bool;

    /// Lets other threads run; for longer where the queue of changes `is_nearly_full`.
    fn give_way(is_nearly_full: bool);

    /// One more of a kind in the user's count, which processes keep together, whatever the limit.
    fn claim(kind: Kind);

    /// One less.
    fn release(kind: Kind);

    /// Whether one more of what this process was in for before, by an exec or by a close that was not made, is to be claimed
    /// anew.
    fn take_former(kind: Kind) -> bool;

    /// This process's number among those that share instances by fork; 0: none has made one yet.
    fn process_number() -> u32;

    /// Whether related processes have used an instance of one another, so that the ends of instances are of interest.
    fn has_shared_by_fork() -> bool;
}

/// Who follows the records, entry by entry, where the lock says so (`Lock::is_followed`). Each function but the last two is called by the holder of the ledger's lock, and writes memory that is
/// mapped already: no system call, no file. What else there is to hear of is an [`Event`](crate::Event).
pub trait Observer: 'static {
    /// An instance, or the descriptor that it is known by, is new.
    fn instance_noted(_index: u32, _instance: &Instance, _epfd: i32) {}

    /// Its entry is nobody's.
    fn instance_gone(_index: u32) {}

    /// An interest is new, of an instance that has so many now.
    fn interest_noted(_index: u32, _interest: &Interest, _watches: u64) {}

    /// Its entry is nobody's; its instance has so many left.
    fn interest_gone(_index: u32, _instance: u32, _watches: u64) {}

    /// Changes have been made, and this is what is counted of all entries: also interests, and bytes of the kernel's memory.
    /// True: whoever follows has none of the entries yet, and is to be told of each.
    fn totals_changed(_totals: &Totals, _watches: u64, _bytes: u64) -> bool {
        false
    }

    /// Whether the thread of this block (`Owner::block`) may be inside a wait: if so, it is told of what is closed under it.
    fn is_waiting(_block: usize) -> bool {
        false
    }

    /// Whether any thread may be inside a wait on this descriptor.
    fn is_waited_on(_epfd: i32) -> bool {
        false
    }

    /// The lock is free, and these are the events of who has held it. By that thread.
    fn happened(_events: &Events) {}

    /// The same, after each change where changes are followed.
    fn unlocked() {}
}

#[cfg(test)]
pub mod tests {
    //! Kernels of the tests.

    extern crate std;

    use std::alloc::{Layout, alloc_zeroed, dealloc};

    use super::{Kernel, Memory, Observer};
    use crate::lock::Hold;
    use crate::reservations::Kind;

    /// Memory of the test's own.
    pub struct Heap;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 4096).unwrap()
    }

    impl Memory for Heap {
        fn map(bytes: usize) -> Option<*mut u8> {
            // SAFETY: nobody maps nothing.
            let start = unsafe { alloc_zeroed(layout(bytes)) };
            (!start.is_null()).then_some(start)
        }

        unsafe fn unmap(start: *mut u8, bytes: usize) {
            // SAFETY: by the caller's promise it came from `map`.
            unsafe { dealloc(start, layout(bytes)) };
        }
    }

    /// A kernel that is not asked.
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

    /// Nobody listens.
    pub struct Nobody;

    impl Observer for Nobody {}
}
