//! Detects an event that is never handled, by comparing several samples of its descriptor's state
//! in the kernel.
//!
//! A server that uploads at full speed also gets the same event again and again, and so does one
//! that answers so fast that the next request is already there. So an event counts as unhandled
//! only if it is certain that nothing was read from the descriptor and nothing written to it.
//!
//! Called from hooks, in a thread that seems to spin. It reads /proc, on a stack of its own.
//!
//! Calls of `epoll_ctl` are no sign of progress: a loop that re-arms a hung-up descriptor, or
//! creates a new instance, in each round spins like any other.

use core::ffi::CStr;

use epollshim_format::events::{EPOLLERR, EPOLLHUP};
use epollshim_format::findings::{Severity, thresholds};

use super::has_short_list;
use super::watch::{Since, Wait, mix};
use crate::buffer::Buffer;
use crate::ledger::records::Long;
use crate::procfs::{self, Listed, Short};
use crate::sigsafe::on_own_stack;
use crate::{ledger, process, seccomp, sys};

/// The last sample, in a thread's block.
pub struct Trail {
    samples: Long,
    /// CLOCK_MONOTONIC at the first sample.
    began: Long,
    /// CLOCK_MONOTONIC at the last sample.
    last: Long,
    state: Long,
    /// How much this process will have read by read(2) at the next sample, if it reads nothing.
    read: Long,
    /// The thread's count of voluntary context switches.
    yields: Long,
}

pub enum Verdict {
    Changed,
    Unchanged,
    Spins(Found),
    /// An event belongs to a ghost, which is watched under this number.
    Ghost(i32),
}

#[derive(Clone, Copy)]
pub struct Found {
    pub fd: i32,
    /// What was delivered, and what was asked for besides EPOLLERR and EPOLLHUP, which are always
    /// delivered.
    pub mask: u32,
    pub asked: Option<u32>,
    /// Where it was added.
    pub added_at: usize,
    pub severity: Severity,
    /// It is a listening socket, and no descriptor is free to accept with.
    pub is_refused: bool,
}

impl Trail {
    pub fn begin(&self) {
        self.samples.set(0);
        self.last.set(0);
    }

    pub fn is_due(&self, now: u64) -> bool {
        now.saturating_sub(self.last.get()) >= thresholds::SPIN_DISTANCE
    }

    /// Takes one more sample. `since` is what the thread has done since the suspicion.
    pub fn follow(&self, wait: &Wait, since: &Since) -> Verdict {
        let spent = wait.now.saturating_sub(self.began.get());
        let is_slow = self.samples.get() != 0 && spent >= since.waits.saturating_mul(thresholds::SPIN_ROUND);
        if is_slow || seccomp::hinders() || !process::is_own() {
            return Verdict::Changed;
        }
        let (found, sample) = match on_own_stack(|| Sample::of(wait, since.is_rearmed())) {
            Some(Some(Sampled::Known(found, sample))) => (found, sample),
            Some(Some(Sampled::Ghost(fd))) => {
                self.last.set(wait.now + thresholds::SPIN_GHOST_DISTANCE);
                return Verdict::Ghost(fd);
            }
            _ => return Verdict::Changed,
        };
        let is_first = self.samples.get() == 0;
        let has_read = sample.needs_reads && sample.read_before != self.read.get();
        let yields = sample.yields.wrapping_sub(self.yields.get());
        let has_slept = sample.needs_rest && yields > sample.own_yields();
        if !is_first && (sample.state != self.state.get() || has_read || has_slept) {
            return Verdict::Changed;
        }
        if is_first {
            self.began.set(wait.now);
        }
        self.state.set(sample.state);
        self.read.set(sample.read_after);
        self.yields.set(sample.yields);
        self.last.set(wait.now);
        self.samples.add(1);
        let samples = thresholds::SPIN_SAMPLES * if sample.needs_rest { thresholds::SPIN_UNSURE } else { 1 };
        let is_enough = self.samples.get() >= samples && since.time >= thresholds::SPIN_TIME;
        if is_enough { Verdict::Spins(found) } else { Verdict::Unchanged }
    }
}

