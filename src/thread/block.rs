//! The block of a thread: its counters, the parts of other modules, and what the thread waits on.

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
/// of its thread. `has_nothing_open` must be true only for a block in use.
pub unsafe trait Above {
    /// The parts of other modules in each thread's block.
    type Parts: Sync + 'static;
    /// The offset in `Parts` of the word that hooks in assembly read.
    const PENDING: usize;
    /// Whether the block is in use and its thread's last `epoll_ctl` has left nothing open. False
    /// for zeros.
    ///
    /// # Safety
    /// The part of `Parts` in the first cache line of a block must be mapped.
    unsafe fn has_nothing_open(parts: *const Self::Parts) -> bool;
    /// Whether hooks count anything in this process.
    fn acts() -> bool;
    /// Whether blocks are mapped over a file.
    fn is_recorded() -> bool;
    /// Bytes to map after a new block. 0: no file is mapped over it.
    fn bytes_behind_block() -> usize;
    /// Maps the file over a new block, which is followed by that many bytes.
    fn lay_over_file(block: &'static Block, tid: u32);
    /// In the child of a fork, if blocks are recorded: replaces the mapping of the parent's file at
    /// that block.
    fn detach_from_file(block: *mut u8);
    /// Called before the block is put in use. May be called twice.
    fn begin(parts: &Self::Parts);
    /// Called when a new thread takes over the block of a thread that has ended.
    fn next_owner(block: &'static Block);
}

type Parts = <Library as Above>::Parts;

/// A thread's counters and other data. Never unmapped, because reports walk the list of blocks
/// without a lock. The fields that common calls use lie in the first cache line, including the
/// first words of `parts`.
#[repr(C, align(4096))]
pub struct Block {
    /// 0: the kernel has just mapped it, or a fork wiped it. 1: in use.
    pub(super) state: AtomicU32,
    /// The descriptor of the instance that this thread waits on in a call that can block, plus one.
    /// 0: none. A thread that was cancelled or jumped out of the call leaves the word unchanged.
    pub(super) waiting_on: AtomicU32,
    /// The interest that this thread has recorded and whose result it does not know yet (a
    /// `Ticket`). 0: none.
    pub adding: AtomicU64,
    /// The instance to try first for an ADD, a DEL or a wait.
    pub last_used: LastUsed,
    /// The return address of the call that `waiting_on` belongs to.
    waiting_at: AtomicUsize,
    /// `u64::MAX` minus the time at which the block's process began (CLOCK_MONOTONIC). 0: wiped by
    /// a fork.
    pub(super) youth: AtomicU64,
    pub(super) parts: Parts,
    /// The owner's kernel thread id; [`KEPT`] if nothing can tell when that thread ends.
    pub(super) tid: AtomicU32,
    /// Its place in the list, plus one (registry.rs).
    place: AtomicU32,
    /// What the current call has reserved in advance, until the ledger takes it
    /// (`reservations::Prepaid`). 0: nothing.
    pub prepaid: AtomicU64,
    /// The owner's thread pointer (`registers::token`).
    pub(super) control: AtomicUsize,
    /// What to release from the limits when the close that this thread is making has finished.
    pub pending_release: PendingRelease,
    /// These lie on separate pages, over which a recording maps its file.
    pub counters: Pages<Counters>,
}

impl Block {
    /// The part of another module.
    #[inline(always)]
    pub fn part<T>(&self) -> &T
    where
        Parts: Has<T>,
    {
        self.parts.part()
    }

    /// Takes what the current call has reserved in advance. It reads first: usually there is
    /// nothing, and an exchange is a locked instruction.
    #[inline(always)]
    pub fn take_prepaid(&self) -> u64 {
        match self.prepaid.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.take_prepaid_slow(),
        }
    }

    #[cold]
    fn take_prepaid_slow(&self) -> u64 {
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

    /// The descriptor that this thread waits on, if any.
    #[inline(always)]
    pub fn waits_on(&self) -> Option<i32> {
        self.waiting_on.load(Ordering::Relaxed).checked_sub(1).map(|epfd| epfd as i32)
    }

    /// The return address of its last wait that could block.
    pub fn waits_at(&self) -> usize {
        self.waiting_at.load(Ordering::Relaxed)
    }

    /// The value by which an instance's [`Owner`](crate::ledger::records::Owner) identifies the
    /// block.
    #[inline(always)]
    pub fn address(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    /// Whether a moment (CLOCK_MONOTONIC) lies before the start of this process. What began at that
    /// moment belongs to the parent. Also true if a fork has wiped the block since and it is not in
    /// use yet.
    #[inline(always)]
    pub fn is_older(&self, moment: u64) -> bool {
        is_older_than(moment, &self.youth)
    }

    /// The owner's kernel thread id, if it is known.
    pub fn tid(&self) -> Option<i32> {
        let tid = self.tid.load(Ordering::Relaxed);
        (tid != KEPT).then_some(tid as i32)
    }
}

/// [`Block::is_older`] for a caller that may read only the block's `youth`.
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

/// How many bytes of `parts` lie in the first cache line of a block.
pub const PARTS_IN_HEAD: usize = HEAD - core::mem::offset_of!(Block, parts);

/// The offset in a block of the word that hooks in assembly read. The word is all ones if the block
/// is in use and nothing is open.
pub const PENDING: usize = core::mem::offset_of!(Block, parts) + <Library as Above>::PENDING;
const _: () = assert!(PENDING < HEAD);

/// The offset in a block of the counter of a call.
#[cfg_attr(portable, allow(dead_code))] // for entries in assembly
pub const fn counter_of(call: Call) -> usize {
    COUNTERS + core::mem::offset_of!(Counters, calls) + call as usize * size_of::<Counter>()
}

/// The offset of the counters in a block.
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
