//! System calls that bypass libc: our own hooks, errno, and cancellation.
//!
//! May be called from anywhere, including signal handlers and borrowed memory. Every function
//! returns what the kernel returned, and touches nothing of libc. A call that a seccomp filter of
//! the program forbids is not made: its result is the error [`verdict::FORBIDDEN`].

use core::cmp;
use core::ffi::CStr;

use crate::arch;
use crate::filters::{ballast, reserve, verdict};
use crate::sync::{AtomicBool, AtomicU32, Ordering};
use crate::system_call::{call, checked, words};
use crate::{image, valgrind};

pub use crate::system_call::{Result, unasked};

/// A system call of the library's own, if the program's filters allow it.
///
/// # Safety
/// As for the system call itself.
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

/// What getpid(2) returns: a pid, or a negative error number.
#[inline(always)]
pub fn getpid_or_error() -> i32 {
    let arguments = [0; 6];
    if !verdict::allows(libc::SYS_getpid, &arguments) {
        return -verdict::FORBIDDEN;
    }
    // SAFETY: takes no argument.
    unsafe { call(libc::SYS_getpid, arguments) as i32 }
}

/// 0: a filter keeps the kernel's answer back, or makes up one.
#[inline(always)]
pub fn getpid() -> i32 {
    let arguments = [0; 6];
    if !verdict::allows(libc::SYS_getpid, &arguments) {
        return 0;
    }
    // SAFETY: takes no argument.
    unsafe { call(libc::SYS_getpid, arguments) }.max(0) as i32
}

pub fn getppid() -> i32 {
    // SAFETY: takes no argument.
    unsafe { syscall!(SYS_getppid) }.unwrap_or(0) as i32
}

/// 0: as for `getpid`.
pub fn gettid() -> i32 {
    // SAFETY: takes no argument.
    unsafe { syscall!(SYS_gettid) }.unwrap_or(0) as i32
}

pub fn geteuid() -> u32 {
    // SAFETY: takes no argument.
    unsafe { syscall!(SYS_geteuid) }.unwrap_or(0) as u32
}

/// Whether a thread of this process (or of `pid`) still exists. True if the kernel does not say.
/// Sends nothing.
pub fn thread_exists(pid: i32, tid: i32) -> bool {
    probe_thread(pid, tid) != Err(libc::ESRCH)
}

/// Looks for a thread of a process, both named in the caller's pid namespace. Err(ESRCH): there is
/// none. Sends nothing.
pub fn probe_thread(pid: i32, tid: i32) -> Result<()> {
    // SAFETY: signal 0 is never delivered.
    unsafe { syscall!(SYS_tgkill, pid, tid, 0) }.map(drop)
}

/// The head of the calling task's robust list; 0: it has registered none (get_robust_list(2)).
pub fn robust_list() -> Result<usize> {
    let (mut head, mut length) = (usize::MAX, 0usize);
    // SAFETY: the kernel writes two words, for which there is room.
    unsafe { syscall!(SYS_get_robust_list, 0, &raw mut head, &raw mut length) }?;
    // A filter that answers 0 leaves the words alone.
    if head == usize::MAX { Err(libc::ENOSYS) } else { Ok(head) }
}

/// Whether the kernel finds a thread of a process. False also if it does not say. Sends nothing.
pub fn finds_thread(pid: i32, tid: i32) -> bool {
    // SAFETY: signal 0 is never delivered.
    unsafe { syscall!(SYS_tgkill, pid, tid, 0) }.is_ok()
}

/// Whether a process of this pid exists. Sends nothing.
pub fn process_exists(pid: i32) -> bool {
    // SAFETY: signal 0 is never delivered.
    let answer = unsafe { syscall!(SYS_kill, pid, 0) };
    answer != Err(libc::ESRCH)
}

/// Sends a signal to the calling thread.
pub fn raise(signal: i32) {
    let (pid, tid) = (getpid(), gettid());
    // SAFETY: takes no pointer. The user of the option asked for the signal's effect.
    let _ = unsafe { syscall!(SYS_tgkill, pid, tid, signal) };
}

/// Up to eight random bytes; None: the kernel has none yet.
pub fn random() -> Option<u64> {
    let mut value = 0u64;
    // SAFETY: eight bytes are written at most.
    let got = unsafe { syscall!(SYS_getrandom, &raw mut value, size_of::<u64>(), libc::GRND_NONBLOCK) };
    (got == Ok(size_of::<u64>())).then_some(value)
}

/// The time at an address; None: it cannot be read.
pub fn timespec_at(address: usize) -> Option<libc::timespec> {
    let second = address.wrapping_add(size_of::<i64>());
    if address == 0 || !is_readable(address) || !is_readable(second.wrapping_sub(4)) {
        return None;
    }
    // SAFETY: the kernel has just read these sixteen bytes. A program that unmaps them at the same
    // time has a fault of its own.
    Some(unsafe { (address as *const libc::timespec).read_unaligned() })
}

/// The word at an address; None: it cannot be read.
pub fn word_at(address: usize) -> Option<u64> {
    // SAFETY: the kernel has just read these bytes. A program that unmaps them at the same time has
    // a fault of its own.
    is_word_readable(address).then(|| unsafe { (address as *const u64).read_unaligned() })
}

/// The event at an address; None: it cannot be read.
pub fn event_at(address: usize) -> Option<libc::epoll_event> {
    // SAFETY: the kernel has just read these bytes. A program that unmaps them at the same time has
    // a fault of its own.
    let mut event = is_readable(address).then(|| unsafe { (address as *const libc::epoll_event).read_unaligned() })?;
    valgrind::define(&mut event);
    Some(event)
}

