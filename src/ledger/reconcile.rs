//! The comparison with the kernel: `/proc/thread-self/fd` tells which descriptors are epolls, `fdinfo` what
//! each has in its interest list. Called by reports only: it opens descriptors (one at a time), and reads.
//!
//! The kernel is read without the gate; what it said is compared under it, and only if nothing changed in
//! between. A ledger that other threads keep changing is reported as it stands.
//!
//! A close is noted before it is made, a dup after it was: in between the two disagree, though nobody is wrong, and the
//! ledger does not change. So where there are other threads, only what two readings agree on is mended, some time apart
//! and with no change of the ledger in between, when each thread that is ready to run has run. (One that is stopped by
//! a signal or a debugger in the midst of a close is still taken for one that closed out of sight.)

use crate::sync::Ordering;

use super::CORE;
use super::access::{drain, lock_or_break, unlock};
use super::lock_protocol::Here;
use super::turns::{self, Turn};
use crate::buffer::Buffer;
use crate::procfs;
use crate::{process, sys, thread};

/// How often a reading that was overtaken by a change is made again.
const TRIES: u32 = 4;
/// How long other threads have for what they are at, in milliseconds: some turns of a scheduler.
const PAUSE: u32 = 25;
/// So many such pauses at most, where a thread has had no turn.
const PAUSES: u32 = 10;

/// A line of the reading: an epoll descriptor (`is_head`), or one of its interests.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Line {
    fd: i32,
    is_head: bool,
}

/// Brings the ledger in line with the kernel. False: it could not be done (no /proc, no free descriptor, no
/// memory, a hook that a handler interrupted is half done, or other threads changed the ledger all the time).
pub fn reconcile(here: Here) -> bool {
    Buffer::lend(|lines| {
        Buffer::lend(|before| {
            Buffer::lend(|watched| Buffer::lend(|turns| reconcile_with(here, lines, before, watched, turns)))
        })
    })
}

fn reconcile_with(
    here: Here,
    lines: &mut Buffer<Line>,
    before: &mut Buffer<Line>,
    watched: &mut Buffer<i32>,
    turns: &mut Buffer<Turn>,
) -> bool {
    // Where a hook below is half done the two may differ, and nobody is wrong.
    let may_mend = !here.is_amid_a_hook();
    // The ledger's version at the reading before, if nothing has changed since.
    let mut differed_at = None;
    for _ in 0..TRIES {
        ::core::mem::swap(lines, before);
        lines.clear();
        let version = CORE.version();
        if !read_kernel(lines) {
            return false;
        }
        if !lock_or_break(here) {
            if super::is_interrupted() {
                // A frame below this one holds the lock: it goes on only when this one has returned.
                return false;
            }
            sys::yield_now();
            differed_at = None;
            continue;
        }
        drain();
        let unchanged = CORE.version() == version;
        let is_confirmed = differed_at == Some(version) && lines.as_slice() == before.as_slice();
        let agrees = unchanged
            && (compare(lines.as_slice(), watched, false)
                || may_mend && (is_confirmed || procfs::has_one_thread()) && compare(lines.as_slice(), watched, true));
        unlock();
        if agrees || unchanged && !may_mend {
            return agrees;
        }
        differed_at = (unchanged && stays_as_it_is(version, turns)).then_some(version);
    }
    false
}

/// Gives other threads time. False: the ledger has changed, or one of them was ready to run all the time and did not.
fn stays_as_it_is(version: u64, noted: &mut Buffer<Turn>) -> bool {
    turns::note(noted);
    for _ in 0..PAUSES {
        for _ in 0..PAUSE {
            sys::sleep(1_000_000);
            if CORE.version() != version {
                return false;
            }
        }
        if turns::were_had(noted.as_slice()) {
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

/// How often the kernel is asked, in one comparison, whether two descriptors are one instance.
const QUESTIONS: u32 = 20_000;

fn ask(left: &mut u32, fd: i32, other: i32) -> bool {
    *left = left.saturating_sub(1);
    *left > 0 && sys::same_description(process::pid(), fd, other) == Ok(true)
}

/// False: the two differ, and `mend` does not allow to make the ledger true.
fn compare(lines: &[Line], watched: &mut Buffer<i32>, mend: bool) -> bool {
    CORE.begin_comparison();
    let heads = || lines.iter().filter(|line| line.is_head).map(|line| line.fd);
    let mut questions = QUESTIONS;
    for (place, epfd) in heads().enumerate() {
        // An epoll that came out of sight may be one more descriptor of one that is known.
        let known = |fd| CORE.instance_of(fd);
        if !mend && known(epfd).is_none() {
            return false;
        }
        if known(epfd).is_none_or(|instance| instance.came_out_of_sight())
            && let Some((_, twin)) = heads().enumerate().find(|(other, twin)| {
                let index = CORE.descriptors.get(*twin).instance();
                let is_another = index != 0 && index != CORE.descriptors.get(epfd).instance();
                // Of two that both came out of sight, the first stays.
                let stays =
                    *other < place || known(epfd).is_none() || !known(*twin).is_some_and(|i| i.came_out_of_sight());
                is_another && stays && ask(&mut questions, epfd, *twin)
            })
        {
            if !mend {
                return false;
            }
            CORE.duplicated(twin, epfd, 0);
            CORE.totals.healed.add(1);
        }
        CORE.meet(epfd);
    }
    if !CORE.end_meeting(mend) {
        return false;
    }
    let mut rest = lines;
    while let Some((head, after)) = rest.split_first() {
        let count = after.iter().position(|line| line.is_head).unwrap_or(after.len());
        let Some((interests, next)) = after.split_at_checked(count) else { break };
        rest = next;
        let Some(index) = CORE.first_turn(head.fd) else { continue };
        watched.clear();
        if interests.iter().all(|line| watched.push(line.fd))
            && !CORE.compare(head.fd, index, watched.as_mut_slice(), mend, sys::is_open, is_under_way)
        {
            return false;
        }
    }
    true
}

/// Whether a thread has noted an interest, of this serial number, and not yet heard the kernel's answer.
fn is_under_way(serial: u32) -> bool {
    serial != 0 && thread::all().any(|block| block.adding.load(Ordering::Relaxed) as u32 == serial)
}
