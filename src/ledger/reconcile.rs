//! The comparison with the kernel: `/proc/thread-self/fd` tells which descriptors are epolls, `fdinfo` what
//! each has in its interest list. Called by reports only: it opens descriptors (one at a time), and reads.
//!
//! The kernel is read without the gate; what it said is applied under it, and only if nothing changed in
//! between. A ledger that other threads keep changing is reported as it stands.

use ::core::sync::atomic::Ordering;

use super::core::Ticket;
use super::{CORE, GATE, empty_queue, leave};
use crate::buffer::Buffer;
use crate::procfs;
use crate::{process, sys, thread};

/// How often a reading that was overtaken by a change is made again.
const TRIES: u32 = 4;

/// A line of the reading: an epoll descriptor (`is_head`), or one of its interests.
#[derive(Clone, Copy)]
struct Line {
    fd: i32,
    is_head: bool,
}

/// Brings the ledger in line with the kernel. False: it could not be done (no /proc, no free descriptor, no
/// memory, or other threads changed the ledger all the time).
pub fn reconcile() -> bool {
    let mut lines: Buffer<Line> = Buffer::new();
    let mut watched: Buffer<i32> = Buffer::new();
    for _ in 0..TRIES {
        lines.clear();
        let version = CORE.totals.version.get();
        if !read_kernel(&mut lines) {
            return false;
        }
        let token = thread::token();
        if !GATE.enter(token) {
            continue;
        }
        empty_queue();
        let unchanged = CORE.totals.version.get() == version;
        if unchanged {
            compare(lines.as_slice(), &mut watched);
        }
        leave(token);
        if unchanged {
            return true;
        }
    }
    false
}

fn read_kernel(lines: &mut Buffer<Line>) -> bool {
    let mut complete = true;
    let listed = procfs::each_epoll(|epfd| {
        complete &= lines.push(Line { fd: epfd, is_head: true });
        complete &= procfs::each_interest(epfd, |fd| {
            complete &= lines.push(Line { fd, is_head: false });
        });
    });
    listed && complete
}

fn compare(mut lines: &[Line], watched: &mut Buffer<i32>) {
    let pid = process::pid();
    CORE.begin_comparison();
    let all = lines;
    while let Some((head, rest)) = lines.split_first() {
        let count = rest.iter().position(|line| line.is_head).unwrap_or(rest.len());
        let (interests, after) = rest.split_at(count);
        lines = after;
        // An epoll that the ledger does not know may be a second descriptor of one that it knows.
        if CORE.instance_of(head.fd).is_none()
            && let Some(twin) = all.iter().filter(|line| line.is_head && line.fd != head.fd).find(|line| {
                CORE.instance_of(line.fd).is_some() && sys::same_description(pid, head.fd, line.fd) == Ok(true)
            })
        {
            CORE.duplicated(twin.fd, head.fd);
            CORE.totals.healed.add(1);
        }
        let Some((index, seen)) = CORE.meet(head.fd) else {
            CORE.totals.lost.add(1);
            continue;
        };
        if seen {
            continue;
        }
        watched.clear();
        if interests.iter().all(|line| watched.push(line.fd)) {
            CORE.compare(head.fd, index, watched.as_mut_slice(), sys::is_open, is_under_way);
        }
    }
    CORE.end_comparison();
}

/// Whether a thread has noted an interest and not yet heard the kernel's answer.
fn is_under_way(ticket: Ticket) -> bool {
    thread::all().any(|block| block.adding.load(Ordering::Relaxed) == Ticket::to_word(Some(ticket)))
}
