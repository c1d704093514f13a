//! Data that the program will not read: an edge-triggered interest was delivered and not read until
//! EAGAIN, or a one-shot interest was delivered and not re-armed, while the loop sleeps.
//!
//! A thread looks when it returns from a wait in which it slept ([`slept`]): rarely, and the more
//! rarely the less it finds. Data that it finds waiting is noted in the thread's block, and
//! compared at the next looks. A report looks twice at the instances that threads wait on then
//! ([`evaluate`]). Both read the instance's list in /proc, and ask each descriptor that may stall
//! how much can be read from it.
//!
//! If a wait slept and did not return a descriptor's event, the data was there before: new data is
//! an edge, and ends the sleep.

use epollshim_format::call::Call;
use epollshim_format::findings::stalled::{self, Look, seen};
use epollshim_format::findings::{Id, Severity, thresholds};
use libc::epoll_event;

use super::watch::{Watch, events};
use super::{
    Note, detail_of, ease, has_short_list, is_known, note, numbers, put, refresh, waiters, withdraw_evaluated,
};
use crate::buffer::Buffer;
use crate::counters::{Counters, Histogram};
use crate::frame::Frame;
use crate::ledger::records::Long;
use crate::process::End;
use crate::procfs;
use crate::sigsafe::on_own_stack;
use crate::thread::Block;
use crate::{clock, ledger, process, seccomp, sys, thread};

/// What is known about the instances that a thread waits on, in its block. All zero: nothing yet.
#[repr(C)]
pub struct Stalls {
    /// CLOCK_MONOTONIC when the next look is due; 0: the thread has not slept yet.
    due: Long,
    /// CLOCK_MONOTONIC when it is due after a wait that has slept for `STALLED_ASLEEP`.
    due_after_long: Long,
    /// The pause after a look that finds nothing.
    rest: Long,
    suspects: [Suspect; 8],
}

/// A descriptor with data that waits.
struct Suspect {
    /// The two numbers, as a finding has them; 0: not in use.
    descriptors: Long,
    events: Long,
    /// What the first look saw.
    waiting: Long,
    read: Long,
    /// CLOCK_MONOTONIC of the first look, how long the thread had slept in total before the data
    /// was there, and the processor time of the process.
    at: Long,
    asleep: Long,
    used: Long,
    is_noted: Long,
}

/// An interest that may stall, and the result of one look at its descriptor.
#[derive(Clone, Copy)]
struct Item {
    epfd: i32,
    fd: i32,
    events: u32,
    data: u64,
    waiting: u64,
    /// Bytes that the program has read; `u64::MAX`: the kernel does not count them.
    read: u64,
    is_listening: bool,
    /// The instance that its loop waits on; -1: the loop does not wait at the moment.
    waited: i32,
    /// The call site of the wait that should return its event.
    site: usize,
    /// How long its loop has slept meanwhile, as far as known.
    asleep: u64,
    /// CLOCK_MONOTONIC and the processor time of the process at the first look.
    at: u64,
    used: u64,
}

/// Lists the one-shot and edge-triggered interests of an instance, and of those that it watches.
fn list(epfd: i32, site: usize, into: &mut Buffer<Item>) {
    let from = into.as_slice().len();
    list_one(epfd, epfd, site, into);
    for at in from..into.as_slice().len() {
        if let Some(inner) = into.as_slice().get(at).filter(|item| ledger::is_instance(item.fd)) {
            list_one(epfd, inner.fd, site, into);
        }
    }
}

#[inline(never)]
fn list_one(waited: i32, epfd: i32, site: usize, into: &mut Buffer<Item>) {
    if !has_short_list(epfd) {
        return;
    }
    procfs::each_listed(epfd, &mut |one| {
        if one.events & (libc::EPOLLET | libc::EPOLLONESHOT) as u32 != 0 || ledger::is_instance(one.fd) {
            into.push(Item { epfd, fd: one.fd, events: one.events, data: one.data, waited, site, ..Item::NOTHING });
        }
    });
}