/// What a sample shows.
enum Sampled {
    Known(Found, Sample),
    Ghost(i32),
}

/// The current state of the descriptors of a batch.
#[derive(Clone, Copy, Default)]
struct Sample {
    state: u64,
    /// Only the process's count of bytes read and written shows whether the event was handled.
    needs_reads: bool,
    /// And the thread must never have slept, which shows that it did not wait for its peer.
    needs_rest: bool,
    /// The process's count of bytes without those that this sample read, and with them.
    read_before: u64,
    read_after: u64,
    /// The thread's count of voluntary context switches.
    yields: u64,
    /// How many bytes and how many files this sample has read.
    own: u64,
    files: u64,
}

impl Sample {
    /// None: it cannot be known whether one of the events is handled.
    fn of(wait: &Wait, is_rearmed: bool) -> Option<Sampled> {
        const EDGE: u32 = libc::EPOLLET as u32;
        const ONCE: u32 = libc::EPOLLONESHOT as u32;
        if !has_short_list(wait.epfd) {
            return None;
        }
        let mut sample = Sample::default();
        let mut first = None;
        for event in wait.events {
            let (data, mask) = (event.u64, event.events);
            let listed = sample.listed(wait.epfd, data)?;
            let status = sys::status(listed.fd);
            let is_another = |status: &libc::stat| listed.inode != 0 && status.st_ino != listed.inode;
            if status.as_ref().map_or_else(|error| *error == libc::EBADF, is_another) {
                return Some(Sampled::Ghost(listed.fd));
            }
            // A new edge means that something has happened, and a one-shot event was asked for
            // again.
            if listed.events & (EDGE | ONCE) != 0 && !is_rearmed {
                return None;
            }
            // If this number was closed, it no longer refers to the watched file.
            let Some(added_at) = ledger::site_of(wait.epfd, listed.fd) else {
                return Some(Sampled::Ghost(listed.fd));
            };
            let kind = sample.look_at(listed.fd, mask, &status.ok()?)?;
            // Each edge may be new.
            if kind == Kind::Unclear && listed.events & EDGE != 0 {
                return None;
            }
            // The kernel has cleared the mask of a one-shot interest.
            let is_taken = listed.events & ONCE != 0;
            let found = Found {
                fd: listed.fd,
                mask,
                asked: (!is_taken).then_some(listed.events & !(EPOLLERR | EPOLLHUP)),
                added_at,
                severity: if kind == Kind::Unclear { Severity::Warning } else { Severity::Error },
                is_refused: kind == Kind::Refused,
            };
            first = first.or(Some(found));
        }
        sample.count_reads();
        sample.count_yields();
        Some(Sampled::Known(first?, sample))
    }

    /// The interest that an event belongs to. None: several interests have this data.
    fn listed(&mut self, epfd: i32, data: u64) -> Option<Listed> {
        let (listed, bytes) = procfs::the_one_with(epfd, data)?;
        self.own += bytes as u64;
        self.files += 1;
        Some(listed)
    }

    /// The most voluntary context switches that two samples cause: the thread waits for a helper
    /// that reads the files.
    fn own_yields(&self) -> u64 {
        2 * self.files + 2
    }

    fn add(&mut self, value: u64) {
        self.state = mix(self.state ^ value).wrapping_add(1);
    }

    fn look_at(&mut self, fd: i32, mask: u32, status: &libc::stat) -> Option<Kind> {
        self.add(status.st_ino);
        match status.st_mode & libc::S_IFMT {
            libc::S_IFSOCK => self.socket(fd, mask),
            libc::S_IFIFO => {
                // The state is the number of bytes and the times of the last read and write.
                // pipe_write and pipe_read set these times, but splice does not: it may fill a pipe
                // as fast as another call empties it.
                let bytes = sys::bytes_waiting(fd, libc::FIONREAD).ok()?;
                for part in [status.st_mtime, status.st_mtime_nsec, status.st_atime, status.st_atime_nsec] {
                    self.add(part as u64);
                }
                self.add(bytes as u64);
                let may_be_full = mask & EPOLLHUP == 0 && mask & libc::EPOLLIN as u32 != 0 && bytes >= 4096;
                (!may_be_full).then_some(Kind::Certain)
            }
            _ => self.other(fd, mask),
        }
    }

