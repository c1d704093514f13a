//! What hooks report to the ledger: what the real calls returned, or are about to do.
//!
//! A call that is only counted (a wait, a failure, a descriptor that the ledger does not know)
//! reads a few words and takes no lock.

mod descriptors;
mod instances;
mod interests;

pub use descriptors::*;
pub use instances::*;
pub use interests::*;
