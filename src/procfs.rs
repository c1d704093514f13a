//! Reads `/proc/thread-self`: descriptors, epoll interest lists, mappings, the program's name. For
//! reports and other work on a separate stack (sigsafe.rs).
//!
//! This reads thread-self, not self: after the main thread has ended, /proc/self/fd of a process
//! that still runs is empty. A helper (sigsafe/helper.rs) opens the files. It is another thread
//! with another descriptor table, so its paths name the caller by number.
//!
//! A function that passes what it reads to a callback calls it in the caller's own thread, after
//! the files were read, because the callback may ask about the program's descriptors.

use core::ffi::CStr;
use core::fmt::Write;

use crate::buffer::Buffer;
use crate::filters::kept;
use crate::path::Path;
use crate::sigsafe::{self, Files};
use crate::sys;

/// A path in /proc.
pub type Short = Path<64>;

/// The path that a helper of this thread uses for a path of the thread. None: the path itself.
#[inline(never)] // for size
fn for_helper(path: &CStr) -> Option<Path<128>> {
    let rest = path.to_bytes().strip_prefix(b"/proc/thread-self/")?;
    let mut named = Path::of(format_args!(""));
    // PID/task/TID, with the numbers that this /proc uses.
    let mut own = [0u8; 64];
    let own = read_link(c"/proc/thread-self", &mut own).unwrap_or(b"thread-self");
    let _ = named.write_str("/proc/");
    named.push(own);
    let _ = named.write_str("/");
    named.push(rest);
    Some(named)
}

/// Opens a file for reading in a helper, and calls `work` there with its descriptor.
fn with_file<T>(path: &CStr, flags: i32, work: impl FnOnce(Files, i32) -> sys::Result<T>) -> sys::Result<T> {
    let named = for_helper(path);
    let path = match &named {
        Some(named) => named.as_c().ok_or(libc::ENAMETOOLONG)?,
        None => path,
    };
    let done = sigsafe::unshared(|files| {
        let fd = files.open(path, libc::O_RDONLY | flags, 0)?;
        let done = work(files, fd);
        files.close(fd);
        done
    });
    done.unwrap_or(Err(libc::ENOMEM))
}

/// Reads a whole file, or what was kept of it before a filter forbade opening it. False: it is not
/// readable, or there is no memory; then `into` holds what was read until then.
pub fn read_file(path: &CStr, into: &mut Buffer<u8>) -> bool {
    match with_file(path, 0, |_, fd| Ok(read_to_end(fd, into))) {
        Ok(is_whole) => is_whole,
        Err(_) => kept::text(path).is_some_and(|text| into.extend(text)),
    }
}

/// Reads the beginning of a file by a single read that never waits (for a named pipe). None: not
/// readable.
pub fn read_short(path: &CStr, into: &mut [u8]) -> Option<usize> {
    read_once(path, into).ok()
}

fn read_once(path: &CStr, into: &mut [u8]) -> sys::Result<usize> {
    with_file(path, libc::O_NONBLOCK, |_, fd| sys::read(fd, into))
}

/// Reads the rest of a descriptor's file. False: it is not readable, or there is no memory.
pub fn read_to_end(fd: i32, into: &mut Buffer<u8>) -> bool {
    /// Signals are blocked where files are read. This is bounded nevertheless, because a filter may
    /// return EINTR forever.
    const INTERRUPTIONS: usize = 100;
    let mut interruptions = 0;
    loop {
        let Some(room) = into.room(32 * 1024) else { return false };
        match sys::read(fd, room) {
            Ok(0) => return true,
            Ok(bytes) => into.advance(bytes),
            Err(libc::EINTR) if interruptions < INTERRUPTIONS => interruptions += 1,
            Err(_) => return false,
        }
    }
}

/// The target of a symbolic link of `/proc/thread-self`. None: not readable.
pub fn read_link<'a>(path: &CStr, into: &'a mut [u8]) -> Option<&'a [u8]> {
    let length = match sys::read_link_at(libc::AT_FDCWD, path, into) {
        Ok(length) => length,
        Err(_) => {
            let kept = kept::text(path)?;
            into.get_mut(..kept.len())?.copy_from_slice(kept);
            kept.len()
        }
    };
    into.get(..length)
}

/// What a descriptor of this process refers to, as `/proc` names it. None: it is not open, or
/// `/proc` is not readable.
pub fn target_of(fd: i32, into: &mut [u8]) -> Option<&[u8]> {
    let path = Short::of(format_args!("/proc/thread-self/fd/{fd}"));
    read_link(path.as_c()?, into)
}

