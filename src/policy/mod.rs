//! What is done to a call besides counting it: faults, limits, the log.
//!
//! While nothing is armed for a function its hook looks at one bit and passes by. Otherwise they come here before the real call and after it
//! (hooks/armed.rs), with a plan on the stack that says what was decided:
//!
//! ```text
//! before   a rule of faults is chosen (rules.rs) → delay → an answer instead of the call?
//!          limits (limits.rs) → an errno instead of the call?
//!          maxevents lowered, a signal made pending
//! ──────── the real call, or the answer
//! after    events forged or shuffled → counted as ever → charges given back → signal → delay → a line for the log
//! ```

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

pub use self::after::{after, after_recorded};
#[cfg(portable)]
pub use self::armed::is_anything_armed;
pub use self::armed::{ARMED_FOR, RECORDED_ALONE, arm, disarm, is_armed_for, is_census_alone};
pub use self::before::{before, fails_at_once};
pub use self::limits::Above;
pub use self::plan::Plan;
pub use self::tally::Tally;
