//! Decides what is wrong with a process, only from what was observed.

mod fd_leak;
mod ghost;
mod limit;
mod spin;
mod stalled;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use epollshim_format::descriptor::{Descriptor as Shown, field};
use epollshim_format::findings::Severity;

use super::model::{Descriptor, Instance, Process, Thread};

/// The findings of `inspect`.
pub const IDS: [&str; 5] = ["stalled", "ghost", "fd-leak", "near-limit", "spin"];

/// If a loop was seen asleep this many times, while what is ready did not change, it will not come
/// back for it. A loop that is about to read would be runnable.
const ASLEEP: usize = 2;
/// A thread that is awake for at least this percentage of the time is busy.
const BUSY: u64 = 80;
/// How many descriptors a finding lists.
pub const LISTED: usize = 8;

/// A problem that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub id: &'static str,
    pub severity: Severity,
    pub epfd: Option<i32>,
    /// All descriptors that it is about, the most important first.
    pub fds: Vec<i32>,
    pub tid: Option<u32>,
    /// What the first one is.
    pub what: Option<String>,
    /// What is wrong, and what to do, in one sentence.
    pub message: String,
}

/// All findings, the worst first.
pub fn judge(process: &Process) -> Vec<Finding> {
    let mut found = Vec::new();
    for instance in &process.instances {
        found.extend(stalled::stalled(process, instance));
        found.extend(ghost::ghosts(process, instance));
    }
    found.extend(process.threads.iter().filter_map(|thread| spin::spin(process, thread)));
    found.extend(fd_leak::close_wait(process));
    found.extend(limit::near(process));
    let place = |id: &str| IDS.iter().position(|known| *known == id);
    found.sort_by_key(|one| (Reverse(one.severity), place(one.id), one.epfd));
    found
}

/// Whether a thread hardly slept between the first and the last observation. On a loaded machine it
/// may have waited for a processor instead of running.
pub fn is_busy(thread: &Thread) -> bool {
    part(thread, thread.awake()) >= Some(BUSY) && share(thread) > Some(0)
}

/// Processor time in percent.
fn share(thread: &Thread) -> Option<u64> {
    part(thread, thread.used())
}

fn part(thread: &Thread, time: Option<u64>) -> Option<u64> {
    let span = thread.last()?.at.saturating_sub(thread.samples.first()?.at);
    (span > 0).then_some(())?;
    Some((time?.saturating_mul(100) / span).min(100))
}

/// The descriptors of an instance, and of instances that watch it. A thread that waits on any of
/// them waits on it.
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

/// Whether a running thread may be the event loop of an instance: it was seen waiting there, or it
/// was seen nowhere else and no other thread waits there.
fn is_its_loop(process: &Process, thread: &Thread, epfds: &BTreeSet<i32>) -> bool {
    let is_seen =
        |thread: &Thread| thread.samples.iter().any(|one| one.wait.is_some_and(|wait| epfds.contains(&wait.epfd)));
    let is_elsewhere = thread.samples.iter().any(|one| one.wait.is_some_and(|wait| !epfds.contains(&wait.epfd)));
    is_seen(thread) || !is_elsewhere && !process.threads.iter().any(is_seen)
}

pub fn shown(descriptor: &Descriptor) -> String {
    Shown(descriptor.what.as_bytes()).to_string()
}

