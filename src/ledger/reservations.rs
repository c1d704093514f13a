//! What limits count, for the one ledger of this process.

use epollshim_ledger::records::Instance;

use super::state::CORE;
use crate::session;

pub use epollshim_ledger::reservations::{Kind, PendingRelease, Prepaid, give_back_to};

/// Whether a limit was ever set.
#[inline(always)]
pub fn tracks() -> bool {
    CORE.reservations.tracks()
}

pub fn tracks_user() -> bool {
    CORE.reservations.tracks_user()
}

pub fn epoch() -> u32 {
    CORE.reservations.epoch()
}

/// What is reserved now: instances, watches, bytes.
pub fn charged() -> (u64, u64, u64) {
    CORE.reservations.charged()
}

pub fn charge_instance(limit: Option<u64>) -> Result<u64, ()> {
    CORE.reservations.charge_instance(limit).map_err(drop)
}

pub fn charge_watch(limit: Option<u64>) -> Result<u64, ()> {
    CORE.reservations.charge_watch(limit).map_err(drop)
}

pub fn charge_bytes(amount: u64, limit: Option<u64>) -> Result<u64, ()> {
    CORE.reservations.charge_bytes(amount, limit).map_err(drop)
}

/// Reserves a watch of its instance. Ok: the new sum, and which use of the record it belongs to.
pub fn charge_to(instance: &Instance, limit: Option<u64>) -> Result<(u64, u32), ()> {
    epollshim_ledger::reservations::charge_to(instance, limit).map_err(drop)
}

pub fn give_back_instance() {
    CORE.reservations.give_back_instance();
}

pub fn give_back_watch() {
    CORE.reservations.give_back_watch();
}

pub fn give_back_bytes(amount: u64) {
    CORE.reservations.give_back_bytes(amount);
}

pub fn track_user_too() {
    CORE.reservations.track_user_too();
}

/// What was released in the user's count, or will be, and may turn out to exist still.
pub fn was_paid(pending: &PendingRelease) {
    let (instances, watches) = pending.of_user();
    session::set_former(Kind::Instances, instances);
    session::set_former(Kind::Watches, watches);
}
