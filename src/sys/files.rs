//! Files and descriptors, by path and by number.

use core::ffi::CStr;

use super::{Result, permitted, words};

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

/// Gives a file to another user. The group does not change.
pub fn set_owner(fd: i32, user: u32) -> Result<()> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_fchown, fd, user, u32::MAX) }.map(drop)
}

/// Sets a file's length.
pub fn truncate(fd: i32, bytes: i64) -> Result<()> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_ftruncate, fd, bytes) }.map(drop)
}

/// The file offset of a descriptor. After a write with O_APPEND: the end of what it wrote.
pub fn position(fd: i32) -> Result<i64> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_lseek, fd, 0, libc::SEEK_CUR) }.map(|place| place as i64)
}

/// Reserves all blocks of a part of a file, and extends the file if it is shorter.
pub fn allocate(fd: i32, offset: usize, bytes: usize) -> Result<()> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_fallocate, fd, 0, offset, bytes) }.map(drop)
}

/// Whether the user may write a file.
pub fn may_write(path: &CStr) -> Result<()> {
    // SAFETY: the path is zero-terminated.
    unsafe { syscall!(SYS_faccessat, libc::AT_FDCWD, path.as_ptr(), libc::W_OK) }.map(drop)
}

/// Whether the user may create files in a directory.
pub fn may_write_in(directory: i32) -> Result<()> {
    // SAFETY: the path is zero-terminated.
    unsafe { syscall!(SYS_faccessat, directory, c".".as_ptr(), libc::W_OK | libc::X_OK) }.map(drop)
}

/// Closes a descriptor that the library itself opened.
pub fn close(fd: i32) -> Result<()> {
    // SAFETY: takes no pointer; callers close only what they opened.
    unsafe { syscall!(SYS_close, fd) }.map(drop)
}

/// Gives the calling thread, which shares its descriptor table, an empty table of its own
/// (close_range(2), Linux 5.9). Since Linux 6.12 that copies nothing (fs/file.c, dup_fd), before
/// that at most 64 descriptors.
pub fn leave_descriptors() -> Result<()> {
    // SAFETY: takes no pointer. It empties the new table, because the caller shares the old one.
    unsafe { syscall!(SYS_close_range, 0, u32::MAX, libc::CLOSE_RANGE_UNSHARE) }.map(drop)
}

/// Gives the calling thread a copy of the descriptor table that it shares.
pub fn unshare_descriptors() -> Result<()> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_unshare, libc::CLONE_FILES) }.map(drop)
}

/// Duplicates a descriptor, close-on-exec, to the lowest free number that is at least `least`.
pub fn duplicate_from(fd: i32, least: i32) -> Result<i32> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, least) }.map(|fd| fd as i32)
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

