//! Whose memory this is: the process's own, a fork's copy that no process has claimed, or another
//! process's.
//!
//! ```text
//! process/verdict.rs    decides, from plain facts
//! process/questions.rs  asks the kernel for these facts
//! process/sharing.rs    what a thread notes before it starts a child in its own memory
//! process/alone.rs      whether another process shares the descriptor table
//! process/end.rs        how a process ends
//! ```
//!
//! One page, which the kernel wipes at fork, holds the owner's pid. Zero there means a fork's copy,
//! whatever call forked: the first hook claims it. A child of `vfork` or `clone(CLONE_VM)` runs in
//! memory that another process owns, usually with a copy of the owner's descriptor table. What such
//! a child opens and closes in its copy does not concern the owner.
//!
//! Invariants: the owner's word is 0 only if no process has claimed the page, and no caller's
//! answer equals a wiped word. An error or a 0 that getpid(2) returns under a filter is never taken
//! for a pid.
//!
//! May be called from hooks in any state and from signal handlers. `is_own` costs a system call.

mod alone;
mod end;
mod questions;
mod sharing;
mod verdict;

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::above::{Has, Library};
use crate::{clock, registers, sys};

use questions::verdict;
use verdict::{Fact, Facts, Owner, Verdict};

pub use alone::has_the_table;
pub use end::End;
pub use sharing::may_be_child;

#[repr(C)]
struct Page {
    /// What getpid(2) returns to the owner, XORed with [`EXPECTED`], so that no answer to any
    /// caller equals a wiped word. Also 0 while a child may run on thread-local storage that has no
    /// note: each caller is then examined.
    expected: AtomicU32,
    /// The owner's pid, or one of the values below.
    owner: AtomicU32,
    /// 1: the owner claimed memory that was certainly its own.
    is_sure: AtomicU32,
    /// 1: the exit report was written, or is being written.
    reported: AtomicU32,
    /// 1: a report was written before a signal that the process sends to itself.
    signalled: AtomicU32,
    /// CLOCK_MONOTONIC and CLOCK_REALTIME when the library first saw this process, in nanoseconds.
    began: AtomicU64,
    began_unix: AtomicU64,
    /// One more than this process's slot in the session (session/slots.rs); 0: none yet.
    session_slot: AtomicU32,
    parts: Parts,
}

/// What this module needs of the layers above it.
///
/// # Safety
/// Zero bytes must be a valid `Parts`: the kernel zeroes the page at each fork, at any instruction
/// of any thread.
pub unsafe trait Above {
    /// The parts of other modules in the page.
    type Parts: Sync + 'static;
    /// Whether anything was counted in this memory, or in the memory of which it is a copy.
    fn is_used() -> bool;
    /// Called once in the child of a fork, when it claims its memory.
    fn after_fork();
    /// Called before a child runs in this memory.
    fn lends();
}

type Parts = <Library as Above>::Parts;

/// Values of [`Page::owner`] that are not pids (a pid has 22 bits in Linux).
const NOBODY: u32 = 0;
/// The owner could not learn its pid.
const UNNAMED: u32 = u32::MAX;
/// A thread is claiming the page.
const CLAIMING: u32 = u32::MAX - 1;

/// Flipped in the word of the expected answer. Neither a pid nor an error number of the kernel
/// (-4095 at least) consists of this bit alone.
const EXPECTED: u32 = 1 << 31;

/// Null until `prepare` has mapped the page. The only store is Release and loads are Acquire, so a
/// thread that finds the mapping finds it filled in.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(core::ptr::null_mut());
/// CLOCK_REALTIME when the library was loaded. A fork does not wipe it.
static LOADED_UNIX: AtomicU64 = AtomicU64::new(0);
/// CLOCK_MONOTONIC when the library was loaded. A fork does not wipe it.
static LOADED: AtomicU64 = AtomicU64::new(0);
/// The pid of the last owner (0: it does not know its pid), and that of the owner before it. A fork
/// does not wipe them, so the child knows whose memory it has a copy of.
static OWNER: AtomicU32 = AtomicU32::new(0);
static FORKER: AtomicU32 = AtomicU32::new(0);
/// The thread pointer (`registers::token`) of the thread that is claiming the page.
static CLAIMER: AtomicUsize = AtomicUsize::new(0);