impl Item {
    const NOTHING: Item = Item {
        epfd: -1,
        fd: -1,
        events: 0,
        data: 0,
        waiting: 0,
        read: u64::MAX,
        is_listening: false,
        waited: -1,
        site: 0,
        asleep: 0,
        at: 0,
        used: 0,
    };

    /// Asks how much its descriptor has to read. (One that gives no number of bytes has no data: an
    /// edge-triggered eventfd or timerfd need not be read.)
    fn look(&mut self) {
        // If the kernel does not count what was read, the same amount may be new data. But then the
        // instance has returned an event in between, so its count of events serves instead.
        self.read = ledger::crowd_of(self.epfd).map_or(0, |crowd| crowd.events);
        match sys::bytes_waiting(self.fd, libc::FIONREAD) {
            Ok(bytes) => {
                self.waiting = bytes.max(0) as u64;
                if let Ok([.., received]) = sys::tcp_info(self.fd) {
                    self.read = received.wrapping_sub(bytes as u64);
                }
            }
            // A socket that listens: tcp_ioctl of net/ipv4/tcp.c, Linux 6.1.
            Err(libc::EINVAL) if sys::socket_option(self.fd, libc::SO_ACCEPTCONN) == Ok(1) => {
                self.is_listening = true;
                self.waiting = u64::from(sys::connections_waiting(self.fd).unwrap_or(0));
            }
            Err(_) => self.waiting = 0,
        }
    }

    fn seen(&self) -> Look {
        look_of(self.waiting, self.read)
    }

    fn variant(&self) -> Option<u8> {
        stalled::variant(self.events)
    }

    fn descriptors(&self) -> u64 {
        super::descriptors(self.epfd, self.fd)
    }

    /// The finding about it. None: it cannot stall, or it is not known where it was registered (its
    /// number may not refer to the watched file).
    fn note(&self) -> Option<Note> {
        let variant = self.variant()?;
        let known = Note {
            variant,
            epfd: self.epfd,
            fd: self.fd,
            site: self.site,
            other: ledger::site_of(self.epfd, self.fd)?,
            ..Note::of(Id::Stalled, Severity::Info)
        };
        let mut what = detail_of(&known).map_or(0, |[.., what]| what & seen::RESUMED);
        if self.is_listening {
            what |= seen::LISTENS;
        }
        if variant == stalled::EDGE && is_any_held_back() {
            what |= seen::HELD_BACK;
        }
        let spent = processor_time().saturating_sub(self.used);
        let share = |part: u64| spent.saturating_mul(part) >= clock::monotonic().saturating_sub(self.at);
        if share(thresholds::STALLED_WORKS) || share(thresholds::STALLED_MAY_WORK) && does_any_work() {
            what |= seen::AT_WORK;
        }
        let detail = [self.waiting, self.asleep, 0, what];
        Some(Note { severity: stalled::severity(variant, what), detail, ..known })
    }
}

/// The values of a look. `read` is as in [`Item::read`].
fn look_of(waiting: u64, read: u64) -> Look {
    Look { waiting, read: (read != u64::MAX).then_some(read) }
}

/// Whether a socket of the process cannot send, because its peer does not read.
fn is_any_held_back() -> bool {
    const LOOKED_AT: i32 = 4_096;
    // Ask sockets only. The kernel passes an ioctl of another file to its file system, which may be
    // a process that does not answer (FUSE).
    let is_socket = |fd| sys::socket_option(fd, libc::SO_TYPE).is_ok();
    (0..=ledger::records().descriptors.highest().min(LOOKED_AT)).filter(|fd| is_socket(*fd)).any(|fd| {
        sys::bytes_waiting(fd, libc::TIOCOUTQ).is_ok_and(|bytes| bytes > 0) && sys::writable(fd, 0) == Ok(false)
    })
}

fn processor_time() -> u64 {
    sys::processor_time(0).unwrap_or(0)
}

