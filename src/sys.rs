//! System calls that bypass libc: the library's own hooks, errno, and cancellation.
//!
//! May be called from anywhere, including signal handlers and borrowed memory. Every function
//! returns what the kernel returned, and touches nothing of libc. A call that a seccomp filter of
//! the program forbids is not made: its result is the error [`verdict::FORBIDDEN`].
//!
//! This file has the calls about processes, threads and time. files.rs, memory.rs, signals.rs and
//! sockets.rs have the rest.

use core::cmp;

use crate::arch;
use crate::filters::verdict;
use crate::sync::AtomicU32;
use crate::system_call::{call, checked, words};

pub use crate::system_call::{Result, unasked};

/// A system call for the library itself, if the program's filters allow it.
#[inline(never)]
unsafe fn permitted(number: libc::c_long, arguments: &[usize; 6]) -> Result<usize> {
    if !verdict::allows(number, arguments) {
        return Err(verdict::FORBIDDEN);
    }
    // SAFETY: the caller promises what the system call needs.
    checked(unsafe { call(number, *arguments) })
}

macro_rules! syscall {
    ($number:ident $(, $argument:expr)* $(,)?) => {
        permitted(libc::$number, &words([$( $argument as usize ),*]))
    };
}

mod files;
mod memory;
mod signals;
mod sockets;

pub use files::*;
pub use memory::*;
pub use signals::*;
pub use sockets::*;

/// A static, so that callers need not write it to the stack.
static NO_ARGUMENTS: [usize; 6] = [0; 6];

/// What getpid(2) returns: a pid, or a negative error number.
#[inline(always)]
pub fn getpid_or_error() -> i32 {
    if !verdict::allows(libc::SYS_getpid, &NO_ARGUMENTS) {
        return -verdict::FORBIDDEN;
    }
    // SAFETY: takes no argument.
    unsafe { call(libc::SYS_getpid, NO_ARGUMENTS) as i32 }
}

/// The pid. 0: a filter withholds the kernel's answer, or makes up one.
#[inline(always)]
pub fn getpid() -> i32 {
    if !verdict::allows(libc::SYS_getpid, &NO_ARGUMENTS) {
        return 0;
    }
    // SAFETY: takes no argument.
    unsafe { call(libc::SYS_getpid, NO_ARGUMENTS) }.max(0) as i32
}

pub fn getppid() -> i32 {
    // SAFETY: takes no argument.
    unsafe { syscall!(SYS_getppid) }.unwrap_or(0) as i32
}

/// The thread id. 0: a filter withholds the kernel's answer.
pub fn gettid() -> i32 {
    // SAFETY: takes no argument.
    unsafe { syscall!(SYS_gettid) }.unwrap_or(0) as i32
}

pub fn geteuid() -> u32 {
    // SAFETY: takes no argument.
    unsafe { syscall!(SYS_geteuid) }.unwrap_or(0) as u32
}

/// Whether a thread of process `pid` still exists. Also true if the kernel does not say. Sends no
/// signal.
pub fn thread_exists(pid: i32, tid: i32) -> bool {
    probe_thread(pid, tid) != Err(libc::ESRCH)
}

/// Looks for a thread of a process, both named in the caller's pid namespace. Err(ESRCH): there is
/// none. Sends no signal.
pub fn probe_thread(pid: i32, tid: i32) -> Result<()> {
    // SAFETY: signal 0 is never delivered.
    unsafe { syscall!(SYS_tgkill, pid, tid, 0) }.map(drop)
}

/// The head of the calling task's robust list. 0: it has registered none (get_robust_list(2)).
pub fn robust_list() -> Result<usize> {
    let (mut head, mut length) = (usize::MAX, 0usize);
    // SAFETY: the kernel writes two words, for which there is room.
    unsafe { syscall!(SYS_get_robust_list, 0, &raw mut head, &raw mut length) }?;
    // A filter that returns 0 leaves the words unchanged.
    if head == usize::MAX { Err(libc::ENOSYS) } else { Ok(head) }
}

