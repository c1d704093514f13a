//! What the entries in assembly read of other parts of the library, under the names that the
//! templates use.

pub use epollshim_format::call::Call;
pub use epollshim_format::function::Function;

pub use super::armed::{PLAN, bits, exports as armed};
pub use super::entry::{After, BLOCK, Enter, Frame, RecordedAfter, TimedAfter, TimedEnter};
pub use crate::census::{OFF as NO_CENSUS, STATE as CENSUS};
pub use crate::clock::CLOCK;
pub use crate::policy::{ARMED_FOR, RECORDED_ALONE};
pub use crate::thread::{COUNTERS, PENDING, counter_of};

pub const ADDING: usize = core::mem::offset_of!(crate::thread::Block, adding);
pub const NOTHING_PENDING: u64 = crate::findings::errors::Pending::NOTHING;
