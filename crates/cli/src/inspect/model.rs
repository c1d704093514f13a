//! What was observed of a process, as plain data. [`judge`](super::judge) decides on it, and text
//! and JSON print it.

use std::collections::{BTreeMap, BTreeSet};

use epollshim_format::census::Kind;
use epollshim_format::descriptor::Kept;
use epollshim_format::events::{EPOLLERR, EPOLLHUP};
use epollshim_format::findings::stalled;

pub const IN: u32 = 0x001;
pub const OUT: u32 = 0x004;
pub const RDHUP: u32 = 0x2000;
pub const ONESHOT: u32 = 1 << 30;
pub const EDGE: u32 = 1 << 31;
/// A process that was observed for [`Process::span`] nanoseconds.
#[derive(Default)]
pub struct Process {
    pub pid: u32,
    /// Safe to print on a terminal.
    pub name: String,
    /// CLOCK_MONOTONIC of the first and the last observation, in nanoseconds.
    pub began: u64,
    pub ended: u64,
    /// The soft RLIMIT_NOFILE. None: unlimited, or not readable.
    pub limit: Option<u64>,
    pub descriptors: BTreeMap<i32, Descriptor>,
    pub instances: Vec<Instance>,
    pub threads: Vec<Thread>,
    /// What could not be observed, and why. Sentences.
    pub missing: Vec<String>,
}

impl Process {
    pub fn span(&self) -> u64 {
        self.ended.saturating_sub(self.began)
    }

    /// The open descriptors that are an instance, or that an instance watches.
    pub fn listed(&self) -> BTreeSet<i32> {
        let watched = |instance: &Instance| -> Vec<i32> { instance.interests.iter().map(|one| one.fd).collect() };
        let all = self.instances.iter().flat_map(|instance| instance.epfds.iter().copied().chain(watched(instance)));
        all.filter(|fd| self.descriptors.contains_key(fd)).collect()
    }

    /// What an interest's descriptor refers to, if that is still the watched file.
    pub fn watched(&self, interest: &Interest) -> Option<&Descriptor> {
        if interest.ghost.is_some() { None } else { self.descriptors.get(&interest.fd) }
    }

    /// The descriptors that some instance watches.
    pub fn all_watched(&self) -> BTreeSet<i32> {
        let interests = self.instances.iter().flat_map(|instance| &instance.interests);
        interests.filter(|interest| interest.ghost.is_none()).map(|interest| interest.fd).collect()
    }

    /// The events for which an interest is ready now. None: unknown.
    pub fn ready(&self, interest: &Interest) -> Option<u32> {
        let state = self.watched(interest)?.looks.last()?;
        // A disarmed one-shot interest is never ready.
        Some(if interest.is_disarmed() { 0 } else { state.ready & (interest.events | EPOLLERR | EPOLLHUP) })
    }

    /// The instance on which a thread waited at the last observation.
    pub fn waits_on(&self, thread: &Thread) -> Option<&Instance> {
        let wait = thread.last()?.wait?;
        self.instances.iter().find(|instance| instance.epfds.contains(&wait.epfd))
    }
}

/// A descriptor of the process.
pub struct Descriptor {
    pub kind: Kind,
    /// The inode of a socket or a pipe. 0 for any other file.
    pub inode: u64,
    pub what: Kept,
    /// What copies of it reported, in order of time. Empty if no copy was made.
    pub looks: Vec<State>,
    /// Bytes of a socket that the other end has not acknowledged, at some time between the
    /// observations.
    pub unsent: Option<u64>,
    /// If no copy was made: TCP state, bytes to read, and bytes not acknowledged, from
    /// /proc/PID/net.
    pub table: Option<(u8, u64, u64)>,
}

/// What the kernel reported about a descriptor at one time.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct State {
    /// CLOCK_MONOTONIC in nanoseconds.
    pub at: u64,
    /// The events of poll(2): EPOLLIN and so on.
    pub ready: u32,
    /// Bytes to read. None: unknown for this kind of file.
    pub unread: Option<u64>,
    /// Bytes that the other end has not acknowledged. Not queried in the first observation while
    /// the socket is writable.
    pub unsent: Option<u64>,
    /// Connections to accept.
    pub backlog: u32,
    /// A number of include/net/tcp_states.h. 0: not a TCP socket.
    pub tcp: u8,
    /// Bytes received since the connection began.
    pub received: Option<u64>,
    /// Bytes that the other end has acknowledged.
    pub acked: Option<u64>,
    /// Milliseconds since the last ACK was received.
    pub last_ack: u32,
}

impl State {
    pub const CLOSE_WAIT: u8 = 8;

    /// Bytes to read or connections to accept: what waits for the program.
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
    /// Whether a wait would return events, at each observation.
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
    /// Whether it is a one-shot interest that was delivered and not rearmed.
    pub fn is_disarmed(&self) -> bool {
        stalled::is_disarmed(self.events)
    }

    pub fn is_edge_triggered(&self) -> bool {
        self.events & EDGE != 0 && !self.is_disarmed()
    }
}

/// Why an interest watches a file that its descriptor does not refer to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ghost {
    Closed,
    /// The descriptor refers to another file now.
    Other,
}

pub struct Thread {
    pub tid: u32,
    pub name: String,
    pub samples: Vec<Sample>,
    /// CLOCK_MONOTONIC since when it is known to have slept. None: it ran between two observations.
    pub asleep_since: Option<u64>,
}

impl Thread {
    pub fn last(&self) -> Option<&Sample> {
        self.samples.last()
    }

    /// Processor time between the first and the last observation, in nanoseconds. None: unknown.
    pub fn used(&self) -> Option<u64> {
        Some(self.last()?.cpu?.saturating_sub(self.samples.first()?.cpu?))
    }

    /// The time in which it did not sleep: it ran, or waited for a processor.
    pub fn awake(&self) -> Option<u64> {
        let queued = self.last()?.queued.saturating_sub(self.samples.first()?.queued);
        Some(self.used()?.saturating_add(queued))
    }

    /// Like `used`, for time in the kernel, in ticks of 10 ms.
    pub fn system_ticks(&self) -> u64 {
        let first = self.samples.first().map_or(0, |sample| sample.system_ticks);
        self.last().map_or(0, |sample| sample.system_ticks.saturating_sub(first))
    }
}

/// A thread at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    pub at: u64,
    /// The state letter of proc_pid_stat(5). `?`: unknown.
    pub state: char,
    pub doing: Doing,
    pub wait: Option<Wait>,
    /// The descriptor that another system call is about.
    pub fd: Option<i32>,
    /// Processor time in nanoseconds, and how often the thread was scheduled.
    pub cpu: Option<u64>,
    pub turns: Option<u64>,
    /// Nanoseconds in which it was runnable, and no processor was free.
    pub queued: u64,
    pub system_ticks: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    Runs,
    /// It sleeps in the system call of this number.
    Call(i64),
    /// No permission to ask.
    Unknown,
}

/// The arguments of the wait in which a thread sleeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    pub epfd: i32,
    pub call: &'static str,
    /// Milliseconds, or -1 for no timeout. None: epoll_pwait2, whose timeout is in the memory of
    /// the process.
    pub timeout: Option<i32>,
}
