//! The recording: one file per process, which the process maps. It holds the counters of the
//! process and its last calls, and survives however the process ends.
//!
//! ```text
//! file.rs         the file: header, directory, segments reserved before they are touched
//! threads.rs      a thread's counters mapped over the file, and its ring of calls
//! full.rs         areas of records, where each call is kept
//! tables.rs       the ledger's totals, instances and interests, mirrored under the lock
//! control.rs      requests from outside, taken as a recorded call returns
//! census.rs       the census's parts of the file
//! stacks.rs       call stacks, if they are kept
//! modules.rs      the mapped objects, with their build ids
//! known.rs        whether a site lies in one of them
//! series.rs       a series of the whole run, at most one row per second
//! open_at_end.rs  some of the descriptors that are open at the end
//! losses.rs       what could not be recorded, for the reports
//! ```
//!
//! `epollshim_format::recording` has the layout. Nothing is ever flushed: pages of a shared mapping
//! outlive the process. The file is created by the first epoll call of a process or, with a census,
//! by the first descriptor that it creates.
//!
//! The child of a fork creates a file of its own. It never writes into its parent's file, except to
//! count the children that could create none: each pointer into a file lies in memory that the
//! kernel wipes at fork, or is replaced before it is used.
//!
//! A reservation may fail (no space, no free descriptor, a deleted directory). It is not repeated
//! for that thread or that part of a table, and for records only after a pause. What is missing is
//! counted, and the program continues.

mod census;
mod control;
mod file;
mod full;
mod known;
mod losses;
mod modules;
mod open_at_end;
mod series;
mod stacks;
mod tables;
mod threads;

use crate::sync::{AtomicBool, Ordering};
use core::ffi::CStr;

use epollshim_format::recording::end;

pub use census::part;
use control::Above;
pub use control::{Above as Orders, requests};
pub use file::{State, path};
pub use known::List;
pub use losses::{complain, is_near, losses, started_unseen};
pub use modules::write as write_modules;
pub use series::look as look_at_time;
pub use stacks::wrote_stack;
pub use threads::{CallRecord, PerThread, detach};

use crate::above::Library;
use crate::ledger::Rows;
use crate::process::End;
use crate::thread::Block;
use crate::{config, ledger, process, sys};

/// Set when a block was mapped before the options were read. It has no room for a ring, so neither
/// this process nor its children record.
static NEVER: AtomicBool = AtomicBool::new(false);

/// The ledger calls these when it changes (src/composition.rs).
pub use tables::{
    changed_totals, gone_instance, gone_interest, instance_waited, marked_instance, noted_instance, noted_interest,
};

/// Begins the recording of a process that has created a descriptor, and may never make an epoll
/// call. False: there will be no recording.
#[cold]
pub fn begin_for_census() -> bool {
    begin();
    State::of_this_process().is_some_and(|state| is_wanted() && !state.is_off())
}

/// Whether [`grow_tables`] has something to do.
#[inline(always)]
pub fn wants_parts() -> bool {
    tables::wants_parts() || known::lacks_one()
}

/// Creates the missing parts of the tables (tables.rs), and writes a new list of modules if a site
/// lies in none of the listed ones.
pub fn grow_tables(mirror: &mut dyn FnMut(Rows)) -> bool {
    if known::lacks_one() && is_on() {
        modules::write_if_new();
    }
    tables::grow_tables(mirror)
}

/// Keeps a record of a call. Then the thread looks for a request of `epollshim ctl`, and whether a
/// row of the series is due.
#[inline(always)]
pub fn keep(block: &Block, call: &CallRecord) {
    threads::keep(block, call);
    series::look(call.ended);
}

/// Whether the options ask for a recording.
pub fn is_wanted() -> bool {
    !NEVER.load(Ordering::Relaxed) && config::get().is_some_and(|config| config.record.is_some())
}

/// How many bytes must follow a new block. 0: no recording is wanted.
pub fn bytes_behind_block() -> usize {
    if config::get().is_none() {
        NEVER.store(true, Ordering::Relaxed);
    }
    if is_wanted() { threads::ring_bytes() } else { 0 }
}

/// Maps this process's file over a new block, which must be followed by [`bytes_behind_block`]
/// bytes. Creates the file if there is none yet.
pub fn lay_over_file(block: &Block, tid: u32) {
    begin();
    threads::attach(block, tid);
}

/// Whether this process has a file. It is called for every change of the ledger, so it must be
/// fast.
#[inline(always)]
pub fn is_on() -> bool {
    State::of_this_process().is_some_and(State::is_on)
}

/// Prepares a directory for recordings, and has the ledger and the census report their changes.
/// Err: the errno.
pub fn prepare(directory: &CStr) -> sys::Result<()> {
    file::prepare_directory(directory)?;
    ledger::follow();
    crate::census::mirror::follow_all();
    Ok(())
}

/// Creates the file of this process, once.
#[cold]
fn begin() {
    if !is_wanted() || !process::is_owner() {
        return;
    }
    let Some(state) = State::of_this_process() else { return };
    if state.begin() {
        ledger::mirror_soon();
        modules::write();
        stacks::mirror_stacks();
        crate::census::mirror::begin();
        series::begin();
        Library::write_armed();
    }
}

/// Notes that the file now contains a site. Must not be called under the ledger's lock.
#[cold]
pub fn new_site(site: usize) {
    known::meet(site);
    if known::lacks_one() {
        modules::write_if_new();
    }
}

/// Reserves zeroed memory in this process's file for a table of its findings, as a segment of this
/// kind. None: there is no file, or no space.
pub fn table(kind: u64, bytes: usize) -> Option<*mut u8> {
    let state = State::of_this_process().filter(|state| is_wanted() && state.is_on())?;
    state.segment(kind, bytes, 0, None, |_| ())
}

/// Notes the seed of the faults.
pub fn note_seed(seed: u64) {
    if let Some(state) = State::of_this_process().filter(|state| state.is_on()) {
        state.note_seed(seed);
    }
}

/// Called before the process changes its user (`u32::MAX`: it does not). Root gives its file to the
/// new user, who must open it by name to make it grow.
pub fn before_user(user: u32) {
    if user != u32::MAX && sys::geteuid() == 0 {
        before_leaving(user);
    }
}

/// Called before the process changes its root directory. The file has no name in the new one.
pub fn before_chroot() {
    before_leaving(u32::MAX);
}

fn before_leaving(user: u32) {
    if let Some(state) = State::of_this_process().filter(|state| state.is_on())
        && process::is_owner()
    {
        state.prepare_to_leave(user);
    }
}

/// Notes that the process ends, and how.
pub fn at_end(how: End) {
    let Some(state) = State::of_this_process().filter(|state| state.is_on()) else { return };
    if !process::is_owner() {
        return;
    }
    modules::write();
    census::at_end();
    series::end();
    Library::write_armed();
    open_at_end::write();
    state.ended(match how {
        End::Exit => end::EXIT,
        End::UnderscoreExit => end::UNDERSCORE_EXIT,
        End::Exec => end::EXEC,
        End::Signal => end::ABORT,
        End::Aborted => end::ABORTED,
        End::ExitGroup => end::EXIT_GROUP,
        End::Raised => end::SIGNAL,
        End::Running => end::NOT_YET,
    });
}
