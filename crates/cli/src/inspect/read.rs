//! Reads `/proc/PID`: descriptors, interests, threads, limits (proc_pid_fd(5), proc_pid_fdinfo(5),
//! proc_pid_stat(5)).
//!
//! What changes between two reads is left out. The process does not notice any of this.

use std::collections::BTreeMap;
use std::fs;
use std::io::Error;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use epollshim_format::census::Kind;
use epollshim_format::descriptor::Kept;

use super::model::{Descriptor, Doing, Interest, Sample, Wait};
use crate::sys;
use crate::text::printable;

/// The target of each descriptor, as /proc shows it.
pub fn targets(pid: u32) -> Result<BTreeMap<i32, Vec<u8>>, Error> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
    Ok(entries
        .filter_map(|entry| {
            let fd = entry.file_name().to_str()?.parse().ok()?;
            Some((fd, fs::read_link(entry.path()).ok()?.as_os_str().as_bytes().to_vec()))
        })
        .collect())
}

/// The number in `socket:[4711]` or `pipe:[4711]`.
pub fn inode_in(target: &[u8]) -> Option<u64> {
    let rest = target.strip_prefix(b"socket:[").or_else(|| target.strip_prefix(b"pipe:["))?;
    std::str::from_utf8(rest.strip_suffix(b"]")?).ok()?.parse().ok()
}

/// A descriptor described by its target alone. Sockets are described later, from a copy or from the
/// network tables.
pub fn descriptor(pid: u32, fd: i32, target: &[u8]) -> Descriptor {
    let kind = Kind::of_target(target);
    let mut what = Kept::new();
    if kind != Kind::Socket {
        let data = if target.starts_with(b"/") { fs::metadata(format!("/proc/{pid}/fd/{fd}")).ok() } else { None };
        let of_file = data.as_ref().and_then(|data| {
            let kind = data.file_type();
            let is_device = kind.is_char_device() || kind.is_block_device();
            let words = [(kind.is_dir(), "directory"), (is_device, "device"), (kind.is_fifo(), Kind::Pipe.name())];
            words.into_iter().find(|(is, _)| *is).map(|(_, word)| word)
        });
        what.name(target, of_file, data.is_some_and(|data| data.nlink() == 0));
    }
    Descriptor { kind, inode: inode_in(target).unwrap_or(0), what, looks: Vec::new(), unsent: None, table: None }
}

/// The interests of an instance, in the order of the kernel.
pub fn interests(pid: u32, epfd: i32) -> Vec<Interest> {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{epfd}")).unwrap_or_default();
    text.lines().filter_map(interest).collect()
}

/// `tfd:        7 events:       19 data:                7  pos:0 ino:4d9 sdev:8` (Linux v6.1
/// fs/eventpoll.c, ep_show_fdinfo; pos, ino and sdev since Linux 4.9).
fn interest(line: &str) -> Option<Interest> {
    let rest = line.strip_prefix("tfd:")?;
    let field = |name: &str| rest.split_once(name)?.1.split_whitespace().next();
    let hex = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
    Some(Interest {
        fd: rest.split_whitespace().next()?.parse().ok()?,
        events: u32::try_from(hex("events:")?).ok()?,
        data: hex("data:")?,
        pos: field("pos:").and_then(|pos| pos.parse().ok()).unwrap_or(0),
        inode: hex("ino:").unwrap_or(0),
        device: hex("sdev:").unwrap_or(0),
        ghost: None,
    })
}

/// The inode of the file that a descriptor refers to.
pub fn inode_of(pid: u32, fd: i32) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/fd/{fd}")).ok().map(|data| data.ino())
}

