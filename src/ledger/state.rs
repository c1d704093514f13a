//! The one ledger of this process.

use epollshim_ledger::Change;
use epollshim_ledger::lock_protocol::Locked;

use super::linux::Linux;
use super::observers::Observers;

/// The ledger's records, as this process has them.
pub type Core = epollshim_ledger::core::Core<Linux, Observers>;

pub(super) static LOCKED: Locked<Core, Change, Linux> = Locked::new(Core::new());
pub(super) static CORE: &Core = &LOCKED.guarded;