/// Whether twelve bytes (a `struct epoll_event`) can be read. The kernel checks, so that a bad
/// address causes no fault: it reads a signal mask before it looks at the operation (Linux v6.1
/// kernel/signal.c), and the operation is invalid.
pub fn is_readable(address: usize) -> bool {
    [address, address.wrapping_add(4)].into_iter().all(is_word_readable)
}

const NO_SUCH_WAY: i32 = 0x7fff;

/// The same for eight bytes.
pub fn is_word_readable(address: usize) -> bool {
    if valgrind::is_running() {
        return is_readable_under_valgrind(address);
    }
    // SAFETY: the kernel checks the address; with an unknown `how` nothing is changed.
    let answer = unsafe { syscall!(SYS_rt_sigprocmask, NO_SUCH_WAY, address, 0, size_of::<SignalSet>()) };
    address != 0 && answer == Err(libc::EINVAL)
}

/// valgrind prints a line about a call like that in [`is_readable`]. memcheck answers itself;
/// otherwise the kernel copies the bytes (process_vm_readv(2)).
#[cold]
fn is_readable_under_valgrind(address: usize) -> bool {
    if let Some(answer) = valgrind::is_addressable(address) {
        return answer;
    }
    let mut copy = [0u8; 8];
    copy_readable(address, &mut copy) == copy.len()
}

/// Copies what can be read from an address on, and returns how many bytes that is
/// (process_vm_readv(2)). The kernel checks, so that memory which is unmapped at the same time
/// causes no fault.
pub fn copy_readable(address: usize, into: &mut [u8]) -> usize {
    let to = [into.as_mut_ptr() as usize, into.len()];
    let from = [address, into.len()];
    // SAFETY: two struct iovec; the kernel checks the second's address, and writes into the slice.
    unsafe { syscall!(SYS_process_vm_readv, getpid(), to.as_ptr(), 1, from.as_ptr(), 1, 0) }.unwrap_or(0)
}

/// Whether the kernel answers that question. A filter may prevent it.
pub fn can_ask_whether_readable() -> bool {
    let word = 0u64;
    is_word_readable(&raw const word as usize)
}

/// Makes an epoll_ctl that cannot succeed (there is no operation 0): the kernel checks its
/// arguments, and does nothing else. Err(EINVAL) if it finds no other error, or a filter forbids
/// the call.
pub fn probe_epoll_ctl(epfd: i32, fd: i32, event: usize) -> Result<usize> {
    let arguments = words([epfd as usize, 0, fd as usize, event]);
    if !verdict::allows(libc::SYS_epoll_ctl, &arguments) {
        return Err(libc::EINVAL);
    }
    // SAFETY: the kernel checks the address that it reads.
    unsafe { unasked(libc::SYS_epoll_ctl, arguments) }
}

/// Blocks one signal of this thread and returns what was blocked before.
pub fn block_signal(signal: i32) -> Result<SignalSet> {
    let set: SignalSet = 1u64 << (signal - 1).clamp(0, 63);
    let mut old: SignalSet = 0;
    // SAFETY: both sets are of the size that is said.
    unsafe { syscall!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const set, &raw mut old, size_of::<SignalSet>()) }
        .map(|_| old)
}

