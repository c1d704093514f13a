//! Which processes that are related by fork watch which listening sockets.
//!
//! Processes of different users, and those that have changed theirs, may not ask the kernel about
//! each other (kcmp(2) and /proc/PID need the rights of ptrace(2)). So each writes what it watches
//! into a page that an ancestor made before its first `fork`, and which all share. The kernel's cookie
//! names a socket the same for all of them (socket(7), SO_COOKIE, Linux 4.12).
//!
//! A process that was forked by a system call of its own, and whose ancestors were too, has no page.

use crate::sync::{AtomicPtr, AtomicU64, Ordering};

use crate::{clock, process, sys};

/// All zero: free.
#[repr(C)]
struct Entry {
    /// The process in the upper 22 bits (proc_sys_kernel(5), pid_max), and the rest of the cookie.
    word: AtomicU64,
    /// CLOCK_MONOTONIC when it was published.
    at: AtomicU64,
}

type Page = [Entry; 256];

const BYTES: usize = 4096;
const _: () = assert!(size_of::<Page>() == BYTES);
const COOKIE: u32 = 42;

/// Null until this process or an ancestor has forked. Acquire and Release: the page is mapped
/// before.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(core::ptr::null_mut());

fn page() -> Option<&'static Page> {
    // SAFETY: null, or the mapping that `before_fork` made, which is never unmapped.
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

/// Whether related processes have a page in common.
pub fn exists() -> bool {
    page().is_some()
}

/// Makes the page. True: there was none.
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

/// This process watches a socket.
pub fn publish(cookie: u64) {
    let (Some(page), own) = (page(), word(process::pid(), cookie)) else { return };
    if page.iter().any(|entry| entry.word.load(Ordering::Relaxed) == own) {
        return;
    }
    // Relaxed: each word is a fact of its own. For a moment the time may be that of the process that
    // had the entry before, which is earlier. If the page is full of living processes, those that it
    // has are enough for a finding.
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

/// The processes that watch a socket, but for this one, and have published it since then
/// (CLOCK_MONOTONIC).
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

/// This process ends.
pub fn leave() {
    let own = process::pid();
    for entry in page().into_iter().flatten() {
        let there = entry.word.load(Ordering::Relaxed);
        if there != 0 && pid_of(there) == own {
            let _ = entry.word.compare_exchange(there, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