/// Whether the kernel finds a thread of a process. Also false if it does not say. Sends no signal.
pub fn finds_thread(pid: i32, tid: i32) -> bool {
    // SAFETY: signal 0 is never delivered.
    unsafe { syscall!(SYS_tgkill, pid, tid, 0) }.is_ok()
}

/// Whether a process with this pid exists. Sends no signal.
pub fn process_exists(pid: i32) -> bool {
    // SAFETY: signal 0 is never delivered.
    let answer = unsafe { syscall!(SYS_kill, pid, 0) };
    answer != Err(libc::ESRCH)
}

/// Eight random bytes. None: the kernel has none yet.
pub fn random() -> Option<u64> {
    let mut value = 0u64;
    // SAFETY: the kernel writes at most eight bytes.
    let got = unsafe { syscall!(SYS_getrandom, &raw mut value, size_of::<u64>(), libc::GRND_NONBLOCK) };
    (got == Ok(size_of::<u64>())).then_some(value)
}

/// Makes an epoll_ctl that cannot succeed, because there is no operation 0: the kernel checks its
/// arguments and does nothing else. Err(EINVAL): the kernel finds no other error, or a filter
/// forbids the call.
pub fn probe_epoll_ctl(epfd: i32, fd: i32, event: usize) -> Result<usize> {
    let arguments = words([epfd as usize, 0, fd as usize, event]);
    if !verdict::allows(libc::SYS_epoll_ctl, &arguments) {
        return Err(libc::EINVAL);
    }
    // SAFETY: the kernel checks the address that it reads.
    unsafe { unasked(libc::SYS_epoll_ctl, arguments) }
}

/// Sleeps until a time of CLOCK_MONOTONIC. Err(EINTR): a signal handler ran.
pub fn sleep_until(nanoseconds: u64) -> Result<()> {
    let time =
        libc::timespec { tv_sec: (nanoseconds / 1_000_000_000) as i64, tv_nsec: (nanoseconds % 1_000_000_000) as i64 };
    // SAFETY: the kernel reads one timespec. An absolute sleep writes no remaining time.
    unsafe {
        syscall!(
            SYS_clock_nanosleep,
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &raw const time,
            core::ptr::null::<u8>()
        )
    }
    .map(drop)
}

/// Whether two processes share their memory (kcmp(2), Linux 3.5). Err: the kernel does not say.
pub fn same_memory(pid: i32, other: i32) -> Result<bool> {
    const KCMP_VM: i32 = 1;
    // SAFETY: kcmp takes no pointer.
    unsafe { syscall!(SYS_kcmp, pid, other, KCMP_VM, 0, 0) }.map(|order| order == 0)
}

/// Whether two processes share their descriptor table (kcmp(2)).
pub fn same_descriptors(pid: i32, other: i32) -> Result<bool> {
    const KCMP_FILES: i32 = 2;
    // SAFETY: kcmp takes no pointer.
    unsafe { syscall!(SYS_kcmp, pid, other, KCMP_FILES, 0, 0) }.map(|order| order == 0)
}

/// Whether the caller has a child of any kind, including children that have ended. Waits for none.
/// Also true if the kernel does not say.
pub fn has_children() -> bool {
    let which = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    let mut info = core::mem::MaybeUninit::<libc::siginfo_t>::uninit();
    // SAFETY: the kernel writes a siginfo_t, for which there is room, and no rusage.
    let waited = unsafe { syscall!(SYS_waitid, libc::P_ALL, 0, info.as_mut_ptr(), which, 0usize) };
    waited != Err(libc::ECHILD)
}

/// Whether two descriptors of this process refer to one open file description (kcmp(2)).
pub fn same_description(pid: i32, fd: i32, other: i32) -> Result<bool> {
    const KCMP_FILE: i32 = 0;
    // SAFETY: kcmp takes no pointer.
    unsafe { syscall!(SYS_kcmp, pid, pid, KCMP_FILE, fd, other) }.map(|order| order == 0)
}