/// Sleeps until a time of CLOCK_MONOTONIC. Err(EINTR): a signal handler ran.
pub fn sleep_until(nanoseconds: u64) -> Result<()> {
    let time =
        libc::timespec { tv_sec: (nanoseconds / 1_000_000_000) as i64, tv_nsec: (nanoseconds % 1_000_000_000) as i64 };
    // SAFETY: one timespec is read; an absolute sleep leaves no rest.
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

/// Whether two processes share their memory (kcmp(2), Linux 3.5). Err if the kernel does not say.
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

/// Whether the caller has a child of any kind, ended ones included. Waits for none. True also if
/// the kernel does not say.
pub fn has_children() -> bool {
    let which = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    let mut info = core::mem::MaybeUninit::<libc::siginfo_t>::uninit();
    // SAFETY: the kernel writes a siginfo, for which there is room. No rusage is wanted.
    let waited = unsafe { syscall!(SYS_waitid, libc::P_ALL, 0, info.as_mut_ptr(), which, 0usize) };
    waited != Err(libc::ECHILD)
}

/// Whether two descriptors of this process refer to one open file description (kcmp(2)).
pub fn same_description(pid: i32, fd: i32, other: i32) -> Result<bool> {
    const KCMP_FILE: i32 = 0;
    // SAFETY: kcmp takes no pointer.
    unsafe { syscall!(SYS_kcmp, pid, pid, KCMP_FILE, fd, other) }.map(|order| order == 0)
}

/// Which open file description comes first in the kernel's own order, which is the same as long as
/// it runs: that of one descriptor or of another, both of the thread's table (kcmp(2)).
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

/// Whether an epoll of a thread's table watches, under the number `tfd`, the file that `fd` refers
/// to (kcmp(2), Linux 4.13). `place` selects one of several interests under this number, in the
/// order of `fdinfo`; 0 is the first. Err(ENOENT): there is none; other errors: the kernel does not
/// say.
pub fn watches_file_of(thread: i32, fd: i32, epfd: i32, tfd: i32, place: u32) -> Result<bool> {
    const KCMP_EPOLL_TFD: i32 = 7;
    // struct kcmp_epoll_slot: efd, tfd, toff.
    let slot = [epfd as u32, tfd as u32, place];
    // SAFETY: the kernel reads the twelve bytes of the slot.
    unsafe { syscall!(SYS_kcmp, thread, thread, KCMP_EPOLL_TFD, fd, slot.as_ptr()) }.map(|order| order == 0)
}

/// Forks: the child has a copy of the memory and of the descriptors. It is not traced, sends no
/// signal when it ends, and is waited for by [`wait_for`] alone. Ok(0): this is the child, which
/// may do nothing but make system calls and end.
pub fn fork_unnoticed() -> Result<i32> {
    // SAFETY: without CLONE_VM the child goes on in its own copy of this stack.
    unsafe { syscall!(SYS_clone, libc::CLONE_UNTRACED, 0, 0, 0, 0) }.map(|pid| pid as i32)
}

/// Waits until a child of [`fork_unnoticed`] has ended.
pub fn wait_for(child: i32) {
    // SAFETY: no status is wanted.
    while unsafe { syscall!(SYS_wait4, child, 0, libc::__WALL, 0) } == Err(libc::EINTR) {}
}

/// Lets another thread have the processor.
pub fn yield_now() {
    // SAFETY: takes no argument.
    let _ = unsafe { syscall!(SYS_sched_yield) };
}

/// Whether the calling thread runs on its alternate signal stack (sigaltstack(2)).
pub fn is_on_alternate_stack() -> bool {
    let mut stack = libc::stack_t { ss_sp: core::ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: sets nothing, and writes a stack_t, which has the kernel's layout on x86-64.
    let asked = unsafe { syscall!(SYS_sigaltstack, core::ptr::null::<u8>(), &raw mut stack) };
    asked.is_ok() && stack.ss_flags & libc::SS_ONSTACK != 0
}

/// A new mapping of this library's.
#[inline(never)]
fn own(address: usize, bytes: usize) -> *mut u8 {
    let start = address as *mut u8;
    valgrind::ignore(start, bytes);
    start
}

/// Fresh zeroed private memory; not reserved, so only touched pages cost anything.
pub fn map(bytes: usize) -> Result<*mut u8> {
    reserve::take(bytes).map_or_else(|| map_from_kernel(bytes), Ok)
}

/// The same from the kernel, though there be a reserve.
pub fn map_from_kernel(bytes: usize) -> Result<*mut u8> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice disturbs no other
    // memory.
    let map = || unsafe { syscall!(SYS_mmap, 0, bytes, protection, flags, -1isize, 0) };
    let address = match map() {
        Err(libc::EAGAIN) if unlock_own() => map(),
        Err(libc::ENOMEM) if begin_reserve() => return reserve::take(bytes).ok_or(libc::ENOMEM),
        mapped => mapped,
    }?;
    if IS_LIMITED.load(Ordering::Relaxed) {
        unlock(address as *mut u8, bytes);
    }
    Ok(own(address, bytes))
}

/// The program has locked its memory (`mlockall(MCL_FUTURE)`), and has no more that it may lock
/// (RLIMIT_MEMLOCK). Relaxed: a guess is good enough.
static IS_LIMITED: AtomicBool = AtomicBool::new(false);

/// Unlocks the library itself, once, so that there is room for what a report needs. (The library's
/// other memory stays locked: what the program wants of it is that it causes no page faults.)
/// False: it was done before.
#[cold]
fn unlock_own() -> bool {
    if IS_LIMITED.swap(true, Ordering::Relaxed) {
        return false;
    }
    image::segments().for_each(|(start, bytes, _)| unlock(start, bytes));
    true
}

/// Unlocks all memory of a process that ends, where [`map`] had not enough of it. False: that is
/// not so.
pub fn unlock_all() -> bool {
    // SAFETY: takes no pointer.
    IS_LIMITED.load(Ordering::Relaxed) && unsafe { syscall!(SYS_munlockall) }.is_ok()
}

#[cold]
fn unlock(start: *mut u8, bytes: usize) {
    // SAFETY: memory of this library's own; its content and rights do not change. The kernel takes
    // whole pages.
    let _ = unsafe { syscall!(SYS_munlock, start, bytes) };
}

/// Fresh zeroed memory that the children of forks share.
pub fn map_shared(bytes: usize) -> Result<*mut u8> {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice disturbs no other
    // memory.
    unsafe { syscall!(SYS_mmap, 0, bytes, protection, flags, -1isize, 0) }.map(|address| own(address, bytes))
}

/// Grows a mapping made by [`map`]; it may move.
///
/// # Safety
/// `start` and `old` must be a whole mapping of [`map`]'s that nobody else refers to.
pub unsafe fn remap(start: *mut u8, old: usize, new: usize) -> Result<*mut u8> {
    if let Some(moved) = reserve::take(new) {
        // SAFETY: the old memory and the new do not overlap. The caller promises a whole mapping that
        // nothing refers to.
        unsafe {
            moved.copy_from_nonoverlapping(start, old.min(new));
            unmap(start, old);
        }
        return Ok(moved);
    }
    if reserve::contains(start) {
        return Err(libc::ENOMEM);
    }
    // SAFETY: the caller promises a whole mapping that nothing refers to.
    let moved = unsafe { syscall!(SYS_mremap, start, old, new, libc::MREMAP_MAYMOVE) };
    if matches!(moved, Err(verdict::FORBIDDEN | libc::ENOMEM)) {
        let copy = map_from_kernel(new)?;
        // SAFETY: the old memory and the new do not overlap. The caller promises a whole mapping that
        // nothing refers to.
        unsafe {
            copy.copy_from_nonoverlapping(start, old.min(new));
            unmap_from_kernel(start, old);
        }
        return Ok(copy);
    }
    moved.map(|address| own(address, new))
}

/// # Safety
/// `start` and `bytes` must be a whole mapping of [`map`]'s that nobody refers to any more.
pub unsafe fn unmap(start: *mut u8, bytes: usize) {
    // SAFETY: the caller promises a whole mapping of `map` that nothing refers to.
    if !unsafe { reserve::give_back(start, bytes) } {
        // SAFETY: the caller promises a whole mapping that nothing refers to. It does not belong to
        // the reserve, so the kernel mapped it.
        unsafe { unmap_from_kernel(start, bytes) };
    }
}

/// # Safety
/// As [`unmap`], of memory that [`map_from_kernel`] gave.
pub unsafe fn unmap_from_kernel(start: *mut u8, bytes: usize) {
    // SAFETY: the caller promises a whole mapping that nothing refers to.
    let _ = unsafe { syscall!(SYS_munmap, start, bytes) };
}

/// Memory of [`map`]'s is to read as zero in the child of a fork (madvise(2), Linux 4.14).
///
/// # Safety
/// `start` and `bytes` must be a whole mapping of [`map`]'s.
pub unsafe fn wipe_on_fork(start: *mut u8, bytes: usize) -> Result<()> {
    // SAFETY: the caller promises a whole mapping of `map`. The advice changes nothing in this process.
    unsafe { syscall!(SYS_madvise, start, bytes, libc::MADV_WIPEONFORK) }.map(drop)
}

pub fn open(path: &CStr, flags: i32, mode: u32) -> Result<i32> {
    open_at(libc::AT_FDCWD, path, flags, mode)
}

pub fn open_at(directory: i32, path: &CStr, flags: i32, mode: u32) -> Result<i32> {
    // SAFETY: the path is zero-terminated.
    unsafe { syscall!(SYS_openat, directory, path.as_ptr(), flags | libc::O_CLOEXEC, mode) }.map(|fd| fd as i32)
}

pub fn make_directory(path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: the path is zero-terminated.
    #[cfg(target_arch = "x86_64")]
    let made = unsafe { syscall!(SYS_mkdir, path.as_ptr(), mode) };
    // SAFETY: the path is zero-terminated.
    #[cfg(not(target_arch = "x86_64"))]
    let made = unsafe { syscall!(SYS_mkdirat, libc::AT_FDCWD, path.as_ptr(), mode) };
    made.map(drop)
}

pub fn set_mode(fd: i32, mode: u32) -> Result<()> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_fchmod, fd, mode) }.map(drop)
}