fn page() -> Option<&'static Page> {
    // SAFETY: null, or the mapping that `prepare` made, which is never unmapped.
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

/// Why the kernel gave no memory that a fork wipes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    Map(i32),
    Wipe(i32),
}

impl core::fmt::Display for Trouble {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = |error: i32| epollshim_format::errno::name(error as u32).unwrap_or("?");
        match *self {
            Trouble::Map(error) => write!(f, "mmap failed with {}", name(error)),
            Trouble::Wipe(error) => write!(
                f,
                "madvise(MADV_WIPEONFORK) failed with {}; it needs Linux 4.14 or later, and no seccomp filter that refuses it",
                name(error)
            ),
        }
    }
}

/// Maps zeroed memory that reads as zero in the child of a fork, whatever call forks.
pub fn map_wiped(bytes: usize) -> Result<*mut u8, Trouble> {
    let start = sys::map(bytes).map_err(Trouble::Map)?;
    // SAFETY: the whole mapping that was made one line above.
    unsafe { sys::wipe_on_fork(start, bytes) }.map_err(|error| {
        // SAFETY: the mapping made at the top of this function. No other thread has its address.
        unsafe { sys::unmap(start, bytes) };
        Trouble::Wipe(error)
    })?;
    Ok(start)
}

/// Maps the page and claims it. Called at load, before any child can share this memory.
pub fn prepare() -> Result<(), Trouble> {
    if page().is_some() {
        return Ok(());
    }
    let bytes = size_of::<Page>().next_multiple_of(4096);
    let start = map_wiped(bytes)?;
    // SAFETY: the mapping is page-aligned, large enough, and all zero, which is a valid `Page`.
    let page = unsafe { &*start.cast::<Page>() };
    let pid = own_pid();
    page.be_owned_by(pid);
    page.is_sure.store(1, Ordering::Relaxed);
    OWNER.store(pid.unwrap_or(0), Ordering::Relaxed);
    note_load();
    page.began.store(LOADED.load(Ordering::Relaxed), Ordering::Relaxed);
    page.began_unix.store(LOADED_UNIX.load(Ordering::Relaxed), Ordering::Relaxed);
    if PAGE.compare_exchange(core::ptr::null_mut(), start.cast(), Ordering::Release, Ordering::Relaxed).is_err() {
        // SAFETY: another thread stored a page first. No other thread has the address of this
        // mapping.
        unsafe { sys::unmap(start, bytes) };
    }
    Ok(())
}

fn own_pid() -> Option<u32> {
    match questions::pid() {
        Fact::Known(pid) => Some(pid as u32),
        _ => questions::pid_of_first_thread().map(|pid| pid as u32),
    }
}

/// Records when the library was loaded.
pub fn note_load() {
    if LOADED_UNIX.load(Ordering::Relaxed) == 0 {
        LOADED.store(clock::monotonic(), Ordering::Relaxed);
        LOADED_UNIX.store(clock::realtime(), Ordering::Relaxed);
    }
}

impl Page {
    fn note_beginning(&self) {
        self.began.store(clock::monotonic(), Ordering::Relaxed);
        self.began_unix.store(clock::realtime(), Ordering::Relaxed);
    }

    /// Completes a claim.
    fn be_owned_by(&self, pid: Option<u32>) {
        self.expected.store(pid.map_or(0, |pid| pid ^ EXPECTED), Ordering::Relaxed);
        // Release: pairs with the Acquire in `is_claimed_by_this_thread`.
        self.owner.store(pid.unwrap_or(UNNAMED), Ordering::Release);
    }
}

