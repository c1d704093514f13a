//! Several instances that watch one listening socket without EPOLLEXCLUSIVE: each connection wakes
//! all of them.
//!
//! The kernel says which of the sockets that this process watches are listening, which other
//! instances of the process watch the same socket, and which of its relatives (parent, children,
//! siblings) have the same socket in an instance of their own. It does not answer about relatives
//! of another user: these publish what they watch (listeners.rs).

use crate::sync::{AtomicU64, Ordering};
use core::ffi::CStr;

use epollshim_format::findings::{Id, Severity, herd, thresholds};

use super::{Note, listeners, put};
use crate::buffer::Buffer;
use crate::ledger::records::Instance;
use crate::procfs::{self, Short};
use crate::sigsafe::on_own_stack;
use crate::{clock, ledger, process, seccomp, sys};

/// Linux 4.5, include/uapi/linux/eventpoll.h.
const EPOLLEXCLUSIVE: u32 = 1 << 28;
/// The most sockets, relatives, and descriptors of a relative that are examined.
const MOST_SOCKETS: usize = 4096;
const MOST_RELATIVES: usize = 16;
const MOST_DESCRIPTORS: i32 = 128;

/// CLOCK_MONOTONIC when the next look may be made.
static NEXT: AtomicU64 = AtomicU64::new(0);
const FIRST: u64 = 500_000_000;
/// The second look comes soon after the first. By then the relatives have looked once.
const SECOND: u64 = 2_000_000_000;
const EACH: u64 = 600_000_000_000;

