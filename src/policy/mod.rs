//! What is done to a call besides counting it: faults, limits, the log, recordings.
//!
//! The entry of each hooked function tests one bit ([`ARMED_FOR`]). If it is clear, nothing in this
//! module runs. If it is set, hooks/armed.rs calls [`before()`] before the real call, and
//! [`after()`] after it. Both share a [`Plan`] on the stack, which holds what was decided:
//!
//! ```text
//! before   a rule of faults is chosen (rules.rs) → delay → an answer instead of the call?
//!          limits (limits.rs) → an errno instead of the call?
//!          maxevents lowered, a signal made pending
//! ──────── the real call, or the answer
//! after    events forged or shuffled → counted → reservations released → signal → delay
//!          → a line of the log, a record
//! ```
//!
//! `ARMED_FOR` is set by [`arm`], each time after options, rules or limits have changed.

mod after;
mod armed;
mod before;
mod effects;
mod firings;
pub mod limits;
pub mod mirror;
mod plan;
pub mod rules;
mod tally;

// Unit tests and portable builds lack the entries that use some of these.
#[cfg_attr(any(test, portable), allow(unused_imports))]
pub use self::armed::{ARMED_FOR, RECORDED_ALONE, is_armed_for};
#[cfg_attr(test, allow(unused_imports))]
pub use self::before::fails_at_once;

pub use self::after::{after, after_recorded};
#[cfg(portable)]
pub use self::armed::is_anything_armed;
pub use self::armed::{arm, disarm, is_census_alone};
pub use self::before::before;
pub use self::limits::Above;
pub use self::plan::Plan;
pub use self::tally::Tally;