/// Whether the caller's descriptor table is the one that the ledger describes: the caller owns this
/// memory, or shares both memory and table with the owner. In the child of a fork the first call
/// claims the memory.
#[inline(always)]
pub fn is_own() -> bool {
    let Some(page) = page() else { return false };
    let answer = sys::getpid_or_error();
    page.expected.load(Ordering::Relaxed) == answer as u32 ^ EXPECTED && !sharing::is_noted()
        || is_own_after_all(page, answer)
}

#[cold]
#[inline(never)]
fn is_own_after_all(page: &Page, answer: i32) -> bool {
    matches!(whose(page, answer), Verdict::Own | Verdict::Borrowed { shares_table: true })
}

/// Whether the caller owns this memory, so that the ledger's process ends when the caller does.
#[inline]
pub fn is_owner() -> bool {
    page().is_some_and(|page| whose(page, sys::getpid_or_error()) == Verdict::Own)
}

/// Whether this is the process that loaded the library, and not the child of a fork that has
/// claimed its memory, nor a child that runs in its parent's memory. Claims nothing.
pub fn is_as_loaded() -> bool {
    FORKER.load(Ordering::Relaxed) == 0
        && page().is_some_and(|page| page.owner.load(Ordering::Relaxed) == sys::getpid_or_error() as u32)
}

/// `answer` is the result of getpid(2). Never returns `Fresh` or `Abandoned`: such memory is
/// claimed here.
#[cold]
#[inline(never)]
fn whose(page: &Page, answer: i32) -> Verdict {
    if is_claimed_by_this_thread(page) {
        return Verdict::Own;
    }
    let owner = page.owner.load(Ordering::Relaxed);
    let (verdict, _) = verdict(Facts {
        owner: match owner {
            NOBODY => Owner::Nobody,
            UNNAMED | CLAIMING => Owner::Unnamed,
            pid => Owner::Pid(pid as i32),
        },
        is_sure: page.is_sure.load(Ordering::Relaxed) != 0,
        note: sharing::note(),
        pid: if answer > 0 { Fact::Known(answer) } else { Fact::Refused },
        is_listed: Fact::NotAsked,
        is_thread_of_owner: Fact::NotAsked,
        shares_memory: Fact::NotAsked,
        owner_exists: Fact::NotAsked,
        shares_table: Fact::NotAsked,
    });
    match verdict {
        Verdict::Own => sharing::resolved(),
        Verdict::Fresh | Verdict::Abandoned => {
            claim(page, owner);
            return Verdict::Own;
        }
        Verdict::Borrowed { .. } => {}
    }
    verdict
}

/// Waits for another thread that is claiming the page, for a bounded time. True: the calling thread
/// itself is claiming it, and a handler has interrupted the claim.
fn is_claimed_by_this_thread(page: &Page) -> bool {
    /// A claim takes some microseconds. A thread that jumped out of it never finishes.
    const PATIENCE: u32 = 1000;
    for _ in 0..PATIENCE {
        // Acquire: pairs with the Release in `be_owned_by`. A thread that finds the page claimed
        // also sees what the claim reset.
        if page.owner.load(Ordering::Acquire) != CLAIMING {
            return false;
        }
        if CLAIMER.load(Ordering::Relaxed) == registers::token() {
            return true;
        }
        sys::yield_now();
    }
    false
}

fn claim(page: &Page, owner: u32) {
    if page.owner.compare_exchange(owner, CLAIMING, Ordering::Acquire, Ordering::Relaxed).is_err() {
        is_claimed_by_this_thread(page);
        return;
    }
    CLAIMER.store(registers::token(), Ordering::Relaxed);
    let pid = own_pid();
    FORKER.store(OWNER.swap(pid.unwrap_or(0), Ordering::Relaxed), Ordering::Relaxed);
    page.reported.store(0, Ordering::Relaxed);
    page.signalled.store(0, Ordering::Relaxed);
    page.note_beginning();
    sharing::after_fork();
    Library::after_fork();
    page.be_owned_by(pid);
}