pub fn is_listener(descriptor: &Descriptor) -> bool {
    Shown(descriptor.what.as_bytes()).field(field::STATE) == Some(b"LISTEN")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::collections::BTreeMap;

    use epollshim_format::census::Kind;
    use epollshim_format::descriptor::{Kept, field};
    use epollshim_format::findings::Severity;

    use super::super::model::{
        Descriptor, Doing, EDGE, Ghost, IN, Instance, Interest, ONESHOT, Process, Sample, State, Thread, Wait,
    };
    use super::judge;

    const MS: u64 = 1_000_000;

    fn descriptor(kind: Kind, looks: &[State]) -> Descriptor {
        Descriptor { kind, inode: 7, what: Kept::new(), looks: looks.to_vec(), unsent: None, table: None }
    }

    /// Observations, 20 ms apart, of a socket with `unread` bytes in it, after `received` bytes.
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
            fd: None,
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
        // A level-triggered interest is reported again.
        assert_eq!(found(&process(IN, Kind::Socket, &same, waits())), []);
        // The number of bytes is the same, but they are others: a client sends requests of one
        // size.
        let other = looks(&[(45, 45), (45, 90), (45, 135), (45, 180), (45, 225), (45, 270)]);
        assert_eq!(found(&process(EDGE | IN, Kind::Socket, &other, waits())), []);
        // Nothing to read: end of file, or a file that does not report its bytes.
        assert_eq!(found(&process(EDGE | IN, Kind::Socket, &looks(&[(0, 80); 6]), waits())), []);
        // No thread waits, or only elsewhere, so none can be asleep over it.
        assert_eq!(found(&process(EDGE | IN, Kind::Socket, &same, vec![thread(1, Some(4), false)])), []);
        assert_eq!(found(&process(EDGE | IN, Kind::Socket, &same, vec![thread(1, None, true)])), []);
        // A worker thread may be processing it.
        let worker = vec![thread(1, Some(3), false), thread(2, None, true)];
        assert_eq!(found(&process(EDGE | IN, Kind::Socket, &same, worker)), stalled(Severity::Info));
        // A single observation proves nothing.
        assert_eq!(found(&process(EDGE | IN, Kind::Socket, &looks(&[(72, 80)]), waits())), []);
    }

    #[test]
    fn a_listening_socket_is_accepted_from_and_others_are_read() {
        let listens = State { ready: IN, backlog: 2, ..State::default() };
        let of = |seen: &[State]| {
            let found = judge(&process(EDGE | IN, Kind::Socket, seen, vec![thread(1, Some(3), false)]));
            found[0].message.clone()
        };
        let message = of(&[listens; 6]);
        assert!(
            message.starts_with("2 connections to accept, ") && message.contains("nothing was accepted"),
            "{message}"
        );
        assert!(message.ends_with("accept until EAGAIN after each event") && !message.contains(" read"), "{message}");
        let message = of(&looks(&[(72, 80); 6]));
        assert!(message.contains("nothing was read") && message.contains("was not read (or"), "{message}");
    }

    #[test]
    fn a_ghost_in_an_instance_that_nobody_here_waits_on_is_the_parents_affair() {
        let of = |waits: Option<i32>| {
            let mut process = process(IN, Kind::Socket, &[], vec![thread(1, waits, false)]);
            process.instances[0].ready = vec![true; 6];
            process.instances[0].interests[0].ghost = Some(Ghost::Closed);
            process
        };
        assert_eq!(found(&of(Some(3))), [("ghost", Severity::Error)]);
        assert_eq!(found(&of(Some(4))), [("ghost", Severity::Info)]);
        let mut unknown = of(Some(4));
        for sample in &mut unknown.threads[0].samples {
            (sample.doing, sample.wait) = (Doing::Unknown, None);
        }
        assert_eq!(found(&unknown), [("ghost", Severity::Error)]);
    }

    #[test]
    fn datagrams_of_one_length_are_no_proof_that_nothing_is_read() {
        let of = |kind: &[u8]| {
            let mut busy = thread(1, None, true);
            for (index, sample) in busy.samples.iter_mut().enumerate() {
                sample.system_ticks = index as u64;
            }
            let mut process = process(IN, Kind::Socket, &looks(&[(24, 24); 6]), vec![busy]);
            process.instances[0].ready = vec![true; 6];
            process.descriptors.get_mut(&5).unwrap().what.add(field::TYPE, kind);
            found(&process)
        };
        assert_eq!(of(b"stream"), [("spin", Severity::Error)]);
        assert_eq!(of(b"dgram"), []);
    }

    #[test]
    fn a_disarmed_interest_is_stalled_while_its_data_only_grows() {
        let waits = || vec![thread(1, Some(3), false)];
        let grows = looks(&[(3, 3), (6, 6), (9, 9)]);
        assert_eq!(found(&process(ONESHOT, Kind::Socket, &grows, waits())), [("stalled", Severity::Warning)]);
        let is_read = looks(&[(3, 3), (3, 6), (6, 12)]);
        assert_eq!(found(&process(ONESHOT, Kind::Socket, &is_read, waits())), []);
        // It is armed, so the event comes.
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
    #[test]
    fn no_descriptor_left_is_an_error_and_a_limit_that_a_sandbox_lowered_is_not() {
        let of = |limit| Process {
            limit: Some(limit),
            descriptors: (0..20).map(|fd| (fd, descriptor(Kind::File, &[]))).collect(),
            ..Process::default()
        };
        assert_eq!(found(&of(23)), []);
        assert_eq!(found(&of(22)), [("near-limit", Severity::Warning)]);
        assert_eq!(found(&of(20)), [("near-limit", Severity::Error)]);
        assert_eq!(found(&of(1)), [("near-limit", Severity::Info)]);
        assert_eq!(found(&of(0)), []);
    }
}