/// Whether another thread than the caller runs, or is ready to run.
fn does_any_work() -> bool {
    const LOOKED_AT: u32 = 64;
    if procfs::has_one_thread() {
        return false;
    }
    let (own, mut looked_at, mut found) = (sys::gettid(), 0, false);
    procfs::each_thread(|thread| {
        looked_at += 1;
        found = found || thread != own && looked_at <= LOOKED_AT && procfs::is_runnable(thread);
    });
    found
}

// ---- when a thread returns from a wait ----

/// Called after a wait that slept was counted. It began at `frame.state`, and returned `count` at
/// `now`.
#[inline(never)]
pub fn slept(block: &Block, frame: &Frame, count: isize, now: u64) {
    let stalls: &Stalls = block.part();
    let time = now.saturating_sub(frame.state);
    // A thread that seems to spin did not sleep, but lost its processor. spin.rs would take the
    // bytes read from /proc for the program's.
    if !block.part::<Watch>().has_no_suspicion() {
        return;
    }
    let is_long = time >= thresholds::STALLED_ASLEEP;
    if now < stalls.due.get() && !(is_long && now >= stalls.due_after_long.get()) {
        return;
    }
    if stalls.due.get() == 0 && !is_long {
        // Most loops end soon, or never sleep for long.
        return stalls.due.set(now + thresholds::STALLED_DISTANCE);
    }
    let epfd = frame.int(0);
    let watches = ledger::crowd_of(epfd).map_or(0, |crowd| crowd.watches);
    let rest = stalls.rest.get().saturating_mul(2).clamp(thresholds::STALLED_DISTANCE, thresholds::STALLED_REST);
    stalls.rest.set(rest);
    stalls.due.set(now + rest);
    // A look takes some 100 microseconds, and one more for each interest.
    let cost = (100 + watches) * 1_000 * thresholds::STALLED_SHARE;
    stalls.due_after_long.set(now + cost);
    // If the array is full, other events may not be delivered yet.
    let is_full = count > 0 && count == frame.int(2) as isize;
    if watches == 0 || is_full || !ledger::is_first_waiter(epfd, block) || seccomp::hinders() || !process::is_own() {
        return;
    }
    let events = events(frame, count.max(0) as usize);
    let wait = Wait { epfd, site: frame.caller, events, asleep: asleep(&block.counters), time, now };
    if on_own_stack(|| stalls.look(&wait)) == Some(true) {
        stalls.rest.set(0);
        stalls.due.set(now + cost.max(thresholds::STALLED_DISTANCE));
    }
}

struct Wait<'a> {
    epfd: i32,
    site: usize,
    events: &'a [epoll_event],
    /// How long the thread has slept in total, and how long in this wait.
    asleep: u64,
    time: u64,
    now: u64,
}

impl Wait<'_> {
    fn brings(&self, item: &Item) -> bool {
        self.events.iter().any(|event| { event.u64 } == item.data)
    }
}

/// Nanoseconds in waits that could block.
fn asleep(counters: &Counters) -> u64 {
    let of = |call: &Call| counters.blocked(*call).map_or(0, Histogram::sum);
    Call::WAITS.iter().map(of).fold(0, u64::wrapping_add)
}

impl Stalls {
    /// Called when another thread takes over the block.
    pub fn next_owner(&self) {
        self.due.set(0);
        self.suspects.iter().for_each(|suspect| suspect.descriptors.set(0));
    }