/// The order of two open file descriptions in the kernel's own order, which stays the same as long
/// as the kernel runs. The descriptors `fd` and `other` belong to the thread's table (kcmp(2)).
pub fn order_of_descriptions(thread: i32, fd: i32, other: i32) -> Result<cmp::Ordering> {
    const KCMP_FILE: usize = 0;
    // SAFETY: kcmp takes no pointer.
    match unsafe { syscall!(SYS_kcmp, thread, thread, KCMP_FILE, fd, other) }? {
        0 => Ok(cmp::Ordering::Equal),
        1 => Ok(cmp::Ordering::Less),
        2 => Ok(cmp::Ordering::Greater),
        // "Not equal, but ordering information is unavailable".
        _ => Err(libc::ENOSYS),
    }
}

/// Whether an epoll instance in a thread's table watches, under the number `tfd`, the file that
/// `fd` refers to (kcmp(2), Linux 4.13). `place` selects one of several interests with this number,
/// in the order of `fdinfo`; 0 is the first. Err(ENOENT): there is none; other errors: the kernel
/// does not say.
pub fn watches_file_of(thread: i32, fd: i32, epfd: i32, tfd: i32, place: u32) -> Result<bool> {
    const KCMP_EPOLL_TFD: i32 = 7;
    // struct kcmp_epoll_slot: efd, tfd, toff.
    let slot = [epfd as u32, tfd as u32, place];
    // SAFETY: the kernel reads the twelve bytes of the slot.
    unsafe { syscall!(SYS_kcmp, thread, thread, KCMP_EPOLL_TFD, fd, slot.as_ptr()) }.map(|order| order == 0)
}

/// Forks: the child gets a copy of the memory and of the descriptors. It is not traced, sends no
/// signal when it ends, and only [`wait_for`] waits for it. Ok(0): this is the child, which may do
/// nothing but make system calls and end.
pub fn fork_unnoticed() -> Result<i32> {
    // SAFETY: without CLONE_VM the child continues on its own copy of this stack.
    unsafe { syscall!(SYS_clone, libc::CLONE_UNTRACED, 0, 0, 0, 0) }.map(|pid| pid as i32)
}

/// Waits until a child of [`fork_unnoticed`] has ended.
pub fn wait_for(child: i32) {
    // SAFETY: the kernel writes no status.
    while unsafe { syscall!(SYS_wait4, child, 0, libc::__WALL, 0) } == Err(libc::EINTR) {}
}

/// Lets another thread run.
pub fn yield_now() {
    // SAFETY: takes no argument.
    let _ = unsafe { syscall!(SYS_sched_yield) };
}

/// Sleeps while a word has this value, until it is woken, but at most `nanoseconds` (less than a
/// second). Err(EAGAIN): the word has another value.
pub fn futex_wait(word: &AtomicU32, value: u32, nanoseconds: i64) -> Result<()> {
    let time = libc::timespec { tv_sec: 0, tv_nsec: nanoseconds };
    // SAFETY: the word is valid and only read; one timespec is read.
    unsafe { syscall!(SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, &raw const time) }.map(drop)
}

/// Wakes a thread that sleeps in [`futex_wait`].
pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: the kernel does not touch the word.
    let _ = unsafe { syscall!(SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// Sleeps until the time is over or a signal arrives.
pub fn sleep(nanoseconds: i64) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: nanoseconds };
    // SAFETY: the kernel reads one timespec, and writes no remaining time.
    let _ = unsafe { syscall!(SYS_nanosleep, &raw const time, core::ptr::null::<u8>()) };
}

/// The process group of the calling process.
pub fn process_group() -> i32 {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_getpgid, 0) }.unwrap_or(0) as i32
}

/// Reads a clock by system call, if the vDSO has none. Returns 0, or a negated error number; then
/// nothing is written.
pub unsafe fn clock(clock: libc::clockid_t, time: *mut libc::timespec) -> i32 {
    // SAFETY: the caller promises what clock_gettime(2) needs.
    unsafe { syscall!(SYS_clock_gettime, clock, time) }.map_or_else(|error| -error, |_| 0)
}