/// Gives a file to another user. Its group stays.
pub fn set_owner(fd: i32, user: u32) -> Result<()> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_fchown, fd, user, u32::MAX) }.map(drop)
}

/// Cuts a file off.
pub fn truncate(fd: i32, bytes: i64) -> Result<()> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_ftruncate, fd, bytes) }.map(drop)
}

/// Where a descriptor reads and writes next; after a write with O_APPEND: where that ended.
pub fn position(fd: i32) -> Result<i64> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_lseek, fd, 0, libc::SEEK_CUR) }.map(|place| place as i64)
}

/// Reserves all blocks of a part of a file, and makes the file at least that long.
pub fn allocate(fd: i32, offset: usize, bytes: usize) -> Result<()> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_fallocate, fd, 0, offset, bytes) }.map(drop)
}

/// Whether the user may write a file.
pub fn may_write(path: &CStr) -> Result<()> {
    // SAFETY: the path is zero-terminated.
    unsafe { syscall!(SYS_faccessat, libc::AT_FDCWD, path.as_ptr(), libc::W_OK) }.map(drop)
}

/// Whether the user may make files in a directory.
pub fn may_write_in(directory: i32) -> Result<()> {
    // SAFETY: the path is zero-terminated.
    unsafe { syscall!(SYS_faccessat, directory, c".".as_ptr(), libc::W_OK | libc::X_OK) }.map(drop)
}

/// Maps a part of a file, shared with all that map it: in place of what is at `fixed`, which must
/// be memory of the library's own that nothing else refers to, or at an address of the kernel's
/// choice.
pub fn map_part(fd: i32, offset: usize, bytes: usize, fixed: Option<*mut u8>) -> Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let (address, flags) = match fixed {
        Some(address) => (address, libc::MAP_SHARED | libc::MAP_FIXED),
        None => (core::ptr::null_mut(), libc::MAP_SHARED),
    };
    // SAFETY: the callers pass as `fixed` only memory of the library's own; otherwise a new mapping
    // changes no other memory.
    let mut mapped = unsafe { syscall!(SYS_mmap, address, bytes, protection, flags, fd, offset) };
    if mapped == Err(libc::ENOMEM)
        && fixed.is_none()
        && let Some(held) = ballast::take(bytes)
    {
        // SAFETY: address space that the library holds for this, and that nothing refers to.
        mapped = unsafe { syscall!(SYS_mmap, held, bytes, protection, flags | libc::MAP_FIXED, fd, offset) };
    }
    mapped.map(|address| own(address, bytes))
}

/// Moves a mapping in place of what is there.
///
/// # Safety
/// `start` and `bytes` must be whole pages of the library's own that nothing refers to, and `to` as
/// much memory of its own.
pub unsafe fn move_over(start: *mut u8, bytes: usize, to: *mut u8) -> Result<()> {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: the caller promises pages that nothing refers to, and memory to replace.
    unsafe { syscall!(SYS_mremap, start, bytes, bytes, flags, to) }.map(drop)
}

/// Holds address space for when there is none left (src/filters/ballast.rs), if there is so much.
/// Called once, at load.
pub fn hold_ballast() {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice disturbs no other
    // memory.
    if let Ok(start) = unsafe { syscall!(SYS_mmap, 0, ballast::BYTES, libc::PROT_NONE, flags, -1isize, 0) } {
        ballast::hold(start as *mut u8);
    }
}

/// mmap has found no address space: makes a part of what is held the reserve. False: it is so
/// already, or nothing is held.
#[cold]
fn begin_reserve() -> bool {
    let Some(start) = ballast::take_reserve() else { return false };
    // SAFETY: whole pages of a mapping of the library's own, which nothing refers to.
    let mapped = unsafe { map_over(start, ballast::FOR_RESERVE) };
    mapped.is_ok() && reserve::begin(start, ballast::FOR_RESERVE)
}

