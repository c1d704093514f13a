//! Why rules could not be armed.

use epollshim_format::faults::{COUNTERS, RULES};

use super::table::{ON_STACK, TEXT};
use crate::stacks;

/// Why rules could not be armed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Another thread, or the frame below a signal handler, is changing the rules.
    Busy,
    /// More than [`RULES`] rules, [`TEXT`] bytes of text, or [`COUNTERS`] counters.
    Full,
    /// `caller=` needs glibc 2.35.
    NoCaller,
    /// Call stacks cannot be read.
    Stacks(stacks::Trouble),
    /// `stack~` names more than [`ON_STACK`] functions.
    ManyFunctions,
    /// The rule names a function that is only hooked on request, and no rule at start has named it.
    NotHooked,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Refusal::Busy => f.write_str("another thread is changing the rules"),
            Refusal::Full => {
                write!(f, "more than {RULES} rules, {TEXT} bytes of text, or {COUNTERS} calls that they name")
            }
            Refusal::Stacks(trouble) => write!(f, "stack~ and stack=: {trouble}"),
            Refusal::ManyFunctions => {
                write!(f, "stack~ names more than {ON_STACK} functions; give longer names")
            }
            Refusal::NotHooked => f.write_str(
                "functions that take memory are only hooked at start: start the program with a rule for them",
            ),
            Refusal::NoCaller => {
                f.write_str("caller= and site= need glibc 2.35 or later (_dl_find_object); musl has no such function")
            }
        }
    }
}
