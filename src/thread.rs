//! The calling thread's block of counters, found without a call and without a lock.
//!
//! A thread-local slot of eight bytes in the initial-exec model holds the pointer: `thread_local!` would go
//! through `__tls_get_addr`, which may allocate. The block is a mapping of its own that the kernel wipes at
//! fork, so that the child of any kind of fork begins at zero and is noticed by `state` being zero.
//!
//! May be called from hooks in any state of the process, and from signal handlers.

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence};

use epollshim_format::call::Call;
use epollshim_format::faults;

use crate::arch::thread_slot::{HEAD, set_slot};
pub use crate::arch::thread_slot::{nobody, slot};
use crate::findings::errors::Pending;
use crate::findings::watch::Watch;
use crate::ledger::Hold;
use crate::ledger::counters::{Counter, Counters};
use crate::ledger::records::LastUsed;
use crate::ledger::reservations::PendingRelease;
use crate::registry::{KEPT, Member, Registry};
use crate::{config, init, ledger, process, record, registers, sigsafe, sys};

const _: () = assert!(core::mem::offset_of!(Block, youth) < HEAD);
const _: () = assert!(core::mem::offset_of!(Block, waiting_on) < HEAD);

/// A thread's counters. Never unmapped: reports walk the list without a lock. What common calls touch is in the first cache line, up
/// to the first word of `watch`.
#[repr(C, align(4096))]
pub struct Block {
    /// 0: fresh from the kernel, or wiped by a fork. 1: in use.
    state: AtomicU32,
    /// The instance's descriptor that this thread waits on in a call that can block, and one; 0: none. A thread that was
    /// cancelled, or that has jumped out, leaves it as it was.
    waiting_on: AtomicU32,
    /// The interest that this thread has noted and not yet heard the kernel's answer to (a `Ticket`); 0: none.
    pub adding: AtomicU64,
    /// Where it looks first for the instance of an ADD, a DEL or a wait.
    pub last_used: LastUsed,
    /// The return address of the call that `waiting_on` is about.
    waiting_at: AtomicUsize,
    /// What lies between the moment when the process began that the block is in (CLOCK_MONOTONIC) and the end of time (`u64::MAX`).
    /// 0: wiped by a fork.
    youth: AtomicU64,
    /// What this thread's last `epoll_ctl` has left open.
    pub pending: Pending,
    /// What is looked at of its waits.
    pub watch: Watch,
    /// The owner, by kernel thread id; [`KEPT`] where it cannot be known to end.
    tid: AtomicU32,
    /// Where it is listed (registry.rs).
    place: AtomicU32,
    /// What the call that is under way has charged ahead, until the ledger takes it (`reservations::Prepaid`); 0: nothing.
    pub prepaid: AtomicU64,
    /// Descriptors that calls of this thread, which are under way, may yet make, where a limit counts them. A thread that was cancelled
    /// leaves some, for whoever finds it ended (census/room.rs).
    pub room: AtomicU32,
    /// The owner's `token`.
    control: AtomicUsize,
    /// What limits get back when the close that this thread is making is done.
    pub pending_release: PendingRelease,
    /// How many calls have matched each rule of faults, by this thread.
    pub ordinals: [AtomicU64; faults::COUNTERS],
    /// Where the recording has this thread's calls; null: nowhere.
    pub ring: AtomicPtr<u8>,
    /// The word of this process's recording that says whether a request stands (`record::is_asked`); null: there is none.
    pub bell: AtomicPtr<AtomicU64>,
    /// Its length less one.
    pub ring_mask: AtomicU64,
    /// Where it has them where it keeps each call.
    pub records: record::Records,
    /// On pages of their own, which a recording has lie in its file.
    pub counters: Pages<Counters>,
}

impl Block {
    /// What the call that is under way has charged ahead, for the ledger to take. (A read first: there is nothing to take, mostly,
    /// and an exchange is a locked instruction.)
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

