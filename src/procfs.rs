//! Reading `/proc/thread-self`: descriptors, epoll interest lists, mappings, the program's name. Reports, and what is done aside (sigsafe.rs).
//!
//! thread-self, not self: after the main thread has ended, /proc/self/fd of a process that lives on is empty. What is opened there is
//! opened by a helper (sigsafe/helper.rs), which is another thread, with another table: its path names the caller by number.
//!
//! What a function tells its caller is told by the caller's own thread, after the files were read: it may ask for the program's descriptors.

use core::ffi::CStr;
use core::fmt::Write;

use crate::buffer::Buffer;
use crate::filters::kept;
use crate::path::Path;
use crate::sigsafe::{self, Files};
use crate::sys;

/// A path in /proc.
pub type Short = Path<64>;

/// The path by which a helper of this thread finds what the thread calls by that path. None: by the same.
#[inline(never)] // for size
fn for_helper(path: &CStr) -> Option<Path<128>> {
    let rest = path.to_bytes().strip_prefix(b"/proc/thread-self/")?;
    let mut named = Path::of(format_args!(""));
    // PID/task/TID, by the numbers that this /proc uses.
    let mut own = [0u8; 64];
    let own = read_link(c"/proc/thread-self", &mut own).unwrap_or(b"thread-self");
    let _ = named.write_str("/proc/");
    named.push(own);
    let _ = named.write_str("/");
    named.push(rest);
    Some(named)
}

/// Opens a file for reading, by a helper, and calls `work` there with its descriptor.
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

/// The whole of a file, or what was kept of it before a filter forbade to open it. False: not readable, or no memory; what was
/// read before that is there.
pub fn read_file(path: &CStr, into: &mut Buffer<u8>) -> bool {
    match with_file(path, 0, |_, fd| Ok(read_to_end(fd, into))) {
        Ok(is_whole) => is_whole,
        Err(_) => kept::text(path).is_some_and(|text| into.extend(text)),
    }
}

/// The beginning of a file, by one read, which waits for nobody (a named pipe). None: not readable.
pub fn read_short(path: &CStr, into: &mut [u8]) -> Option<usize> {
    read_once(path, into).ok()
}

fn read_once(path: &CStr, into: &mut [u8]) -> sys::Result<usize> {
    with_file(path, libc::O_NONBLOCK, |_, fd| sys::read(fd, into))
}

