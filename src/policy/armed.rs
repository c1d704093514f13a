//! Which functions' calls come to this module, and for what.

use crate::sync::{AtomicU8, AtomicU16, AtomicU64, Ordering, fence};

use epollshim_format::function::{Function, Functions};
use epollshim_format::functions::Role;

use super::limits::{self, Key};
use super::rules;
use crate::ledger::reservations;
use crate::{census, log, real, record, stacks};

/// The functions whose calls come here, by the bits of [`Functions`]; 0: nothing is armed for any of them, and the hooks go
/// their short way. Relaxed, and read by assembly: what it stands for is published by its own words.
///
/// Begins with all of them, so that the very first call of the process comes here and has the options read; and so it stays until all real
/// functions are known, which the short ways rely upon.
///
/// In the section of what hot calls read, which is one cache line.
#[unsafe(link_section = ".data.hot.epollshim")]
pub static ARMED_FOR: AtomicU64 = AtomicU64::new(EVERY.0);
/// Those of them whose calls are recorded, where nothing else is armed for them: they have a way of their own (hooks/epoll/record_only_entries.rs).
/// As [`ARMED_FOR`], behind which it is read. (Not beside it: the one cache line is full.)
pub static RECORDED_ALONE: AtomicU16 = AtomicU16::new(0);
const _: () = assert!(Functions::EPOLL.0 <= u16::MAX as u64);
/// What is armed, by bit.
pub(super) static ARMED: AtomicU8 = AtomicU8::new(0);
pub(super) const FAULTS: u8 = 1;
pub(super) const LIMITS: u8 = 2;
pub(super) const LOG: u8 = 4;
pub(super) const RECORD: u8 = 8;
/// What hooks/census_handlers.rs does is all in what counts the call.
const CENSUS: u8 = 16;

/// What a census follows. (What only makes descriptors asks by itself whether there is a census.)
const FOLLOWED: Functions =
    Functions::of_roles(&[Role::Instance, Role::Close, Role::Duplicate, Role::Stream, Role::StreamEnd, Role::Start]);

/// What limits look at, and what gives back what they count.
const LIMITED: Functions = Functions::EPOLL.with(Functions::of_roles(&[Role::Close]));

/// Acquire: who finds that it is not finds the real functions ([`crate::real::Real::resolved`]).
#[inline(always)]
pub fn is_armed_for(function: Function) -> bool {
    Functions(ARMED_FOR.load(Ordering::Acquire)).has(function)
}

/// The same for any function.
#[cfg(portable)]
#[inline(always)]
pub fn is_anything_armed() -> bool {
    ARMED_FOR.load(Ordering::Acquire) != 0
}

/// Looks at what is set, and has the hooks come here or not. Called when the options were read, and after each change.
pub fn arm() {
    loop {
        let set = what_is_set();
        // In this order: who comes by the last finds the others.
        ARMED.store(set.armed, Ordering::Release);
        RECORDED_ALONE.store(set.recorded_alone.0 as u16, Ordering::Release);
        ARMED_FOR.store(set.functions.0, Ordering::Release);
        // Of two threads that arm at once, the last to store sees, behind the fence, what both have set.
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
    // Once limits count, closes are followed to their end.
    if limits::are_set() || reservations::tracks() {
        armed |= LIMITS;
        functions = functions.with(LIMITED);
    }
    if let Some(wanted) = log::functions() {
        armed |= LOG;
        functions = functions.with(wanted);
    }
    if stacks::are_kept() {
        // The short way of an ADD keeps none.
        functions = functions.with(Functions::of(&[Function::EpollCtl]));
    }
    let mut recorded_alone = Functions(0);
    if record::is_wanted() {
        armed |= RECORD;
        recorded_alone = Functions(RECORDED.0 & !functions.0);
        functions = functions.with(Functions::EPOLL);
    }
    if census::is_on() {
        armed |= CENSUS;
        functions = functions.with(FOLLOWED);
    }
    if real::are_known() {
        Set { armed, functions, recorded_alone }
    } else {
        Set { armed, functions: EVERY, recorded_alone: Functions(0) }
    }
}

/// What there is a way of its own for, where it is but recorded.
const RECORDED: Functions = Functions::of_roles(&[Role::Ctl, Role::Wait]);

const EVERY: Functions = Functions(u64::MAX);

/// Whether calls come here for the census, and for nothing else.
#[inline(always)]
pub fn is_census_alone() -> bool {
    ARMED.load(Ordering::Relaxed) == CENSUS
}

/// Forwarding only: nothing is armed.
pub fn disarm() {
    ARMED.store(0, Ordering::Relaxed);
    RECORDED_ALONE.store(0, Ordering::Relaxed);
    if real::are_known() {
        // Release: who finds it finds the real functions.
        ARMED_FOR.store(0, Ordering::Release);
    }
}
