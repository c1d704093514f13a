//! What rules and limits have counted in this process, and where its recording has a copy.

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use epollshim_format::faults::{COUNTERS, RULES};

use super::firings::Firings;
use super::limits::{Key, LimitTally};
use super::rules::counts::RuleTally;
use crate::process;

/// The counts of one process. It lies in the page that the kernel wipes at fork (process.rs), so
/// all-zero must be valid.
#[repr(C)]
pub struct Tally {
    pub rules: [RuleTally; 2 * RULES],
    /// Ordinals of rules that name several system calls.
    pub calls: [AtomicU64; 2 * COUNTERS],
    /// How many threads have made calls that matched a rule with `scope=thread`.
    pub ranks: AtomicU32,
    pub limits: [LimitTally; Key::COUNT],
    pub firings: Firings,
    /// Where the recording holds what is armed (mirror.rs). Null: nowhere yet.
    pub mirror: AtomicPtr<u8>,
}

/// [`Tally`] of this process. None: there is no page that the kernel wipes at fork.
pub fn of_this_process() -> Option<&'static Tally> {
    process::part()
}

/// Where the recording holds what is armed. None: nowhere yet.
pub(super) fn recorded() -> Option<*mut u8> {
    // Acquire: pairs with the Release store in `record::part`, which has mapped it.
    let start = of_this_process()?.mirror.load(Ordering::Acquire);
    (!start.is_null()).then_some(start)
}

/// A word of that part of the recording, `place` bytes from its `start`.
pub(super) fn word<'a>(start: *mut u8, place: usize) -> &'a AtomicU64 {
    // SAFETY: `start` is what `recorded` returned: a part that stays mapped for good. All callers
    // pass aligned places within its layout (`epollshim_format::recording::policy`).
    unsafe { &*start.wrapping_add(place).cast::<AtomicU64>() }
}
