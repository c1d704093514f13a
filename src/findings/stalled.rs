//! Data that the program will not read: an edge-triggered interest was delivered and not read until
//! EAGAIN, or a one-shot interest was delivered and not re-armed, while the loop sleeps.
//!
//! A thread looks when it returns from a wait in which it slept ([`slept`]): rarely, and the more
//! rarely the less it finds. Data that it finds waiting is noted in the thread's block, and
//! compared at the next looks. A report looks twice at the instances that threads wait on then
//! ([`report::evaluate`]). Both read the instance's list in /proc, and ask each descriptor that may
//! stall how much can be read from it.
//!
//! If a wait slept and did not return a descriptor's event, the data was there before: new data is
//! an edge, and ends the sleep.

mod item;
mod report;

use epollshim_format::call::Call;
use epollshim_format::findings::stalled::{self, Look, seen};
use epollshim_format::findings::{Id, Severity, thresholds};
use libc::epoll_event;

use self::item::{Item, list, look_of, processor_time};
use super::watch::{Watch, events};
use super::{Note, ease, note, refresh};
use crate::buffer::Buffer;
use crate::counters::{Counters, Histogram};
use crate::frame::Frame;
use crate::ledger::records::Long;
use crate::sigsafe::on_own_stack;
use crate::thread::Block;
use crate::{clock, ledger, process, seccomp, sys};

pub use report::evaluate;

/// What is known about the instances that a thread waits on, in its block. All zero: nothing yet.
#[repr(C)]
pub struct Stalls {
    /// CLOCK_MONOTONIC when the next look is due; 0: the thread has not slept yet.
    due: Long,
    /// CLOCK_MONOTONIC when it is due after a wait that has slept for `STALLED_ASLEEP`.
    due_after_long: Long,
    /// The pause after a look that finds nothing.
    rest: Long,
    suspects: [Suspect; 8],
}

/// A descriptor with data that waits.
struct Suspect {
    /// The two numbers, as a finding has them; 0: not in use.
    descriptors: Long,
    events: Long,
    /// What the first look saw.
    waiting: Long,
    read: Long,
    /// CLOCK_MONOTONIC of the first look, how long the thread had slept in total before the data
    /// was there, and the processor time of the process.
    at: Long,
    asleep: Long,
    used: Long,
    is_noted: Long,
}

/// Called after a wait that slept was counted. It began at `frame.state`, and returned `count` at
/// `now`.
#[inline(never)]
pub fn slept(block: &Block, frame: &Frame, count: isize, now: u64) {
    let stalls: &Stalls = block.part();
    let time = now.saturating_sub(frame.state);
    // A thread that seems to spin did not sleep, but lost its processor. spin.rs would take the
    // bytes read from /proc for the program's.
    if !block.part::<Watch>().has_no_suspicion() {
        return;
    }
    let is_long = time >= thresholds::STALLED_ASLEEP;
    if now < stalls.due.get() && !(is_long && now >= stalls.due_after_long.get()) {
        return;
    }
    if stalls.due.get() == 0 && !is_long {
        // Most loops end soon, or never sleep for long.
        return stalls.due.set(now + thresholds::STALLED_DISTANCE);
    }
    let epfd = frame.int(0);
    let watches = ledger::crowd_of(epfd).map_or(0, |crowd| crowd.watches);
    let rest = stalls.rest.get().saturating_mul(2).clamp(thresholds::STALLED_DISTANCE, thresholds::STALLED_REST);
    stalls.rest.set(rest);
    stalls.due.set(now + rest);
    // A look takes some 100 microseconds, and one more for each interest.
    let cost = (100 + watches) * 1_000 * thresholds::STALLED_SHARE;
    stalls.due_after_long.set(now + cost);
    // If the array is full, other events may not be delivered yet.
    let is_full = count > 0 && count == frame.int(2) as isize;
    if watches == 0 || is_full || !ledger::is_first_waiter(epfd, block) || seccomp::hinders() || !process::is_own() {
        return;
    }
    let events = events(frame, count.max(0) as usize);
    let wait = Wait { epfd, site: frame.caller, events, asleep: asleep(&block.counters), time, now };
    if on_own_stack(|| stalls.look(&wait)) == Some(true) {
        stalls.rest.set(0);
        stalls.due.set(now + cost.max(thresholds::STALLED_DISTANCE));
    }
}

struct Wait<'a> {
    epfd: i32,
    site: usize,
    events: &'a [epoll_event],
    /// How long the thread has slept in total, and how long in this wait.
    asleep: u64,
    time: u64,
    now: u64,
}

