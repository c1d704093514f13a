//! What the processes of a session share about faults: the counts of rules with `scope=tree`, and
//! the phase (`epollshim_format::faults::shared`). It is one page of a file that all of them map.
//! Forked children inherit the mapping, and programs that they execute map the same file.
//!
//! Hooks read and change single words and never wait. A process may be killed at any instruction;
//! what it has counted stays counted.

use core::mem::offset_of;

use epollshim_format::faults::shared as layout;
use epollshim_format::faults::{COUNTERS, RULES};

use super::{Trouble, map_private};
use crate::config::Config;
use crate::sync::{AtomicPtr, AtomicU64, Ordering};

#[repr(C)]
pub struct Page {
    header: [AtomicU64; 2],
    pub phase: AtomicU64,
    reserved: [u64; 5],
    pub rules: [Tally; RULES],
    pub calls: [AtomicU64; COUNTERS],
    rest: [u64; (layout::SIZE - layout::CALLS) / 8 - COUNTERS],
}

#[repr(C)]
pub struct Tally {
    pub matched: AtomicU64,
    pub fired: AtomicU64,
}

const _: () = assert!(
    size_of::<Page>() == layout::SIZE
        && offset_of!(Page, phase) == layout::PHASE
        && offset_of!(Page, rules) == layout::TALLIES
        && size_of::<Tally>() == layout::TALLY
        && offset_of!(Tally, fired) == layout::FIRED
        && offset_of!(Page, calls) == layout::CALLS
);

/// Null: no rule has needed the page. Release when it is mapped, Acquire when calls use it.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(core::ptr::null_mut());

pub fn page() -> Option<&'static Page> {
    // SAFETY: null, or the mapping that `open` made, which is never unmapped. Any values are valid.
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

/// Maps the page of the session that the options name, and creates the file if it does not exist.
/// Not for hooks.
pub fn open(config: &Config) -> Result<(), Trouble> {
    if page().is_some() {
        return Ok(());
    }
    let directory = config.session.ok_or(Trouble::NotNamed)?;
    let start = map_private(directory, true, c"faults.1", size_of::<Page>())?;
    // Another thread that maps the page at the same time maps the same file.
    let _ = PAGE.compare_exchange(core::ptr::null_mut(), start.cast(), Ordering::Release, Ordering::Relaxed);
    Ok(())
}

impl Tally {
    /// Counts one more fault that fires, up to `most`. False: the count was already `most`.
    pub fn fire(&self, most: u64) -> bool {
        // Relaxed: all threads of all processes see the changes of one word in one order, and only
        // the count matters.
        let more = |count: u64| if count < most { Some(count.wrapping_add(1)) } else { None };
        self.fired.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// Adds one. Returns the new count.
pub fn bump(word: &AtomicU64) -> u64 {
    word.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}