/// The absolute path of the working directory. Also fails if there is none: the directory was
/// removed, or lies outside the root.
pub fn working_directory(into: &mut [u8]) -> Result<&[u8]> {
    // SAFETY: the slice bounds what the kernel writes.
    let length = unsafe { syscall!(SYS_getcwd, into.as_mut_ptr(), into.len()) }?;
    // The length includes the final zero. A path outside the root starts with "(unreachable)"
    // (getcwd(3), Linux 2.6.36).
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

/// The target of a symbolic link, relative to a directory's descriptor, cut off at the length of
/// `into`.
#[inline(never)] // for size
pub fn read_link_at(directory: i32, path: &CStr, into: &mut [u8]) -> Result<usize> {
    // SAFETY: the path is zero-terminated, the slice bounds what the kernel writes.
    unsafe { syscall!(SYS_readlinkat, directory, path.as_ptr(), into.as_mut_ptr(), into.len()) }
}

/// The status of a descriptor's file.
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

/// The number of hard links of a file or directory.
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

/// Tries to lock a file exclusively (flock(2)). The lock ends with the descriptor.
/// Err(EWOULDBLOCK): another process holds it.
pub fn lock(fd: i32) -> Result<()> {
    // SAFETY: takes no pointer.
    unsafe { syscall!(SYS_flock, fd, libc::LOCK_EX | libc::LOCK_NB) }.map(drop)
}

/// Whether a path leads to a regular file that the user may execute.
///
/// # Safety
/// `path` must point to a zero-terminated string, or be null (then the answer is no).
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

/// The user and the group that a process gets when it executes a file (the set-ID bits of
/// inode(7)). A set-group-ID bit without the group's right to execute means locking (Linux 6.1
/// fs/exec.c, bprm_fill_uid).
///
/// # Safety
/// As for [`may_execute`].
pub unsafe fn set_id_owner(directory: i32, path: *const libc::c_char) -> [Option<u32>; 2] {
    let mut status = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the caller promises a zero-terminated string or null; all-zero is a valid struct
    // stat.
    let status = unsafe {
        match syscall!(SYS_newfstatat, directory, path, status.as_mut_ptr(), 0) {
            Ok(_) => status.assume_init(),
            Err(_) => return [None, None],
        }
    };
    let has = |bits| status.st_mode & bits == bits;
    [has(libc::S_ISUID).then_some(status.st_uid), has(libc::S_ISGID | libc::S_IXGRP).then_some(status.st_gid)]
}

#[cfg(target_arch = "x86_64")]
fn poll_one(poll: &mut libc::pollfd, milliseconds: i32) -> Result<usize> {
    // SAFETY: the count says that there is one pollfd.
    unsafe { syscall!(SYS_poll, core::ptr::from_mut(poll), 1, milliseconds) }
}

#[cfg(not(target_arch = "x86_64"))]
fn poll_one(poll: &mut libc::pollfd, milliseconds: i32) -> Result<usize> {
    let (milliseconds, per_second) = (i64::from(milliseconds), 1000);
    let nanoseconds = milliseconds % per_second * 1_000_000;
    let time = libc::timespec { tv_sec: milliseconds / per_second, tv_nsec: nanoseconds };
    // SAFETY: the count says that there is one pollfd; the kernel also reads a timespec and no
    // signal mask.
    unsafe { syscall!(SYS_ppoll, core::ptr::from_mut(poll), 1, &raw const time, 0, 0) }
}

/// Polls some descriptors without waiting. Ok: how many of them have an event.
#[cfg(target_arch = "x86_64")]
pub fn poll_now(of: &mut [libc::pollfd]) -> Result<usize> {
    // SAFETY: the slice has as many pollfds as the count says.
    unsafe { syscall!(SYS_poll, of.as_mut_ptr(), of.len(), 0) }
}

#[cfg(not(target_arch = "x86_64"))]
pub fn poll_now(of: &mut [libc::pollfd]) -> Result<usize> {
    let time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the slice has as many pollfds as the count says; the kernel also reads a timespec and
    // no signal mask.
    unsafe { syscall!(SYS_ppoll, of.as_mut_ptr(), of.len(), &raw const time, 0, 0) }
}

/// Waits up to `milliseconds` until a descriptor is writable. Ok(false): it is not.
pub fn writable(fd: i32, milliseconds: i32) -> Result<bool> {
    let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    Ok(poll_one(&mut poll, milliseconds)? == 1 && poll.revents & libc::POLLOUT != 0)
}

/// Writes what can be written without waiting, whatever mode the descriptor is in (pwritev2(2):
/// pipes since Linux 6.4, sockets since 5.13). Err(EAGAIN): nothing can be written;
/// Err(EOPNOTSUPP): this file does not support it.
pub fn write_at_once(fd: i32, bytes: &[u8]) -> Result<usize> {
    let piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: one piece, which the kernel only reads. Position -1 means the file's own.
    unsafe { syscall!(SYS_pwritev2, fd, &raw const piece, 1, -1isize, -1isize, libc::RWF_NOWAIT) }
}

/// The soft and hard limit on the number of descriptors.
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

/// The number of columns of a terminal. Err: not a terminal.
pub fn columns(fd: i32) -> Result<u16> {
    let mut size = [0u16; 4];
    // SAFETY: the kernel writes one struct winsize: rows, columns, and two numbers of pixels.
    unsafe { syscall!(SYS_ioctl, fd, libc::TIOCGWINSZ, size.as_mut_ptr()) }?;
    let [_, columns, ..] = size;
    Ok(columns)
}

/// Whether a number is an open descriptor of the caller. Also true if a filter withholds the
/// answer.
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

/// Whether a descriptor's peer is gone (POLLHUP).
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
