//! What was seen of a process: plain data, which [`judge`](super::judge) decides on and text and JSON show.

use std::collections::BTreeMap;

use epollshim_format::census::Kind;
use epollshim_format::descriptor::Kept;
use epollshim_format::events::{EPOLLERR, EPOLLHUP};
use epollshim_format::findings::stalled;

pub const IN: u32 = 0x001;
pub const OUT: u32 = 0x004;
pub const RDHUP: u32 = 0x2000;
pub const ONESHOT: u32 = 1 << 30;
pub const EDGE: u32 = 1 << 31;
/// A process, looked at for [`Process::span`] nanoseconds.
#[derive(Default)]
pub struct Process {
    pub pid: u32,
    /// Fit for a terminal.
    pub name: String,
    /// CLOCK_MONOTONIC of the first and the last look, nanoseconds.
    pub began: u64,
    pub ended: u64,
    /// RLIMIT_NOFILE, soft; None: unlimited, or not readable.
    pub limit: Option<u64>,
    pub descriptors: BTreeMap<i32, Descriptor>,
    pub instances: Vec<Instance>,
    pub threads: Vec<Thread>,
    /// What could not be looked at, and why. Sentences.
    pub missing: Vec<String>,
}

impl Process {
    pub fn span(&self) -> u64 {
        self.ended.saturating_sub(self.began)
    }

    /// What an interest's descriptor is, if it is still the one that is watched.
    pub fn watched(&self, interest: &Interest) -> Option<&Descriptor> {
        if interest.ghost.is_some() { None } else { self.descriptors.get(&interest.fd) }
    }

    /// The events that an interest would be woken for now. None: it could not be asked.
    pub fn ready(&self, interest: &Interest) -> Option<u32> {
        let state = self.watched(interest)?.looks.last()?;
        // A disarmed one-shot interest is woken for nothing.
        Some(if interest.is_disarmed() { 0 } else { state.ready & (interest.events | EPOLLERR | EPOLLHUP) })
    }

    /// The instance that a thread waits on at its last look.
    pub fn waits_on(&self, thread: &Thread) -> Option<&Instance> {
        let wait = thread.last()?.wait?;
        self.instances.iter().find(|instance| instance.epfds.contains(&wait.epfd))
    }
}

/// A descriptor.
pub struct Descriptor {
    pub kind: Kind,
    /// Of a socket or a pipe; 0: of anything else.
    pub inode: u64,
    pub what: Kept,
    /// What was asked of copies of it, in the order of time; empty: it was not asked, or may not be.
    pub looks: Vec<State>,
    /// Bytes of a socket that the other end has not acknowledged, at some time between the looks.
    pub unsent: Option<u64>,
    /// Where it was not asked: what /proc/PID/net has of a socket: the state of TCP, bytes to read, bytes not acknowledged.
    pub table: Option<(u8, u64, u64)>,
}

/// What the kernel said of a descriptor at one time.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct State {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub at: u64,
    /// By poll(2): EPOLLIN and so on.
    pub ready: u32,
    /// Bytes to read; None: it cannot say.
    pub unread: Option<u64>,
    /// Bytes that the other end has not acknowledged; not asked at the first look while more can be written.
    pub unsent: Option<u64>,
    /// Connections to accept.
    pub backlog: u32,
    /// A number of include/net/tcp_states.h; 0: it is no TCP socket.
    pub tcp: u8,
    /// Bytes that came since the connection began.
    pub received: Option<u64>,
    /// Bytes that the other end has acknowledged.
    pub acked: Option<u64>,
    /// Milliseconds since the other end was heard of.
    pub last_ack: u32,
}

impl State {
    pub const CLOSE_WAIT: u8 = 8;

    /// Bytes to read, or connections to accept: what waits for the program.
    pub fn waiting(&self) -> u64 {
        if self.backlog != 0 { u64::from(self.backlog) } else { self.unread.unwrap_or(0) }
    }

    /// How many bytes the program has read since the connection began.
    pub fn read(&self) -> Option<u64> {
        self.received?.checked_sub(self.unread?)
    }
}

pub struct Instance {
    /// The descriptors that refer to it.
    pub epfds: Vec<i32>,
    pub interests: Vec<Interest>,
    /// Whether a wait would bring something, at each look.
    pub ready: Vec<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interest {
    pub fd: i32,
    pub events: u32,
    pub data: u64,
    pub pos: u64,
    pub inode: u64,
    pub device: u64,
    pub ghost: Option<Ghost>,
}

impl Interest {
    /// It was delivered, and was not armed again.
    pub fn is_disarmed(&self) -> bool {
        stalled::is_disarmed(self.events)
    }

    pub fn is_edge_triggered(&self) -> bool {
        self.events & EDGE != 0 && !self.is_disarmed()
    }
}

/// Why an interest is one in something that its number does not refer to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ghost {
    Closed,
    /// The number is another file's by now.
    Other,
}

pub struct Thread {
    pub tid: u32,
    pub name: String,
    pub samples: Vec<Sample>,
    /// CLOCK_MONOTONIC since when it is known to have slept; None: it ran between two looks.
    pub asleep_since: Option<u64>,
}

impl Thread {
    pub fn last(&self) -> Option<&Sample> {
        self.samples.last()
    }

    /// Processor time between the first and the last look, nanoseconds; None: not known.
    pub fn used(&self) -> Option<u64> {
        Some(self.last()?.cpu?.saturating_sub(self.samples.first()?.cpu?))
    }

    /// Time in which it did not sleep: it ran, or waited for a processor.
    pub fn awake(&self) -> Option<u64> {
        let queued = self.last()?.queued.saturating_sub(self.samples.first()?.queued);
        Some(self.used()?.saturating_add(queued))
    }

    /// The same as `used` in the kernel, in ticks of 10 ms.
    pub fn system_ticks(&self) -> u64 {
        let first = self.samples.first().map_or(0, |sample| sample.system_ticks);
        self.last().map_or(0, |sample| sample.system_ticks.saturating_sub(first))
    }
}

/// A thread at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    pub at: u64,
    /// The letter of proc_pid_stat(5); `?`: not known.
    pub state: char,
    pub doing: Doing,
    pub wait: Option<Wait>,
    /// Processor time, nanoseconds, and how often it was given a processor.
    pub cpu: Option<u64>,
    pub turns: Option<u64>,
    /// Nanoseconds for which it could run, and no processor was free.
    pub queued: u64,
    pub system_ticks: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    Runs,
    /// Sleeps in a system call of this number.
    Call(i64),
    /// It may not be asked.
    Unknown,
}

/// The arguments of the wait that a thread sleeps in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    pub epfd: i32,
    pub call: &'static str,
    /// Milliseconds, -1 for ever; None: of epoll_pwait2, whose timeout lies in the process's memory.
    pub timeout: Option<i32>,
}