    /// What an instance's [`Owner`](crate::ledger::records::Owner) is called, too.
    #[inline(always)]
    pub fn address(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    /// Whether a moment (CLOCK_MONOTONIC) lies before this process: what began then is the forker's. Also where a fork has wiped the
    /// block since, and it is not in use yet.
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

#[repr(C, align(4096))]
pub struct Pages<T>(T);

impl<T> core::ops::Deref for Pages<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

const _: () =
    assert!(core::mem::offset_of!(Block, watch) < HEAD, "what common calls touch of a block is one cache line");

/// Where the word lies in a block that hooks in assembly read: [`Pending::NOTHING`] where the block is in use, and nothing is open.
pub const PENDING: usize = core::mem::offset_of!(Block, pending) + Pending::PAIR;
const _: () = assert!(PENDING < HEAD);

/// Where the number of such calls lies in a block.
#[cfg_attr(portable, allow(dead_code))] // for entries in assembly
pub const fn counter_of(call: Call) -> usize {
    COUNTERS + core::mem::offset_of!(Counters, calls) + call as usize * size_of::<Counter>()
}

/// Where the counters lie in a block.
pub const COUNTERS: usize = core::mem::offset_of!(Block, counters);

static BLOCKS: Registry<Block> = Registry::new();
/// Calls that were forwarded but could not be counted, because the kernel refused memory.
static UNCOUNTED: AtomicU64 = AtomicU64::new(0);

impl Member for Block {
    fn owner(&self) -> &AtomicU32 {
        &self.tid
    }

    fn place(&self) -> &AtomicU32 {
        &self.place
    }
}

/// The calling thread's block. None: forward, and count nothing (not to act here, or no memory).
#[inline(always)]
pub fn block() -> Option<&'static Block> {
    match block_at_hand() {
        Some(block) => Some(block),
        None => acquire(),
    }
}

/// The same where it needs no search: None also where the thread has none yet.
#[inline(always)]
pub fn block_at_hand() -> Option<&'static Block> {
    let block = slot() as *const Block;
    // SAFETY: the slot only ever speaks of blocks, which are never unmapped, or of `nobody`, which has this much of one.
    let state = unsafe { &(*block).state };
    // SAFETY: `nobody` is never in use: this is a block.
    (state.load(Ordering::Relaxed) != 0).then(|| unsafe { &*block })
}

/// The same where nothing is open of its last `epoll_ctl` either ([`Pending`]): one question.
#[inline(always)]
pub fn block_with_nothing_open() -> Option<&'static Block> {
    let block = slot() as *const Block;
    // SAFETY: as in `block_at_hand`.
    let pending = unsafe { &(*block).pending };
    // SAFETY: it was said that nothing is open, as `nobody` never says: this is a block, and in use.
    (!pending.is_open()).then(|| unsafe { &*block })
}

/// Whether the thread of a frame is known to have ended.
pub fn has_owner_ended(hold: Hold) -> bool {
    let mut blocks = all().filter(|block| hold.is_of(block.control.load(Ordering::Relaxed))).peekable();
    blocks.peek().is_some() && blocks.all(has_ended)
}

/// Nanoseconds of processor time that a block's owner has used; None: it has ended, or is not known.
pub fn processor_time(block: &Block) -> Option<u64> {
    match block.tid.load(Ordering::Relaxed) {
        0 | KEPT => None,
        tid => sys::processor_time(tid as i32),
    }
}

/// Whether a block's owner is known to have ended.
pub fn has_ended(block: &Block) -> bool {
    let tid = block.tid.load(Ordering::Relaxed);
    tid != KEPT && process::has_thread_ended(tid as i32)
}

#[cold]
#[inline(never)]
fn acquire() -> Option<&'static Block> {
    if !init::acts() {
        return None;
    }
    let errno = sys::errno();
    let block = take();
    if block.is_none() {
        UNCOUNTED.fetch_add(1, Ordering::Relaxed);
    }
    sys::set_errno(errno);
    block
}

/// With a recording, signals are blocked meanwhile: a handler that came between would take a block, with its place in the file, which the frame
/// below would not use.
fn take() -> Option<&'static Block> {
    let quiet = record::is_wanted().then(sigsafe::Quiet::new);
    let block = take_disturbed();
    if let Some(quiet) = quiet {
        quiet.end();
    }
    block
}

fn take_disturbed() -> Option<&'static Block> {
    // A child of vfork or clone(CLONE_VM) mostly runs on its parent's slot: the block will be the parent thread's, whose
    // id cannot be known from here. Its own id names no thread of the owner. Nor is it known where a filter keeps it.
    let own = process::is_owner();
    let tid = if own { Some(sys::gettid() as u32).filter(|tid| *tid != 0).unwrap_or(KEPT) } else { KEPT };
    let address = slot();
    if address != nobody() {
        // SAFETY: as in `block_at_hand`.
        let block = unsafe { &*(address as *const Block) };
        if block.state.load(Ordering::Relaxed) != 0 {
            // A handler has come since `block` looked, and has taken one.
            return Some(block);
        }
        // Wiped by a fork: this thread's own memory, in a process that has no blocks listed yet.
        if !record::is_wanted() {
            publish(block, tid);
            return Some(block);
        }
        // But for the counters, which lie in the parent's file.
        record::detach(address as *mut u8);
    }
    // Only the owner can know whether a thread of its own has ended.
    let reused = if own { reuse(tid) } else { None };
    let block = reused.or_else(|| {
        let block = map(tid)?;
        publish(block, tid);
        Some(block)
    })?;
    set_slot(block.address());
    Some(block)
}