/// Whether anything was counted in this memory, or in the memory of which it is a copy. If nothing
/// was, there is nothing to report or to reset, and a fork need not copy pages for it.
pub fn is_used() -> bool {
    Library::is_used()
}

/// Called in the child of a fork before it continues: this memory is certainly its own.
pub fn claim_after_fork() {
    if let Some(page) = page().filter(|_| is_used() && is_owner()) {
        page.is_sure.store(1, Ordering::Relaxed);
    }
}

/// Called before the calling thread creates a child by a call with these flags of clone(2).
/// `storage` is the thread-local storage that the child gets by `CLONE_SETTLS`.
#[cold]
pub fn about_to_clone(flags: u64, storage: usize) {
    let has = |flag: libc::c_int| flags & flag as u64 != 0;
    let Some(page) = page().filter(|_| has(libc::CLONE_VM) && !has(libc::CLONE_THREAD)) else { return };
    // Claim a fork's copy before it is lent. Otherwise the child would claim it.
    let verdict = whose(page, sys::getpid_or_error());
    let is_owner = verdict == Verdict::Own;
    if is_owner {
        page.is_sure.store(1, Ordering::Relaxed);
    }
    let has_table = matches!(verdict, Verdict::Own | Verdict::Borrowed { shares_table: true });
    let is_anywhere =
        sharing::begin(flags, has_table, is_owner && questions::is_listed() == Fact::Known(true), storage);
    if is_anywhere {
        page.expected.store(0, Ordering::Relaxed);
    }
    Library::lends();
}

/// Whether a thread of the owner is known to have ended. Only the owner can tell: in another pid
/// namespace the numbers name other tasks.
pub fn has_thread_ended(tid: i32) -> bool {
    let pid = pid();
    pid > 0 && is_owner() && !sys::thread_exists(pid, tid)
}

/// The pid by which kcmp(2) finds the ledger's descriptor table: the owner's, or that of a child
/// that shares the table and may be unable to name the owner.
#[inline]
pub fn pid_for_kcmp() -> i32 {
    if may_be_child() { sys::getpid() } else { pid() }
}

/// A number that no related process has had. (Processes in different pid namespaces may have equal
/// pids.) 0: there is no page.
pub fn identity() -> u64 {
    began()
}

pub fn session_slot() -> Option<&'static AtomicU32> {
    page().map(|page| &page.session_slot)
}

/// The part of another module. None: there is no page.
#[inline(always)]
pub fn part<T>() -> Option<&'static T>
where
    Parts: Has<T>,
{
    page().map(|page| page.parts.part())
}

/// The pid of the owner of this memory. 0: no process has claimed it, or the owner could not learn
/// its pid.
pub fn pid() -> i32 {
    match page().map_or(NOBODY, |page| page.owner.load(Ordering::Relaxed)) {
        NOBODY => 0,
        UNNAMED | CLAIMING => OWNER.load(Ordering::Relaxed) as i32,
        pid => pid as i32,
    }
}

/// The pid of the process whose ledger this one inherited by a fork. 0: this process was not forked
/// since its program began, or its parent could not learn its pid.
pub fn forker() -> u32 {
    FORKER.load(Ordering::Relaxed)
}

/// True for the first caller only, so that the report is written once.
pub fn begin_report() -> bool {
    page().is_some_and(|page| page.reported.swap(1, Ordering::Relaxed) == 0)
}

/// True for the first caller only: for the report before a signal that the process sends to itself.
/// Another report may follow at the end.
pub fn begin_signal_report() -> bool {
    page().is_some_and(|page| page.signalled.swap(1, Ordering::Relaxed) == 0)
}

/// CLOCK_MONOTONIC when this process began, in nanoseconds.
pub fn began() -> u64 {
    page().map_or(0, |page| page.began.load(Ordering::Relaxed))
}

/// CLOCK_REALTIME when this process began, nanoseconds since 1970.
pub fn began_unix() -> u64 {
    page().map_or(0, |page| page.began_unix.load(Ordering::Relaxed))
}
