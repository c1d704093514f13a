//! The ledger of this process. The model is in crates/ledger. This folder contains the one ledger
//! that the library keeps, the functions by which hooks report to it, and its comparison with the
//! kernel.
//!
//! Hooks report what the real calls returned. The ledger never decides anything for them. A call
//! that is only counted (a wait, a MOD, a failure, a descriptor that the ledger does not know)
//! reads a few words and takes no lock. A change of the ledger takes the lock and never waits for
//! it.
//!
//! - `events.rs`: what hooks report about instances, interests and descriptors
//! - `access.rs`: the lock, as hooks use it
//! - `state.rs`: the ledger itself
//! - `linux.rs`: what the ledger asks the kernel
//! - `observers.rs`, `delivery.rs`, `followers.rs`: what is notified of a change: findings, limits,
//!   a recording, first uses after a fork
//! - `reservations.rs`, `limits.rs`: what limits count, and what they ask
//! - `reconcile.rs`, `reading.rs`, `grace_period.rs`: the comparison with the kernel, what the
//!   kernel says, and the time that other threads get before a correction
//! - `fork_shared.rs`: for findings: what related processes do with the instances that they share
//!
//! This file has what findings and reports read, and what epollshim_reset resets.

mod access;
pub mod delivery;
mod events;
mod followers;
pub mod fork_shared;
mod grace_period;
mod limits;
mod linux;
mod observers;
mod reading;
mod reconcile;
pub mod reservations;
mod state;

use epollshim_ledger::descriptors::FdState;
use epollshim_ledger::recent_closes::RecentCloses;

use self::access::{lock_or_break, unlock_out_of_line};
use self::state::CORE;

pub use access::{finish, here, is_interrupted, place, unlock_unapplied};
pub use epollshim_ledger::lock::{Hold, Lock};
use epollshim_ledger::lock_protocol::View;
pub use epollshim_ledger::lock_protocol::{FastPath, Here};
pub use epollshim_ledger::{Rows, core, records};
pub use events::*;
pub use followers::{after_fork, follow, mirror_soon, recorded_wait};
pub use limits::{Sought, give_back, instance_for_limit, left_closing, look_for_the_gone, track, when_settled};
pub use observers::Above;
pub use reconcile::{Compared, reconcile};
pub use state::Core;

/// The records. Their peaks may not be up to date.
pub fn records() -> &'static Core {
    CORE
}

/// For reports: the records, with peaks up to date.
pub fn view() -> &'static Core {
    CORE.reach_beside();
    CORE
}

/// When the waits of all instances were last marked, in nanoseconds of CLOCK_MONOTONIC; 0: never.
pub fn waits_marked_at() -> u64 {
    CORE.totals.marked.get()
}

/// What a descriptor refers to.
pub fn fd_state(fd: i32) -> FdState {
    CORE.descriptors.get(fd)
}

/// Whether the ledger knows a descriptor as one of an instance.
pub fn is_instance(epfd: i32) -> bool {
    CORE.instance_of(epfd).is_some()
}

/// Whether this instance has an interest in what this descriptor refers to.
pub fn is_watched(epfd: i32, fd: i32) -> bool {
    CORE.find(epfd, fd).is_some()
}

/// Whether a descriptor is an epoll instance, or is watched by one.
pub fn is_known(fd: i32) -> bool {
    CORE.descriptors.get(fd).is_known()
}

/// The call that added a descriptor to an instance, if what it refers to now is watched there.
pub fn site_of(epfd: i32, fd: i32) -> Option<usize> {
    CORE.find(epfd, fd).map(|(_, interest)| interest.site() as usize)
}

/// The index of a call site among those that create instances, and how many it has created. None:
/// the site is not known.
pub fn made_at(site: usize) -> Option<(usize, u64)> {
    CORE.creation_sites.at(site)
}

/// Where a descriptor of an instance was last closed under this number; 0: the place is not known.
/// None: no such close is known.
pub fn last_close_of_instance(epfd: i32) -> Option<usize> {
    CORE.instance_closes.last(epfd).map(|at| at as usize)
}

/// The last close of each watched descriptor.
pub fn recent_closes() -> &'static RecentCloses {
    &CORE.recent_closes
}

/// How an instance is used.
pub struct Crowd {
    /// The number of its interests.
    pub watches: u64,
    /// The number of waits of the thread that waited first.
    pub waits: u64,
    /// Whether other threads have waited on it too.
    pub is_shared: bool,
    /// The number of events that its waits have returned.
    pub events: u64,
}

pub fn crowd_of(epfd: i32) -> Option<Crowd> {
    let instance = CORE.instance_of(epfd)?;
    let (waits, others) = (instance.alone.waits.get(), instance.shared.waits.get());
    let events = instance.alone.events.get().wrapping_add(instance.shared.events.get());
    Some(Crowd { watches: instance.watches.get(), waits, is_shared: others != 0, events })
}

/// Whether the thread of a block was the first to wait on an instance.
pub fn is_first_waiter(epfd: i32, block: &crate::thread::Block) -> bool {
    CORE.instance_of(epfd).is_some_and(|instance| instance.owner.block() == block.address())
}

/// Resets the peaks and the counts of the ledger (epollshim_reset).
pub fn restart() {
    if lock_or_break(Here::Elsewhere(View::OF_THE_CALLER)) {
        for count in [
            &CORE.totals.vanished,
            &CORE.totals.unseen_instances,
            &CORE.totals.unseen_watches,
            &CORE.totals.healed,
            &CORE.totals.lost,
        ] {
            count.set(0);
        }
        for (_, instance) in CORE.live_instances() {
            instance.alone.clear();
            instance.shared.clear();
            instance.waits_marked.set(records::Instance::UNMARKED);
        }
        CORE.restart_peaks();
        unlock_out_of_line();
    }
}