/// Looks while the process runs, because servers close their listening sockets before they end:
/// once soon, once more, and then every ten minutes.
#[cold]
#[inline(never)]
pub fn look(now: u64) {
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.load(Ordering::Relaxed);
    if now < next {
        return;
    }
    let looks = if next == 0 { 0 } else { LOOKS.fetch_add(1, Ordering::Relaxed) + 1 };
    let wait = match looks {
        0 => FIRST,
        1 => SECOND,
        _ => EACH,
    };
    // Relaxed: the exchange only chooses the thread that looks, and publishes nothing.
    if NEXT.compare_exchange(next, now.saturating_add(wait), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        && next != 0
        && !seccomp::hinders()
        && process::is_own()
    {
        evaluate();
    }
}

/// Called before this process forks. The first time, it publishes what the process watches.
pub extern "C-unwind" fn before_fork() {
    if listeners::begin() && ledger::records().live_instances().next().is_some() && !seccomp::hinders() {
        gather_and(None, &|_| {});
    }
}

/// Called when the first wait on an instance has ended. It publishes what the instance watches, for
/// relatives that the kernel does not let ask, and compares it with what they have published. (By
/// the time of a report, a server has closed its listening sockets.) Instances with many interests
/// are left to the reports.
#[cold]
#[inline(never)]
pub fn waited_first(instance: &Instance) {
    const FEW: u64 = 64;
    let is_asked = listeners::exists() && instance.watches.get() <= FEW && process::is_own() && !seccomp::hinders();
    if is_asked && ledger::records().interests_of(instance).take(FEW as usize).any(|interest| listens(interest.fd())) {
        gather_and(Some(instance), &|listeners| {
            let since = clock::monotonic().saturating_sub(thresholds::HERD_START);
            for listener in listeners.iter().filter(|listener| listener.epfd >= 0 && listener.is_own) {
                let cookie = sys::socket_cookie(listener.fd).unwrap_or(0);
                let processes = listeners::others(cookie, since).count();
                if processes != 0 {
                    report(listener, 0, processes, 0);
                }
            }
        });
    }
}

fn listens(fd: i32) -> bool {
    sys::socket_option(fd, libc::SO_ACCEPTCONN).is_ok_and(|listens| listens != 0)
}

/// Gathers the sockets of one instance, or of all that were waited on, publishes them, and passes
/// them to `then`.
#[inline(never)]
fn gather_and(of: Option<&Instance>, then: &dyn Fn(&[Listener])) {
    on_own_stack(|| {
        Buffer::lend(|listeners| {
            match of {
                Some(instance) => _ = gather_from(instance.index.get(), instance, listeners),
                None => gather(listeners),
            }
            publish(listeners.as_slice());
            then(listeners.as_slice());
        });
    });
}

fn publish(listeners: &[Listener]) {
    for listener in listeners.iter().filter(|listener| listener.epfd >= 0 && listener.is_own) {
        if let Ok(cookie) = sys::socket_cookie(listener.fd) {
            listeners::publish(cookie);
        }
    }
}

/// A listening socket that an instance watches.
#[derive(Clone, Copy)]
struct Listener {
    fd: i32,
    /// -1, unless the kernel's list has the socket without EPOLLEXCLUSIVE.
    epfd: i32,
    site: usize,
    /// The socket's open file description, and the thread that waits: records of the ledger.
    description: u32,
    owner: usize,
    /// This process created the instance. One from before a fork belongs to several processes.
    is_own: bool,
}

#[cold]
#[inline(never)]
pub fn evaluate() {
    if seccomp::hinders() {
        return;
    }
    gather_and(None, &|listeners| {
        if listeners.is_empty() {
            return;
        }
        Buffer::lend(|relatives| {
            gather_relatives(relatives);
            for listener in listeners {
                examine(listener, listeners, relatives.as_slice());
            }
        });
    });
}

/// Gathers the listening sockets of all instances that were waited on.
fn gather(into: &mut Buffer<Listener>) {
    let view = ledger::records();
    let mut asked = 0;
    for (index, instance) in view.live_instances() {
        // The kernel holds the instance's lock while it lists the interests, which would delay
        // waiting threads if the list is long.
        let is_long = instance.watches.get() > MOST_SOCKETS as u64;
        if instance.alone.waits.get() == 0 || is_long || asked > MOST_SOCKETS {
            continue;
        }
        asked += gather_from(index, instance, into);
    }
}

/// Gathers the listening sockets of one instance. Returns how many interests were examined.
fn gather_from(index: u32, instance: &Instance, into: &mut Buffer<Listener>) -> usize {
    let view = ledger::records();
    let mut asked = 0;
    let epfd = view.descriptor_of(index);
    let first = into.as_slice().len();
    for interest in view.interests_of(instance).take(MOST_SOCKETS) {
        asked += 1;
        let fd = interest.fd();
        let is_known = view.descriptors.get(fd).description() == interest.description();
        if is_known && listens(fd) {
            into.push(Listener {
                fd,
                epfd: -1,
                site: interest.site() as usize,
                description: interest.description(),
                owner: instance.owner.block(),
                is_own: instance.forked.load(Ordering::Relaxed) == 0,
            });
        }
    }
    if into.as_slice().len() > first {
        let _ = procfs::each_listed(epfd, &mut |listed| {
            for listener in into.as_mut_slice().iter_mut().skip(first).filter(|listener| listener.fd == listed.fd) {
                if listed.events & EPOLLEXCLUSIVE == 0 {
                    listener.epfd = epfd;
                }
            }
        });
    }
    asked
}

/// Gathers the process ids of parent, children and siblings.
fn gather_relatives(into: &mut Buffer<i32>) {
    let (own, parent) = (sys::getpid(), sys::getppid());
    add_children(own, own, into);
    // A process whose parent has ended is a child of the system's first process, and has no
    // siblings.
    if parent > 1 {
        into.push(parent);
        add_children(parent, own, into);
    }
}

fn add_children(of: i32, but: i32, into: &mut Buffer<i32>) {
    let path = Short::of(format_args!("/proc/{of}/task/{of}/children"));
    let mut text = [0u8; 1024];
    let length = path.as_c().and_then(|path| procfs::read_short(path, &mut text)).unwrap_or(0);
    // The last one may be cut off.
    let complete = text.iter().take(length).rposition(|byte| *byte == b' ').unwrap_or(0);
    let listed = text.split_at_checked(complete).map_or(&[][..], |(listed, _)| listed);
    for pid in listed.split(|byte| *byte == b' ').filter_map(procfs::number) {
        if pid != but && into.as_slice().len() < MOST_RELATIVES {
            into.push(pid);
        }
    }
}

fn examine(listener: &Listener, all: &[Listener], relatives: &[i32]) {
    if listener.epfd < 0 {
        return;
    }
    let is_same = |other: &&Listener| other.epfd >= 0 && other.description == listener.description;
    let threads = all.iter().filter(is_same).filter(|other| other.owner != listener.owner).count();
    let cookie = sys::socket_cookie(listener.fd).unwrap_or(0);
    let (mut processes, mut refused) = (0, 0);
    let published = || listeners::others(cookie, 0);
    let strangers = published().filter(|pid| !relatives.contains(pid));
    for pid in relatives.iter().copied().chain(strangers) {
        match watches_too(pid, listener) {
            Some(watches) => processes += usize::from(watches),
            None if listener.is_own && published().any(|other| other == pid) => processes += 1,
            None => refused += 1,
        }
    }
    // Of several instances of this process, the first is reported.
    let is_first = all.iter().find(is_same).is_some_and(|first| first.epfd == listener.epfd);
    if (threads != 0 && is_first) || processes != 0 {
        let other = all.iter().filter(is_same).find(|other| other.owner != listener.owner);
        report(listener, threads, processes, other.map_or(0, |other| other.site));
    } else if refused != 0 && process::forker() != 0 && !listeners::exists() {
        let note = Note {
            variant: herd::NOT_ASKED,
            epfd: listener.epfd,
            fd: listener.fd,
            site: listener.site,
            detail: [0, refused, 0, 0],
            ..Note::of(Id::Herd, Severity::Info)
        };
        put(&note, 1);
    }
}

/// Reports a listening socket that so many other threads and processes watch too.
fn report(listener: &Listener, threads: usize, processes: usize, other: usize) {
    let note = Note {
        epfd: listener.epfd,
        fd: listener.fd,
        site: listener.site,
        other,
        detail: [threads as u64 + 1, processes as u64 + 1, 0, 0],
        ..Note::of(Id::Herd, Severity::Warning)
    };
    put(&note, 1);
}

/// Whether a process has the same socket under the same number, in an instance of its own, without
/// EPOLLEXCLUSIVE. None: the kernel does not say.
fn watches_too(pid: i32, listener: &Listener) -> Option<bool> {
    let own = sys::getpid();
    match sys::same_description_in(own, listener.fd, pid, listener.fd) {
        Ok(true) => {}
        Err(libc::EPERM | libc::EACCES | libc::ENOSYS) => return None,
        _ => return Some(false),
    }
    let is_other = |epfd| sys::same_description_in(own, listener.epfd, pid, epfd) != Ok(true);
    Some((0..MOST_DESCRIPTORS).any(|epfd| is_epoll(pid, epfd) && is_other(epfd) && lists(pid, epfd, listener.fd)))
}

fn is_epoll(pid: i32, fd: i32) -> bool {
    let path = Short::of(format_args!("/proc/{pid}/fd/{fd}"));
    let mut target = [0; 32];
    let is = |path: &CStr| procfs::read_link(path, &mut target) == Some(b"anon_inode:[eventpoll]");
    path.as_c().is_some_and(is)
}

fn lists(pid: i32, epfd: i32, fd: i32) -> bool {
    let path = Short::of(format_args!("/proc/{pid}/fdinfo/{epfd}"));
    let mut found = false;
    let read =
        procfs::each_listed_in(&path, &mut |listed| found |= listed.fd == fd && listed.events & EPOLLEXCLUSIVE == 0);
    read.is_some() && found
}
