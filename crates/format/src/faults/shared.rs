//! The page that the processes of a session share for faults: the file [`NAME`] in the directory of
//! `EPOLLSHIM_SESSION`.
//!
//! ```text
//! 0      magic, layout version (written by the first process that maps it)
//! 16     the phase, written by whoever drives the program: a word, in the byte order of the processor
//! 64     of each rule: calls that matched it, and those on which it fired, in all processes (scope=tree)
//! 1088   ordinals of rules that name several system calls
//! ```
//!
//! Whoever drives the program may make the file before it starts: zero bytes are valid. Rules are
//! told apart by their places alone: all processes of the session must have the same.

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

/// What the program is doing, as whoever drives it says: the values of the word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Until something else is said.
    Start = 0,
    Serve = 1,
    Stop = 2,
}
