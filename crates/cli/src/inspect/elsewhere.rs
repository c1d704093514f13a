//! Lists what threads wait for outside of epoll, and the sockets that no instance watches.
//!
//! `inspect` judges epoll only. A process that hangs in recv, accept or a lock has no finding, so
//! its text must show where it hangs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use epollshim_format::census::Kind;
use epollshim_format::scale::{Grouped, Scaled};

use super::judge::{is_listener, shown};
use super::model::{Descriptor, Doing, Process, Thread};
use super::read::call_name;
use crate::text::{count, wrap};

/// At most this many threads and sockets are listed.
const LISTED: usize = 8;

/// The lines, without a heading. Empty: each thread runs, or waits on an instance, and no socket is
/// left out.
pub fn elsewhere(process: &Process) -> String {
    let mut out = String::new();
    let mut others: BTreeMap<&str, Vec<&Thread>> = BTreeMap::new();
    let mut listed = 0;
    let mut fds = BTreeSet::new();
    for (thread, call, fd) in process.threads.iter().filter_map(asleep) {
        let Some(fd) = fd else {
            others.entry(call).or_default().push(thread);
            continue;
        };
        fds.insert(fd);
        listed += 1;
        if listed <= LISTED {
            wrap(
                &mut out,
                "  ",
                4,
                &format!("thread {} waits in {call} on fd {fd}{}", thread.tid, time(process, thread)),
            );
            let what = process.descriptors.get(&fd).map_or_else(
                || "closed".to_owned(),
                |one| format!("{}{}", shown(one), amounts(one, !is_listener(one))),
            );
            wrap(&mut out, "    ", 6, &format!("fd {fd}: {what}"));
        }
    }
    if listed > LISTED {
        let _ = writeln!(out, "  and {} more: see Threads", count(listed - LISTED, "thread"));
    }
    for (call, threads) in others {
        let text = match threads.as_slice() {
            [one] => format!("thread {} waits in {call}{}", one.tid, time(process, one)),
            some => format!("{} threads wait in {call}", some.len()),
        };
        wrap(&mut out, "  ", 4, &format!("{text}{}", meaning(call)));
    }
    unwatched(process, &fds, &mut out);
    out
}

/// A thread that slept in the same call through the observation, outside of epoll.
fn asleep(thread: &Thread) -> Option<(&Thread, &'static str, Option<i32>)> {
    let last = thread.last().filter(|last| last.wait.is_none())?;
    thread.asleep_since?;
    let Doing::Call(number) = last.doing else { return None };
    Some((thread, call_name(number)?, last.fd))
}

fn time(process: &Process, thread: &Thread) -> String {
    let Some(since) = thread.asleep_since else { return String::new() };
    format!(", for at least {}", Scaled::time(process.ended.saturating_sub(since)))
}

/// What a wait in a call means, if its name does not say it.
fn meaning(call: &str) -> &'static str {
    match call {
        "futex" => ": for a lock, a condition variable, or the end of a thread",
        "nanosleep" | "clock_nanosleep" => ": for some time to pass",
        "wait4" | "waitid" => ": for the end of a child",
        "pause" | "rt_sigsuspend" | "rt_sigtimedwait" => ": for a signal",
        _ => "",
    }
}

/// The sockets that no instance watches, except those that a thread waits on. Those with something
/// to read come first.
fn unwatched(process: &Process, fds: &BTreeSet<i32>, out: &mut String) {
    let watched = process.all_watched();
    let is_left = |fd: &i32| !watched.contains(fd) && !fds.contains(fd);
    let mut left: Vec<(bool, String)> = process
        .descriptors
        .iter()
        .filter(|(fd, one)| one.kind == Kind::Socket && is_left(fd))
        .map(|(fd, one)| {
            let amounts = amounts(one, false);
            (
                amounts.is_empty(),
                format!("fd {fd}{}", amounts.replacen(", ", " (", 1) + if amounts.is_empty() { "" } else { ")" }),
            )
        })
        .collect();
    if left.is_empty() {
        return;
    }
    left.sort_by_key(|(is_empty, _)| *is_empty);
    let number = left.len();
    let mut words: Vec<String> = left.into_iter().take(LISTED).map(|(_, text)| text).collect();
    if number > LISTED {
        words.push(format!("and {} more", number - LISTED));
    }
    let are = if number == 1 { "is" } else { "are" };
    wrap(out, "  ", 4, &format!("{} {are} in no epoll instance: {}", count(number, "socket"), words.join(", ")));
}

/// The bytes and connections that wait in a descriptor: `, 72 B unread`. Without `with_zero`, only
/// those that there are.
pub fn amounts(descriptor: &Descriptor, with_zero: bool) -> String {
    let mut text = String::new();
    let (look, table) = (descriptor.looks.last(), descriptor.table);
    let unread = look.map_or(table.map(|(_, unread, _)| unread), |look| look.unread);
    let unsent = descriptor.unsent.or(table.map(|(.., unsent)| unsent));
    for (number, what) in [(unread, "unread"), (unsent, "unsent")] {
        if let Some(number) = number.filter(|number| with_zero || *number != 0) {
            let _ = write!(text, ", {} B {what}", Grouped(number));
        }
    }
    match look.map_or(0, |look| look.backlog) {
        0 => {}
        some => {
            let _ = write!(text, ", {} to accept", count(some as usize, "connection"));
        }
    }
    text
}
