//! The way into the gate, and out: who finds it free makes the change at once, and whoever leaves makes those that were left
//! as notes meanwhile.

use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::changes::{Change, apply};
use super::followers::{is_followed, tell_totals};
use super::{CORE, GATE};
use crate::{clock, sys, thread};

/// Makes a change, after those that wait; or lets it wait itself.
pub(super) fn change(change: Change) {
    change_by(|| apply(change), || change);
}

/// The same, where the change need only be put into words if it is to wait: `make` does what `apply` does of it.
#[inline(always)]
pub(super) fn change_by(make: impl FnOnce(), change: impl FnOnce() -> Change) {
    change_on(Passage::NotTried, make, change);
}

/// The same of who has come so far.
#[inline(always)]
pub(super) fn change_on(passage: Passage, make: impl FnOnce(), change: impl FnOnce() -> Change) {
    let token = thread::token();
    if has_come_in(passage, token) {
        make();
        leave(token);
    } else {
        queue(change(), token);
    }
}

#[cold]
#[inline(never)]
pub(super) fn queue(change: Change, token: usize) {
    if GATE.is_crowded() && GATE.holder() != token {
        let_the_holder_work();
    }
    if !GATE.leave_note(change) {
        if enter_or_seize(token) {
            leave(token);
        }
        if !GATE.leave_note(change) {
            CORE.totals.lost.add(1);
            return;
        }
    }
    if GATE.enter(token) {
        leave(token);
    }
}

/// The holder waits for a processor, or is kept from its work by handlers of its own: let it have this one. (The only other
/// way would be to lose changes.) Where it has done nothing for a second, the program is not held up for it any more.
#[cold]
#[inline(never)]
fn let_the_holder_work() {
    /// How many notes were applied when somebody looked last, and since when it has been so many (CLOCK_MONOTONIC).
    static APPLIED: AtomicUsize = AtomicUsize::new(0);
    static SINCE: AtomicU64 = AtomicU64::new(0);
    const LONG: u64 = 1_000_000_000;
    if !GATE.is_nearly_full() {
        return sys::yield_now();
    }
    let (applied, now) = (GATE.notes_applied(), clock::monotonic());
    if APPLIED.swap(applied, Ordering::Relaxed) != applied {
        SINCE.store(now, Ordering::Relaxed);
    } else if now.saturating_sub(SINCE.load(Ordering::Relaxed)) > LONG {
        return;
    }
    sys::sleep(200_000);
}

/// Enters the gate, also past a holder that will never leave it: this thread itself, whose frame was jumped out of
/// (siglongjmp), or a thread that ended inside (pthread_exit in a signal handler).
pub(super) fn enter_or_seize(token: usize) -> bool {
    if GATE.enter(token) {
        return true;
    }
    let holder = GATE.holder();
    if holder != token && (holder == 0 || !thread::is_gone(holder)) || !GATE.seize(holder, token) {
        return false;
    }
    LATE.store(false, Ordering::Relaxed);
    // What it was at is half done. Reconciliation finds again what there is.
    CORE.forget_everything();
    true
}

/// Empties the queue and leaves the gate. A note that came between the two is looked for again.
#[inline(always)]
pub(super) fn leave(token: usize) {
    if !GATE.is_quiet() {
        empty_queue();
    }
    if is_followed() {
        tell_totals();
    }
    GATE.leave();
    if !GATE.is_quiet() {
        leave_again(token);
    }
}

/// How far a hook has come with a change that it tried to make at once. What comes then is rare, and is a function of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It is made.
    Through,
    /// It is made, and the gate left; and a note has come meanwhile.
    Left,
    /// It is not made, and the calling thread holds the gate. Notes may wait.
    Inside,
    /// It is not made: the gate was taken.
    Outside,
    NotTried,
}

/// Enters for a change that nobody follows, if the gate is free. Who is [`Passage::Through`] makes it, and then leaves by
/// [`pass_out`].
#[inline(always)]
pub(super) fn pass_in() -> Passage {
    GATE.approach();
    if !GATE.enter_at_once(thread::token()) {
        return Passage::Outside;
    }
    if GATE.wants_attention() { Passage::Inside } else { Passage::Through }
}

/// Whether who came so far holds the gate now, with no note before it, and must `leave`.
pub(super) fn has_come_in(passage: Passage, token: usize) -> bool {
    if passage != Passage::Inside {
        return GATE.is_quiet() && GATE.enter(token);
    }
    let is_first = GATE.is_quiet();
    if !is_first {
        // Who holds the gate makes the changes that wait only when its own is in the queue, with what was charged ahead for it.
        GATE.leave();
    }
    is_first
}

#[inline(always)]
pub(super) fn pass_out() -> Passage {
    GATE.leave();
    if GATE.wants_attention() { Passage::Left } else { Passage::Through }
}

/// Leaves the gate without a change, if the passage has ended inside.
#[cold]
pub fn turn_back(passage: Passage) {
    if passage == Passage::Inside {
        leave(thread::token());
    }
}

/// What is left to do of a passage whose change is made.
pub fn pass_on(passage: Passage) {
    if passage == Passage::Left {
        leave_again(thread::token());
    }
}

#[cold]
#[inline(never)]
pub(super) fn empty_queue() {
    LATE.store(true, Ordering::Relaxed);
    while GATE.apply_note(apply) {}
    LATE.store(false, Ordering::Relaxed);
}

#[cold]
#[inline(never)]
fn leave_again(token: usize) {
    while GATE.has_note() && GATE.enter(token) {
        empty_queue();
        GATE.leave();
    }
}

/// A waiting note is being applied: its numbers may have changed hands since it was left. Written by the gate's holder.
static LATE: AtomicBool = AtomicBool::new(false);

/// Whether what is told happens now.
pub(super) fn is_timely() -> bool {
    !LATE.load(Ordering::Relaxed)
}

/// Whether the calling thread has the gate: this is a handler that has interrupted it there.
pub fn is_interrupted() -> bool {
    GATE.holder() == thread::token()
}

/// In the child of a fork, before anything else is told. The other threads are gone, whatever they were doing.
pub fn after_fork() {
    let token = thread::token();
    let holder = GATE.holder();
    let torn = holder != 0 && holder != token;
    if holder != token {
        GATE.seize_alone(token);
        LATE.store(false, Ordering::Relaxed);
        empty_queue();
        let half_written = GATE.forget_notes();
        CORE.after_fork();
        if torn || half_written != 0 {
            CORE.forget_everything();
        }
        GATE.leave();
    } else {
        // Forked by a signal handler that interrupted this thread inside the gate: it will go on, and leave.
        CORE.after_fork();
    }
}
