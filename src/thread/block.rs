//! The block of a thread: its counters, what other modules keep for it, and what it waits on.

use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use epollshim_format::call::Call;

use epollshim_ledger::records::LastUsed;
use epollshim_ledger::reservations::PendingRelease;

use crate::above::{Has, Library};
use crate::arch::thread_slot::HEAD;
use crate::counters::{self, Counter, Counters};
use crate::registry::{KEPT, Member};

const _: () = assert!(core::mem::offset_of!(Block, youth) < HEAD);
const _: () = assert!(core::mem::offset_of!(Block, waiting_on) < HEAD);

/// What this module needs of the layers above it.
///
/// # Safety
/// Zero bytes must be a valid `Parts`: the kernel zeroes a block at each fork, at any instruction
/// of its thread. And `has_nothing_open` must be true only of a block in use.
pub unsafe trait Above {
    /// What other modules keep for each thread.
    type Parts: Sync + 'static;
    /// Where in `Parts` the word lies that hooks in assembly read.
    const PENDING: usize;
    /// Whether the block is in use, and its thread's last `epoll_ctl` has left nothing open. Not
    /// true of zeros.
    ///
    /// # Safety
    /// The part of `Parts` that lies in the first cache line of a block must be mapped.
    unsafe fn has_nothing_open(parts: *const Self::Parts) -> bool;
    /// Whether hooks count anything in this process.
    fn acts() -> bool;
    /// Whether blocks are mapped over a file.
    fn is_recorded() -> bool;
    /// Bytes to map after a new block; 0: it is not mapped over a file.
    fn bytes_behind_block() -> usize;
    /// Maps the file over a new block, which has that many bytes after it.
    fn lay_over_file(block: &'static Block, tid: u32);
    /// In the child of a fork, if blocks are recorded: the block at that address is no longer
    /// mapped over the parent's file.
    fn detach_from_file(block: *mut u8);
    /// The block is about to be in use. May be called twice.
    fn begin(parts: &Self::Parts);
    /// The block of a thread that has ended has a new owner.
    fn next_owner(block: &'static Block);
}

type Parts = <Library as Above>::Parts;

/// A thread's counters. Never unmapped: reports walk the list without a lock. What common calls
/// touch is in the first cache line, including the first words of `parts`.
#[repr(C, align(4096))]
pub struct Block {
    /// 0: fresh from the kernel, or wiped by a fork. 1: in use.
    pub(super) state: AtomicU32,
    /// One more than the instance's descriptor that this thread waits on in a call that can block;
    /// 0: none. A thread that was cancelled, or that has jumped out, leaves it as it was.
    pub(super) waiting_on: AtomicU32,
    /// The interest that this thread has noted, and for which it does not know the kernel's answer
    /// yet (a `Ticket`); 0: none.
    pub adding: AtomicU64,
    /// The instance that is tried first for an ADD, a DEL or a wait.
    pub last_used: LastUsed,
    /// The return address of the call that `waiting_on` belongs to.
    waiting_at: AtomicUsize,
    /// The time from the beginning of the block's process (CLOCK_MONOTONIC) to the end of time
    /// (`u64::MAX`). 0: wiped by a fork.
    pub(super) youth: AtomicU64,
    pub(super) parts: Parts,
    /// The owner's kernel thread id; [`KEPT`] if its end cannot be known.
    pub(super) tid: AtomicU32,
    /// Where it is listed (registry.rs).
    place: AtomicU32,
    /// What the present call has reserved ahead, until the ledger takes it
    /// (`reservations::Prepaid`); 0: nothing.
    pub prepaid: AtomicU64,
    /// The owner's `token`.
    pub(super) control: AtomicUsize,
    /// What limits release when the close that this thread is making is done.
    pub pending_release: PendingRelease,
    /// On pages of their own, which a recording maps over its file.
    pub counters: Pages<Counters>,
}

impl Block {
    /// What another module keeps for this thread.
    #[inline(always)]
    pub fn part<T>(&self) -> &T
    where
        Parts: Has<T>,
    {
        self.parts.part()
    }

    /// What the present call has reserved ahead, for the ledger to take. (A read first: mostly
    /// there is nothing, and an exchange is a locked instruction.)
    #[inline(always)]
    pub fn take_prepaid(&self) -> u64 {
        match self.prepaid.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.take_what_is_prepaid(),
        }
    }

    #[cold]
    fn take_what_is_prepaid(&self) -> u64 {
        self.prepaid.swap(0, Ordering::Relaxed)
    }

    #[inline(always)]
    pub fn begin_wait(&self, epfd: i32, caller: usize) {
        self.waiting_at.store(caller, Ordering::Relaxed);
        self.waiting_on.store((epfd as u32).wrapping_add(1), Ordering::Relaxed);
    }

    #[inline(always)]
    pub fn end_wait(&self) {
        self.waiting_on.store(0, Ordering::Relaxed);
    }

    /// The descriptor that this thread waits on; None: none.
    #[inline(always)]
    pub fn waits_on(&self) -> Option<i32> {
        self.waiting_on.load(Ordering::Relaxed).checked_sub(1).map(|epfd| epfd as i32)
    }

    /// The return address of its last wait that could block.
    pub fn waits_at(&self) -> usize {
        self.waiting_at.load(Ordering::Relaxed)
    }

    /// The value by which an instance's [`Owner`](crate::ledger::records::Owner) names the block.
    #[inline(always)]
    pub fn address(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    /// Whether a moment (CLOCK_MONOTONIC) lies before this process: what began then belongs to the
    /// parent. True also if a fork has wiped the block since, and it is not in use yet.
    #[inline(always)]
    pub fn is_older(&self, moment: u64) -> bool {
        is_older_than(moment, &self.youth)
    }

    /// The owner's kernel thread id; None: it is not known.
    pub fn tid(&self) -> Option<i32> {
        let tid = self.tid.load(Ordering::Relaxed);
        (tid != KEPT).then_some(tid as i32)
    }
}

/// For [`Block::is_older`], if only a block's `youth` may be mapped.
#[inline(always)]
pub fn is_older_than(moment: u64, youth: &AtomicU64) -> bool {
    u64::MAX - moment > youth.load(Ordering::Relaxed)
}

#[repr(C, align(4096))]
pub struct Pages<T>(T);

impl<T> core::ops::Deref for Pages<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// How much of `parts` is in the first cache line of a block.
pub const PARTS_IN_HEAD: usize = HEAD - core::mem::offset_of!(Block, parts);

/// Where in a block the word lies that hooks in assembly read: all ones if the block is in use and
/// nothing is open.
pub const PENDING: usize = core::mem::offset_of!(Block, parts) + <Library as Above>::PENDING;
const _: () = assert!(PENDING < HEAD);

/// Where the number of such calls lies in a block.
#[cfg_attr(portable, allow(dead_code))] // for entries in assembly
pub const fn counter_of(call: Call) -> usize {
    COUNTERS + core::mem::offset_of!(Counters, calls) + call as usize * size_of::<Counter>()
}

/// Where in a block the counters lie.
pub const COUNTERS: usize = core::mem::offset_of!(Block, counters);
const _: () = assert!(COUNTERS == counters::BEFORE);

impl Member for Block {
    fn owner(&self) -> &AtomicU32 {
        &self.tid
    }

    fn place(&self) -> &AtomicU32 {
        &self.place
    }
}