/// The process ends: the kernel gets address space back that is held for the report.
pub fn give_ballast_back() {
    if let Some(start) = ballast::take_report() {
        // SAFETY: the end of a mapping of the library's own, which nothing refers to.
        unsafe { unmap_from_kernel(start, ballast::FOR_REPORT) };
    }
}

/// Maps zeroed private memory in place of what is there.
///
/// # Safety
/// `start` and `bytes` must be whole pages of the library's own mappings.
pub unsafe fn map_over(start: *mut u8, bytes: usize) -> Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the caller promises whole pages of the library's own.
    unsafe { syscall!(SYS_mmap, start, bytes, protection, flags, -1isize, 0) }.map(|address| {
        own(address, bytes);
    })
}

/// Closes a descriptor that the library itself opened.
pub fn close(fd: i32) -> Result<()> {
    // SAFETY: takes no pointer; callers close only what they opened.
    unsafe { syscall!(SYS_close, fd) }.map(drop)
}

/// Gives the calling thread, which shares its descriptor table, an empty one of its own
/// (close_range(2), Linux 5.9). Since Linux 6.12 nothing is copied for that (fs/file.c, dup_fd),
/// before that 64 descriptors at most.
pub fn leave_descriptors() -> Result<()> {
    // SAFETY: takes no pointer. The table that is emptied is the new one: the caller shares the old
    // one.
    unsafe { syscall!(SYS_close_range, 0, u32::MAX, libc::CLOSE_RANGE_UNSHARE) }.map(drop)
}

/// Gives the calling thread a copy of the descriptor table that it shares.
pub fn unshare_descriptors() -> Result<()> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_unshare, libc::CLONE_FILES) }.map(drop)
}

/// Another descriptor of the same file, close-on-exec, with the lowest number from `least` on.
pub fn duplicate_from(fd: i32, least: i32) -> Result<i32> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, least) }.map(|fd| fd as i32)
}

/// Sleeps while a word has this value, until it is woken, and at most `nanoseconds` (less than a
/// second). Err(EAGAIN): it has another value.
pub fn futex_wait(word: &AtomicU32, value: u32, nanoseconds: i64) -> Result<()> {
    let time = libc::timespec { tv_sec: 0, tv_nsec: nanoseconds };
    // SAFETY: the word is valid and only read; one timespec is read.
    unsafe { syscall!(SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, &raw const time) }.map(drop)
}

/// Wakes a thread that sleeps by [`futex_wait`].
pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: the kernel does not touch the word.
    let _ = unsafe { syscall!(SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

pub fn read(fd: i32, into: &mut [u8]) -> Result<usize> {
    // SAFETY: the slice bounds what the kernel writes.
    unsafe { syscall!(SYS_read, fd, into.as_mut_ptr(), into.len()) }
}

/// Reads from an offset of a file.
pub fn read_at(fd: i32, into: &mut [u8], place: i64) -> Result<usize> {
    // SAFETY: the slice bounds what the kernel writes.
    unsafe { syscall!(SYS_pread64, fd, into.as_mut_ptr(), into.len(), place) }
}

/// The absolute path of the working directory. Err also if it has none: it was removed, or lies
/// outside the root.
pub fn working_directory(into: &mut [u8]) -> Result<&[u8]> {
    // SAFETY: the slice bounds what the kernel writes.
    let length = unsafe { syscall!(SYS_getcwd, into.as_mut_ptr(), into.len()) }?;
    // The length counts the final zero; "(unreachable)" stands before what lies outside (getcwd(3),
    // Linux 2.6.36).
    into.get(..length.saturating_sub(1)).filter(|path| path.starts_with(b"/")).ok_or(libc::ENOENT)
}

pub fn write(fd: i32, from: &[u8]) -> Result<usize> {
    // SAFETY: the slice bounds what the kernel reads.
    unsafe { syscall!(SYS_write, fd, from.as_ptr(), from.len()) }
}

/// Directory entries in the form of getdents64(2).
pub fn directory_entries(fd: i32, into: &mut [u8]) -> Result<usize> {
    // SAFETY: the slice bounds what the kernel writes.
    unsafe { syscall!(SYS_getdents64, fd, into.as_mut_ptr(), into.len()) }
}

/// The target of a symbolic link relative to a directory's descriptor, cut off at the length of
/// `into`.
pub fn read_link_at(directory: i32, path: &CStr, into: &mut [u8]) -> Result<usize> {
    // SAFETY: the path is zero-terminated, the slice bounds what the kernel writes.
    unsafe { syscall!(SYS_readlinkat, directory, path.as_ptr(), into.as_mut_ptr(), into.len()) }
}

/// Status of a descriptor: enough to know one file from another, and an owner.
pub fn status(fd: i32) -> Result<libc::stat> {
    let mut status = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel's struct stat is libc's on x86-64; all-zero is a valid one.
    unsafe {
        syscall!(SYS_fstat, fd, status.as_mut_ptr())?;
        Ok(status.assume_init())
    }
}

/// Whether a descriptor's file lies in /proc.
pub fn is_of_proc(fd: i32) -> bool {
    let mut status = core::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel's struct statfs is libc's on x86-64; all-zero is a valid one.
    let kind = unsafe {
        let asked = syscall!(SYS_fstatfs, fd, status.as_mut_ptr());
        asked.map(|_| status.assume_init().f_type)
    };
    kind == Ok(libc::PROC_SUPER_MAGIC)
}

/// How many hard links a file or directory has.
pub fn links(path: &CStr) -> Result<u64> {
    #[allow(clippy::unnecessary_cast, reason = "four bytes on aarch64")]
    status_of(path).map(|status| status.st_nlink as u64)
}

/// The mode of the file that a path leads to (stat(2)).
pub fn mode(path: &CStr) -> Result<libc::mode_t> {
    status_of(path).map(|status| status.st_mode)
}

/// The owner of a file or directory.
pub fn owner(path: &CStr) -> Result<u32> {
    status_of(path).map(|status| status.st_uid)
}

fn status_of(path: &CStr) -> Result<libc::stat> {
    let mut status = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the path is zero-terminated; all-zero is a valid struct stat.
    unsafe {
        syscall!(SYS_newfstatat, libc::AT_FDCWD, path.as_ptr(), status.as_mut_ptr(), 0)?;
        Ok(status.assume_init())
    }
}

/// Tries to take a file's only lock (flock(2)), which ends with the descriptor. Err(EWOULDBLOCK):
/// another process has it.
pub fn lock(fd: i32) -> Result<()> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_flock, fd, libc::LOCK_EX | libc::LOCK_NB) }.map(drop)
}

