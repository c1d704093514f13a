//! The calling thread's block of counters, found without a call and without a lock.
//!
//! A thread-local slot of eight bytes in the initial-exec model holds the pointer to the block.
//! (`thread_local!` would call `__tls_get_addr`, which may allocate.) The block is a mapping of its
//! own, which the kernel wipes at fork. So the child of any kind of fork starts with zeros, and a
//! `state` of zero shows that a fork happened.
//!
//! May be called from hooks in any state of the process, and from signal handlers.

mod block;

use crate::sync::{AtomicBool, AtomicU64, Ordering, compiler_fence};
use core::fmt::Write;

use epollshim_ledger::lock::Hold;

use crate::above::Library;
use crate::arch::thread_slot::set_slot;
pub use crate::arch::thread_slot::{nobody, slot};
use crate::process::{self, Trouble};
use crate::registry::{KEPT, Registry};
use crate::{output, registers, sigsafe, sys};

pub use block::{Above, Block, COUNTERS, PARTS_IN_HEAD};
#[cfg(not(any(test, portable)))]
pub use block::{PENDING, counter_of};

use block::is_older_than;

static BLOCKS: Registry<Block> = Registry::new();
/// Calls that were forwarded but not counted, because the kernel refused memory.
static UNCOUNTED: AtomicU64 = AtomicU64::new(0);

/// The calling thread's block, which is created if the thread has none. None: the caller must
/// forward its call and count nothing, because the library is inactive in this process or there is
/// no memory.
#[inline(always)]
pub fn block() -> Option<&'static Block> {
    match block_at_hand() {
        Some(block) => Some(block),
        None => acquire(),
    }
}

/// The calling thread's block, if it has one. Never creates one.
#[inline(always)]
pub fn block_at_hand() -> Option<&'static Block> {
    let block = slot() as *const Block;
    // SAFETY: the slot holds the address of a block, which is never unmapped, or of `nobody`, which
    // has at least this field.
    let state = unsafe { &(*block).state };
    // SAFETY: `nobody` is never in use, so this is a block.
    (state.load(Ordering::Relaxed) != 0).then(|| unsafe { &*block })
}

/// The calling thread's block, if it has one and its last `epoll_ctl` has left nothing open. One
/// test answers both.
#[inline(always)]
pub fn block_with_nothing_open() -> Option<&'static Block> {
    let block = slot() as *const Block;
    // SAFETY: the slot holds the address of a block or of `nobody`, both of which have the first
    // cache line.
    let has_nothing_open = unsafe { Library::has_nothing_open(&raw const (*block).parts) };
    // SAFETY: this is a block that is in use: `has_nothing_open` is false for the zeros of
    // `nobody`.
    has_nothing_open.then(|| unsafe { &*block })
}

/// Whether the thread that a [`Hold`] names is known to have ended.
pub fn has_owner_ended(hold: Hold) -> bool {
    let mut blocks = all().filter(|block| hold.is_of(block.control.load(Ordering::Relaxed))).peekable();
    blocks.peek().is_some() && blocks.all(has_ended)
}

/// Nanoseconds of processor time that a block's owner has used. None: the owner has ended or is not
/// known.
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
    if !Library::acts() {
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

/// Blocks signals meanwhile if there is a recording. Otherwise a handler could take a block and its
/// place in the file, which the interrupted frame would then not use.
fn take() -> Option<&'static Block> {
    let quiet = Library::is_recorded().then(sigsafe::Quiet::new);
    let block = take_interruptible();
    if let Some(quiet) = quiet {
        quiet.end();
    }
    block
}

fn take_interruptible() -> Option<&'static Block> {
    // A child of vfork or clone(CLONE_VM) usually runs on its parent's slot, so the block becomes
    // the parent thread's. That thread's id cannot be known here, and the child's own id names no
    // thread of the owner. The id is also unknown if a filter hides it.
    let own = process::is_owner();
    let tid = if own { Some(sys::gettid() as u32).filter(|tid| *tid != 0).unwrap_or(KEPT) } else { KEPT };
    let address = slot();
    if address != nobody() {
        // SAFETY: the slot holds the address of a block or of `nobody`, and the test above excludes
        // `nobody`.
        let block = unsafe { &*(address as *const Block) };
        if block.state.load(Ordering::Relaxed) != 0 {
            // A handler has run since `block` looked, and has taken a block.
            return Some(block);
        }
        // A fork wiped the block. It is this thread's own memory, in a process that has not listed
        // a block yet.
        if !Library::is_recorded() {
            publish(block, tid);
            return Some(block);
        }
        // Its counters lie in the parent's file, so the child needs another block.
        Library::detach_from_file(address as *mut u8);
    }
    // Only the owner can tell whether one of its threads has ended.
    let reused = if own { reuse(tid) } else { None };
    let block = reused.or_else(|| {
        let block = map(tid)?;
        publish(block, tid);
        Some(block)
    })?;
    set_slot(block.address());
    Some(block)
}

