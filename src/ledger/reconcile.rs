//! The comparison with the kernel: `reading.rs` asks it, and the ledger is brought in line. Called by reports only: it opens
//! descriptors (one at a time), and reads.
//!
//! The kernel is asked without the lock. What it said is compared under the lock, and only if the ledger has not changed
//! in between. A ledger that other threads keep changing is reported as it stands, and the report says so.
//!
//! A hook notes a close before it is made, and a dup after it was made. In between the two disagree though nobody is
//! wrong, and the ledger does not change. So where there are other threads, only a difference that two readings show is
//! corrected: some time apart, with no change of the ledger in between, when each thread that is ready to run has run.
//! (A thread that is stopped by a signal or a debugger in the midst of a close is still taken for one that closed out of
//! sight.)

use crate::sync::Ordering;

use epollshim_ledger::core::Unmatched;
use epollshim_ledger::list::List;
use epollshim_ledger::lock_protocol::Here;

use super::access::{drain, is_amid_a_hook, lock_or_break, unlock_out_of_line};
use super::reading::{Answer, Reading};
use super::state::CORE;
use super::turns::{self, Turn};
use crate::buffer::Buffer;
use crate::procfs;
use crate::{sys, thread};

/// How often a reading that was overtaken by a change is made again.
const TRIES: u32 = 5;
/// How long other threads have for what they are at, in milliseconds: some turns of a scheduler.
const PAUSE: u32 = 25;
/// So many such pauses at most, where a thread has had no turn.
const PAUSES: u32 = 10;

/// What a comparison with the kernel has brought.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// The ledger agrees with all that the kernel said.
    pub agrees: bool,
    /// Of so many epoll descriptors the kernel does not say which are one instance: kcmp(2) is refused or missing.
    pub unknown: u32,
}

impl Compared {
    /// The ledger is known to be true.
    pub fn is_exact(self) -> bool {
        self.agrees && self.unknown == 0
    }
}

/// What a comparison needs memory for.
type Room = epollshim_ledger::Room<Buffer<i32>, Buffer<Unmatched>, Buffer<u32>>;

/// Brings the ledger in line with the kernel. It may fail: no /proc, no free descriptor, no memory, a hook that a handler
/// interrupted is half done, or other threads changed the ledger all the time.
pub fn reconcile(here: Here) -> Compared {
    let (mut reading, mut before) = (Reading::new(), Reading::new());
    let mut room = Room { numbers: Buffer::new(), unmatched: Buffer::new(), claims: Buffer::new() };
    let mut turns = Buffer::new();
    let agrees = reconcile_with(here, &mut reading, &mut before, &mut room, &mut turns);
    let unknown = reading.unknown;
    reading.end();
    before.end();
    room.numbers.end();
    room.unmatched.end();
    room.claims.end();
    turns.end();
    Compared { agrees, unknown }
}

fn reconcile_with(
    here: Here,
    reading: &mut Reading,
    before: &mut Reading,
    room: &mut Room,
    turns: &mut Buffer<Turn>,
) -> bool {
    // Where a hook below is half done the two may differ, and nobody is wrong.
    let may_correct_now = !is_amid_a_hook(here);
    // The ledger's version at the reading before, if nothing has changed since.
    let mut differed_at = None;
    for attempt in 1..=TRIES {
        ::core::mem::swap(reading, before);
        let version = CORE.version();
        match reading.read() {
            Answer::Whole => {}
            Answer::Overtaken => {
                differed_at = None;
                continue;
            }
            Answer::None => return false,
        }
        // Under the lock nothing is asked, and no memory is got.
        let picture = reading.picture();
        let answers = CORE.prepare_for(picture);
        let has_one_thread = procfs::has_one_thread();
        let has_room = room.numbers.reserve(picture.heads.len())
            && room.claims.reserve(picture.heads.len())
            && room.unmatched.reserve(picture.lines.len());
        if !has_room {
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
        let unchanged = CORE.version() == version && CORE.lock.is_quiet();
        let may_correct = || differed_at == Some(version) && reading.is_as(before) || has_one_thread;
        let mut is_corrected = false;
        let agrees = unchanged
            && (CORE.agrees(reading.picture(), &mut room.unmatched, is_under_way)
                || may_correct_now && may_correct() && {
                    is_corrected = true;
                    CORE.with_answers(&answers, || CORE.correct(reading.picture(), room, is_under_way));
                    // What follows from a correction may be more than was corrected.
                    CORE.agrees(reading.picture(), &mut room.unmatched, is_under_way)
                });
        unlock_out_of_line();
        if unchanged && !may_correct_now {
            return agrees;
        }
        if agrees {
            // Numbers that were duplicates of each other in the ledger were compared with one of them alone.
            if is_corrected && !reading.strangers.as_slice().is_empty() && attempt < TRIES {
                differed_at = None;
                continue;
            }
            return true;
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

/// Whether a thread has noted an interest, of this serial number, and not yet heard the kernel's answer.
fn is_under_way(serial: u32) -> bool {
    serial != 0 && thread::all().any(|block| block.adding.load(Ordering::Relaxed) as u32 == serial)
}