/// Sleeps, unless a signal comes.
pub fn sleep(nanoseconds: i64) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: nanoseconds };
    // SAFETY: one timespec is read; the rest is not wanted.
    let _ = unsafe { syscall!(SYS_nanosleep, &raw const time, core::ptr::null::<u8>()) };
}

/// Whether a path is a regular file that the user may execute.
///
/// # Safety
/// `path` must point to a zero-terminated string, or be null (then: no).
pub unsafe fn may_execute(directory: i32, path: *const libc::c_char) -> bool {
    let mut status = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the caller promises a zero-terminated string or null; all-zero is a valid struct
    // stat.
    unsafe {
        syscall!(SYS_faccessat, directory, path, libc::X_OK).is_ok()
            && syscall!(SYS_newfstatat, directory, path, status.as_mut_ptr(), 0).is_ok()
            && status.assume_init().st_mode & libc::S_IFMT == libc::S_IFREG
    }
}

#[cfg(target_arch = "x86_64")]
fn poll_one(poll: &mut libc::pollfd, milliseconds: i32) -> Result<usize> {
    // SAFETY: one pollfd, as said.
    unsafe { syscall!(SYS_poll, core::ptr::from_mut(poll), 1, milliseconds) }
}

#[cfg(not(target_arch = "x86_64"))]
fn poll_one(poll: &mut libc::pollfd, milliseconds: i32) -> Result<usize> {
    let (milliseconds, per_second) = (i64::from(milliseconds), 1000);
    let nanoseconds = milliseconds % per_second * 1_000_000;
    let time = libc::timespec { tv_sec: milliseconds / per_second, tv_nsec: nanoseconds };
    // SAFETY: one pollfd, as said, a time, and no signal mask.
    unsafe { syscall!(SYS_ppoll, core::ptr::from_mut(poll), 1, &raw const time, 0, 0) }
}

/// Waits up to `milliseconds` until a descriptor takes writes. Ok(false): it does not.
pub fn writable(fd: i32, milliseconds: i32) -> Result<bool> {
    let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    Ok(poll_one(&mut poll, milliseconds)? == 1 && poll.revents & libc::POLLOUT != 0)
}

/// Writes what can be written without waiting, whatever mode the descriptor is in (pwritev2(2):
/// pipes since Linux 6.4, sockets since 5.13). Err(EAGAIN): nothing can be written;
/// Err(EOPNOTSUPP): this file does not support it.
pub fn write_at_once(fd: i32, bytes: &[u8]) -> Result<usize> {
    let piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: one piece, which the kernel only reads; position -1 is the file's own.
    unsafe { syscall!(SYS_pwritev2, fd, &raw const piece, 1, -1isize, -1isize, libc::RWF_NOWAIT) }
}

/// The kernel's signal set (64 signals in a word).
pub type SignalSet = u64;

/// The size of the kernel's signal set: what glibc passes to `epoll_pwait`'s system call as its
/// sixth argument. The program's own `syscall()` may pass another (`EINVAL`, Linux v6.1
/// kernel/signal.c, set_user_sigmask).
pub const SIGSET_SIZE: usize = size_of::<SignalSet>();

/// Blocks every signal of this thread and returns what was blocked before. Two signals are
/// exceptions: the kernel forces them on a thread, and they kill it if they are blocked (Linux v6.1
/// kernel/signal.c, force_sig_info_to_task). They are SIGTRAP for a program that steps itself by
/// the processor's trap flag, and SIGSYS for one whose filter makes a handler answer a system call.
pub fn block_signals() -> Result<SignalSet> {
    let forced: SignalSet = 1 << (libc::SIGTRAP - 1) | 1 << (libc::SIGSYS - 1);
    let mut old: SignalSet = 0;
    let (all, size) = (!forced, size_of::<SignalSet>());
    // SAFETY: both sets are of the size that is said.
    unsafe { syscall!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const all, &raw mut old, size) }.map(|_| old)
}

/// Whether a signal has a handler that it may interrupt (sigaction(2), SA_NODEFER). True also where a
/// filter hides it.
pub fn may_interrupt_itself(signal: i32) -> bool {
    // struct kernel_sigaction (Linux v6.1 include/linux/signal_types.h): handler, flags, restorer, mask.
    let mut action = [u64::MAX, libc::SA_NODEFER as u64, 0, 0];
    let null = core::ptr::null::<u8>();
    // SAFETY: four words are written at most; nothing is changed.
    let _ = unsafe { syscall!(SYS_rt_sigaction, signal, null, &raw mut action, size_of::<SignalSet>()) };
    let [handler, flags, ..] = action;
    handler > libc::SIG_IGN as u64 && flags & libc::SA_NODEFER as u64 != 0
}