/// The soft RLIMIT_NOFILE. None: unlimited.
pub fn limit(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The threads of a process.
pub fn threads(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut threads: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    threads.sort_unstable();
    threads
}

pub fn thread_name(pid: u32, tid: u32) -> String {
    let name = fs::read(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
    printable(String::from_utf8_lossy(&name).trim_end())
}

/// What a thread does now. None: it has ended.
pub fn sample(pid: u32, tid: u32) -> Option<Sample> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{file}")).ok();
    let stat = fs::read(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The name, in parentheses, may contain any byte, so fields are counted from its end. State is
    // field 3, utime 14, stime 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    let schedstat = read("schedstat").unwrap_or_default();
    let mut times = schedstat.split_whitespace().map(|word| word.parse::<u64>().ok());
    let cpu = times.next().flatten();
    let (doing, wait, fd) = read("syscall").map_or((Doing::Unknown, None, None), |text| doing(&text));
    Some(Sample {
        at: sys::monotonic(),
        state: fields.first().and_then(|word| word.chars().next()).unwrap_or('?'),
        doing,
        wait,
        fd,
        // Without CONFIG_SCHED_INFO, from ticks.
        cpu: cpu.or(Some((ticks(14) + ticks(15)).saturating_mul(10_000_000))),
        queued: times.next().flatten().unwrap_or(0),
        turns: times.next().flatten(),
        system_ticks: ticks(15),
    })
}

/// `232 0x4 0x7ffd... 0x80 0xffffffff ...`, `running`, or `-1 SP PC` if it is blocked outside of a
/// system call (proc_pid_syscall(5)). The number is the descriptor of a call that is no wait.
fn doing(text: &str) -> (Doing, Option<Wait>, Option<i32>) {
    let mut words = text.split_whitespace();
    let Some(number) = words.next().and_then(|word| word.parse::<i64>().ok()) else {
        return (if text.starts_with("running") { Doing::Runs } else { Doing::Unknown }, None, None);
    };
    let mut argument = || words.next().and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    let call = WAITS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
    let wait = call.and_then(|call| {
        let epfd = argument()? as i32;
        let timeout = { argument().and(argument()).and_then(|_| argument()) }.map(|timeout| timeout as i32);
        Some(Wait { epfd, call, timeout: timeout.filter(|_| call != "epoll_pwait2") })
    });
    let fd = if ON_DESCRIPTOR.iter().any(|(known, _)| *known == number) { argument() } else { None };
    (Doing::Call(number), wait, fd.map(|fd| fd as i32))
}

#[cfg(target_arch = "x86_64")]
const WAITS: &[(i64, &str)] = &[
    (libc::SYS_epoll_wait, "epoll_wait"),
    (libc::SYS_epoll_pwait, "epoll_pwait"),
    (libc::SYS_epoll_pwait2, "epoll_pwait2"),
];
#[cfg(not(target_arch = "x86_64"))]
const WAITS: &[(i64, &str)] = &[(libc::SYS_epoll_pwait, "epoll_pwait"), (libc::SYS_epoll_pwait2, "epoll_pwait2")];

/// The system calls whose first argument is the descriptor that a thread sleeps on.
const ON_DESCRIPTOR: [(i64, &str); 14] = [
    (libc::SYS_read, "read"),
    (libc::SYS_write, "write"),
    (libc::SYS_readv, "readv"),
    (libc::SYS_writev, "writev"),
    (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_recvmsg, "recvmsg"),
    (libc::SYS_recvmmsg, "recvmmsg"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_accept, "accept"),
    (libc::SYS_accept4, "accept4"),
    (libc::SYS_connect, "connect"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_fsync, "fsync"),
];

/// The name of a system call in which threads commonly sleep.
pub fn call_name(number: i64) -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    const OLD: &[(i64, &str)] = &[(libc::SYS_poll, "poll"), (libc::SYS_select, "select"), (libc::SYS_pause, "pause")];
    #[cfg(not(target_arch = "x86_64"))]
    const OLD: &[(i64, &str)] = &[];
    const CALLS: [(i64, &str); 11] = [
        (libc::SYS_futex, "futex"),
        (libc::SYS_ppoll, "ppoll"),
        (libc::SYS_pselect6, "pselect6"),
        (libc::SYS_nanosleep, "nanosleep"),
        (libc::SYS_clock_nanosleep, "clock_nanosleep"),
        (libc::SYS_restart_syscall, "restart_syscall"),
        (libc::SYS_wait4, "wait4"),
        (libc::SYS_waitid, "waitid"),
        (libc::SYS_rt_sigtimedwait, "rt_sigtimedwait"),
        (libc::SYS_rt_sigsuspend, "rt_sigsuspend"),
        (libc::SYS_io_uring_enter, "io_uring_enter"),
    ];
    OLD.iter().chain(&CALLS).chain(&ON_DESCRIPTOR).find(|(known, _)| *known == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::super::model::{Doing, Wait};
    use super::{doing, inode_in, interest};

    #[test]
    fn a_line_of_fdinfo_is_an_interest() {
        let found = interest("tfd:        7 events: c0000000 data: ffffffffffffffff  pos:3 ino:4d9 sdev:8");
        let found = found.map(|one| (one.fd, one.events, one.data, one.pos, one.inode, one.device, one.is_disarmed()));
        assert_eq!(found, Some((7, 0xc000_0000, u64::MAX, 3, 0x4d9, 8, true)));
        assert!(interest("flags:\t02").is_none());
        assert!(interest("tfd: x events: 1 data: 8").is_none());
    }

    #[test]
    fn a_thread_that_waits_says_on_what() {
        let wait = |epfd, call, timeout| Some(Wait { epfd, call, timeout });
        let number = libc::SYS_epoll_pwait;
        let found = doing(&format!("{number} 0x5 0x7ffc 0x80 0xffffffff 0x0 0x8 0x7ffc 0x7f00\n"));
        assert_eq!(found, (Doing::Call(number), wait(5, "epoll_pwait", Some(-1)), None));
        let number = libc::SYS_epoll_pwait2;
        let found = doing(&format!("{number} 0x5 0x7ffc 0x80 0x7ffd 0x0 0x8 0x7ffc 0x7f00\n"));
        assert_eq!(found, (Doing::Call(number), wait(5, "epoll_pwait2", None), None));
        let (read, futex) = (libc::SYS_read, libc::SYS_futex);
        assert_eq!(doing(&format!("{read} 0x7 0x7ffc 0x80\n")), (Doing::Call(read), None, Some(7)));
        assert_eq!(doing(&format!("{futex} 0x7 0x80 0x2\n")), (Doing::Call(futex), None, None));
        assert_eq!(doing("running\n"), (Doing::Runs, None, None));
        assert_eq!(doing("-1 0x7ffc 0x7f00\n"), (Doing::Call(-1), None, None));
        assert_eq!(doing(""), (Doing::Unknown, None, None));
    }

    #[test]
    fn sockets_and_pipes_name_their_inodes() {
        assert_eq!(inode_in(b"socket:[12]"), Some(12));
        assert_eq!(inode_in(b"pipe:[7]"), Some(7));
        assert_eq!(inode_in(b"anon_inode:[eventfd]"), None);
    }
}
