//! Finds loops that do not sleep because nothing is done with a ready descriptor.

use epollshim_format::census::Kind;
use epollshim_format::descriptor::{Descriptor as Shown, field};
use epollshim_format::events::{EPOLLERR, EPOLLHUP, Mask};
use epollshim_format::findings::Severity;
use epollshim_format::scale::Scaled;

use super::super::model::{Descriptor, IN, Interest, OUT, Process, RDHUP, State, Thread};
use super::{ASLEEP, Finding, is_busy, is_its_loop, share, shown, waited_on};

/// A loop of system calls spends at least this percentage of its processor time in the kernel. A
/// thread that computes spends almost none there.
const IN_KERNEL: u64 = 15;
const TICK: u64 = 10_000_000;

/// Finds a busy thread whose instance is always ready because of one descriptor.
pub fn spin(process: &Process, thread: &Thread) -> Option<Finding> {
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
        "EPOLLHUP and EPOLLERR are reported even for an event mask of 0: close the descriptor, or use EPOLL_CTL_DEL"
    } else if ready & (EPOLLHUP | EPOLLERR | RDHUP) != 0 {
        "its other end is closed: close the descriptor, or use EPOLL_CTL_DEL"
    } else if ready & IN == 0 {
        "ask for EPOLLOUT only while there is something to write"
    } else if descriptor.looks.last().is_some_and(|look| look.backlog > 0) {
        "it is a listening socket: accept, or stop watching it while accept fails"
    } else {
        "read until EAGAIN or end of file, or stop watching it meanwhile"
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

/// A level-triggered interest that was ready in every observation, with the same bytes in it.
/// Returns its ready events.
fn unchanging<'a>(process: &'a Process, interest: &Interest) -> Option<(&'a Descriptor, u32)> {
    if interest.is_disarmed() || interest.is_edge_triggered() {
        return None;
    }
    let descriptor = process.watched(interest)?;
    if descriptor.kind == Kind::Epoll {
        return None;
    }
    // The first observation does not query everything.
    let (_, looks) = descriptor.looks.split_first()?;
    let first = looks.first()?;
    // FIONREAD returns the length of the first datagram. The next one may have the same length if
    // all are queries of one kind (unbound).
    let is_datagram = Shown(descriptor.what.as_bytes()).field(field::TYPE) == Some(b"dgram");
    if is_datagram && first.unread.is_some_and(|bytes| bytes > 0) {
        return None;
    }
    let asked = interest.events | EPOLLERR | EPOLLHUP;
    let is_same = |look: &State| {
        let of = |look: &State| (look.ready & asked, look.unread, look.unsent, look.backlog, look.received, look.acked);
        look.ready & asked != 0 && of(look) == of(first)
    };
    (looks.len() >= ASLEEP && looks.iter().all(is_same)).then_some((descriptor, first.ready & asked))
}
