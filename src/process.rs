//! Whose memory is this: the process's own, fresh after a fork, or borrowed from a parent.
//!
//! One page that the kernel wipes at fork holds the owner's pid. Zero: this process is the child of a fork,
//! by whatever call, and nothing of its own has been noted yet. Another pid than the caller's: the caller is a
//! child of vfork or clone(CLONE_VM), which runs in its parent's memory with a copy of its descriptor table;
//! births and deaths of descriptors there are not the parent's.
//!
//! May be called from hooks in any state and from signal handlers. `is_own` costs a system call.

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use crate::policy::{Tally, rules};
use crate::record;
use crate::{census, clock, ledger, sys, thread};

#[repr(C)]
struct Page {
    owner: AtomicU32,
    /// The exit report was written, or is being written.
    reported: AtomicU32,
    /// CLOCK_MONOTONIC and CLOCK_REALTIME when this process was first seen, in nanoseconds.
    began: AtomicU64,
    began_unix: AtomicU64,
    /// This process's place in the session (session.rs).
    session_slot: AtomicU32,
    /// What rules and limits have counted.
    policy: Tally,
    recording: record::State,
    /// The table of findings; null: nothing was found.
    findings: AtomicPtr<u8>,
}

/// Null until `prepare` has mapped the page. Release on the only store, Acquire on loads: the mapping is filled in before.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(core::ptr::null_mut());
/// CLOCK_REALTIME when the library was loaded: not wiped.
static LOADED_UNIX: AtomicU64 = AtomicU64::new(0);
/// CLOCK_MONOTONIC at the same moment.
static LOADED: AtomicU64 = AtomicU64::new(0);
/// The last owner, and the one before it: not wiped, so that a fork's child knows whose memory it has a copy of.
static OWNER: AtomicU32 = AtomicU32::new(0);
static FORKER: AtomicU32 = AtomicU32::new(0);

fn page() -> Option<&'static Page> {
    // SAFETY: null, or the mapping that `prepare` made and nobody unmaps.
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

/// Maps the page and claims it. False: the kernel cannot wipe memory at fork, and nothing can be kept apart.
pub fn prepare() -> bool {
    if page().is_some() {
        return true;
    }
    let bytes = size_of::<Page>().next_multiple_of(4096);
    let Ok(start) = sys::map(bytes) else { return false };
    // SAFETY: a mapping made one line above.
    if unsafe { sys::wipe_on_fork(start, bytes) }.is_err() {
        // SAFETY: as above; nobody has seen it.
        unsafe { sys::unmap(start, bytes) };
        return false;
    }
    // SAFETY: page-aligned, large enough, and all-zero is a valid Page.
    let page = unsafe { &*start.cast::<Page>() };
    let pid = sys::getpid() as u32;
    page.owner.store(pid, Ordering::Relaxed);
    OWNER.store(pid, Ordering::Relaxed);
    note_load();
    page.began.store(LOADED.load(Ordering::Relaxed), Ordering::Relaxed);
    page.began_unix.store(LOADED_UNIX.load(Ordering::Relaxed), Ordering::Relaxed);
    if PAGE.compare_exchange(core::ptr::null_mut(), start.cast(), Ordering::Release, Ordering::Relaxed).is_err() {
        // SAFETY: another thread was first; nobody has seen this one.
        unsafe { sys::unmap(start, bytes) };
    }
    true
}

/// Notes when the library was loaded; the page is mapped only when something is counted.
pub fn note_load() {
    if LOADED_UNIX.load(Ordering::Relaxed) == 0 {
        LOADED.store(clock::monotonic(), Ordering::Relaxed);
        LOADED_UNIX.store(clock::realtime(), Ordering::Relaxed);
    }
}

fn note_beginning(page: &Page) {
    page.began.store(clock::monotonic(), Ordering::Relaxed);
    page.began_unix.store(clock::realtime(), Ordering::Relaxed);
}

/// Whether the calling process owns this memory. In the child of a fork the first call makes it so.
#[unsafe(link_section = ".text.hot.epollshim.more")]
pub fn is_own() -> bool {
    let Some(page) = page() else { return false };
    let pid = sys::getpid() as u32;
    let owner = page.owner.load(Ordering::Relaxed);
    owner == pid || claim(page, pid, owner)
}

#[cold]
#[inline(never)]
fn claim(page: &Page, pid: u32, owner: u32) -> bool {
    let (caller, lender) = (pid as i32, owner as i32);
    if owner != 0 && sys::same_memory(caller, lender) != Ok(false) && sys::thread_exists(lender, lender) {
        // Borrowed memory; with clone(CLONE_FILES) the table is the lender's own too.
        return sys::same_descriptors(caller, lender) == Ok(true);
    }
    // Fresh after a fork, or claimed by a vfork child that came before its parent and is gone.
    if page.owner.compare_exchange(owner, pid, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        FORKER.store(OWNER.swap(pid, Ordering::Relaxed), Ordering::Relaxed);
        page.reported.store(0, Ordering::Relaxed);
        note_beginning(page);
        thread::forget_after_fork();
        ledger::after_fork();
        census::after_fork();
        rules::after_fork();
    }
    true
}

pub fn session_slot() -> Option<&'static AtomicU32> {
    page().map(|page| &page.session_slot)
}

/// This process's recording.
#[inline(always)]
pub fn recording() -> Option<&'static record::State> {
    page().map(|page| &page.recording)
}

/// Where this process's findings are.
pub fn findings() -> Option<&'static AtomicPtr<u8>> {
    page().map(|page| &page.findings)
}

/// What rules and limits have counted in this process.
pub fn tally() -> Option<&'static Tally> {
    page().map(|page| &page.policy)
}

/// The pid of the owner of this memory; 0 before it was claimed.
pub fn pid() -> i32 {
    page().map_or(0, |page| page.owner.load(Ordering::Relaxed) as i32)
}

/// The pid of the process whose ledger this one has a copy of, by a fork; 0: it was not forked since its program began.
pub fn forker() -> u32 {
    FORKER.load(Ordering::Relaxed)
}

/// True for the first caller only: the report is written once.
pub fn begin_report() -> bool {
    page().is_some_and(|page| page.reported.swap(1, Ordering::Relaxed) == 0)
}

/// CLOCK_MONOTONIC when this process began, nanoseconds.
pub fn began() -> u64 {
    page().map_or(0, |page| page.began.load(Ordering::Relaxed))
}

/// CLOCK_REALTIME when this process began, nanoseconds since 1970.
pub fn began_unix() -> u64 {
    page().map_or(0, |page| page.began_unix.load(Ordering::Relaxed))
}
