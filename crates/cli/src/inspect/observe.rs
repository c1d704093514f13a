//! Observes a process: first everything once, then for about 100 ms again what is suspicious.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

use epollshim_format::census::Kind;
use epollshim_format::descriptor::Kept;

use super::model::{Descriptor, Ghost, IN, Instance, Interest, Process, RDHUP, State, Thread};
use super::{network, read, ready};
use crate::process::{NoProcess, Status};
use crate::sys;
use crate::sys::foreign;
use crate::text::reason;

/// The number of observations after the first one, and the time between them.
const LOOKS: usize = 5;
const DISTANCE: Duration = Duration::from_millis(20);
/// The number if a thread is busy. It is larger because its time in the kernel is counted in ticks
/// of 10 ms.
const LOOKS_AT_SPIN: usize = 15;
/// At most this many suspicious descriptors are observed again.
const IN_DOUBT: usize = 512;
/// kcmp finds an interest by walking over those of its instance. This many steps, some 20 ms, are
/// allowed in total.
const STEPS: usize = 2_000_000;

/// Why a process cannot be observed.
pub enum Refusal {
    None(NoProcess),
    WithoutFirstThread(String),
    Refused(String, Error),
}

/// Observes a process for about 100 ms.
pub fn observe(pid: u32) -> Result<Process, Refusal> {
    let status = Status::of(pid).map_err(Refusal::None)?;
    let name = status.name();
    if status.has_lost_its_first_thread() {
        return Err(Refusal::WithoutFirstThread(name));
    }
    let targets = read::targets(pid).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Refusal::None(NoProcess::Absent),
        _ => Refusal::Refused(name.clone(), error),
    })?;
    let mut process = Process { pid, name, began: sys::monotonic(), limit: read::limit(pid), ..Process::default() };
    process.descriptors = targets.iter().map(|(fd, target)| (*fd, read::descriptor(pid, *fd, target))).collect();
    process.instances = instances(pid, &process.descriptors, &mut process.missing);
    find_ghosts(pid, &process.descriptors, &mut process.instances, &mut process.missing);
    process.threads = read::threads(pid)
        .into_iter()
        .map(|tid| Thread { tid, name: read::thread_name(pid, tid), samples: Vec::new(), asleep_since: None })
        .collect();

    let watched: BTreeSet<i32> = interests(&process.instances).map(|interest| interest.fd).collect();
    let wanted = process.descriptors.iter().filter(|(fd, one)| {
        targets.get(fd).is_some_and(|target| ready::may_be_copied(one, target, watched.contains(fd)))
    });
    let wanted: Vec<_> = wanted.map(|(fd, one)| (*fd, one.kind, one.inode)).collect();
    let copies = foreign::Process::open(pid).and_then(|copies| {
        take(&mut process.descriptors, ready::ask(&copies, &wanted, true)?);
        Ok(copies)
    });
    let copies = match copies {
        Ok(copies) => Some(copies),
        Err(error) => {
            process.missing.push(format!(
                "unknown whether descriptors are ready: pidfd_getfd failed ({}); {REMEDY}",
                reason(&error)
            ));
            None
        }
    };
    look_at_threads(&mut process);
    look_at_instances(&mut process);
    look_again(&mut process, copies.as_ref());
    name_sockets(pid, &mut process.descriptors);
    confirm_ghosts(&mut process);
    since(&mut process.threads);
    if process.threads.iter().any(|thread| thread.last().is_some_and(|last| last.doing == super::model::Doing::Unknown))
    {
        process.missing.push(format!(
            "unknown which call a thread sleeps in: /proc/{pid}/task/TID/syscall cannot be read; {REMEDY}"
        ));
    }
    process.ended = sys::monotonic();
    Ok(process)
}

/// How to get the permission to trace.
pub const REMEDY: &str = "run as root or with CAP_SYS_PTRACE, or as the same user with kernel.yama.ptrace_scope=0";

fn interests(instances: &[Instance]) -> impl Iterator<Item = &Interest> {
    instances.iter().flat_map(|instance| &instance.interests)
}