    fn socket(&mut self, fd: i32, mask: u32) -> Option<Kind> {
        let option = |option| sys::socket_option(fd, option).ok();
        if option(libc::SO_ACCEPTCONN)? != 0 {
            // The number of waiting connections shows nothing: as many may come as are accepted.
            return is_out_of_descriptors().then_some(Kind::Refused);
        }
        let (domain, protocol) = (option(libc::SO_DOMAIN)?, option(libc::SO_PROTOCOL)?);
        let incoming = sys::bytes_waiting(fd, libc::FIONREAD).ok()?;
        let outgoing = sys::bytes_waiting(fd, libc::TIOCOUTQ).ok()?;
        if matches!(domain, libc::AF_INET | libc::AF_INET6) && protocol == libc::IPPROTO_TCP {
            let info = sys::tcp_info(fd).ok()?;
            let [.., acknowledged, received] = info;
            // The bytes that the program has read, and those that it has sent.
            self.add(received.wrapping_sub(incoming as u64));
            self.add(acknowledged.wrapping_add(outgoing as u64));
            return Some(Kind::Certain);
        }
        self.add(incoming as u64);
        self.add(outgoing as u64);
        let has_hung_up = mask & EPOLLHUP != 0;
        let is_at_end = mask & libc::EPOLLRDHUP as u32 != 0 && mask & libc::EPOLLOUT as u32 == 0;
        if domain == libc::AF_UNIX && (has_hung_up || is_at_end) {
            // No process can send to it any more, so its queue would shrink if it was read.
            return Some(Kind::Certain);
        }
        if matches!(domain, libc::AF_INET | libc::AF_INET6) && protocol == libc::IPPROTO_UDP {
            return self.datagrams(domain == libc::AF_INET6);
        }
        let takes = mask & (libc::EPOLLIN | libc::EPOLLPRI) as u32 != 0;
        let is_unix_stream = domain == libc::AF_UNIX && option(libc::SO_TYPE)? == libc::SOCK_STREAM;
        if is_unix_stream && !takes && sys::is_shut_for_writing(fd) {
            // Nothing can be written to it any more.
            return Some(Kind::Certain);
        }
        // The peer of a stream may send as fast as this process reads, and read as fast as it
        // sends. This is unlikely if the queues never change, and this thread never waits for its
        // peer. (Of a queue of messages, only the length of the first is known.)
        if is_unix_stream {
            (self.needs_reads, self.needs_rest) = (true, true);
            return (if takes { incoming != 0 } else { outgoing == 0 }).then_some(Kind::Unclear);
        }
        has_hung_up.then_some(Kind::Unclear)
    }

    /// Adds the counts of datagrams and errors of the whole network namespace. If they stay the
    /// same, none was sent or received here. (A datagram is counted when the program receives it:
    /// Linux v6.1 net/ipv4/udp.c, `udp_recvmsg`.)
    fn datagrams(&mut self, has_both: bool) -> Option<Kind> {
        self.add_lines(c"/proc/thread-self/net/snmp", &[b"Udp:", b"Icmp:"])?;
        if has_both {
            self.add_lines(c"/proc/thread-self/net/snmp6", &[b"Udp6", b"Icmp6"])?;
        }
        Some(Kind::Certain)
    }

    /// Adds the lines of a file that have one of these beginnings.
    fn add_lines(&mut self, path: &CStr, beginnings: &[&[u8]]) -> Option<()> {
        self.files += 1;
        Buffer::lend(|text: &mut Buffer<u8>| {
            if !procfs::read_file(path, text) {
                return None;
            }
            self.own += text.as_slice().len() as u64;
            for line in text.as_slice().split(|byte| *byte == b'\n') {
                if beginnings.iter().any(|beginning| line.starts_with(beginning)) {
                    line.iter().for_each(|byte| self.add(u64::from(*byte)));
                }
            }
            Some(())
        })
    }

