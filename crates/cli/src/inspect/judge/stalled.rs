//! Data that nobody reads, and of which nobody will be told again.

use std::collections::{BTreeMap, BTreeSet};

use epollshim_format::findings::Severity;
use epollshim_format::scale::{Grouped, Scaled};

use super::super::model::{Descriptor, IN, Instance, Interest, OUT, Process, Sample, State, Thread};
use super::{ASLEEP, BUSY, Finding, part, shown, waited_on};
use crate::text::count;

/// The stalled interests of an instance: one finding for each severity.
pub fn stalled(process: &Process, instance: &Instance) -> impl Iterator<Item = Finding> {
    grouped(instance.interests.iter().filter_map(|interest| one(process, instance, interest)).collect())
}

/// How often a thread of a process was seen asleep in a wait on an instance, the first look left out.
fn times_asleep(thread: &Thread, epfds: &BTreeSet<i32>) -> usize {
    let is_there = |sample: &&Sample| sample.wait.is_some_and(|wait| epfds.contains(&wait.epfd));
    thread.samples.iter().skip(1).filter(is_there).count()
}

/// An interest with something to read that nobody will be told of again.
fn one(process: &Process, instance: &Instance, interest: &Interest) -> Option<Finding> {
    let is_disarmed = interest.is_disarmed();
    let is_edge = interest.is_edge_triggered() && interest.events & IN != 0;
    if !is_disarmed && !is_edge {
        return None;
    }
    let descriptor = process.watched(interest)?;
    let (first, last) = (descriptor.looks.first()?, descriptor.looks.last()?);
    let is_untouched = |look: &State| {
        let waits = look.ready & IN != 0 && look.waiting() > 0;
        // What comes meanwhile is an edge; to a disarmed interest it is nothing.
        waits
            && look.read() == first.read()
            && if is_disarmed { look.waiting() >= first.waiting() } else { look.waiting() == first.waiting() }
    };
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
    let is_held_back = !is_disarmed && process.descriptors.values().any(is_full);
    let severity = if worker.is_some() || is_held_back { Severity::Info } else { Severity::Warning };
    let mut message = if last.backlog != 0 {
        format!("{} to accept", count(last.backlog as usize, "connection"))
    } else {
        let (bytes, s) = (last.waiting(), if last.waiting() == 1 { "" } else { "s" });
        format!("{} unread byte{s}", Grouped(bytes))
    };
    let span = last.at.saturating_sub(first.at);
    message.push_str(&format!(
        ", and thread {} sleeps in {}: nothing was read for the {} that were looked at, and ",
        waiter.tid,
        waiter.samples.iter().rev().find_map(|sample| sample.wait).map_or("epoll_wait", |wait| wait.call),
        Scaled::time(span)
    ));
    message.push_str(if is_disarmed {
        "no event will come, because the one-shot interest was delivered and is not armed again; use EPOLL_CTL_MOD after each event"
    } else {
        "no event will come for what is there already, because the interest is edge-triggered; read until EAGAIN after each event"
    });
    if let Some(worker) = worker {
        message.push_str(&format!(" (thread {} runs, and may be at work on it)", worker.tid));
    } else if is_held_back {
        message.push_str(" (another socket cannot send: the reader may pause on purpose)");
    }
    Some(Finding {
        id: "stalled",
        severity,
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
fn grouped(found: Vec<Finding>) -> impl Iterator<Item = Finding> {
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
    groups.into_values().map(many)
}