impl Wait<'_> {
    fn brings(&self, item: &Item) -> bool {
        self.events.iter().any(|event| { event.u64 } == item.data)
    }
}

/// Nanoseconds in waits that could block.
fn asleep(counters: &Counters) -> u64 {
    let of = |call: &Call| counters.blocked(*call).map_or(0, Histogram::sum);
    Call::WAITS.iter().map(of).fold(0, u64::wrapping_add)
}

impl Stalls {
    /// Called when another thread takes over the block.
    pub fn next_owner(&self) {
        self.due.set(0);
        self.suspects.iter().for_each(|suspect| suspect.descriptors.set(0));
    }

    /// True: data waits that is not a finding yet.
    fn look(&self, wait: &Wait<'_>) -> bool {
        Buffer::lend(|items| {
            list(wait.epfd, wait.site, items);
            for suspect in self.suspects.iter().filter(|suspect| suspect.descriptors.get() != 0) {
                let at = items.as_slice().iter().position(|item| item.descriptors() == suspect.descriptors.get());
                match at.and_then(|at| items.as_mut_slice().get_mut(at)) {
                    Some(item) => {
                        let is_delivered = wait.brings(item);
                        suspect.follow(item, wait.asleep, is_delivered);
                    }
                    None => suspect.descriptors.set(0),
                }
            }
            for item in items.as_mut_slice() {
                if item.variant().is_none() || wait.brings(item) || self.of(item).is_some() {
                    continue;
                }
                let Some(free) = self.suspects.iter().find(|suspect| suspect.descriptors.get() == 0) else { break };
                // Skip the other questions if there is nothing to read.
                if sys::bytes_waiting(item.fd, libc::FIONREAD) != Ok(0) {
                    item.look();
                }
                if item.waiting > 0 {
                    free.begin(item, wait);
                }
            }
        });
        self.suspects.iter().any(|suspect| suspect.descriptors.get() != 0 && suspect.is_noted.get() == 0)
    }

    fn of(&self, item: &Item) -> Option<&Suspect> {
        self.suspects.iter().find(|suspect| suspect.descriptors.get() == item.descriptors())
    }
}

impl Suspect {
    fn begin(&self, item: &Item, wait: &Wait<'_>) {
        self.events.set(u64::from(item.events));
        self.waiting.set(item.waiting);
        self.read.set(item.read);
        self.at.set(wait.now);
        self.used.set(processor_time());
        self.asleep.set(wait.asleep.wrapping_sub(wait.time));
        self.is_noted.set(0);
        self.descriptors.set(item.descriptors());
    }

    fn first(&self) -> Look {
        look_of(self.waiting.get(), self.read.get())
    }

    /// Looks at it again. `asleep` is how long its thread has slept in total. `is_delivered`: an
    /// event for it was just returned.
    fn follow(&self, item: &mut Item, asleep: u64, is_delivered: bool) {
        item.look();
        let Some(variant) = item.variant() else {
            // The program has re-armed it.
            return self.end(item, true);
        };
        if is_delivered || !stalled::is_untouched(variant, self.first(), item.seen()) {
            // The total of bytes that arrived is the same: no new data, so it was read without an
            // event.
            let came = |look: Look| look.read.map(|read| read.wrapping_add(look.waiting));
            let is_resumed = came(item.seen()).is_some() && came(item.seen()) == came(self.first());
            return self.end(item, is_resumed && !is_delivered);
        }
        item.asleep = asleep.wrapping_sub(self.asleep.get());
        (item.at, item.used) = (self.at.get(), self.used.get());
        let is_due = clock::monotonic().saturating_sub(item.at) >= thresholds::STALLED_DISTANCE;
        if is_due
            && item.asleep >= thresholds::STALLED_ASLEEP
            && let Some(found) = item.note()
        {
            if self.is_noted.get() == 0 {
                note(&found);
                self.is_noted.set(1);
            }
            refresh(&found);
        }
    }

    /// Ends the suspicion: the data no longer waits.
    fn end(&self, item: &Item, is_resumed: bool) {
        self.descriptors.set(0);
        let variant = if item.events & libc::EPOLLET as u32 != 0 { stalled::EDGE } else { stalled::ONE_SHOT };
        if is_resumed
            && self.is_noted.get() != 0
            && let Some(other) = ledger::site_of(item.epfd, item.fd)
        {
            let found = Note { variant, site: item.site, other, ..Note::of(Id::Stalled, Severity::Info) };
            ease(&found, seen::RESUMED);
        }
    }
}