pub fn set_signal_mask(set: SignalSet) {
    let null = core::ptr::null::<u8>();
    // SAFETY: the set is of the size that is said.
    let _ = unsafe { syscall!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const set, null, size_of::<SignalSet>()) };
}

/// The signals that this thread blocks. All, where a filter answers in the kernel's place.
pub fn blocked_signals() -> Result<SignalSet> {
    let mut old = SignalSet::MAX;
    let null = core::ptr::null::<u8>();
    // SAFETY: changes nothing, and writes a set of the size that is said.
    unsafe { syscall!(SYS_rt_sigprocmask, libc::SIG_BLOCK, null, &raw mut old, size_of::<SignalSet>()) }.map(|_| old)
}

/// What a signal does: SIG_DFL, SIG_IGN, or the address of a handler.
pub fn disposition(signal: i32) -> Result<usize> {
    // The kernel's struct sigaction, which begins with the handler (Linux v6.1
    // include/linux/signal_types.h).
    let mut action = [usize::MAX; 4];
    let null = core::ptr::null::<u8>();
    // SAFETY: changes nothing, and writes four words, for which there is room.
    unsafe { syscall!(SYS_rt_sigaction, signal, null, action.as_mut_ptr(), size_of::<SignalSet>()) }?;
    let [handler, ..] = action;
    // A filter that answers 0 leaves the words alone.
    if handler == usize::MAX { Err(libc::ENOSYS) } else { Ok(handler) }
}

/// The process group of the calling process.
pub fn process_group() -> i32 {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_getpgid, 0) }.unwrap_or(0) as i32
}

/// The signals that are pending for this thread.
pub fn pending_signals() -> Result<SignalSet> {
    let mut set: SignalSet = 0;
    // SAFETY: the set is of the size that is said.
    unsafe { syscall!(SYS_rt_sigpending, &raw mut set, size_of::<SignalSet>()) }.map(|_| set)
}

/// Discards the pending signals of `set`.
pub fn swallow_signals(set: SignalSet) {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // A standard signal is pending at most once for the thread and once for the process. Bounded,
    // since a filter may return 0 for ever.
    for _ in 0..2 * set.count_ones() {
        // SAFETY: the set is of the size that is said; no siginfo is wanted.
        let signal = unsafe {
            let size = size_of::<SignalSet>();
            syscall!(SYS_rt_sigtimedwait, &raw const set, core::ptr::null::<u8>(), &raw const now, size)
        };
        if signal.is_err() {
            return;
        }
    }
}

/// The soft and hard limit of the number of descriptors.
pub fn descriptor_limit() -> Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: one rlimit is written.
    unsafe { syscall!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, core::ptr::null::<u8>(), &raw mut limit) }?;
    Ok(limit)
}

pub fn set_descriptor_limit(limit: libc::rlimit) -> Result<()> {
    // SAFETY: one rlimit is read.
    unsafe { syscall!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, &raw const limit, core::ptr::null::<u8>()) }.map(drop)
}

/// A clock by system call, if the vDSO has none. Returns 0, or a negated errno, and then nothing is
/// written.
///
/// # Safety
/// As for clock_gettime(2).
pub unsafe fn clock(clock: libc::clockid_t, time: *mut libc::timespec) -> i32 {
    // SAFETY: the caller promises what clock_gettime(2) needs.
    unsafe { syscall!(SYS_clock_gettime, clock, time) }.map_or_else(|error| -error, |_| 0)
}

/// Processor time of a thread of this process, or of the process (0), nanoseconds. None: there is
/// no such thread.
pub fn processor_time(tid: i32) -> Option<u64> {
    // Linux v6.1 include/linux/posix-timers.h: a clock's number is the thread's, inverted, followed
    // by the kind in three bits.
    const SCHEDULED: i32 = 2;
    const OF_A_THREAD: i32 = 4;
    let clock = if tid == 0 { libc::CLOCK_PROCESS_CPUTIME_ID } else { !tid << 3 | OF_A_THREAD | SCHEDULED };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: one timespec is written.
    unsafe { syscall!(SYS_clock_gettime, clock, &raw mut time) }.ok()?;
    Some((time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64))
}

/// A socket option that is a number. Err: not a socket, or one without this option.
pub fn socket_option(fd: i32, option: i32) -> Result<i32> {
    let mut value = 0i32;
    let mut length = size_of::<i32>() as u32;
    // SAFETY: as many bytes are written as is said at most.
    unsafe { syscall!(SYS_getsockopt, fd, libc::SOL_SOCKET, option, &raw mut value, &raw mut length) }?;
    Ok(value)
}

/// The address of a socket's own end (getsockname), or of its other end (getpeername), as long as
/// it is; cut off at the length of `into`. Err: not a socket, or it has none.
pub fn socket_address(fd: i32, is_peer: bool, into: &mut [u8]) -> Result<&[u8]> {
    let mut length = into.len() as u32;
    let (address, length_at) = (into.as_mut_ptr(), &raw mut length);
    // SAFETY: as many bytes are written as is said at most.
    unsafe {
        match is_peer {
            true => syscall!(SYS_getpeername, fd, address, length_at),
            false => syscall!(SYS_getsockname, fd, address, length_at),
        }
    }?;
    into.get(..(length as usize).min(into.len())).ok_or(libc::EINVAL)
}

/// How many columns a terminal has. Err: not a terminal.
pub fn columns(fd: i32) -> Result<u16> {
    let mut size = [0u16; 4];
    // SAFETY: one struct winsize is written: rows, columns, and two numbers of pixels.
    unsafe { syscall!(SYS_ioctl, fd, libc::TIOCGWINSZ, size.as_mut_ptr()) }?;
    let [_, columns, ..] = size;
    Ok(columns)
}

