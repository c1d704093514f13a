//! Several instances that watch one listening socket without EPOLLEXCLUSIVE: each connection wakes
//! all of them.
//!
//! The kernel is asked which of the sockets that this process watches listen, which other instances
//! of it watch the same socket, and which of its relatives (parent, children, siblings) have the
//! same socket in an instance of their own.

use crate::sync::{AtomicU64, Ordering};
use core::ffi::CStr;

use epollshim_format::findings::{Id, Severity};

use super::{Note, put};
use crate::buffer::Buffer;
use crate::procfs::{self, Short};
use crate::sigsafe::on_own_stack;
use crate::{ledger, process, seccomp, sys};

/// Linux 4.5, include/uapi/linux/eventpoll.h.
const EPOLLEXCLUSIVE: u32 = 1 << 28;
/// The most sockets, relatives, and descriptors of each that are asked about.
const MOST_SOCKETS: usize = 4096;
const MOST_RELATIVES: usize = 16;
const MOST_DESCRIPTORS: i32 = 128;

/// CLOCK_MONOTONIC when the next look may be made.
static NEXT: AtomicU64 = AtomicU64::new(0);
const FIRST: u64 = 500_000_000;
const EACH: u64 = 600_000_000_000;

/// Looks while the process runs, since listening sockets are closed before it ends: once soon, and
/// then every ten minutes.
#[cold]
#[inline(never)]
pub fn look(now: u64) {
    let next = NEXT.load(Ordering::Relaxed);
    if now < next {
        return;
    }
    let wait = if next == 0 { FIRST } else { EACH };
    // Relaxed: the winner looks, and nothing is published.
    if NEXT.compare_exchange(next, now.saturating_add(wait), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        && next != 0
        && !seccomp::hinders()
        && process::is_own()
    {
        on_own_stack(evaluate);
    }
}

/// A listening socket that an instance watches, and the threads that wait.
#[derive(Clone, Copy)]
struct Listener {
    fd: i32,
    /// -1, until the kernel's list says that it is watched without EPOLLEXCLUSIVE.
    epfd: i32,
    site: usize,
    /// What it refers to, and who waits: records of the ledger.
    description: u32,
    owner: usize,
}

#[cold]
#[inline(never)]
pub fn evaluate() {
    if seccomp::hinders() {
        return;
    }
    Buffer::lend(|listeners| {
        gather(listeners);
        Buffer::lend(|relatives| {
            if !listeners.as_slice().is_empty() {
                gather_relatives(relatives);
            }
            for listener in listeners.as_slice() {
                examine(listener, listeners.as_slice(), relatives.as_slice());
            }
        });
    });
}

/// Those that are watched without EPOLLEXCLUSIVE, by instances that were waited on.
fn gather(into: &mut Buffer<Listener>) {
    let view = ledger::records();
    let mut asked = 0;
    for (index, instance) in view.live_instances() {
        // Reading a long list holds the instance's lock in the kernel, which delays waiting
        // threads.
        let is_long = instance.watches.get() > MOST_SOCKETS as u64;
        if instance.alone.waits.get() == 0 || is_long || asked > MOST_SOCKETS {
            continue;
        }
        let epfd = view.descriptor_of(index);
        let first = into.as_slice().len();
        for interest in view.interests_of(instance).take(MOST_SOCKETS) {
            asked += 1;
            let fd = interest.fd();
            let is_known = view.descriptors.get(fd).description() == interest.description();
            if is_known && sys::socket_option(fd, libc::SO_ACCEPTCONN).is_ok_and(|listens| listens != 0) {
                into.push(Listener {
                    fd,
                    epfd: -1,
                    site: interest.site() as usize,
                    description: interest.description(),
                    owner: instance.owner.block(),
                });
            }
        }
        if into.as_slice().len() > first {
            let path = Short::of(format_args!("/proc/thread-self/fdinfo/{epfd}"));
            let _ = procfs::each_listed(&path, &mut |listed| {
                for listener in into.as_mut_slice().iter_mut().skip(first).filter(|listener| listener.fd == listed.fd) {
                    if listed.events & EPOLLEXCLUSIVE == 0 {
                        listener.epfd = epfd;
                    }
                }
            });
        }
    }
}

/// Parent, children, siblings.
fn gather_relatives(into: &mut Buffer<i32>) {
    let (own, parent) = (sys::getpid(), sys::getppid());
    add_children(own, own, into);
    // A process whose parent has ended has the system's first process for a parent, and no
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
    let processes = relatives.iter().filter(|pid| watches_too(**pid, listener)).count();
    // Of several instances of this process, the first is reported.
    let is_first = all.iter().find(is_same).is_some_and(|first| first.epfd == listener.epfd);
    if (threads != 0 && is_first) || processes != 0 {
        let other = all.iter().filter(is_same).find(|other| other.owner != listener.owner);
        let note = Note {
            epfd: listener.epfd,
            fd: listener.fd,
            site: listener.site,
            other: other.map_or(0, |other| other.site),
            detail: [threads as u64 + 1, processes as u64 + 1, 0, 0],
            ..Note::of(Id::Herd, Severity::Warning)
        };
        put(&note, 1);
    }
}

/// Whether a process has the same socket under the same number, in an instance of its own, without
/// EPOLLEXCLUSIVE.
fn watches_too(pid: i32, listener: &Listener) -> bool {
    let own = sys::getpid();
    if !sys::same_description_in(own, listener.fd, pid, listener.fd) {
        return false;
    }
    (0..MOST_DESCRIPTORS).any(|epfd| {
        is_epoll(pid, epfd) && !sys::same_description_in(own, listener.epfd, pid, epfd) && lists(pid, epfd, listener.fd)
    })
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
        procfs::each_listed(&path, &mut |listed| found |= listed.fd == fd && listed.events & EPOLLEXCLUSIVE == 0);
    read.is_some() && found
}