/// The instances, each with the descriptors that refer to it.
fn instances(pid: u32, descriptors: &BTreeMap<i32, Descriptor>, missing: &mut Vec<String>) -> Vec<Instance> {
    let mut epfds: Vec<i32> =
        descriptors.iter().filter(|(_, one)| one.kind == Kind::Epoll).map(|(fd, _)| *fd).collect();
    // kcmp defines an order, so sorting puts equal ones next to each other.
    let mut refused = None;
    epfds.sort_by(|one, other| {
        sys::order_of(pid, *one, *other).unwrap_or_else(|error| {
            if error.raw_os_error() != Some(libc::EBADF) {
                refused = Some(error);
            }
            Ordering::Equal
        })
    });
    if let Some(error) = &refused {
        epfds.sort_unstable();
        missing.push(format!(
            "unknown which descriptors refer to the same instance: kcmp failed ({}); {REMEDY}",
            reason(error)
        ));
    }
    let is_one = |one: i32, other: i32| refused.is_none() && sys::are_one(pid, one, other) == Some(true);
    let mut instances: Vec<Instance> = epfds
        .chunk_by(|one, other| is_one(*one, *other))
        .map(|epfds| {
            let mut epfds = epfds.to_vec();
            epfds.sort_unstable();
            let interests = epfds.first().map(|epfd| read::interests(pid, *epfd)).unwrap_or_default();
            Instance { epfds, interests, ready: Vec::new() }
        })
        .collect();
    instances.sort_by(|one, other| one.epfds.cmp(&other.epfds));
    instances
}

/// Marks the interests whose descriptor is closed or refers to another file.
fn find_ghosts(
    pid: u32,
    descriptors: &BTreeMap<i32, Descriptor>,
    instances: &mut [Instance],
    missing: &mut Vec<String>,
) {
    let (mut steps, mut left_out) = (0, 0);
    for instance in instances.iter_mut() {
        let length = instance.interests.len();
        let mut met: BTreeMap<i32, u32> = BTreeMap::new();
        for interest in &mut instance.interests {
            let times = met.entry(interest.fd).or_default();
            let nth = std::mem::replace(times, *times + 1);
            let Some(descriptor) = descriptors.get(&interest.fd) else {
                interest.ghost = Some(Ghost::Closed);
                continue;
            };
            // Each socket has its own inode. Other files share inodes: all eventfds, or two opens
            // of the same file.
            let now = if descriptor.inode != 0 { Some(descriptor.inode) } else { read::inode_of(pid, interest.fd) };
            let is_other = interest.inode != 0 && now.is_some_and(|now| now != interest.inode);
            let is_sure = is_other || descriptor.kind == Kind::Socket && interest.inode != 0;
            if is_sure {
                interest.ghost = is_other.then_some(Ghost::Other);
                continue;
            }
            steps += length;
            if steps > STEPS {
                left_out += 1;
                continue;
            }
            let epfd = instance.epfds.first().copied().unwrap_or(-1);
            if foreign::is_watched_file(pid, epfd, interest.fd, nth).is_ok_and(|is_it| !is_it) {
                interest.ghost = Some(Ghost::Other);
            }
        }
        // The kernel lists them by the addresses of their files.
        instance.interests.sort_by_key(|interest| interest.fd);
    }
    if left_out > 0 {
        missing.push(format!(
            "{left_out} interests were compared with their descriptors only by inode: there are too many for kcmp"
        ));
    }
}

fn take(descriptors: &mut BTreeMap<i32, Descriptor>, answers: Vec<ready::Answer>) {
    for answer in answers {
        if let Some(descriptor) = descriptors.get_mut(&answer.fd) {
            descriptor.looks.push(answer.state);
        }
    }
}

/// Describes sockets that were not copied.
fn name_sockets(pid: u32, descriptors: &mut BTreeMap<i32, Descriptor>) {
    let is_unnamed = |one: &Descriptor| one.kind == Kind::Socket && one.what.as_bytes().is_empty();
    let wanted = descriptors.values().filter(|one| is_unnamed(one)).map(|one| one.inode).collect();
    let rows = network::rows(pid, &wanted);
    for one in descriptors.values_mut().filter(|one| is_unnamed(one)) {
        match rows.get(&one.inode) {
            Some(row) => {
                one.what = row.what;
                one.table = Some((row.tcp, row.unread, row.unsent));
            }
            None => {
                let mut what = Kept::new();
                what.name(format!("socket:[{}]", one.inode).as_bytes(), None, false);
                one.what = what;
            }
        }
    }
}

fn look_at_threads(process: &mut Process) {
    for thread in &mut process.threads {
        thread.samples.extend(read::sample(process.pid, thread.tid));
    }
    process.threads.retain(|thread| !thread.samples.is_empty());
}

/// A copy of the instance's own descriptor reports whether it is ready.
fn look_at_instances(process: &mut Process) {
    for instance in &mut process.instances {
        let look = instance.epfds.first().and_then(|epfd| process.descriptors.get(epfd)?.looks.last());
        instance.ready.extend(look.map(|look| look.ready & IN != 0));
    }
}

