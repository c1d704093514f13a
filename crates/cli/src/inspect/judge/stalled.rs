//! Finds data that no event will announce again.

use std::collections::{BTreeMap, BTreeSet};

use epollshim_format::findings::stalled::{self, Look, seen};
use epollshim_format::findings::{Id, Severity};
use epollshim_format::scale::Scaled;

use super::super::model::{Descriptor, IN, Instance, Interest, OUT, Process, Sample, State, Thread};
use super::{ASLEEP, BUSY, Finding, part, shown, waited_on};
use crate::text::count;

/// Why no event comes for a listening socket, and how to fix it.
const ACCEPT: &str = "no event will come until another client connects, because the edge-triggered socket was not accepted from until \
                      EAGAIN; accept until EAGAIN after each event";

/// The stalled interests of an instance, in one finding per severity.
pub fn stalled(process: &Process, instance: &Instance) -> impl Iterator<Item = Finding> {
    grouped(instance.interests.iter().filter_map(|interest| one(process, instance, interest)).collect())
}

/// How often a thread was seen asleep in a wait on an instance, not counting the first observation.
fn times_asleep(thread: &Thread, epfds: &BTreeSet<i32>) -> usize {
    let is_there = |sample: &&Sample| sample.wait.is_some_and(|wait| epfds.contains(&wait.epfd));
    thread.samples.iter().skip(1).filter(is_there).count()
}

/// An interest with something to read that no event will announce again.
fn one(process: &Process, instance: &Instance, interest: &Interest) -> Option<Finding> {
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
    let are_connections = last.backlog != 0;
    let mut message = stalled::Waiting { count: last.waiting(), are_connections }.to_string();
    let span = last.at.saturating_sub(first.at);
    message.push_str(&format!(
        ", and thread {} sleeps in {}: nothing was {} during the {} of observation, and ",
        waiter.tid,
        waiter.samples.iter().rev().find_map(|sample| sample.wait).map_or("epoll_wait", |wait| wait.call),
        if are_connections { "accepted" } else { "read" },
        Scaled::time(span)
    ));
    message.push_str(match variant {
        stalled::EDGE if are_connections => ACCEPT,
        _ => stalled::reason(variant),
    });
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

/// Whether a socket cannot send because the other end does not read.
fn is_full(descriptor: &Descriptor) -> bool {
    descriptor.looks.last().is_some_and(|look| look.ready & OUT == 0 && look.unsent.is_some_and(|bytes| bytes > 0))
}

/// Merges the findings of one instance and one severity into one.
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
