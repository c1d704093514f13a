//! The recording: a file a process, mapped by it, that holds what it counts and its last calls, whatever ends it.
//!
//! ```text
//! file.rs     the file: header, directory, segments reserved before they are touched
//! threads.rs  a thread's counters laid over the file, and its ring of calls
//! full.rs     areas of records, where each call is kept
//! tables.rs   the ledger's totals, instances and interests, mirrored under the lock
//! control.rs  requests from outside, taken as a recorded call returns
//! census.rs   the census, as it was at the end
//! stacks.rs   call stacks, where they are kept
//! modules.rs  the objects that are mapped, with their build ids
//! losses.rs   what could not be recorded, for the reports
//! ```
//!
//! The layout is `epollshim_format::recording`'s. Nothing is ever flushed: pages of a shared mapping outlive the process. The file is
//! made with the first epoll call of a process; the child of a fork makes its own, and never writes into its parent's (but for
//! the count of children that could make none): all that points into a file lies in memory that the kernel wipes at fork,
//! or is replaced before it is written.
//!
//! A reservation that fails (no space, no descriptor, a directory that is gone) is not tried again for that thread or
//! that part of a table, for records not at once; what is missing is counted, and the program goes on.

mod census;
mod control;
mod file;
mod full;
mod losses;
mod modules;
mod stacks;
mod tables;
mod threads;

use crate::sync::{AtomicBool, Ordering};
use core::ffi::CStr;

use epollshim_format::recording::end;

pub use control::{bell, told};
pub use file::{State, path};
pub use full::Records;
pub use losses::{complain, losses};
pub use stacks::wrote_stack;
pub use threads::{CallRecord, attach, detach, keep, ring_bytes};

use crate::process::End;
use crate::{config, ledger, process, sys};

/// A block was mapped before the options were read: it has no room for a ring, and no process of the family records.
static NEVER: AtomicBool = AtomicBool::new(false);

/// What the recording hears of the ledger.
pub static LISTENER: ledger::Recording = ledger::Recording {
    instance_noted: tables::noted_instance,
    instance_gone: tables::gone_instance,
    interest_noted: tables::noted_interest,
    interest_gone: tables::gone_interest,
    totals_changed: tables::changed_totals,
    wants_parts: &tables::WANTS_PARTS,
    grow_tables: tables::grow_tables,
    waited: tables::instance_waited,
};

/// Whether the options ask for a recording.
pub fn is_wanted() -> bool {
    !NEVER.load(Ordering::Relaxed) && config::get().is_some_and(|config| config.record.is_some())
}

pub fn never() {
    NEVER.store(true, Ordering::Relaxed);
}

/// Whether this process has a file. Cheap enough for every change of the ledger.
#[inline(always)]
pub fn is_on() -> bool {
    process::recording().is_some_and(State::is_on)
}

/// Has a directory take recordings, and the ledger tell of its changes. Err: an error number.
pub fn prepare(directory: &CStr) -> sys::Result<()> {
    file::prepare_directory(directory)?;
    ledger::follow();
    Ok(())
}

/// Makes the file of this process, once. Called with its first epoll call, by the thread that makes it.
#[cold]
pub fn begin() {
    if !is_wanted() || !process::is_owner() {
        return;
    }
    let Some(state) = process::recording() else { return };
    if state.begin() {
        ledger::mirror_soon();
        modules::write();
        stacks::mirror_stacks();
    }
}

/// Faults have a seed from now on.
pub fn note_seed(seed: u64) {
    if let Some(state) = process::recording().filter(|state| state.is_on()) {
        state.note_seed(seed);
    }
}

/// Notes that the process ends, and how.
pub fn at_end(how: End) {
    let Some(state) = process::recording().filter(|state| state.is_on()) else { return };
    if !process::is_owner() {
        return;
    }
    modules::write();
    census::write();
    state.ended(match how {
        End::Exit => end::EXIT,
        End::UnderscoreExit => end::UNDERSCORE_EXIT,
        End::Exec => end::EXEC,
        End::Signal => end::ABORT,
        End::Running => end::NOT_YET,
    });
}