    /// True: data waits that is not a finding yet.
    fn look(&self, wait: &Wait<'_>) -> bool {
        Buffer::lend(|items| {
            list(wait.epfd, wait.site, items);
            for suspect in self.suspects.iter().filter(|suspect| suspect.descriptors.get() != 0) {
                let at = items.as_slice().iter().position(|item| item.descriptors() == suspect.descriptors.get());
                match at.and_then(|at| items.as_mut_slice().get_mut(at)) {
                    Some(item) => {
                        let is_delivered = wait.brings(item);
                        suspect.follow(item, wait.asleep, is_delivered);
                    }
                    None => suspect.descriptors.set(0),
                }
            }
            for item in items.as_mut_slice() {
                if item.variant().is_none() || wait.brings(item) || self.of(item).is_some() {
                    continue;
                }
                let Some(free) = self.suspects.iter().find(|suspect| suspect.descriptors.get() == 0) else { break };
                // Skip the other questions if there is nothing to read.
                if sys::bytes_waiting(item.fd, libc::FIONREAD) != Ok(0) {
                    item.look();
                }
                if item.waiting > 0 {
                    free.begin(item, wait);
                }
            }
        });
        self.suspects.iter().any(|suspect| suspect.descriptors.get() != 0 && suspect.is_noted.get() == 0)
    }

    fn of(&self, item: &Item) -> Option<&Suspect> {
        self.suspects.iter().find(|suspect| suspect.descriptors.get() == item.descriptors())
    }
}

impl Suspect {
    fn begin(&self, item: &Item, wait: &Wait<'_>) {
        self.events.set(u64::from(item.events));
        self.waiting.set(item.waiting);
        self.read.set(item.read);
        self.at.set(wait.now);
        self.used.set(processor_time());
        self.asleep.set(wait.asleep.wrapping_sub(wait.time));
        self.is_noted.set(0);
        self.descriptors.set(item.descriptors());
    }

    fn first(&self) -> Look {
        look_of(self.waiting.get(), self.read.get())
    }

    /// Looks at it again. `asleep` is how long its thread has slept in total. `is_delivered`: an
    /// event for it was just returned.
    fn follow(&self, item: &mut Item, asleep: u64, is_delivered: bool) {
        item.look();
        let Some(variant) = item.variant() else {
            // The program has re-armed it.
            return self.end(item, true);
        };
        if is_delivered || !stalled::is_untouched(variant, self.first(), item.seen()) {
            // The total of bytes that arrived is the same: no new data, so it was read without an
            // event.
            let came = |look: Look| look.read.map(|read| read.wrapping_add(look.waiting));
            let is_resumed = came(item.seen()).is_some() && came(item.seen()) == came(self.first());
            return self.end(item, is_resumed && !is_delivered);
        }
        item.asleep = asleep.wrapping_sub(self.asleep.get());
        (item.at, item.used) = (self.at.get(), self.used.get());
        let is_due = clock::monotonic().saturating_sub(item.at) >= thresholds::STALLED_DISTANCE;
        if is_due
            && item.asleep >= thresholds::STALLED_ASLEEP
            && let Some(found) = item.note()
        {
            if self.is_noted.get() == 0 {
                note(&found);
                self.is_noted.set(1);
            }
            refresh(&found);
        }
    }

    /// Ends the suspicion: the data no longer waits.
    fn end(&self, item: &Item, is_resumed: bool) {
        self.descriptors.set(0);
        let variant = if item.events & libc::EPOLLET as u32 != 0 { stalled::EDGE } else { stalled::ONE_SHOT };
        if is_resumed
            && self.is_noted.get() != 0
            && let Some(other) = ledger::site_of(item.epfd, item.fd)
        {
            let found = Note { variant, site: item.site, other, ..Note::of(Id::Stalled, Severity::Info) };
            ease(&found, seen::RESUMED);
        }
    }
}

// ---- when a report is made ----

/// The most instances with waiting threads that are examined.
const WAITS: usize = 64;
/// The most interests that are looked at twice: each look reads the list of its instance.
const ITEMS: usize = 64;

