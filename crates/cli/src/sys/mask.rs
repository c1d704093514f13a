//! Signal masks and dispositions by system calls, for all 64 signals. musl's functions leave out
//! signal 34 (glibc's SIGRTMIN), which musl reserves for itself.
//!
//! As in the kernel, signal N is bit N - 1 of a set.

use std::io::Error;
use std::mem::zeroed;

/// The size of the kernel's set in bytes (Linux v6.1 include/linux/signal.h: _NSIG / 8).
const BYTES: usize = 8;

/// The kernel's `struct sigaction` (arch/x86/include/asm/signal.h and others). Only the first word
/// is read here.
#[repr(C)]
#[derive(Default)]
struct Action {
    handler: usize,
    /// The flags, the return function on machines that have one, and the mask.
    rest: [u64; 3],
}

#[must_use]
pub fn bit(signal: i32) -> u64 {
    u32::try_from(signal - 1).ok().and_then(|place| 1u64.checked_shl(place)).unwrap_or(0)
}

/// Whether a signal is ignored. None: there is no such signal.
pub fn is_ignored(signal: i32) -> Option<bool> {
    let mut action = Action::default();
    let none = std::ptr::null::<Action>();
    // SAFETY: without a new action, the call only writes the old one, which has room for the
    // kernel's structure.
    let done = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, none, &raw mut action, BYTES) };
    (done == 0).then_some(action.handler == libc::SIG_IGN)
}

/// Changes the signal mask of this thread as `how` says (SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK).
/// Returns the previous mask.
pub fn change(how: i32, set: u64) -> u64 {
    let mut before = 0u64;
    // SAFETY: both sets are locals of `BYTES` bytes; one is read and one is written.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const set, &raw mut before, BYTES) };
    before
}

/// The set in the type of the C library, where the kernel's bits come first.
pub fn of_libc(set: u64) -> libc::sigset_t {
    // SAFETY: all zeros are a valid set.
    let mut whole: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: a sigset_t is larger than the kernel's set, and aligned for words (in glibc and musl
    // it is 128 bytes of words).
    unsafe { (&raw mut whole).cast::<u64>().write(set) };
    whole
}

/// Accepts a pending signal of the set without waiting. Returns whether there was one.
pub fn take_pending(set: u64) -> bool {
    let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let info = std::ptr::null_mut::<libc::siginfo_t>();
    // SAFETY: the call reads a set of `BYTES` bytes and a time, both locals, and writes nothing,
    // since `info` is null.
    unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set, info, &raw const none, BYTES) > 0 }
}

/// Sends a signal to this thread.
pub fn raise(signal: i32) -> Result<(), Error> {
    // SAFETY: the call takes only an integer.
    if unsafe { libc::raise(signal) } == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}
