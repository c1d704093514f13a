//! For which functions something is armed, and what is armed.

use crate::sync::{AtomicU8, AtomicU16, AtomicU64, Ordering, fence};

use epollshim_format::function::{Function, Functions};
use epollshim_format::functions::Role;

use super::limits::{self, Key};
use super::rules;
use crate::ledger::reservations;
use crate::{census, log, real, record, stacks};

/// The functions whose calls go through [`super::before()`] and [`super::after()`], by the bits of
/// [`Functions`]. All other functions take their fast path.
///
/// Assembly reads it with a plain load. The settings that its bits stand for are published by
/// atomics of their own.
///
/// It starts with all bits set, because the first call of the process must read the options. All
/// bits stay set until the real functions are known, which the fast paths rely on.
///
/// It lies in the section of data that hot calls read, which is one cache line.
#[unsafe(link_section = ".data.hot.epollshim")]
pub static ARMED_FOR: AtomicU64 = AtomicU64::new(EVERY.0);
/// Those of them whose calls are only recorded: nothing else is armed for them, and they have
/// entries of their own (hooks/epoll/record_only_entries.rs).
///
/// Assembly reads it after [`ARMED_FOR`]. It is not in the section of `ARMED_FOR`, whose one cache
/// line is full.
pub static RECORDED_ALONE: AtomicU16 = AtomicU16::new(0);
const _: () = assert!(Functions::EPOLL.0 <= u16::MAX as u64);
/// What is armed, by the bits below.
pub(super) static ARMED: AtomicU8 = AtomicU8::new(0);
pub(super) const FAULTS: u8 = 1;
pub(super) const LIMITS: u8 = 2;
pub(super) const LOG: u8 = 4;
pub(super) const RECORD: u8 = 8;
/// A census needs no plan: the handlers of hooks/census_handlers.rs do all of its work.
const CENSUS: u8 = 16;

/// The functions that a census follows, without those that only create descriptors: these check by
/// themselves whether a census is on.
const CENSUSED: Functions =
    Functions::of_roles(&[Role::Instance, Role::Close, Role::Duplicate, Role::Stream, Role::StreamEnd, Role::Start]);

/// The functions that limits check, and those that release what limits have reserved.
const LIMITED: Functions = Functions::EPOLL.with(Functions::of_roles(&[Role::Close]));

/// Whether something is armed for a function. Acquire pairs with the Release stores in [`arm`] and
/// [`disarm`]: a thread that finds the bit clear also finds the real functions
/// ([`crate::real::Real::resolved`]).
#[inline(always)]
pub fn is_armed_for(function: Function) -> bool {
    Functions(ARMED_FOR.load(Ordering::Acquire)).has(function)
}

/// Whether something is armed for any function. Acquire: as for [`is_armed_for`].
#[cfg(portable)]
#[inline(always)]
pub fn is_anything_armed() -> bool {
    ARMED_FOR.load(Ordering::Acquire) != 0
}

/// Updates [`ARMED_FOR`] to what options, rules and limits say. Called when the options were read,
/// and after each change.
pub fn arm() {
    loop {
        let set = what_is_set();
        // `ARMED_FOR` is stored last: its Release pairs with the Acquire in `is_armed_for`, so that
        // a thread which sees the new bits also sees the other two words.
        ARMED.store(set.armed, Ordering::Release);
        RECORDED_ALONE.store(set.recorded_alone.0 as u16, Ordering::Release);
        ARMED_FOR.store(set.functions.0, Ordering::Release);
        // Two threads may run this at once. Each has stored its setting before it came here. After
        // the fence, the thread that stores last sees the settings of both.
        fence(Ordering::SeqCst);
        if what_is_set() == set {
            return;
        }
    }
}

#[derive(PartialEq, Eq)]
struct Set {
    armed: u8,
    functions: Functions,
    recorded_alone: Functions,
}

fn what_is_set() -> Set {
    let mut armed = 0;
    let mut functions = rules::functions();
    if !functions.is_empty() {
        armed |= FAULTS;
    }
    if limits::limit(Key::Descriptors).is_some() {
        functions = functions.with(Functions::MAKE_DESCRIPTORS);
    }
    // Once a limit was set, reservations are tracked, and closes must release them even after the
    // limit is gone.
    if limits::are_set() || reservations::tracks() {
        armed |= LIMITS;
        functions = functions.with(LIMITED);
    }
    if let Some(wanted) = log::functions() {
        armed |= LOG;
        functions = functions.with(wanted);
    }
    if stacks::are_kept() {
        // The fast path of an ADD keeps no stack.
        functions = functions.with(Functions::of(&[Function::EpollCtl]));
    }
    let mut recorded_alone = Functions(0);
    if record::is_wanted() {
        armed |= RECORD;
        recorded_alone = Functions(HAVE_RECORD_ONLY_ENTRIES.0 & !functions.0);
        functions = functions.with(Functions::EPOLL);
    }
    if census::is_on() {
        armed |= CENSUS;
        functions = functions.with(CENSUSED);
    }
    if real::are_known() {
        Set { armed, functions, recorded_alone }
    } else {
        Set { armed, functions: EVERY, recorded_alone: Functions(0) }
    }
}

/// The functions that have record-only entries.
const HAVE_RECORD_ONLY_ENTRIES: Functions = Functions::of_roles(&[Role::Ctl, Role::Wait]);

const EVERY: Functions = Functions(u64::MAX);

/// Whether a census is all that is armed.
#[inline(always)]
pub fn is_census_alone() -> bool {
    ARMED.load(Ordering::Relaxed) == CENSUS
}

/// Makes all hooks forward only: nothing is armed.
pub fn disarm() {
    ARMED.store(0, Ordering::Relaxed);
    RECORDED_ALONE.store(0, Ordering::Relaxed);
    if real::are_known() {
        // Release: pairs with the Acquire in `is_armed_for`. A thread that finds 0 also finds the
        // real functions.
        ARMED_FOR.store(0, Ordering::Release);
    }
}
