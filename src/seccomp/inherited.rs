//! Filters from before exec. An unprivileged process cannot read them (ptrace(2),
//! PTRACE_SECCOMP_GET_FILTER). So a child tries each call of calls.rs: what kills the child would
//! kill the process, and is not made.
//!
//! The child is made by clone(2) with memory and descriptors of its own, sends no signal when it
//! ends, is not traced, and is waited for at once. That costs a fork, once, and only if there is
//! such a filter. Two cases remain unknown: a filter that kills on clone or wait4 themselves, and
//! one that forbids a call only with other arguments than those of calls.rs.

use libc::c_long;

use super::{IS_HINDERED, calls};
use crate::filters::verdict;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicBool, AtomicU8};
use crate::{sigsafe, sys};

static IS_THERE: AtomicBool = AtomicBool::new(false);
/// Some call gets an errno that it would not get without filters.
static HINDERS: AtomicBool = AtomicBool::new(false);

pub fn is_there() -> bool {
    IS_THERE.load(Relaxed)
}

pub fn hinders() -> bool {
    HINDERS.load(Relaxed)
}

/// Looks once for inherited filters, before the library makes a call that the program does not make
/// itself. Opening and reading a file is not a new kind of call: the loader has just done both.
pub fn find() {
    const LOOKING: u8 = 1;
    const DONE: u8 = 2;
    static STATE: AtomicU8 = AtomicU8::new(0);
    if STATE.load(Acquire) == DONE {
        return;
    }
    if STATE.compare_exchange(0, LOOKING, Relaxed, Relaxed).is_err() {
        // Another thread does this, which takes less than a millisecond; or this thread does, and a
        // handler has interrupted it. No system call may be made in the meantime, not even to
        // yield.
        for _ in 0..200_000 {
            if STATE.load(Acquire) == DONE {
                return;
            }
            core::hint::spin_loop();
        }
        // Or a fork came in between, and the thread that did this is not in this process.
        STATE.store(DONE, Release);
        return;
    }
    // The present stack may be a signal handler's. No signal is blocked: that would be a call that
    // was not tried yet.
    let errno = sys::errno();
    sigsafe::on_its_own(|| {
        let Some((mode, count)) = status() else { return };
        let own = super::INSTALLED.load(Relaxed);
        // Linux before 5.9 does not count filters.
        if mode == libc::SECCOMP_MODE_FILTER && count.map_or(own == 0, |count| count > own) {
            IS_THERE.store(true, Relaxed);
            try_all();
        }
    });
    // Release: a thread that finds it done sees what was found.
    STATE.store(DONE, Release);
    sys::set_errno(errno);
}

/// The mode and the number of filters of the calling thread.
fn status() -> Option<(u32, Option<u32>)> {
    let mut text = [0; 4096];
    let length = sigsafe::read_as_the_loader_does(c"/proc/thread-self/status", &mut text).ok()?;
    let text = text.get(..length)?;
    let value = |name: &[u8]| {
        let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
        core::str::from_utf8(line.trim_ascii()).ok()?.parse().ok()
    };
    Some((value(b"Seccomp:")?, value(b"Seccomp_filters:")))
}

/// How far the children have come with each call, in memory that they share with this process.
type Progress = [AtomicU8; calls::ALL.len()];
/// A child has begun the call. If it died there, the call killed it.
const BEGUN: u8 = 1;
const MADE: u8 = 2;
const REFUSED: u8 = 3;

fn try_all() {
    const BYTES: usize = 4096;
    let Ok(start) = sys::map_shared(BYTES) else { return };
    // SAFETY: a fresh page of zeros, which is unmapped below, when the last child has ended.
    let progress = unsafe { &*start.cast::<Progress>() };
    let mut seen = 0;
    // Each child but the last dies at one call.
    for _ in 0..=calls::ALL.len() {
        match sys::fork_unnoticed() {
            Ok(0) => try_rest(progress),
            Ok(child) => sys::wait_for(child),
            Err(_) => break,
        }
        let deaths = progress.iter().filter(|state| state.load(Acquire) == BEGUN).count();
        if deaths == seen {
            break;
        }
        seen = deaths;
    }
    for (call, state) in calls::ALL.iter().zip(progress) {
        let state = state.load(Acquire);
        if state == BEGUN {
            verdict::forbid_from_before(call.number);
            super::restrict();
        }
        if state != MADE {
            HINDERS.store(true, Relaxed);
            IS_HINDERED.store(true, Relaxed);
        }
    }
    // SAFETY: mapped above; the children have ended.
    unsafe { sys::unmap(start, BYTES) };
}

/// In the child: makes all calls that no child before it has died of, and ends.
fn try_rest(progress: &Progress) -> ! {
    let all: sys::SignalSet = sys::SignalSet::MAX;
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let (set, limit) = (&raw const all as usize, &raw const no_core as usize);
    // No signal to the program's process group must run a handler here, and no death must leave a
    // core file.
    for (number, words) in [
        (libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, set, 0, size_of::<sys::SignalSet>(), 0, 0]),
        (libc::SYS_prlimit64, [0, libc::RLIMIT_CORE as usize, limit, 0, 0, 0]),
        (libc::SYS_prctl, [libc::PR_SET_DUMPABLE as usize, 0, 0, 0, 0, 0]),
    ] {
        if let Some((_, state)) = calls::ALL.iter().zip(progress).find(|(call, _)| call.number == number)
            && state.load(Acquire) != BEGUN
        {
            attempt(state, number, words);
        }
    }
    for (call, state) in calls::ALL.iter().zip(progress).filter(|(_, state)| state.load(Acquire) != BEGUN) {
        attempt(state, call.number, call.words);
    }
    sys::exit_group(0)
}

fn attempt(state: &AtomicU8, number: c_long, words: [usize; 6]) {
    state.store(BEGUN, Release);
    // SAFETY: the calls of the list, and the three above, change nothing outside this child. Sets
    // and limits have the size that is passed.
    let result = unsafe { sys::unasked(number, words) };
    let is_refused = matches!(result, Err(libc::EPERM | libc::ENOSYS | libc::EACCES));
    state.store(if is_refused { REFUSED } else { MADE }, Release);
}
