//! Compares the ledger with the kernel (`reading.rs`), and corrects it. Only reports call it: it
//! opens descriptors, one at a time, and reads them.
//!
//! The kernel is asked without the lock. Its answers are compared under the lock, and only if the
//! ledger has not changed in between. A ledger that other threads keep changing is reported as it
//! is, and the report says so.
//!
//! A hook notes a close before it is made, and a dup after it was made. In between, the ledger and
//! the kernel disagree though neither is wrong, and the ledger does not change. So if there are
//! other threads, a difference is corrected only if two readings show it: some time apart, with no
//! change of the ledger in between, and after each thread that was ready to run has run. (If a
//! signal or a debugger stops a thread in the middle of a close, the close still counts as one that
//! no hook saw.)

use crate::sync::Ordering;

use epollshim_ledger::core::Unmatched;
use epollshim_ledger::list::List;
use epollshim_ledger::lock_protocol::Here;

use super::access::{drain, is_amid_a_hook, is_interrupted, lock_or_break, unlock_out_of_line};
use super::grace_period::{self, Progress};
use super::reading::{Answer, Reading};
use super::state::CORE;
use crate::buffer::Buffer;
use crate::procfs;
use crate::{sys, thread};

/// How often a reading is repeated if the ledger changed during it.
const TRIES: u32 = 5;
/// How long other threads have to finish what they do, in milliseconds: some time slices of a
/// scheduler.
const PAUSE: u32 = 25;
/// The most such pauses, if a thread has not run.
const PAUSES: u32 = 10;

/// The result of a comparison with the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// The ledger agrees with everything that the kernel said.
    pub agrees: bool,
    /// For how many epoll descriptors the kernel does not say which are one instance: kcmp(2) is
    /// refused or missing.
    pub unknown: u32,
}

impl Compared {
    /// The ledger is known to be correct.
    pub fn is_exact(self) -> bool {
        self.agrees && self.unknown == 0
    }
}

/// Memory for a comparison.
type Room = epollshim_ledger::Room<Buffer<i32>, Buffer<Unmatched>, Buffer<u32>>;

/// Corrects the ledger by the kernel. It may fail: no /proc, no free descriptor, no memory, a hook
/// that a handler interrupted is half done, or other threads changed the ledger all the time.
pub fn reconcile(here: Here) -> Compared {
    let (mut reading, mut before) = (Reading::new(), Reading::new());
    let mut room = Room { numbers: Buffer::new(), unmatched: Buffer::new(), claims: Buffer::new() };
    let mut noted = Buffer::new();
    let agrees = reconcile_with(here, &mut reading, &mut before, &mut room, &mut noted);
    let unknown = reading.unknown;
    reading.end();
    before.end();
    room.numbers.end();
    room.unmatched.end();
    room.claims.end();
    noted.end();
    Compared { agrees, unknown }
}

fn reconcile_with(
    here: Here,
    reading: &mut Reading,
    before: &mut Reading,
    room: &mut Room,
    noted: &mut Buffer<Progress>,
) -> bool {
    // While a hook below is half done, the ledger and the kernel may differ though neither is
    // wrong.
    let may_correct_now = !is_amid_a_hook(here);
    // The ledger's version at the previous reading, if nothing has changed since.
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
        // Under the lock the kernel may not be asked, and no memory may be mapped.
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
            if is_interrupted() {
                // A frame below this one holds the lock. It continues only when this one has
                // returned.
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
                    CORE.with_answers(Some(answers.rings()), || CORE.correct(reading.picture(), room, is_under_way));
                    // A correction may change more than what differed.
                    CORE.agrees(reading.picture(), &mut room.unmatched, is_under_way)
                });
        unlock_out_of_line();
        if unchanged && !may_correct_now {
            return agrees;
        }
        if agrees {
            // Numbers that were duplicates of each other in the ledger were compared with only one
            // of them.
            if is_corrected && !reading.strangers.as_slice().is_empty() && attempt < TRIES {
                differed_at = None;
                continue;
            }
            return true;
        }
        differed_at = (unchanged && stays_as_it_is(version, noted)).then_some(version);
    }
    false
}

/// Waits for other threads. False: the ledger has changed, or a thread was ready to run all the
/// time and did not run.
fn stays_as_it_is(version: u64, noted: &mut Buffer<Progress>) -> bool {
    grace_period::note(noted);
    for _ in 0..PAUSES {
        for _ in 0..PAUSE {
            sys::sleep(1_000_000);
            if CORE.version() != version {
                return false;
            }
        }
        if grace_period::have_all_run(noted.as_slice()) {
            return true;
        }
    }
    false
}

/// Whether a thread has noted an interest with this serial number, and does not know the kernel's
/// answer yet.
fn is_under_way(serial: u32) -> bool {
    serial != 0 && thread::all().any(|block| block.adding.load(Ordering::Relaxed) as u32 == serial)
}
