//! What is wrong with a process: decided from what was seen, and nothing else.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use epollshim_format::census::Kind;
use epollshim_format::descriptor::Descriptor as Shown;
use epollshim_format::events::{EPOLLERR, EPOLLHUP, Mask};
use epollshim_format::findings::stalled::{self, Look, seen};
use epollshim_format::findings::{Id, Severity, near_limit};
use epollshim_format::scale::{Grouped, Scaled};

use super::model::{Descriptor, Ghost, IN, Instance, Interest, OUT, Process, RDHUP, State, Thread};
use crate::text::count;

/// What `inspect` can find.
pub const IDS: [&str; 5] = ["stalled", "ghost", "fd-leak", "near-limit", "spin"];

/// A loop that sleeps at so many looks, with what is ready unchanged, does not come back for it: one that is about to read is
/// runnable.
const ASLEEP: usize = 2;
/// A thread that uses more of its time than this, as a part of 100, is busy.
const BUSY: u64 = 80;
/// Of its processor time a loop of system calls spends at least this in the kernel, as a part of 100. One that computes spends
/// next to nothing there.
const IN_KERNEL: u64 = 15;
const TICK: u64 = 10_000_000;
/// Sockets in CLOSE_WAIT: one is a connection whose answer is on its way. So many, each for a second, or one for a minute, are
/// connections that nobody closes.
const LEFT: usize = 8;
const LEFT_MS: u32 = 1_000;
const LEFT_LONG_MS: u32 = 60_000;
/// The descriptors that a finding lists.
pub const LISTED: usize = 8;

/// Something wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub id: &'static str,
    pub severity: Severity,
    pub epfd: Option<i32>,
    /// All that it is about, the first of them first.
    pub fds: Vec<i32>,
    pub tid: Option<u32>,
    /// What the first is.
    pub what: Option<String>,
    /// What is wrong, and what to do: one sentence.
    pub message: String,
}

/// All findings, the worst first.
pub fn judge(process: &Process) -> Vec<Finding> {
    let mut found = Vec::new();
    for instance in &process.instances {
        let stalled = instance.interests.iter().filter_map(|interest| stalled(process, instance, interest));
        found.extend(grouped(stalled.collect()));
        found.extend(ghosts(process, instance));
    }
    found.extend(process.threads.iter().filter_map(|thread| spin(process, thread)));
    found.extend(left(process));
    found.extend(near(process));
    let place = |id: &str| IDS.iter().position(|known| *known == id);
    found.sort_by_key(|one| (Reverse(one.severity), place(one.id), one.epfd));
    found
}

/// Whether a thread has hardly slept between the first and the last look. On a loaded machine it has waited for a processor.
pub fn is_busy(thread: &Thread) -> bool {
    part(thread, thread.awake()) >= Some(BUSY) && share(thread) > Some(0)
}

/// Processor time, as a part of 100.
fn share(thread: &Thread) -> Option<u64> {
    part(thread, thread.used())
}

fn part(thread: &Thread, time: Option<u64>) -> Option<u64> {
    let span = thread.last()?.at.saturating_sub(thread.samples.first()?.at);
    (span > 0).then_some(())?;
    Some((time?.saturating_mul(100) / span).min(100))
}