/// A block whose thread has ended. Its counters go on: they are the process's.
fn reuse(tid: u32) -> Option<&'static Block> {
    let block = BLOCKS.reuse(tid, |owner| sys::thread_exists(process::pid(), owner as i32))?;
    block.counters.last_wait_end.store(0, Ordering::Relaxed);
    block.adding.store(0, Ordering::Relaxed);
    block.prepaid.store(0, Ordering::Relaxed);
    block.end_wait();
    block.pending.forget();
    block.ordinals.iter().for_each(|ordinal| ordinal.store(0, Ordering::Relaxed));
    block.records.pass_on();
    block.control.store(registers::token(), Ordering::Relaxed);
    block.watch.next_owner();
    if !block.pending_release.is_empty() {
        // Its last owner was cancelled in a close.
        ledger::left_closing(block);
    }
    Some(block)
}

fn map(tid: u32) -> Option<&'static Block> {
    if config::get().is_none() {
        record::never();
    }
    let is_recorded = record::is_wanted();
    let bytes = size_of::<Block>() + if is_recorded { record::ring_bytes() } else { 0 };
    let start = process::map_wiped(bytes).map_err(init::say_uncounted).ok()?;
    // SAFETY: page-aligned, large enough, zeroed (a valid Block), and never unmapped from here on.
    let block = unsafe { &*start.cast::<Block>() };
    if is_recorded {
        record::begin();
        record::attach(block, tid);
        block.bell.store(record::bell(), Ordering::Relaxed);
    }
    Some(block)
}

/// Has a block counted in from here on. All of it may be done twice, by a handler that comes between.
fn publish(block: &'static Block, tid: u32) {
    block.tid.store(tid, Ordering::Relaxed);
    block.control.store(registers::token(), Ordering::Relaxed);
    block.youth.store(u64::MAX - process::began(), Ordering::Relaxed);
    if !BLOCKS.list(block) {
        UNCOUNTED.fetch_add(1, Ordering::Relaxed);
    }
    // A handler of this thread that finds the block in use finds it listed.
    compiler_fence(Ordering::Release);
    if block.state.load(Ordering::Relaxed) == 0 {
        block.pending.forget();
        block.state.store(1, Ordering::Relaxed);
    }
}

/// Whether this process has blocks; in the child of a fork that has not claimed its memory yet, whether its parent has.
pub fn any_used() -> bool {
    BLOCKS.is_used()
}

/// Every block of this process.
pub fn all() -> impl Iterator<Item = &'static Block> {
    BLOCKS.all()
}

pub fn uncounted() -> u64 {
    UNCOUNTED.load(Ordering::Relaxed)
}

/// Called once in the child of a fork, before anything is counted there: the parent's blocks are not its own.
pub fn forget_after_fork() {
    BLOCKS.after_fork();
    UNCOUNTED.store(0, Ordering::Relaxed);
}

/// Whether a block is the calling thread's.
pub fn is_own(block: &Block) -> bool {
    slot() == block.address()
}

/// The block at an address, if it is in use, and was at a moment (CLOCK_MONOTONIC): see [`Block::is_older`].
///
/// # Safety
/// The address must be that of a block, or [`nobody`].
#[inline(always)]
pub unsafe fn block_since(address: usize, moment: u64) -> Option<&'static Block> {
    // SAFETY: neither lies there. (The compiler would ask.)
    unsafe { core::hint::assert_unchecked(address != 0) };
    let block = address as *const Block;
    // SAFETY: by this function's contract; `nobody` has this much of one, and what is wiped or nobody's is older.
    let youth = unsafe { &(*block).youth };
    // SAFETY: this is a block.
    if is_older_than(moment, youth) { None } else { Some(unsafe { &*block }) }
}

/// Of [`Block::is_older`], where only a block's `youth` may be there.
#[inline(always)]
fn is_older_than(moment: u64, youth: &AtomicU64) -> bool {
    u64::MAX - moment > youth.load(Ordering::Relaxed)
}

/// The block at an address, if its thread waits on something; 0 is nobody's. (No branch for that: whether anybody has waited yet would
/// be a guess.)
///
/// # Safety
/// The address must be that of a block, of this process or of one that it was forked from, or 0.
#[inline(always)]
pub unsafe fn waiting_block(address: usize) -> Option<&'static Block> {
    let block = if address == 0 { nobody() } else { address } as *const Block;
    // SAFETY: by this function's contract; `nobody` has this much of one.
    let waiting_on = unsafe { &(*block).waiting_on };
    // SAFETY: `nobody` waits on nothing: this is a block.
    (waiting_on.load(Ordering::Relaxed) != 0).then(|| unsafe { &*block })
}

/// The block at an address.
///
/// # Safety
/// The address must be that of a block, of this process or of one that it was forked from.
pub unsafe fn block_at(address: usize) -> &'static Block {
    // SAFETY: by this function's contract; blocks are never unmapped, and one that a fork has wiped is a valid one.
    unsafe { &*(address as *const Block) }
}

/// How many blocks are listed (a test of their reuse asks).
#[cfg(test)]
pub fn listed() -> usize {
    all().count()
}
