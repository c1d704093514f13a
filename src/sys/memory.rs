//! Memory: the library's own mappings, and reads of the program's memory that cannot fault.

use super::{Result, SignalSet, getpid, permitted, words};
use crate::filters::{ballast, reserve, verdict};
use crate::sync::{AtomicBool, Ordering};
use crate::{image, valgrind};

/// The time at an address. None: it cannot be read.
pub fn timespec_at(address: usize) -> Option<libc::timespec> {
    let second = address.wrapping_add(size_of::<i64>());
    if address == 0 || !is_readable(address) || !is_readable(second.wrapping_sub(4)) {
        return None;
    }
    // SAFETY: the kernel has just read these sixteen bytes. A program that unmaps them at the same
    // time has a bug of its own.
    Some(unsafe { (address as *const libc::timespec).read_unaligned() })
}

/// The word at an address. None: it cannot be read.
pub fn word_at(address: usize) -> Option<u64> {
    // SAFETY: the kernel has just read these bytes. A program that unmaps them at the same time has
    // a bug of its own.
    is_word_readable(address).then(|| unsafe { (address as *const u64).read_unaligned() })
}

/// The event at an address. None: it cannot be read.
pub fn event_at(address: usize) -> Option<libc::epoll_event> {
    // SAFETY: the kernel has just read these bytes. A program that unmaps them at the same time has
    // a bug of its own.
    let mut event = is_readable(address).then(|| unsafe { (address as *const libc::epoll_event).read_unaligned() })?;
    valgrind::define(&mut event);
    Some(event)
}

/// Whether twelve bytes (a `struct epoll_event`) can be read. The kernel checks, so a bad address
/// causes no fault: it reads a signal mask before it looks at the operation (Linux v6.1
/// kernel/signal.c), and the operation is invalid.
pub fn is_readable(address: usize) -> bool {
    [address, address.wrapping_add(4)].into_iter().all(is_word_readable)
}

/// An operation that rt_sigprocmask(2) does not have.
const NO_OPERATION: i32 = 0x7fff;

/// Whether eight bytes can be read, in the same way as [`is_readable`].
pub fn is_word_readable(address: usize) -> bool {
    if valgrind::is_running() {
        return is_readable_under_valgrind(address);
    }
    // SAFETY: the kernel checks the address, and changes nothing for an unknown `how`.
    let answer = unsafe { syscall!(SYS_rt_sigprocmask, NO_OPERATION, address, 0, size_of::<SignalSet>()) };
    address != 0 && answer == Err(libc::EINVAL)
}

/// valgrind prints a line about a call like the one in [`is_word_readable`]. memcheck answers by
/// itself; under other tools the kernel copies the bytes (process_vm_readv(2)).
#[cold]
fn is_readable_under_valgrind(address: usize) -> bool {
    if let Some(answer) = valgrind::is_addressable(address) {
        return answer;
    }
    let mut copy = [0u8; 8];
    copy_readable(address, &mut copy) == copy.len()
}

/// Copies what can be read from an address on, and returns how many bytes that is
/// (process_vm_readv(2)). The kernel checks, so memory that is unmapped at the same time causes no
/// fault.
pub fn copy_readable(address: usize, into: &mut [u8]) -> usize {
    let to = [into.as_mut_ptr() as usize, into.len()];
    let from = [address, into.len()];
    // SAFETY: both arrays are a struct iovec. The kernel checks the second one's address, and
    // writes into the slice of the first.
    unsafe { syscall!(SYS_process_vm_readv, getpid(), to.as_ptr(), 1, from.as_ptr(), 1, 0) }.unwrap_or(0)
}

/// Writes a word. Memory that may only be read (`PROT_READ`) has the same rights afterwards.
///
/// # Safety
/// The word's page must be mapped, and all readers of the word must accept the value.
pub unsafe fn write_word(place: *mut usize, value: usize) -> Result<()> {
    let from = [&raw const value as usize, size_of::<usize>()];
    let to = [place as usize, size_of::<usize>()];
    // SAFETY: both arrays are a struct iovec. The kernel checks the second one's address and
    // rights.
    let written = unsafe { syscall!(SYS_process_vm_writev, getpid(), from.as_ptr(), 1, to.as_ptr(), 1, 0) };
    if written != Err(libc::EFAULT) {
        return written.map(drop);
    }
    // SAFETY: getauxval takes no pointer, and the kernel laid out the auxiliary vector that it
    // reads.
    let page = unsafe { libc::getauxval(libc::AT_PAGESZ) } as usize;
    let start = place as usize & page.wrapping_neg();
    // SAFETY: the page is mapped (this function's contract) and was not writable, so no other
    // thread writes to it while its rights are changed.
    unsafe {
        syscall!(SYS_mprotect, start, page, libc::PROT_READ | libc::PROT_WRITE)?;
        place.write_volatile(value);
        syscall!(SYS_mprotect, start, page, libc::PROT_READ).map(drop)
    }
}

