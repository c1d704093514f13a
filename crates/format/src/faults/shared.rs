//! The page that the processes of a session share for faults: the file [`NAME`] in the directory of
//! `EPOLLSHIM_SESSION`.
//!
//! ```text
//! 0      magic, layout version (written by the first process that maps it)
//! 16     the phase, written by the process that drives the program, in native byte order
//! 64     two words for each rule (scope=tree), summed over all processes:
//!        calls that matched it, and calls on which it fired
//! 1088   ordinals of rules that name several system calls
//! ```
//!
//! The process that drives the program may create the file before it starts the program: zero bytes
//! are valid. Rules are identified only by their places: all processes of the session must have the
//! same rules.

use super::{COUNTERS, RULES};

pub const NAME: &str = "faults.1";
/// The word of the phase.
pub const PHASE: usize = 16;
/// Two words for each rule.
pub const TALLIES: usize = 64;
pub const TALLY: usize = 16;
pub const MATCHED: usize = 0;
pub const FIRED: usize = 8;
pub const CALLS: usize = TALLIES + RULES * TALLY;
pub const SIZE: usize = 4096;

const _: () = assert!(CALLS + COUNTERS * 8 <= SIZE);

/// What the program is doing, as the process that drives it says: the values of the word at
/// [`PHASE`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The value until another one is written.
    Start = 0,
    Serve = 1,
    Stop = 2,
}