/// Processor time of a thread of this process, or of the process (0), in nanoseconds. None: there
/// is no such thread.
pub fn processor_time(tid: i32) -> Option<u64> {
    // Linux v6.1 include/linux/posix-timers.h: the number of a thread's clock is the inverted
    // thread id, followed by the kind in three bits.
    const SCHEDULED: i32 = 2;
    const OF_A_THREAD: i32 = 4;
    let clock = if tid == 0 { libc::CLOCK_PROCESS_CPUTIME_ID } else { !tid << 3 | OF_A_THREAD | SCHEDULED };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: one timespec is written.
    unsafe { syscall!(SYS_clock_gettime, clock, &raw mut time) }.ok()?;
    Some((time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64))
}

/// Whether a descriptor of another process and one of this process refer to the same open file
/// description (kcmp(2)). Err: the kernel does not say; EPERM for a process of another user.
pub fn same_description_in(pid: i32, fd: i32, other: i32, other_fd: i32) -> Result<bool> {
    const KCMP_FILE: i32 = 0;
    // SAFETY: kcmp takes no pointer.
    let order = unsafe { syscall!(SYS_kcmp, pid, other, KCMP_FILE, fd, other_fd) };
    order.map(|order| order == 0)
}

/// Ends the process at once. If a filter refuses both calls, ends it by a trap, as glibc's `_exit`
/// does.
pub fn exit_group(status: i32) -> ! {
    // SAFETY: neither call takes a pointer. What follows them is reached only if both were refused:
    // `ud2` raises SIGILL and does not return. A filter that kills instead also ends the process.
    unsafe {
        let _ = unasked(libc::SYS_exit_group, words([status as usize]));
        let _ = unasked(libc::SYS_exit, words([status as usize]));
        arch::system_call::trap();
    }
}

/// A system call for the program, in place of a function that the host's glibc lacks. Returns -1
/// and sets errno if it fails.
pub unsafe fn forward(number: libc::c_long, arguments: [usize; 6]) -> libc::c_int {
    // SAFETY: the caller promises what the system call needs.
    match checked(unsafe { call(number, arguments) }) {
        Ok(result) => result as libc::c_int,
        Err(error) => {
            set_errno(error);
            -1
        }
    }
}

/// The calling thread's errno.
#[inline(always)]
pub fn errno() -> i32 {
    // SAFETY: glibc's errno location is valid in every thread and in every state of the process.
    unsafe { *libc::__errno_location() }
}

/// Restores errno after a cold path that may have called into libc.
pub fn set_errno(value: i32) {
    // SAFETY: glibc's errno location is valid in every thread and in every state of the process.
    unsafe { *libc::__errno_location() = value }
}

/// The access mode and status flags of a descriptor: `O_RDWR`, `O_NONBLOCK` and others.
pub fn status_flags(fd: i32) -> Result<usize> {
    // SAFETY: F_GETFL takes no argument.
    unsafe { syscall!(SYS_fcntl, fd, libc::F_GETFL) }
}

/// Whether a descriptor is an epoll instance that does not watch `other`, an open descriptor. To
/// modify that interest, which does not exist, fails with ENOENT on an instance, and with EINVAL on
/// anything else (Linux v6.1 fs/eventpoll.c, do_epoll_ctl).
///
/// A descriptor that was not opened for reading and writing with no other flag, as an epoll
/// instance is, is not tried: the call would appear in a trace of the program.
pub fn is_epoll_without(fd: i32, other: i32) -> bool {
    if status_flags(fd) != Ok(libc::O_RDWR as usize) {
        return false;
    }
    let event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: one event is read.
    let changed = unsafe { syscall!(SYS_epoll_ctl, fd, libc::EPOLL_CTL_MOD, other, &raw const event) };
    changed == Err(libc::ENOENT)
}