/// What is left to read of a descriptor. False: not readable, or no memory.
pub fn read_to_end(fd: i32, into: &mut Buffer<u8>) -> bool {
    /// Signals are blocked where files are read. Bounded all the same: a filter may answer so for ever.
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

/// Where a symbolic link of `/proc/thread-self` points. None: not readable.
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

/// What a descriptor of this process refers to, as `/proc` names it. None: it is not open, or not readable.
pub fn target_of(fd: i32, into: &mut [u8]) -> Option<&[u8]> {
    let path = Short::of(format_args!("/proc/thread-self/fd/{fd}"));
    read_link(path.as_c()?, into)
}

/// Whether a descriptor of this process is an epoll instance. False too where `/proc` cannot be read.
pub fn is_epoll(fd: i32) -> bool {
    target_of(fd, &mut [0; 32]) == Some(EPOLL)
}

/// Whether a descriptor of this process is an epoll instance, or `/proc` will not say.
pub fn may_be_epoll(fd: i32) -> bool {
    target_of(fd, &mut [0; 32]).is_none_or(|target| target == EPOLL)
}

/// How `/proc` names an epoll instance (Linux v6.1 fs/eventpoll.c, `do_epoll_create`).
const EPOLL: &[u8] = b"anon_inode:[eventpoll]";

/// Whether this process has one thread. False also where it cannot be found out.
pub fn has_one_thread() -> bool {
    // The links of a directory are two and one for each directory in it (proc_task_getattr, Linux v4.14 fs/proc/base.c).
    sys::links(c"/proc/self/task") == Ok(3)
}

/// Whether this is how `/proc` names an epoll instance.
pub fn is_name_of_epoll(target: &[u8]) -> bool {
    target == EPOLL
}

/// The inode of a socket, as `/proc` names it. None: it is no socket.
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

/// Tells every descriptor of this process, and what it refers to, cut at 32 bytes. False: the list could not be read to its end.
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

/// Calls `tell` in a helper with each name in a directory that is a number, and with the directory's descriptor, whose own number is left
/// out. False: the directory could not be read to its end.
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

/// Tells the names in a directory that are numbers. False: it could not be read to its end.
fn each_number_in(directory: i32, entries: &mut Buffer<u8>, mut tell: impl FnMut(&CStr, i32)) -> bool {
    let complete = loop {
        let Some(room) = entries.room(32 * 1024) else { break false };
        match sys::directory_entries(directory, room) {
            Ok(0) => break true,
            Ok(bytes) => entries.advance(bytes),
            Err(_) => break false,
        }
    };
    // struct linux_dirent64: 8 bytes inode, 8 bytes offset, 2 bytes record length, 1 byte type, name.
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

/// Tells every thread of this process. False: the list could not be read to its end.
pub fn each_thread(mut tell: impl FnMut(i32)) -> bool {
    Buffer::lend(|threads: &mut Buffer<i32>| {
        let mut has_room = true;
        let complete = each_number(c"/proc/self/task", |_, _, thread| has_room &= threads.push(thread));
        threads.as_slice().iter().for_each(|thread| tell(*thread));
        complete && has_room
    })
}

/// Tells the epoll descriptors that threads of this process wait on at this moment. False: the kernel will not say.
pub fn each_waited_epoll(mut tell: impl FnMut(i32)) -> bool {
    let mut is_told = true;
    each_thread(|thread| is_told &= waited_by(thread, &mut tell)) && is_told
}

/// What one thread waits on. False: the kernel will not say. (A thread that has just ended waits on nothing.)
fn waited_by(thread: i32, tell: &mut impl FnMut(i32)) -> bool {
    let path = Short::of(format_args!("/proc/self/task/{thread}/syscall"));
    let mut text = [0u8; 256];
    let Some(path) = path.as_c() else { return false };
    let length = match read_once(path, &mut text) {
        Ok(length) => length,
        Err(error) => return matches!(error, libc::ENOENT | libc::ESRCH),
    };
    // 232 0x5 0x7ffd... : the number of the call it is blocked in, and its arguments; or "running" (proc_pid_syscall(5)).
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

/// Tells every interest of an epoll instance, by its `tfd`. False: not readable.
pub fn each_interest(epfd: i32, mut tell: impl FnMut(i32)) -> bool {
    each_target(epfd, |fd, _| tell(fd))
}

/// The same, with the number of the inode; 0: the kernel does not say (before 4.13).
pub fn each_target(epfd: i32, mut tell: impl FnMut(i32, u64)) -> bool {
    each_listed(epfd, &mut |listed| tell(listed.fd, listed.inode)).is_some()
}

/// An interest, as the kernel lists it.
#[derive(Clone, Copy)]
pub struct Listed {
    /// The number that it was added under.
    pub fd: i32,
    /// What was asked for, EPOLLERR and EPOLLHUP included.
    pub events: u32,
    pub data: u64,
    /// Of the file; 0: the kernel does not say (before 4.13).
    pub inode: u64,
}

/// Tells every interest of an epoll instance. Returns how many bytes that took to read; None: not readable.
#[inline(never)] // for size
pub fn each_listed(epfd: i32, tell: &mut dyn FnMut(Listed)) -> Option<usize> {
    each_listed_in(&Short::of(format_args!("/proc/thread-self/fdinfo/{epfd}")), tell)
}

/// The same of an instance's fdinfo, which may be another process's.
#[inline(never)] // once, for size
pub fn each_listed_in(path: &Short, tell: &mut dyn FnMut(Listed)) -> Option<usize> {
    Buffer::lend(|text| {
        if !path.as_c().is_some_and(|path| read_file(path, text)) {
            return None;
        }
        // tfd:        6 events:       1d data:                6  pos:0 ino:61c7 sdev:8 (proc(5), Linux 3.8 and 4.13)
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

/// The interest that has this data, and how many bytes the list took to read. None: there is none, there are several, or the list
/// is not readable.
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

/// Whether a thread of this process is inside a system call, by its number. False too where `/proc` will not say.
pub fn is_in_call(tid: i32, is_one: impl Fn(i64) -> bool) -> bool {
    let path = Short::of(format_args!("/proc/self/task/{tid}/syscall"));
    let mut text = [0u8; 256];
    // number, six arguments, stack pointer, program counter; or "running" (proc_pid_syscall(5)).
    let number = path
        .as_c()
        .and_then(|path| read_short(path, &mut text))
        .and_then(|length| text.get(..length)?.split(|byte| *byte == b' ').next().and_then(number));
    number.is_some_and(|number| is_one(i64::from(number)))
}

/// For how long the calling thread has waited for a processor, ready to run; nanoseconds. None: the kernel does not count it
/// (CONFIG_SCHED_INFO).
pub fn time_in_queue() -> Option<u64> {
    let [_, queued, _] = schedule(c"/proc/thread-self/schedstat")?;
    Some(queued)
}

/// What grows while a thread of this process has a processor, and at no other time. None: it has ended, or the kernel does not
/// count.
pub fn progress(thread: i32) -> Option<u64> {
    let path = Short::of(format_args!("/proc/self/task/{thread}/schedstat"));
    let [ran, _, turns] = schedule(path.as_c()?)?;
    Some(ran.wrapping_add(turns))
}

/// Time on a processor, time in a queue for one, number of turns (Linux v6.1 Documentation/scheduler/sched-stats.rst).
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
    // The name, which may hold anything, is in brackets, and at most 15 bytes long.
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

/// A word for what a descriptor refers to, as the logs show it; None: it is not open.
pub fn kind_of(fd: i32) -> Option<&'static str> {
    match sys::status(fd).ok()?.st_mode & libc::S_IFMT {
        libc::S_IFSOCK => return Some("socket"),
        libc::S_IFIFO => return Some("pipe"),
        libc::S_IFREG => return Some("file"),
        libc::S_IFDIR => return Some("directory"),
        libc::S_IFCHR | libc::S_IFBLK => return Some("device"),
        _ => {}
    }
    // The anonymous inodes have no type but their name.
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