/// Takes over a block whose thread has ended. Its counters continue, because they belong to the
/// process.
fn reuse(tid: u32) -> Option<&'static Block> {
    let block = BLOCKS.reuse(tid, |owner| sys::thread_exists(process::pid(), owner as i32))?;
    block.counters.last_wait_end.store(0, Ordering::Relaxed);
    block.adding.store(0, Ordering::Relaxed);
    block.prepaid.store(0, Ordering::Relaxed);
    block.end_wait();
    block.control.store(registers::token(), Ordering::Relaxed);
    Library::next_owner(block);
    Some(block)
}

fn map(tid: u32) -> Option<&'static Block> {
    let behind = Library::bytes_behind_block();
    let start = process::map_wiped(size_of::<Block>() + behind).map_err(print_uncounted).ok()?;
    // SAFETY: the new mapping is page-aligned, large enough and zeroed, which is a valid `Block`.
    // It is never unmapped.
    let block = unsafe { &*start.cast::<Block>() };
    if behind != 0 {
        Library::lay_over_file(block, tid);
    }
    Some(block)
}

/// Prints once that a seccomp filter of the program keeps a thread's calls from being counted.
fn print_uncounted(trouble: Trouble) {
    static IS_PRINTED: AtomicBool = AtomicBool::new(false);
    if matches!(trouble, Trouble::Wipe(_)) && !IS_PRINTED.swap(true, Ordering::Relaxed) {
        output::tell(|line| {
            let _ =
                writeln!(line, "epollshim: calls of a thread of process {} are not counted: {trouble}", process::pid());
        });
    }
}

/// Puts a block in use. A handler that interrupts this may do all of it a second time.
fn publish(block: &'static Block, tid: u32) {
    block.tid.store(tid, Ordering::Relaxed);
    block.control.store(registers::token(), Ordering::Relaxed);
    block.youth.store(u64::MAX - process::began(), Ordering::Relaxed);
    if !BLOCKS.list(block) {
        UNCOUNTED.fetch_add(1, Ordering::Relaxed);
    }
    // A handler of this thread that finds the block in use also finds it listed.
    compiler_fence(Ordering::Release);
    if block.state.load(Ordering::Relaxed) == 0 {
        Library::begin(&block.parts);
        block.state.store(1, Ordering::Relaxed);
    }
}

/// Whether this process has blocks. In the child of a fork that has not claimed its memory yet:
/// whether its parent has.
pub fn any_used() -> bool {
    BLOCKS.is_used()
}

/// Some blocks of this process: all of them, unless there are very many.
pub fn some() -> impl Iterator<Item = &'static Block> {
    const LOOKED_AT: usize = 64;
    BLOCKS.all().take(LOOKED_AT)
}

/// Every block of this process.
pub fn all() -> impl Iterator<Item = &'static Block> {
    BLOCKS.all()
}

pub fn uncounted() -> u64 {
    UNCOUNTED.load(Ordering::Relaxed)
}

/// Forgets the parent's blocks. Called once in the child of a fork, before it counts anything.
pub fn forget_after_fork() {
    BLOCKS.after_fork();
    UNCOUNTED.store(0, Ordering::Relaxed);
}

/// Whether a block is the calling thread's.
pub fn is_own(block: &Block) -> bool {
    slot() == block.address()
}

/// The block at an address, if it is in use and was in use at a moment (CLOCK_MONOTONIC): see
/// [`Block::is_older`].
///
/// # Safety
/// The address must be that of a block, or [`nobody`].
#[inline(always)]
pub unsafe fn block_since(address: usize, moment: u64) -> Option<&'static Block> {
    // SAFETY: neither a block nor `nobody` lies at address 0. (Without this the compiler tests for
    // it.)
    unsafe { core::hint::assert_unchecked(address != 0) };
    let block = address as *const Block;
    // SAFETY: the caller promises a block or `nobody`, which has at least this field.
    let youth = unsafe { &(*block).youth };
    // SAFETY: the youth of `nobody` is 0, which is older than any moment, so this is a block.
    if is_older_than(moment, youth) { None } else { Some(unsafe { &*block }) }
}

/// The block at an address, if its thread waits on an instance. Address 0 stands for no block. (No
/// branch tests for 0: it would be mispredicted.)
///
/// # Safety
/// The address must be that of a block of this process or of an ancestor, or 0.
#[inline(always)]
pub unsafe fn waiting_block(address: usize) -> Option<&'static Block> {
    let block = if address == 0 { nobody() } else { address } as *const Block;
    // SAFETY: the caller promises a block or 0. For 0 this reads `nobody`, which has at least this
    // field.
    let waiting_on = unsafe { &(*block).waiting_on };
    // SAFETY: `nobody` waits on nothing, so this is a block.
    (waiting_on.load(Ordering::Relaxed) != 0).then(|| unsafe { &*block })
}

/// The block at an address.
///
/// # Safety
/// The address must be that of a block of this process or of an ancestor.
pub unsafe fn block_at(address: usize) -> &'static Block {
    // SAFETY: the caller promises a block. Blocks are never unmapped, and a block that a fork has
    // wiped is valid.
    unsafe { &*(address as *const Block) }
}

/// How many blocks are listed, for a test of their reuse.
#[cfg(test)]
pub fn listed() -> usize {
    all().count()
}