/// Whether [`is_word_readable`] gets an answer from the kernel. A filter may prevent it.
pub fn can_ask_whether_readable() -> bool {
    let word = 0u64;
    is_word_readable(&raw const word as usize)
}

/// The program may have called mlockall(2): main has begun, or is about to. Relaxed: a guess is
/// good enough.
static MAY_BE_LOCKED: AtomicBool = AtomicBool::new(false);

/// From now on the library unlocks what it maps. (Earlier, that would add a system call for each
/// mapping to the start of a program.)
pub fn expect_locked_memory() {
    MAY_BE_LOCKED.store(true, Ordering::Relaxed);
}

/// Takes over a new mapping for this library, and unlocks it: after `mlockall(MCL_FUTURE)` every
/// mapping counts towards RLIMIT_MEMLOCK (mlock(2)), which the program needs for its own memory.
/// The pages stay in memory until the kernel needs them for something else.
#[inline(never)]
fn own(address: usize, bytes: usize) -> *mut u8 {
    let start = address as *mut u8;
    // This comes first: valgrind lets other threads run at the next system call.
    valgrind::ignore(start, bytes);
    if MAY_BE_LOCKED.load(Ordering::Relaxed) {
        unlock(start, bytes);
    }
    start
}

/// Maps zeroed private memory. It is not reserved, so only touched pages cost anything.
#[inline(never)] // for size
pub fn map(bytes: usize) -> Result<*mut u8> {
    reserve::take(bytes).map_or_else(|| map_from_kernel(bytes), Ok)
}

/// [`map`] from the kernel, even if there is a reserve.
pub fn map_from_kernel(bytes: usize) -> Result<*mut u8> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address that the kernel chooses changes no other
    // memory.
    let map = || unsafe { syscall!(SYS_mmap, 0, bytes, protection, flags, -1isize, 0) };
    let address = match map() {
        Err(libc::EAGAIN) if unlock_own() => map(),
        Err(libc::ENOMEM) if begin_reserve() => return reserve::take(bytes).ok_or(libc::ENOMEM),
        mapped => mapped,
    }?;
    Ok(own(address, bytes))
}

/// The program has locked its memory (`mlockall(MCL_FUTURE)`) and may lock no more
/// (RLIMIT_MEMLOCK). Relaxed: a guess is good enough.
static IS_LIMITED: AtomicBool = AtomicBool::new(false);

/// Unlocks the library's image, once, to make room for a mapping. (What was mapped before the
/// program's `mlockall` stays locked.) False: that was done before.
#[cold]
fn unlock_own() -> bool {
    if IS_LIMITED.swap(true, Ordering::Relaxed) {
        return false;
    }
    image::segments().for_each(|(start, bytes, _)| unlock(start, bytes));
    true
}

/// Unlocks all memory of a process that ends, if [`map`] has failed because of locked memory.
/// False: it has not.
pub fn unlock_all() -> bool {
    // SAFETY: takes no pointer.
    IS_LIMITED.load(Ordering::Relaxed) && unsafe { syscall!(SYS_munlockall) }.is_ok()
}

fn unlock(start: *mut u8, bytes: usize) {
    // SAFETY: this is the library's own memory; its content and rights do not change. The kernel
    // rounds to whole pages.
    let _ = unsafe { syscall!(SYS_munlock, start, bytes) };
}

/// Maps zeroed memory that the children of forks share.
pub fn map_shared(bytes: usize) -> Result<*mut u8> {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address that the kernel chooses changes no other
    // memory.
    unsafe { syscall!(SYS_mmap, 0, bytes, protection, flags, -1isize, 0) }.map(|address| own(address, bytes))
}

/// Grows a mapping that [`map`] made. It may move.
///
/// # Safety
/// `start` and `old` must be a whole mapping of [`map`] that nothing else refers to.
pub unsafe fn remap(start: *mut u8, old: usize, new: usize) -> Result<*mut u8> {
    if let Some(moved) = reserve::take(new) {
        // SAFETY: the old memory and the new do not overlap. The caller promises a whole mapping
        // that nothing refers to.
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
        // SAFETY: the old memory and the new do not overlap. The caller promises a whole mapping
        // that nothing refers to.
        unsafe {
            copy.copy_from_nonoverlapping(start, old.min(new));
            unmap_from_kernel(start, old);
        }
        return Ok(copy);
    }
    moved.map(|address| own(address, new))
}