/// The beginning of TCP_INFO, as words of 64 bits: bytes that were acknowledged and received are
/// words 15 and 16 (Linux 4.1, include/uapi/linux/tcp.h). Err also if the kernel returns less.
pub fn tcp_info(fd: i32) -> Result<[u64; 17]> {
    let mut words = [0u64; 17];
    let mut length = size_of_val(&words) as u32;
    // SAFETY: as many bytes are written as is said at most.
    unsafe { syscall!(SYS_getsockopt, fd, libc::IPPROTO_TCP, libc::TCP_INFO, words.as_mut_ptr(), &raw mut length) }?;
    if length as usize == size_of_val(&words) { Ok(words) } else { Err(libc::EINVAL) }
}

/// How many connections wait at a listening socket (`tcpi_unacked` of word 3: tcp_get_info of
/// net/ipv4/tcp.c, Linux 6.1).
pub fn connections_waiting(fd: i32) -> Result<u32> {
    let [_, _, _, word, ..] = tcp_info(fd)?;
    Ok(word as u32)
}

/// Bytes that wait to be read (FIONREAD), or to be sent (TIOCOUTQ, which is SIOCOUTQ).
pub fn bytes_waiting(fd: i32, request: libc::c_ulong) -> Result<i32> {
    let mut bytes = 0i32;
    // SAFETY: one int is written by both.
    unsafe { syscall!(SYS_ioctl, fd, request, &raw mut bytes) }?;
    Ok(bytes)
}

/// Whether a descriptor of another process and one of this refer to one open file description
/// (kcmp(2)).
pub fn same_description_in(pid: i32, fd: i32, other: i32, other_fd: i32) -> bool {
    const KCMP_FILE: i32 = 0;
    // SAFETY: kcmp takes no pointer.
    let order = unsafe { syscall!(SYS_kcmp, pid, other, KCMP_FILE, fd, other_fd) };
    order == Ok(0)
}

/// Ends the process at once. If a filter refuses both calls, by a trap, as glibc's `_exit` does.
pub fn exit_group(status: i32) -> ! {
    // SAFETY: neither call takes a pointer. What follows them is reached only if both were refused;
    // `ud2` raises SIGILL and does not return. A filter that kills instead ends the process, too.
    unsafe {
        let _ = unasked(libc::SYS_exit_group, words([status as usize]));
        let _ = unasked(libc::SYS_exit, words([status as usize]));
        arch::system_call::trap();
    }
}

/// A system call of the program's own, for a function that the host's glibc lacks: -1 and errno on
/// failure.
///
/// # Safety
/// As for the system call itself.
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

/// The calling thread's errno, as the real function left it.
#[inline(always)]
pub fn errno() -> i32 {
    // SAFETY: glibc's errno location is valid in every thread and in every state of the process.
    unsafe { *libc::__errno_location() }
}

/// Restores errno after a cold path that may have called into libc.
pub fn set_errno(value: i32) {
    // SAFETY: as for `errno`.
    unsafe { *libc::__errno_location() = value }
}

/// Whether a number is an open descriptor of the caller. True also if a filter keeps the answer
/// back.
pub fn is_open(fd: i32) -> bool {
    // SAFETY: F_GETFD takes no argument.
    let answer = unsafe { syscall!(SYS_fcntl, fd, libc::F_GETFD) };
    answer != Err(libc::EBADF)
}

/// Whether a descriptor of the caller stays open at exec.
pub fn survives_exec(fd: i32) -> bool {
    // SAFETY: F_GETFD takes no argument.
    unsafe { syscall!(SYS_fcntl, fd, libc::F_GETFD) }.is_ok_and(|flags| flags & libc::FD_CLOEXEC as usize == 0)
}

/// Whether the peer of what a descriptor refers to is gone (POLLHUP).
pub fn is_hung_up(fd: i32) -> bool {
    let mut poll = libc::pollfd { fd, events: 0, revents: 0 };
    poll_one(&mut poll, 0) == Ok(1) && poll.revents & libc::POLLHUP != 0
}

/// Whether a descriptor of the caller closes at exec.
pub fn is_cloexec(fd: i32) -> bool {
    // SAFETY: F_GETFD takes no argument.
    unsafe { syscall!(SYS_fcntl, fd, libc::F_GETFD) }.is_ok_and(|flags| flags & libc::FD_CLOEXEC as usize != 0)
}

/// Whether a number is an open descriptor of the caller that an exec would pass on.
pub fn passes_exec(fd: i32) -> bool {
    // SAFETY: F_GETFD takes no argument.
    unsafe { syscall!(SYS_fcntl, fd, libc::F_GETFD) }.is_ok_and(|flags| flags & libc::FD_CLOEXEC as usize == 0)
}

/// Whether a descriptor is an epoll instance that does not watch `other`, an open descriptor: a
/// change of that interest, which does not exist, fails with ENOENT, and with EINVAL if the
/// descriptor is something else (Linux v6.1 fs/eventpoll.c, do_epoll_ctl).
///
/// A descriptor that is not opened for reading and writing and nothing else, as an epoll is, is not
/// tried: the call would appear in a trace of the program.
pub fn is_epoll_without(fd: i32, other: i32) -> bool {
    // SAFETY: F_GETFL takes no argument.
    let flags = unsafe { syscall!(SYS_fcntl, fd, libc::F_GETFL) };
    if flags != Ok(libc::O_RDWR as usize) {
        return false;
    }
    let event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: one event is read.
    let changed = unsafe { syscall!(SYS_epoll_ctl, fd, libc::EPOLL_CTL_MOD, other, &raw const event) };
    changed == Err(libc::ENOENT)
}
