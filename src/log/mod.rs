//! The log: one line per call, to a descriptor or to a file.
//!
//! A line is one write of at most 4,096 bytes, so lines of threads and processes never mix
//! (pipe(7), PIPE_BUF; O_APPEND). It is formatted with all signals blocked, on a stack of its own,
//! because a hook may run on the few KiB of a signal handler. A helper (sigsafe/helper.rs) opens
//! the file for each line, so the program's descriptor table never contains a descriptor of the
//! log. A line that cannot be written is dropped and counted. No thread waits long for a reader
//! that does not read.

mod arguments;
pub mod decisions;
mod fcntl;
mod file;
mod flags;
mod json;
mod output;
mod text;

use crate::sync::{AtomicBool, AtomicU64, Ordering};
use core::fmt::{self, Write};

use epollshim_format::function::{Function, Functions};
use epollshim_format::log_filter::Filter;
use epollshim_format::options::Format;
use libc::{c_int, epoll_event};

use crate::config::{self, Config, LogTo};
use crate::frame::{epfd_of, fd_of};
use crate::{clock, place, process, stacks, sys};

/// How many events of one wait are printed.
const EVENTS: usize = 16;

/// A call that has returned.
pub struct Call {
    pub function: Function,
    /// The arguments that the program passed.
    pub words: [usize; 6],
    /// CLOCK_MONOTONIC when it began.
    pub began: u64,
    /// A real function ran.
    pub is_made: bool,
    /// A fault made up the result, or a part of it.
    pub is_made_up: bool,
    pub is_delayed: bool,
    /// A fault sent the thread a signal.
    pub is_signalled: bool,
    /// A fault did anything to the call.
    pub is_injected: bool,
    pub is_limited: bool,
    /// Its return address.
    pub caller: usize,
}

/// A call with what its line needs.
struct Line<'a> {
    call: &'a Call,
    pid: i32,
    tid: i32,
    result: isize,
    /// The errno. 0: the call did not fail.
    error: c_int,
    duration: u64,
    /// The hash of its call stack, if stacks are kept.
    stack: Option<u64>,
}

impl Line<'_> {
    fn int(&self, index: usize) -> c_int {
        self.word(index) as c_int
    }

    fn word(&self, index: usize) -> usize {
        self.call.words.get(index).copied().unwrap_or(0)
    }

    /// CLOCK_REALTIME when the call began.
    #[inline(never)] // for size
    fn wall(&self) -> u64 {
        clock::realtime().saturating_sub(clock::monotonic().saturating_sub(self.call.began))
    }

    /// The events that a wait returned, at most [`EVENTS`].
    fn delivered(&self) -> impl Iterator<Item = epoll_event> + Clone + '_ {
        let count = usize::try_from(self.result).unwrap_or(0);
        let count = if self.call.function.waits() && self.call.is_made { count.min(EVENTS) } else { 0 };
        // SAFETY: the call is a wait of the kernel that returned at least `count` events, so it has
        // written them to its second argument.
        (0..count).map(|index| unsafe { (self.word(1) as *const epoll_event).add(index).read_unaligned() })
    }

    /// How many more events the wait returned.
    fn more(&self) -> usize {
        usize::try_from(self.result).unwrap_or(0).saturating_sub(self.delivered().count())
    }

    /// The event that an `epoll_ctl` points to. None: its address is bad, or the operation reads no
    /// event.
    fn asked(&self) -> Option<epoll_event> {
        if self.int(1) == libc::EPOLL_CTL_DEL { None } else { sys::event_at(self.word(3)) }
    }
}

/// Whether the options ask for a log.
fn is_on() -> bool {
    config::get().is_some_and(|config| !matches!(config.log, LogTo::Off))
}

/// The functions whose calls may be logged. None: there is no log.
pub fn functions() -> Option<Functions> {
    let config = config::get().filter(|_| is_on())?;
    Some(match config.log_filter.functions {
        Functions(0) => Functions::EPOLL,
        named => named,
    })
}