    fn other(&mut self, fd: i32, mask: u32) -> Option<Kind> {
        let mut target = [0; 32];
        let kind = match procfs::target_of(fd, &mut target) {
            Some(b"anon_inode:[eventfd]" | b"anon_inode:inotify") => Some(Kind::Certain),
            // These can be handled without a read: a timer is set again, sigwaitinfo takes a
            // signal.
            Some(b"anon_inode:[timerfd]" | b"anon_inode:[signalfd]") => Some(Kind::Unclear),
            _ => None,
        };
        if kind.is_some() {
            self.needs_reads = true;
            self.add_text(&Short::of(format_args!("/proc/thread-self/fdinfo/{fd}")))?;
            return kind;
        }
        if mask & EPOLLHUP == 0 {
            return None;
        }
        self.add(sys::bytes_waiting(fd, libc::FIONREAD).unwrap_or(0) as u64);
        Some(Kind::Unclear)
    }

    /// Adds the first bytes of a file of /proc.
    fn add_text(&mut self, path: &Short) -> Option<()> {
        let mut text = [0; 1024];
        let length = procfs::read_short(path.as_c()?, &mut text)?;
        self.own += length as u64;
        self.files += 1;
        for byte in text.iter().take(length) {
            self.add(u64::from(*byte));
        }
        Some(())
    }

    /// Reads how many bytes this process has read by read(2) and written by write(2), if the kernel
    /// counts them (CONFIG_TASK_IO_ACCOUNTING).
    fn count_reads(&mut self) {
        if !self.needs_reads {
            return;
        }
        self.files += 1;
        let mut text = [0; 64];
        let length = procfs::read_short(c"/proc/self/io", &mut text).unwrap_or(0);
        let mut words = text.split(|byte| matches!(byte, b' ' | b'\n'));
        let mut count = |name: &[u8]| (words.next()? == name).then_some(decimal(words.next()?)?);
        match (count(b"rchar:"), count(b"wchar:")) {
            (Some(read), Some(written)) => {
                let count = read.wrapping_add(if self.needs_rest { written } else { 0 });
                self.read_before = count.wrapping_sub(self.own);
                // The kernel counts this read after it has returned the text.
                self.read_after = count.wrapping_add(length as u64);
            }
            // Not known: two values that never compare equal.
            _ => (self.read_before, self.read_after) = (0, 1),
        }
    }

    /// Reads the thread's count of voluntary context switches.
    fn count_yields(&mut self) {
        if !self.needs_rest {
            return;
        }
        self.files += 1;
        let yields = Buffer::lend(|text: &mut Buffer<u8>| {
            // `read_after` does not have the bytes of this file yet, but the kernel counts them.
            let is_read = procfs::read_file(c"/proc/thread-self/status", text);
            self.read_after = self.read_after.wrapping_add(text.as_slice().len() as u64);
            let mut lines = text.as_slice().split(|byte| *byte == b'\n');
            let digits = lines.find_map(|line| line.strip_prefix(b"voluntary_ctxt_switches:\t"));
            digits.filter(|_| is_read).and_then(decimal)
        });
        if yields.is_none() {
            (self.read_before, self.read_after) = (0, 1);
        }
        self.yields = yields.unwrap_or(0);
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An unchanged state proves that nothing was done.
    Certain,
    /// A listening socket, and no descriptor is free to accept with.
    Refused,
    /// Nothing seems to be done, but the state of this kind of file shows little.
    Unclear,
}

/// Whether accept must fail with EMFILE, because every number below the limit is in use.
fn is_out_of_descriptors() -> bool {
    /// Checking more numbers takes too long.
    const MOST: u64 = 65_536;
    let Ok(limit) = sys::descriptor_limit() else { return false };
    limit.rlim_cur <= MOST && (0..limit.rlim_cur as i32).rev().all(sys::is_open)
}
