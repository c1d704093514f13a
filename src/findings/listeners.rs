//! Which listening sockets related processes watch.
//!
//! Processes of different users, and those that have changed their user, may not ask the kernel
//! about each other (kcmp(2) and /proc/PID need the rights of ptrace(2)). So each process writes
//! what it watches into a page that an ancestor mapped before its first `fork`, and which all
//! share. The kernel's cookie names a socket the same way for all of them (socket(7), SO_COOKIE,
//! Linux 4.12).
//!
//! There is no page if this process and its ancestors were forked by inline system calls.

use crate::sync::{AtomicPtr, AtomicU64, Ordering};

use crate::{clock, process, sys};

/// All zero: free.
#[repr(C)]
struct Entry {
    /// The process id in the upper 22 bits (proc_sys_kernel(5), pid_max), and the lower bits of the
    /// cookie.
    word: AtomicU64,
    /// CLOCK_MONOTONIC when it was published.
    at: AtomicU64,
}

type Page = [Entry; 256];

const BYTES: usize = 4096;
const _: () = assert!(size_of::<Page>() == BYTES);
const COOKIE: u32 = 42;

/// Null until this process or an ancestor has forked. The Release in `begin` pairs with the Acquire
/// in `page`: the page was mapped before.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(core::ptr::null_mut());

fn page() -> Option<&'static Page> {
    // SAFETY: null, or a mapping that `begin` stored, which is never unmapped. It has the size of a
    // `Page`, is aligned to a page, and zero is valid for atomics.
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

/// Whether related processes have a page in common.
pub fn exists() -> bool {
    page().is_some()
}

/// Maps the page. True: there was none.
pub fn begin() -> bool {
    if exists() || !process::is_owner() {
        return false;
    }
    let Ok(start) = sys::map_shared(BYTES) else { return false };
    let null = core::ptr::null_mut();
    if PAGE.compare_exchange(null, start.cast(), Ordering::Release, Ordering::Relaxed).is_err() {
        // SAFETY: another thread stored a page first. No other thread has seen this one.
        unsafe { sys::unmap(start, BYTES) };
        return false;
    }
    true
}

fn word(pid: i32, cookie: u64) -> u64 {
    (pid as u64) << COOKIE | cookie & ((1 << COOKIE) - 1)
}

fn pid_of(word: u64) -> i32 {
    (word >> COOKIE) as i32
}

fn is_alive(pid: i32) -> bool {
    sys::thread_exists(pid, pid)
}

/// Publishes that this process watches a socket.
pub fn publish(cookie: u64) {
    let (Some(page), own) = (page(), word(process::pid(), cookie)) else { return };
    if page.iter().any(|entry| entry.word.load(Ordering::Relaxed) == own) {
        return;
    }
    // Relaxed: each word is complete in itself. For a moment the time may be that of the process
    // that had the entry before, which is earlier. If the page is full of living processes, these
    // are enough for a finding.
    let take = |entry: &Entry| {
        let there = entry.word.load(Ordering::Relaxed);
        let is_free = there == 0 || !is_alive(pid_of(there));
        let is_taken = is_free && entry.word.compare_exchange(there, own, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_taken {
            entry.at.store(clock::monotonic(), Ordering::Relaxed);
        }
        is_taken
    };
    let _ = page.iter().any(take);
}

/// The other processes that watch a socket and have published it since a time (CLOCK_MONOTONIC).
pub fn others(cookie: u64, since: u64) -> impl Iterator<Item = i32> {
    let own = process::pid();
    let of = move |entry: &Entry| {
        let there = entry.word.load(Ordering::Relaxed);
        let pid = pid_of(there);
        let is_one = there != 0 && there == word(pid, cookie) && pid != own;
        (is_one && entry.at.load(Ordering::Relaxed) >= since && is_alive(pid)).then_some(pid)
    };
    page().into_iter().flatten().filter_map(of)
}

/// Called when this process ends: frees its entries.
pub fn leave() {
    let own = process::pid();
    for entry in page().into_iter().flatten() {
        let there = entry.word.load(Ordering::Relaxed);
        if there != 0 && pid_of(there) == own {
            let _ = entry.word.compare_exchange(there, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
