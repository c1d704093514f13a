//! What rules and limits have counted in this process.

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use epollshim_format::faults::{COUNTERS, RULES};

use super::firings::Firings;
use super::limits::{Key, LimitTally};
use super::rules::counts::RuleTally;
use crate::process;

/// What rules and limits have counted in one process; wiped by the kernel at fork (process.rs). All-zero is valid.
#[repr(C)]
pub struct Tally {
    pub rules: [RuleTally; 2 * RULES],
    /// Ordinals of rules that name several system calls.
    pub calls: [AtomicU64; 2 * COUNTERS],
    /// Threads whose calls have matched a rule with `scope=thread`.
    pub ranks: AtomicU32,
    pub limits: [LimitTally; Key::COUNT],
    pub firings: Firings,
    /// Where the recording has what is armed; null: nowhere yet (mirror.rs).
    pub mirror: AtomicPtr<u8>,
}

/// What rules and limits have counted in this process.
pub fn of_this_process() -> Option<&'static Tally> {
    process::part()
}

/// Where the recording has what is armed. None: nowhere.
pub(super) fn recorded() -> Option<*mut u8> {
    // Acquire: pairs with the Release of the one who has mapped it.
    let start = of_this_process()?.mirror.load(Ordering::Acquire);
    (!start.is_null()).then_some(start)
}

/// A word of that part, at a place within it.
pub(super) fn word<'a>(start: *mut u8, place: usize) -> &'a AtomicU64 {
    // SAFETY: the part is mapped for good, and the callers' places are within it.
    unsafe { &*start.wrapping_add(place).cast::<AtomicU64>() }
}