/// # Safety
/// `start` and `bytes` must be a whole mapping of [`map`] that nothing refers to any more.
pub unsafe fn unmap(start: *mut u8, bytes: usize) {
    // SAFETY: the caller promises a whole mapping of `map` that nothing refers to.
    if !unsafe { reserve::give_back(start, bytes) } {
        // SAFETY: the caller promises a whole mapping that nothing refers to. It does not belong to
        // the reserve, so the kernel mapped it.
        unsafe { unmap_from_kernel(start, bytes) };
    }
}

/// # Safety
/// As for [`unmap`], for memory that [`map_from_kernel`] returned.
pub unsafe fn unmap_from_kernel(start: *mut u8, bytes: usize) {
    // SAFETY: the caller promises a whole mapping that nothing refers to.
    let _ = unsafe { syscall!(SYS_munmap, start, bytes) };
}

/// Makes memory of [`map`] read as zero in the child of a fork (madvise(2), Linux 4.14).
///
/// # Safety
/// `start` and `bytes` must be a whole mapping of [`map`].
pub unsafe fn wipe_on_fork(start: *mut u8, bytes: usize) -> Result<()> {
    // SAFETY: the caller promises a whole mapping of `map`. The advice changes nothing in this
    // process.
    unsafe { syscall!(SYS_madvise, start, bytes, libc::MADV_WIPEONFORK) }.map(drop)
}

/// Maps a part of a file, shared with all processes that map it. It replaces what is at `fixed`,
/// which must be memory of the library's own that nothing else refers to. If that is None, the
/// kernel chooses the address.
pub fn map_part(fd: i32, offset: usize, bytes: usize, fixed: Option<*mut u8>) -> Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let (address, flags) = match fixed {
        Some(address) => (address, libc::MAP_SHARED | libc::MAP_FIXED),
        None => (core::ptr::null_mut(), libc::MAP_SHARED),
    };
    // SAFETY: callers pass as `fixed` only the library's own memory; without `fixed` a new mapping
    // changes no other memory.
    let mut mapped = unsafe { syscall!(SYS_mmap, address, bytes, protection, flags, fd, offset) };
    if mapped == Err(libc::ENOMEM)
        && fixed.is_none()
        && let Some(held) = ballast::take(bytes)
    {
        // SAFETY: address space that the library holds for this purpose, and that nothing refers
        // to.
        mapped = unsafe { syscall!(SYS_mmap, held, bytes, protection, flags | libc::MAP_FIXED, fd, offset) };
    }
    mapped.map(|address| own(address, bytes))
}

/// Moves a mapping, which replaces what is at `to`.
///
/// # Safety
/// `start` and `bytes` must be whole pages of the library's own that nothing refers to, and `to`
/// the same amount of its own memory.
pub unsafe fn move_over(start: *mut u8, bytes: usize, to: *mut u8) -> Result<()> {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: the caller promises pages that nothing refers to, and memory to replace.
    unsafe { syscall!(SYS_mremap, start, bytes, bytes, flags, to) }.map(drop)
}

/// Holds address space in reserve (src/filters/ballast.rs), if there is enough. Called once, at
/// load.
pub fn hold_ballast() {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new anonymous mapping at an address that the kernel chooses changes no other
    // memory.
    if let Ok(start) = unsafe { syscall!(SYS_mmap, 0, ballast::BYTES, libc::PROT_NONE, flags, -1isize, 0) } {
        ballast::hold(start as *mut u8);
    }
}

/// Turns a part of the held address space into the reserve, after mmap has found none. False: that
/// was done before, or nothing is held.
#[cold]
fn begin_reserve() -> bool {
    let Some(start) = ballast::take_reserve() else { return false };
    // SAFETY: whole pages of the library's own mapping, which nothing refers to.
    let mapped = unsafe { map_over(start, ballast::FOR_RESERVE) };
    mapped.is_ok() && reserve::begin(start, ballast::FOR_RESERVE)
}

/// Returns the address space that is held for the report to the kernel, when the process ends.
pub fn give_ballast_back() {
    if let Some(start) = ballast::take_report() {
        // SAFETY: the end of the library's own mapping, which nothing refers to.
        unsafe { unmap_from_kernel(start, ballast::FOR_REPORT) };
    }
}

/// Maps zeroed private memory, which replaces what is there.
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