/// The descriptors that may turn out to be a problem: they are ready and no wait comes, or waits
/// come again and again, or the other end is closed.
fn in_doubt(process: &Process) -> Vec<(i32, Kind, u64)> {
    let is_suspect = |interest: &Interest| {
        let Some(look) = process.watched(interest).and_then(|one| one.looks.last()) else { return false };
        let asked = if interest.is_disarmed() { IN | RDHUP } else { interest.events | 0x18 };
        look.ready & asked != 0
    };
    let watched = interests(&process.instances).filter(|interest| is_suspect(interest)).map(|interest| interest.fd);
    let is_left = |one: &Descriptor| one.looks.last().is_some_and(|look| look.tcp == State::CLOSE_WAIT);
    let left = process.descriptors.iter().filter(|(_, one)| is_left(one)).map(|(fd, _)| *fd);
    let instances = process.instances.iter().filter_map(|instance| instance.epfds.first().copied());
    // Instances come first, since there are few. Descriptors with data come before those that can
    // only be written.
    let waits = |fd: &i32| {
        process.descriptors.get(fd).is_some_and(|one| one.looks.last().is_some_and(|look| look.waiting() > 0))
    };
    let suspects: BTreeSet<i32> = watched.chain(left).collect();
    let (first, second): (Vec<i32>, Vec<i32>) = suspects.into_iter().partition(waits);
    let all = instances.take(IN_DOUBT).chain(first).chain(second).take(2 * IN_DOUBT);
    let fds: BTreeSet<i32> = all.collect();
    fds.into_iter().filter_map(|fd| process.descriptors.get(&fd).map(|one| (fd, one.kind, one.inode))).collect()
}

fn look_again(process: &mut Process, copies: Option<&foreign::Process>) {
    let doubt = in_doubt(process);
    // Meanwhile each socket can be described.
    let sockets = process.descriptors.iter().filter(|(_, one)| one.kind == Kind::Socket && !one.looks.is_empty());
    let sockets: Vec<(i32, u64)> = sockets.map(|(fd, one)| (*fd, one.inode)).collect();
    let mut parts = sockets.chunks(sockets.len() / LOOKS + 1);
    for look in 1..=LOOKS_AT_SPIN {
        let began = Instant::now();
        for (fd, inode) in parts.next().unwrap_or_default() {
            let what = copies.and_then(|copies| ready::describe(copies, *fd, *inode));
            if let (Some((what, unsent)), Some(descriptor)) = (what, process.descriptors.get_mut(fd)) {
                descriptor.unsent = unsent;
                descriptor.what = what;
            }
        }
        std::thread::sleep(DISTANCE.saturating_sub(began.elapsed()));
        if let Some(Ok(answers)) = copies.map(|copies| ready::ask(copies, &doubt, false)) {
            take(&mut process.descriptors, answers);
            look_at_instances(process);
        }
        look_at_threads(process);
        if look >= LOOKS && !process.threads.iter().any(super::judge::is_busy) {
            break;
        }
    }
}

/// An interest is a ghost only if it still is one at the end: the program may have closed or reused
/// the descriptor between two reads.
fn confirm_ghosts(process: &mut Process) {
    let pid = process.pid;
    if !interests(&process.instances).any(|interest| interest.ghost.is_some()) {
        return;
    }
    let targets = read::targets(pid).unwrap_or_default();
    for instance in process.instances.iter_mut().filter(|one| one.interests.iter().any(|one| one.ghost.is_some())) {
        let now = instance.epfds.first().map(|epfd| read::interests(pid, *epfd)).unwrap_or_default();
        let is_same = |one: &Interest, other: &Interest| {
            (one.fd, one.inode, one.device, one.data) == (other.fd, other.inode, other.device, other.data)
        };
        instance.interests.retain(|interest| match interest.ghost {
            None => true,
            Some(Ghost::Closed) => {
                now.iter().any(|other| is_same(interest, other)) && !targets.contains_key(&interest.fd)
            }
            // The same file opened twice has the same target. kcmp has shown that this one differs.
            Some(Ghost::Other) => {
                now.iter().any(|other| is_same(interest, other)) && targets.contains_key(&interest.fd)
            }
        });
    }
}

/// Determines how long each thread has slept, as far as it was observed.
fn since(threads: &mut [Thread]) {
    for thread in threads {
        let last = thread.last().copied();
        let is_same = |turns: Option<u64>| last.is_some_and(|last| turns.is_some() && turns == last.turns);
        let asleep = thread.samples.iter().rev().take_while(|one| one.state == 'S' && is_same(one.turns)).last();
        thread.asleep_since = asleep.map(|one| one.at);
    }
}