/// The counts of lines of one process. They lie in the page that the kernel wipes at fork.
#[repr(C)]
pub struct Tally {
    /// Lines that could not be written.
    dropped: AtomicU64,
    written: AtomicU64,
}

/// How many lines were written and dropped. None: the options ask for no log.
pub fn counts() -> Option<(u64, u64)> {
    let tally = process::part::<Tally>().filter(|_| is_on())?;
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Some((of(&tally.written), of(&tally.dropped)))
}

/// Logs a call that has just returned.
pub fn call(call: &Call, result: isize, error: c_int) {
    let Some(config) = config::get() else { return };
    let duration = clock::monotonic().saturating_sub(call.began);
    let failed = call.function.has_failed(result);
    if !is_wanted(&config.log_filter, call, failed, duration) {
        return;
    }
    let error = if failed { error } else { 0 };
    let stack = if stacks::are_kept() { stacks::hash(call.caller, 0, &mut |_| {}) } else { None };
    let render = |out: &mut output::Bytes| {
        let line = Line { call, pid: own_pid(), tid: sys::gettid(), result, error, duration, stack };
        render(config, &line, out)
    };
    output::write(&config.log, config, render, |written| {
        static IS_SAID: AtomicBool = AtomicBool::new(false);
        if let Some(tally) = process::part::<Tally>() {
            let count = if written.is_ok() { &tally.written } else { &tally.dropped };
            count.fetch_add(1, Ordering::Relaxed);
        }
        // Other errors are only in the report: a disk may have space again later.
        if written == Err(place::FOREIGN) {
            file::complain_once(&IS_SAID, "EPOLLSHIM_LOG", &config.log, place::FOREIGN);
        }
    });
}

/// The pid of the calling process, as far as it is known: a seccomp filter may hide it.
fn own_pid() -> i32 {
    match sys::getpid() {
        0 => process::pid(),
        pid => pid,
    }
}

fn render(config: &Config, line: &Line, out: &mut impl Write) -> fmt::Result {
    match config.log_format {
        Format::Text => text::render(line, config.log_time, out),
        Format::Json => json::render(line, out),
    }
}

/// Whether a call passes the filter. Names, outcomes and descriptors are three conditions: a call
/// must match one word of each that the filter has.
fn is_wanted(filter: &Filter, call: &Call, failed: bool, duration: u64) -> bool {
    let by_name = if filter.functions.is_empty() {
        call.function.is_epoll() || call.is_injected
    } else {
        filter.functions.has(call.function)
    };
    let asks_outcome = filter.failed || filter.injected || filter.limited || filter.slow.is_some();
    let by_outcome = !asks_outcome
        || filter.failed && failed
        || filter.injected && call.is_injected
        || filter.limited && call.is_limited
        || filter.slow.is_some_and(|slow| duration >= slow);
    let named =
        |numbers: &[i32], number: Option<c_int>| number.is_some_and(|number| number >= 0 && numbers.contains(&number));
    let asks_descriptor = filter.epfds.iter().chain(&filter.fds).any(|number| *number >= 0);
    let (epfd, fd) = (epfd_of(call.function, &call.words), fd_of(call.function, &call.words));
    by_name && by_outcome && (!asks_descriptor || named(&filter.epfds, epfd) || named(&filter.fds, fd))
}

/// The name of an operation of `epoll_ctl`.
fn operation(number: c_int) -> Option<&'static str> {
    match number {
        libc::EPOLL_CTL_ADD => Some("EPOLL_CTL_ADD"),
        libc::EPOLL_CTL_DEL => Some("EPOLL_CTL_DEL"),
        libc::EPOLL_CTL_MOD => Some("EPOLL_CTL_MOD"),
        _ => None,
    }
}

/// The signal mask at an address, as one word of the kernel. None: there is none, or it cannot be
/// read.
fn mask(address: usize) -> Option<u64> {
    // SAFETY: `is_readable` has just had the kernel read the eight bytes there.
    sys::is_readable(address).then(|| unsafe { (address as *const u64).read_unaligned() })
}