/// Whether a descriptor of this process is an epoll instance. Also false if `/proc` cannot be read.
pub fn is_epoll(fd: i32) -> bool {
    target_of(fd, &mut [0; 32]) == Some(EPOLL)
}

/// Whether a descriptor of this process is an epoll instance. Also true if `/proc` cannot be read.
pub fn may_be_epoll(fd: i32) -> bool {
    target_of(fd, &mut [0; 32]).is_none_or(|target| target == EPOLL)
}

/// The name of an epoll instance in `/proc` (Linux v6.1 fs/eventpoll.c, `do_epoll_create`).
const EPOLL: &[u8] = b"anon_inode:[eventpoll]";

/// Whether this process has one thread. Also false if `/proc` does not say.
pub fn has_one_thread() -> bool {
    // A directory has two links, plus one for each directory in it (proc_task_getattr, Linux v4.14
    // fs/proc/base.c).
    sys::links(c"/proc/self/task") == Ok(3)
}

/// Whether this is the name of an epoll instance in `/proc`.
pub fn is_name_of_epoll(target: &[u8]) -> bool {
    target == EPOLL
}

/// The inode in a socket's name in `/proc`. None: it is no socket.
pub fn socket_inode(target: &[u8]) -> Option<u64> {
    let digits = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// A descriptor, and the beginning of what it refers to.
#[derive(Clone, Copy)]
struct Open {
    fd: i32,
    target: [u8; 32],
    length: u8,
}

/// Passes to `tell` every descriptor of this process and what it refers to, cut off at 32 bytes.
/// False: the list could not be read completely.
pub fn each_descriptor(mut tell: impl FnMut(i32, &[u8])) -> bool {
    Buffer::lend(|open: &mut Buffer<Open>| {
        let mut has_room = true;
        let complete = each_number(c"/proc/thread-self/fd", |directory, name, fd| {
            let mut target = [0u8; 32];
            if let Ok(length) = sys::read_link_at(directory, name, &mut target) {
                has_room &= open.push(Open { fd, target, length: length as u8 });
            }
        });
        for open in open.as_slice() {
            tell(open.fd, open.target.get(..usize::from(open.length)).unwrap_or_default());
        }
        complete && has_room
    })
}

/// Calls `tell` in a helper with the directory's descriptor, and with each name in the directory
/// that is a number. Omits the number of that descriptor itself. False: the directory could not be
/// read completely.
fn each_number(path: &CStr, mut tell: impl FnMut(i32, &CStr, i32)) -> bool {
    let listed = with_file(path, libc::O_DIRECTORY, |files, directory| {
        let is_ours = |number| files.are_the_program_s() && number == directory;
        Ok(Buffer::lend(|entries| {
            each_number_in(directory, entries, |name, number| {
                if !is_ours(number) {
                    tell(directory, name, number);
                }
            })
        }))
    });
    listed == Ok(true)
}

/// Passes to `tell` the names in a directory that are numbers. False: the directory could not be
/// read completely.
fn each_number_in(directory: i32, entries: &mut Buffer<u8>, mut tell: impl FnMut(&CStr, i32)) -> bool {
    let complete = loop {
        let Some(room) = entries.room(32 * 1024) else { break false };
        match sys::directory_entries(directory, room) {
            Ok(0) => break true,
            Ok(bytes) => entries.advance(bytes),
            Err(_) => break false,
        }
    };
    // struct linux_dirent64: 8 bytes inode, 8 bytes offset, 2 bytes record length, 1 byte type,
    // name.
    let mut rest = entries.as_slice();
    while let Some(length) = rest.get(16..18).and_then(|bytes| Some(u16::from_ne_bytes(*bytes.first_chunk()?))) {
        let Some((entry, after)) = rest.split_at_checked(usize::from(length)) else { break };
        rest = after;
        let name = entry.get(19..).and_then(|bytes| CStr::from_bytes_until_nul(bytes).ok());
        if let Some(name) = name
            && let Some(number) = number(name.to_bytes())
        {
            tell(name, number);
        }
        if length == 0 {
            break;
        }
    }
    complete
}

/// Passes to `tell` every thread of this process. False: the list could not be read completely.
pub fn each_thread(mut tell: impl FnMut(i32)) -> bool {
    Buffer::lend(|threads: &mut Buffer<i32>| {
        let mut has_room = true;
        let complete = each_number(c"/proc/self/task", |_, _, thread| has_room &= threads.push(thread));
        threads.as_slice().iter().for_each(|thread| tell(*thread));
        complete && has_room
    })
}

/// Passes to `tell` the epoll descriptors that threads of this process are waiting on. False: the
/// kernel does not say.
pub fn each_waited_epoll(mut tell: impl FnMut(i32)) -> bool {
    let mut is_told = true;
    each_thread(|thread| is_told &= waited_by(thread, &mut tell)) && is_told
}

/// Passes to `tell` what one thread waits on. False: the kernel does not say. (A thread that has
/// just ended waits on nothing.)
fn waited_by(thread: i32, tell: &mut impl FnMut(i32)) -> bool {
    let path = Short::of(format_args!("/proc/self/task/{thread}/syscall"));
    let mut text = [0u8; 256];
    let Some(path) = path.as_c() else { return false };
    let length = match read_once(path, &mut text) {
        Ok(length) => length,
        Err(error) => return matches!(error, libc::ENOENT | libc::ESRCH),
    };
    // `232 0x5 0x7ffd...`: the number of the call that it is blocked in, and its arguments; or
    // "running" (proc_pid_syscall(5)).
    let mut words = text.get(..length).unwrap_or_default().split(|byte| *byte == b' ');
    let call = words.next().and_then(number);
    let first = words.next().and_then(|word| hexadecimal(word.strip_prefix(b"0x")?));
    let waits = [crate::arch::system_call::EPOLL_WAIT, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];
    if let (Some(call), Some(epfd)) = (call, first)
        && waits.contains(&libc::c_long::from(call))
    {
        tell(epfd as i32);
    }
    true
}

/// Passes to `tell` the `tfd` of every interest of an epoll instance. False: not readable.
pub fn each_interest(epfd: i32, mut tell: impl FnMut(i32)) -> bool {
    each_target(epfd, |fd, _| tell(fd))
}

/// [`each_interest`], also with the number of the inode; 0: the kernel does not say (before 4.13).
pub fn each_target(epfd: i32, mut tell: impl FnMut(i32, u64)) -> bool {
    each_listed(epfd, &mut |listed| tell(listed.fd, listed.inode)).is_some()
}

/// An interest, as the kernel lists it.
#[derive(Clone, Copy)]
pub struct Listed {
    /// The descriptor number with which it was added.
    pub fd: i32,
    /// The requested events, including EPOLLERR and EPOLLHUP.
    pub events: u32,
    pub data: u64,
    /// The inode number of the file; 0: the kernel does not say (before 4.13).
    pub inode: u64,
}

/// Passes to `tell` every interest of an epoll instance. Returns the size of the list in bytes.
/// None: not readable.
#[inline(never)] // for size
pub fn each_listed(epfd: i32, tell: &mut dyn FnMut(Listed)) -> Option<usize> {
    each_listed_in(&Short::of(format_args!("/proc/thread-self/fdinfo/{epfd}")), tell)
}

/// [`each_listed`] for the fdinfo of an instance, which may belong to another process.
#[inline(never)] // once, for size
pub fn each_listed_in(path: &Short, tell: &mut dyn FnMut(Listed)) -> Option<usize> {
    Buffer::lend(|text| {
        if !path.as_c().is_some_and(|path| read_file(path, text)) {
            return None;
        }
        // tfd:        6 events:       1d data:                6  pos:0 ino:61c7 sdev:8 (proc(5),
        // Linux 3.8 and 4.13)
        for line in text.as_slice().split(|byte| *byte == b'\n') {
            let mut words = line.split(|byte| *byte == b' ' || *byte == b'\t').filter(|word| !word.is_empty());
            if words.next() == Some(b"tfd:")
                && let Some(fd) = words.next().and_then(number)
            {
                let mut value = |name: &[u8]| words.find(|word| *word == name).and_then(|_| hexadecimal(words.next()?));
                let events = value(b"events:").unwrap_or(0) as u32;
                let data = value(b"data:").unwrap_or(0);
                let inode = words.find_map(|word| word.strip_prefix(b"ino:")).and_then(hexadecimal).unwrap_or(0);
                tell(Listed { fd, events, data, inode });
            }
        }
        Some(text.as_slice().len())
    })
}

/// The interest that has this data, and the size of the list in bytes. None: there is none, there
/// are several, or the list is not readable.
pub fn the_one_with(epfd: i32, data: u64) -> Option<(Listed, usize)> {
    let (mut found, mut count) = (None, 0);
    let bytes = each_listed(epfd, &mut |listed| {
        if listed.data == data {
            count += 1;
            found = Some(listed);
        }
    })?;
    found.filter(|_| count == 1).map(|listed| (listed, bytes))
}

/// Whether a thread of this process is inside a system call for whose number `is_one` is true. Also
/// false if `/proc` does not say.
pub fn is_in_call(tid: i32, is_one: impl Fn(i64) -> bool) -> bool {
    let path = Short::of(format_args!("/proc/self/task/{tid}/syscall"));
    let mut text = [0u8; 256];
    // The number, six arguments, the stack pointer and the program counter; or "running"
    // (proc_pid_syscall(5)).
    let number = path
        .as_c()
        .and_then(|path| read_short(path, &mut text))
        .and_then(|length| text.get(..length)?.split(|byte| *byte == b' ').next().and_then(number));
    number.is_some_and(|number| is_one(i64::from(number)))
}

/// How long the calling thread has waited for a processor while ready to run, in nanoseconds. None:
/// the kernel does not count it (CONFIG_SCHED_INFO).
pub fn time_in_queue() -> Option<u64> {
    let [_, queued, _] = schedule(c"/proc/thread-self/schedstat")?;
    Some(queued)
}

/// A number that grows only while a thread of this process has a processor. None: the thread has
/// ended, or the kernel does not count.
pub fn progress(thread: i32) -> Option<u64> {
    let path = Short::of(format_args!("/proc/self/task/{thread}/schedstat"));
    let [ran, _, turns] = schedule(path.as_c()?)?;
    Some(ran.wrapping_add(turns))
}

/// Time on a processor, time in a queue for one, and number of time slices (Linux v6.1
/// Documentation/scheduler/sched-stats.rst).
fn schedule(path: &CStr) -> Option<[u64; 3]> {
    let mut text = [0; 96];
    let length = read_short(path, &mut text)?;
    let mut words = text.get(..length)?.trim_ascii_end().split(|byte| *byte == b' ');
    let mut next = || core::str::from_utf8(words.next()?).ok()?.parse().ok();
    Some([next()?, next()?, next()?])
}

/// Whether a thread of this process has a processor or waits for one (state R, proc_pid_stat(5)).
pub fn is_runnable(thread: i32) -> bool {
    let path = Short::of(format_args!("/proc/self/task/{thread}/stat"));
    let mut text = [0; 96];
    let length = path.as_c().and_then(|path| read_short(path, &mut text)).unwrap_or(0);
    // The name, which may contain anything, is in parentheses and at most 15 bytes long.
    let text = text.get(..length).unwrap_or_default();
    text.iter().rposition(|byte| *byte == b')').and_then(|at| text.get(at + 2)) == Some(&b'R')
}

/// A decimal number.
pub fn number(digits: &[u8]) -> Option<i32> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

pub fn hexadecimal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
}
/// The name of the program's file, without its directories.
pub fn program_name(into: &mut [u8; 4096]) -> &[u8] {
    let target = read_link(c"/proc/self/exe", into).unwrap_or_default();
    target.rsplit(|byte| *byte == b'/').next().unwrap_or(target)
}

/// A word for what a descriptor refers to, as the logs print it. None: it is not open.
pub fn kind_of(fd: i32) -> Option<&'static str> {
    match sys::status(fd).ok()?.st_mode & libc::S_IFMT {
        libc::S_IFSOCK => return Some("socket"),
        libc::S_IFIFO => return Some("pipe"),
        libc::S_IFREG => return Some("file"),
        libc::S_IFDIR => return Some("directory"),
        libc::S_IFCHR | libc::S_IFBLK => return Some("device"),
        _ => {}
    }
    // Anonymous inodes have no type, only a name.
    let mut space = [0; 64];
    Some(match target_of(fd, &mut space)? {
        b"anon_inode:[eventpoll]" => "epoll",
        b"anon_inode:[eventfd]" => "eventfd",
        b"anon_inode:[timerfd]" => "timerfd",
        b"anon_inode:[signalfd]" => "signalfd",
        b"anon_inode:inotify" => "inotify",
        b"anon_inode:[fanotify]" => "fanotify",
        b"anon_inode:[pidfd]" => "pidfd",
        b"anon_inode:[io_uring]" => "io_uring",
        _ => "anon_inode",
    })
}