/// The numbers of an instance, and of those that watch it: a thread that waits on any of these waits on it.
fn waited_on(process: &Process, instance: &Instance) -> BTreeSet<i32> {
    let mut all: BTreeSet<i32> = instance.epfds.iter().copied().collect();
    loop {
        let outer = process
            .instances
            .iter()
            .filter(|outer| outer.interests.iter().any(|one| one.ghost.is_none() && all.contains(&one.fd)));
        let more: Vec<i32> =
            outer.flat_map(|outer| outer.epfds.iter().copied()).filter(|fd| !all.contains(fd)).collect();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// How often a thread of a process was seen asleep in a wait on an instance, the first look left out.
fn times_asleep(thread: &Thread, epfds: &BTreeSet<i32>) -> usize {
    let is_there = |sample: &&super::model::Sample| sample.wait.is_some_and(|wait| epfds.contains(&wait.epfd));
    thread.samples.iter().skip(1).filter(is_there).count()
}

/// An interest with something to read that nobody will be told of again.
fn stalled(process: &Process, instance: &Instance, interest: &Interest) -> Option<Finding> {
    let variant = stalled::variant(interest.events)?;
    let descriptor = process.watched(interest)?;
    let (first, last) = (descriptor.looks.first()?, descriptor.looks.last()?);
    let seen_of = |look: &State| Look { waiting: look.waiting(), read: look.read() };
    let is_untouched =
        |look: &State| look.ready & IN != 0 && stalled::is_untouched(variant, seen_of(first), seen_of(look));
    if descriptor.looks.len() <= ASLEEP || !descriptor.looks.iter().all(is_untouched) {
        return None;
    }
    let epfds = waited_on(process, instance);
    let waiters: Vec<&Thread> =
        process.threads.iter().filter(|thread| times_asleep(thread, &epfds) >= ASLEEP).collect();
    let waiter = waiters.first()?;
    let is_waiter = |thread: &Thread| waiters.iter().any(|one| one.tid == thread.tid);
    let worker =
        process.threads.iter().find(|thread| !is_waiter(thread) && part(thread, thread.awake()) >= Some(BUSY / 2));
    let is_held_back = variant == stalled::EDGE && process.descriptors.values().any(is_full);
    let seen = if worker.is_some() { seen::AT_WORK } else { 0 } | if is_held_back { seen::HELD_BACK } else { 0 };
    let mut message = stalled::Waiting { count: last.waiting(), are_connections: last.backlog != 0 }.to_string();
    let span = last.at.saturating_sub(first.at);
    message.push_str(&format!(
        ", and thread {} sleeps in {}: nothing was read for the {} that were looked at, and ",
        waiter.tid,
        waiter.samples.iter().rev().find_map(|sample| sample.wait).map_or("epoll_wait", |wait| wait.call),
        Scaled::time(span)
    ));
    message.push_str(stalled::reason(variant));
    match worker {
        Some(worker) => message.push_str(&format!(" (thread {} runs, and may be at work on it)", worker.tid)),
        None => message.push_str(stalled::excuse(seen)),
    }
    Some(Finding {
        id: Id::Stalled.name(),
        severity: stalled::severity(variant, seen),
        epfd: instance.epfds.first().copied(),
        fds: vec![interest.fd],
        tid: Some(waiter.tid),
        what: Some(shown(descriptor)),
        message,
    })
}

/// A socket that cannot send, because the other end does not read.
fn is_full(descriptor: &Descriptor) -> bool {
    descriptor.looks.last().is_some_and(|look| look.ready & OUT == 0 && look.unsent.is_some_and(|bytes| bytes > 0))
}

/// Those of one instance, of one severity: one finding with all descriptors.
fn grouped(found: Vec<Finding>) -> Vec<Finding> {
    let mut groups: BTreeMap<Severity, Finding> = BTreeMap::new();
    for one in found {
        match groups.get_mut(&one.severity) {
            Some(group) => group.fds.extend(one.fds),
            None => drop(groups.insert(one.severity, one)),
        }
    }
    let many = |mut one: Finding| {
        if one.fds.len() > 1 {
            one.message = format!("{} are stalled; the first has {}", count(one.fds.len(), "descriptor"), one.message);
        }
        one
    };
    groups.into_values().map(many).collect()
}

fn ghosts(process: &Process, instance: &Instance) -> Option<Finding> {
    let ghosts: Vec<&Interest> = instance.interests.iter().filter(|interest| interest.ghost.is_some()).collect();
    let first = ghosts.first()?;
    // Whose events are they?
    let is_awake = instance.ready.len() > ASLEEP && instance.ready.iter().all(|ready| *ready);
    let living = instance.interests.iter().any(|one| one.ghost.is_none() && process.ready(one) != Some(0));
    let epfds = waited_on(process, instance);
    let busy = process.threads.iter().find(|thread| is_busy(thread) && is_its_loop(process, thread, &epfds));
    let is_cause = is_awake && !living;
    let severity = match () {
        () if is_cause => Severity::Error,
        // A daemon closes these at its start.
        () if ghosts.iter().all(|one| one.fd <= libc::STDERR_FILENO) => Severity::Info,
        () => Severity::Warning,
    };
    let closed = ghosts.iter().filter(|one| one.ghost == Some(Ghost::Closed)).count();
    let is_one = ghosts.len() == 1;
    let mut message = match (is_one, closed) {
        (true, 1) => "the descriptor is closed, and still watched".to_owned(),
        (true, _) => "the number is another file's by now, and the file that it was is still watched".to_owned(),
        (_, closed) => format!(
            "{} are in files that their numbers do not refer to: {closed} closed, {} another file's by now",
            count(ghosts.len(), "interest"),
            ghosts.len() - closed
        ),
    };
    message.push_str(": a dup, a child or another process keeps the old file open");
    if is_cause {
        message.push_str(", and its events wake every wait");
    }
    if let (true, Some(busy)) = (is_cause, busy) {
        message.push_str(&format!(", on which thread {} uses {} % of a processor", busy.tid, share(busy).unwrap_or(0)));
    }
    message.push_str("; use EPOLL_CTL_DEL before close");
    let now = process.descriptors.get(&first.fd).filter(|_| is_one).map(|one| format!("now {}", shown(one)));
    Some(Finding {
        id: "ghost",
        severity,
        epfd: instance.epfds.first().copied(),
        fds: ghosts.iter().map(|one| one.fd).collect(),
        tid: None,
        what: now,
        message,
    })
}

/// Whether a thread that runs may be the loop of an instance: it was seen there, or nowhere, and no other was seen there.
fn is_its_loop(process: &Process, thread: &Thread, epfds: &BTreeSet<i32>) -> bool {
    let is_seen =
        |thread: &Thread| thread.samples.iter().any(|one| one.wait.is_some_and(|wait| epfds.contains(&wait.epfd)));
    let is_elsewhere = thread.samples.iter().any(|one| one.wait.is_some_and(|wait| !epfds.contains(&wait.epfd)));
    is_seen(thread) || !is_elsewhere && !process.threads.iter().any(is_seen)
}

/// A thread that uses up its processor on an instance that is ready all the time, by a descriptor with which nothing is done.
fn spin(process: &Process, thread: &Thread) -> Option<Finding> {
    let used = thread.used()?;
    let in_kernel = (thread.system_ticks().saturating_mul(TICK * 100) / used.max(1)).min(100);
    if !is_busy(thread) || thread.system_ticks() < 2 || in_kernel < IN_KERNEL {
        return None;
    }
    let (instance, interest, descriptor, ready) = process.instances.iter().find_map(|instance| {
        let is_awake = instance.ready.len() > ASLEEP && instance.ready.iter().all(|ready| *ready);
        (is_awake && is_its_loop(process, thread, &waited_on(process, instance))).then_some(())?;
        instance.interests.iter().find_map(|interest| {
            let (descriptor, ready) = unchanging(process, interest)?;
            Some((instance, interest, descriptor, ready))
        })
    })?;
    let remedy = if ready & (EPOLLHUP | EPOLLERR) != 0 && interest.events & (IN | OUT | RDHUP) == 0 {
        "EPOLLHUP and EPOLLERR come with a mask of 0, too: close the descriptor, or take it out by EPOLL_CTL_DEL"
    } else if ready & (EPOLLHUP | EPOLLERR | RDHUP) != 0 {
        "its other end is gone: close the descriptor, or take it out by EPOLL_CTL_DEL"
    } else if ready & IN == 0 {
        "ask for EPOLLOUT only while there is something to write"
    } else if descriptor.looks.last().is_some_and(|look| look.backlog > 0) {
        "it listens: accept, or stop watching it while accept fails"
    } else {
        "read until EAGAIN or the end, or take it out of the interests meanwhile"
    };
    let span = thread.last()?.at.saturating_sub(thread.samples.first()?.at);
    Some(Finding {
        id: "spin",
        severity: Severity::Error,
        epfd: instance.epfds.first().copied(),
        fds: vec![interest.fd],
        tid: Some(thread.tid),
        what: Some(shown(descriptor)),
        message: format!(
            "thread {} used {} % of a processor for {}, {in_kernel} % of that in the kernel, while the descriptor was ready at \
             each look ({}) and nothing was done about it: {remedy}",
            thread.tid,
            share(thread).unwrap_or(0),
            Scaled::time(span),
            Mask(ready),
        ),
    })
}

/// A level-triggered interest that was ready at every look, with the same bytes in it. The events that it is ready for.
fn unchanging<'a>(process: &'a Process, interest: &Interest) -> Option<(&'a Descriptor, u32)> {
    if interest.is_disarmed() || interest.is_edge_triggered() {
        return None;
    }
    let descriptor = process.watched(interest)?;
    if descriptor.kind == Kind::Epoll {
        return None;
    }
    // At the first one not everything is asked.
    let (_, looks) = descriptor.looks.split_first()?;
    let first = looks.first()?;
    let asked = interest.events | EPOLLERR | EPOLLHUP;
    let is_same = |look: &State| {
        let of = |look: &State| (look.ready & asked, look.unread, look.unsent, look.backlog, look.received, look.acked);
        look.ready & asked != 0 && of(look) == of(first)
    };
    (looks.len() >= ASLEEP && looks.iter().all(is_same)).then_some((descriptor, first.ready & asked))
}

/// Connections that the other end has closed, and this one has not.
fn left(process: &Process) -> Option<Finding> {
    let is_left = |look: &State| look.tcp == State::CLOSE_WAIT;
    let asked = process.descriptors.iter().filter(|(_, one)| one.looks.len() > 1 && one.looks.iter().all(is_left));
    let mut fds: Vec<(i32, u32)> = asked
        .filter_map(|(fd, one)| Some((*fd, one.looks.last()?.last_ack)))
        .filter(|(_, ms)| *ms >= LEFT_MS)
        .collect();
    let is_known = !fds.is_empty();
    // Without copies nothing says for how long.
    let table =
        process.descriptors.iter().filter(|(_, one)| one.table.is_some_and(|(state, ..)| state == State::CLOSE_WAIT));
    fds.extend(table.map(|(fd, _)| (*fd, 0)));
    fds.sort_by_key(|(fd, ms)| (Reverse(*ms), *fd));
    let (first, longest) = *fds.first()?;
    let is_leak = fds.len() >= LEFT || longest >= LEFT_LONG_MS;
    let age = if is_known {
        format!(", the oldest for {}", Scaled::time(u64::from(longest) * 1_000_000))
    } else {
        String::new()
    };
    let watched: BTreeSet<i32> = process
        .instances
        .iter()
        .flat_map(|one| &one.interests)
        .filter(|one| one.ghost.is_none())
        .map(|one| one.fd)
        .collect();
    let still = fds.iter().filter(|(fd, _)| watched.contains(fd)).count();
    Some(Finding {
        id: "fd-leak",
        severity: if is_leak { Severity::Warning } else { Severity::Info },
        epfd: None,
        fds: fds.iter().map(|(fd, _)| *fd).collect(),
        tid: None,
        what: process.descriptors.get(&first).map(shown),
        message: format!(
            "{} in CLOSE_WAIT{age}, of which {still} {} watched: the other end has closed, and this one has not; close the \
             descriptor when read returns 0",
            count(fds.len(), "TCP socket"),
            if still == 1 { "is" } else { "are" },
        ),
    })
}

fn near(process: &Process) -> Option<Finding> {
    let limit = process.limit?;
    let open = process.descriptors.len() as u64;
    if !near_limit::is_near(open, limit) {
        return None;
    }
    let mut kinds: BTreeMap<&str, (u64, Kind)> = BTreeMap::new();
    for descriptor in process.descriptors.values() {
        kinds.entry(descriptor.kind.name()).or_insert((0, descriptor.kind)).0 += 1;
    }
    let mut kinds: Vec<(u64, Kind)> = kinds.into_values().collect();
    kinds.sort_by_key(|(number, _)| Reverse(*number));
    let words = kinds.iter().take(4).map(|(number, kind)| {
        let one = if *kind == Kind::Epoll { "epoll instance" } else { kind.name() };
        format!("{} {}", Grouped(*number), if *number == 1 { one } else { kind.plural() })
    });
    Some(Finding {
        id: "near-limit",
        severity: if open >= limit { Severity::Error } else { Severity::Warning },
        epfd: None,
        fds: Vec::new(),
        tid: None,
        what: None,
        message: format!(
            "{} of the {} descriptors that RLIMIT_NOFILE allows are open ({}){}: close more, or raise it (prlimit --pid {} \
             --nofile=...; ulimit -n)",
            Grouped(open),
            Grouped(limit),
            words.collect::<Vec<_>>().join(", "),
            if open >= limit { ", and calls that need one fail with EMFILE" } else { "" },
            process.pid,
        ),
    })
}

pub fn shown(descriptor: &Descriptor) -> String {
    Shown(descriptor.what.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use epollshim_format::census::Kind;
    use epollshim_format::descriptor::Kept;
    use epollshim_format::findings::Severity;

    use super::super::model::{
        Descriptor, Doing, EDGE, IN, Instance, Interest, ONESHOT, Process, Sample, State, Thread, Wait,
    };
    use super::judge;

    const MS: u64 = 1_000_000;

    fn descriptor(kind: Kind, looks: &[State]) -> Descriptor {
        Descriptor { kind, inode: 7, what: Kept::new(), looks: looks.to_vec(), unsent: None, table: None }
    }

    /// Looks 20 ms apart at a socket with these bytes in it, of which so many have come.
    fn looks(of: &[(u64, u64)]) -> Vec<State> {
        let look = |(index, (unread, received)): (usize, &(u64, u64))| State {
            at: index as u64 * 20 * MS,
            ready: IN,
            unread: Some(*unread),
            received: Some(*received),
            ..State::default()
        };
        of.iter().enumerate().map(look).collect()
    }

    fn thread(tid: u32, wait: Option<i32>, busy: bool) -> Thread {
        let sample = |index: u64| Sample {
            at: index * 20 * MS,
            state: if wait.is_some() { 'S' } else { 'R' },
            doing: if wait.is_some() { Doing::Call(232) } else { Doing::Runs },
            wait: wait.map(|epfd| Wait { epfd, call: "epoll_wait", timeout: Some(-1) }),
            cpu: Some(if busy { index * 20 * MS } else { 0 }),
            turns: Some(1),
            queued: 0,
            system_ticks: 0,
        };
        Thread { tid, name: String::new(), samples: (0..6).map(sample).collect(), asleep_since: Some(0) }
    }

    fn process(events: u32, kind: Kind, seen: &[State], threads: Vec<Thread>) -> Process {
        let interest = Interest { fd: 5, events, data: 5, pos: 0, inode: 7, device: 8, ghost: None };
        Process {
            descriptors: BTreeMap::from([(5, descriptor(kind, seen))]),
            instances: vec![Instance { epfds: vec![3], interests: vec![interest], ready: vec![false; 6] }],
            threads,
            ..Process::default()
        }
    }

    fn found(process: &Process) -> Vec<(&'static str, Severity)> {
        judge(process).iter().map(|one| (one.id, one.severity)).collect()
    }

    #[test]
    fn an_edge_is_lost_where_nothing_changes_and_the_loop_sleeps() {
        let same = looks(&[(72, 80); 6]);
        let waits = || vec![thread(1, Some(3), false)];
        let stalled = |severity| vec![("stalled", severity)];
        assert_eq!(found(&process(EDGE | IN, Kind::Socket, &same, waits())), stalled(Severity::Warning));
        // It will be told of again.
        assert_eq!(found(&process(IN, Kind::Socket, &same, waits())), []);
        // As many bytes, and other ones: a client that sends requests of one size.
        let other = looks(&[(45, 45), (45, 90), (45, 135), (45, 180), (45, 225), (45, 270)]);
        assert_eq!(found(&process(EDGE | IN, Kind::Socket, &other, waits())), []);
        // Nothing to read: its end, or something that does not say.
        assert_eq!(found(&process(EDGE | IN, Kind::Socket, &looks(&[(0, 80); 6]), waits())), []);
        // Nobody waits, or elsewhere: nobody can be asleep over it.
        assert_eq!(found(&process(EDGE | IN, Kind::Socket, &same, vec![thread(1, Some(4), false)])), []);
        assert_eq!(found(&process(EDGE | IN, Kind::Socket, &same, vec![thread(1, None, true)])), []);
        // A worker may have it.
        let worker = vec![thread(1, Some(3), false), thread(2, None, true)];
        assert_eq!(found(&process(EDGE | IN, Kind::Socket, &same, worker)), stalled(Severity::Info));
        // One look proves nothing.
        assert_eq!(found(&process(EDGE | IN, Kind::Socket, &looks(&[(72, 80)]), waits())), []);
    }

    #[test]
    fn a_disarmed_interest_is_stalled_while_its_data_only_grows() {
        let waits = || vec![thread(1, Some(3), false)];
        let grows = looks(&[(3, 3), (6, 6), (9, 9)]);
        assert_eq!(found(&process(ONESHOT, Kind::Socket, &grows, waits())), [("stalled", Severity::Warning)]);
        let is_read = looks(&[(3, 3), (3, 6), (6, 12)]);
        assert_eq!(found(&process(ONESHOT, Kind::Socket, &is_read, waits())), []);
        // Armed: the event comes.
        assert_eq!(found(&process(ONESHOT | IN, Kind::Socket, &grows, waits())), []);
    }

    #[test]
    fn one_connection_in_close_wait_is_no_leak_and_eight_are() {
        let close_wait = |ms| State {
            tcp: State::CLOSE_WAIT,
            last_ack: ms,
            ready: IN | 0x2000,
            unread: Some(0),
            ..State::default()
        };
        let of = |number: i32, ms| Process {
            descriptors: (0..number).map(|fd| (fd, descriptor(Kind::Socket, &[close_wait(ms); 2]))).collect(),
            ..Process::default()
        };
        assert_eq!(found(&of(8, 999)), []);
        assert_eq!(found(&of(7, 1_000)), [("fd-leak", Severity::Info)]);
        assert_eq!(found(&of(8, 1_000)), [("fd-leak", Severity::Warning)]);
        assert_eq!(found(&of(1, 60_000)), [("fd-leak", Severity::Warning)]);
    }
}
