//! Sockets and pipes that stay open although their other end is gone. They count as leaked even if
//! an epoll instance watches them: their event was delivered, and the program did not close them.
//!
//! They are polled each time that the creations at a place reach a power of two. The end of the
//! process is too late: a server whose clients all leave as it ends has no leak, and a process that
//! is killed cannot poll.

use epollshim_format::census::Kind;
use epollshim_format::findings::thresholds::{FD_LEAK_FEW, FD_LEAK_ROUND};

use super::table;
use crate::sync::{AtomicU64, Ordering};
use crate::{seccomp, sys, thread};

/// The most descriptors that are polled. A thousand take some 0.1 ms.
const MOST: u64 = 1024;
/// How many are polled in one system call: 256 bytes of the stack.
const BATCH: usize = 32;

/// Whether descriptors of a kind have another end.
pub fn concerns(kind: Kind) -> bool {
    matches!(kind, Kind::Socket | Kind::Pipe)
}

/// How many of the `live` descriptors of a place have lost their other end. `index` is the number
/// of the place's record. `born` is the number of creations there, a power of two. `rounds` is how
/// many waits the process had made by the last call, and is updated. Returns 0 if few are open, or
/// the process has waited too rarely since then to have received the events.
#[cold]
#[inline(never)]
pub fn look(index: u16, kind: Kind, live: u64, born: u64, rounds: &AtomicU64) -> u64 {
    if !concerns(kind) {
        return 0;
    }
    let now = thread::all().fold(0u64, |sum, block| sum.wrapping_add(block.counters.waits()));
    let waited = now.abs_diff(rounds.swap(now, Ordering::Relaxed));
    if live < FD_LEAK_FEW / 2 || waited < born / 2 / FD_LEAK_ROUND || seccomp::hinders() {
        return 0;
    }
    let stride = live.div_ceil(MOST);
    let mut batch = [libc::pollfd { fd: -1, events: libc::POLLRDHUP, revents: 0 }; BATCH];
    let (mut count, mut gone) = (0, 0);
    let of_place = table::each_alive().filter(|(_, entry)| entry.place() == index);
    for (fd, _) in of_place.step_by(stride as usize) {
        if let Some(one) = batch.get_mut(count) {
            one.fd = fd;
        }
        count += 1;
        if count == BATCH {
            gone += asked(kind, &mut batch);
            count = 0;
        }
    }
    gone += batch.get_mut(..count).map_or(0, |batch| asked(kind, batch));
    gone.saturating_mul(stride)
}

fn asked(kind: Kind, batch: &mut [libc::pollfd]) -> u64 {
    match sys::poll_now(batch) {
        Ok(1..) => batch.iter().filter(|one| one.revents & ends(kind) != 0).count() as u64,
        _ => 0,
    }
}

/// The events that show a lost other end. POLLERR of a pipe means that it has no reader; a socket
/// may have any error.
fn ends(kind: Kind) -> i16 {
    libc::POLLHUP | libc::POLLRDHUP | if kind == Kind::Pipe { libc::POLLERR } else { 0 }
}

/// Whether a descriptor has lost its other end.
pub fn is_gone(fd: i32, kind: Kind) -> bool {
    asked(kind, &mut [libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 }]) != 0
}