/// Looks again at the findings. Looks twice at data that waits in the instances that threads wait
/// on, or that waited when the calling thread last slept.
pub fn evaluate(end: End) {
    withdraw_evaluated(Id::Stalled);
    if end == End::Exec || seccomp::hinders() || !process::is_own() {
        return;
    }
    Buffer::lend(|items| {
        thread::all().for_each(|block| block.part::<Stalls>().settle(block, items));
        let mut seen = [-1; WAITS];
        // The caller of a snapshot is between two waits, and has not handled all events yet.
        let is_amid_events = |epfd| {
            end == End::Running
                && thread::block_at_hand()
                    .is_some_and(|own| own.waits_on().is_none() && own.last_used.instance_of(epfd).is_some())
        };
        for block in thread::all() {
            match block.waits_on() {
                // A signal handler ends the process inside its thread's wait. The wait would have
                // returned the ready events.
                Some(epfd) if is_amid_events(epfd) || thread::is_own(block) && has_events(epfd) => {}
                Some(epfd) => {
                    let free = seen.iter_mut().take_while(|one| **one != epfd).find(|one| **one == -1);
                    if let Some(free) = free {
                        *free = epfd;
                        list(epfd, block.waits_at(), items);
                    }
                }
                None if thread::is_own(block) => block.part::<Stalls>().list(block, items),
                None => {}
            }
        }
        let (mut any, used) = (false, processor_time());
        for item in items.as_mut_slice() {
            if item.waiting == 0 && item.variant().is_some() {
                item.look();
                (item.at, item.used) = (clock::monotonic(), used);
            }
            any |= item.waiting > 0;
        }
        if any {
            sys::sleep(thresholds::STALLED_DISTANCE as i64);
            items.as_slice().iter().filter(|item| item.waiting > 0).take(ITEMS).for_each(look_again);
        }
    });
}

fn has_events(epfd: i32) -> bool {
    let mut of = [libc::pollfd { fd: epfd, events: libc::POLLIN, revents: 0 }];
    sys::poll_now(&mut of).is_ok_and(|ready| ready > 0)
}

#[inline(never)]
fn look_again(first: &Item) {
    let mut item = *first;
    item.look();
    let waits =
        |block: &&Block| block.waits_on() == Some(item.waited) && (thread::is_own(block) || waiters::is_waiting(block));
    let is_armed = || {
        Buffer::lend(|items| {
            list(item.epfd, item.site, items);
            !items
                .as_slice()
                .iter()
                .any(|other| other.descriptors() == item.descriptors() && other.variant() == item.variant())
        })
    };
    if item.variant().is_some_and(|variant| stalled::is_untouched(variant, first.seen(), item.seen()))
        && (item.waited == -1 || thread::all().any(|block| waits(&block)))
        && !is_armed()
        && let Some(found) = item.note()
        && !is_known(&found)
    {
        put(&found, 1);
    }
}

impl Stalls {
    /// Looks again at the findings of this thread.
    fn settle(&self, block: &Block, items: &mut Buffer<Item>) {
        for suspect in self.suspects.iter().filter(|suspect| suspect.is_noted.get() != 0) {
            let descriptors = suspect.descriptors.get();
            let (epfd, _) = numbers(descriptors);
            list(epfd, block.waits_at(), items);
            let found = items.as_mut_slice().iter_mut().find(|item| item.descriptors() == descriptors);
            if let Some(item) = found {
                suspect.follow(item, asleep(&block.counters), false);
            }
            items.clear();
        }
    }

    /// Lists the suspects of the block's thread, which is the caller, from when it last slept.
    fn list(&self, block: &Block, into: &mut Buffer<Item>) {
        let slept = asleep(&block.counters);
        for suspect in &self.suspects {
            let (descriptors, asleep) = (suspect.descriptors.get(), slept.wrapping_sub(suspect.asleep.get()));
            if descriptors != 0 && suspect.is_noted.get() == 0 && asleep >= thresholds::STALLED_ASLEEP {
                let (epfd, fd) = numbers(descriptors);
                into.push(Item {
                    epfd,
                    fd,
                    events: suspect.events.get() as u32,
                    waiting: suspect.waiting.get(),
                    read: suspect.read.get(),
                    site: block.waits_at(),
                    asleep,
                    at: suspect.at.get(),
                    used: suspect.used.get(),
                    ..Item::NOTHING
                });
            }
        }
    }
}
