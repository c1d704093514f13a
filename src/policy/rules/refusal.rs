//! Why rules could not be armed.

use epollshim_format::faults::{COUNTERS, RULES};

use super::table::{ON_STACK, TEXT};
use crate::stacks;

/// Why rules could not be armed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Another thread is changing them.
    Busy,
    /// More than [`RULES`], or their text is too long, or they name too many calls.
    Full,
    /// `caller=` needs glibc 2.35.
    NoCaller,
    /// The call stack cannot be looked at.
    Stacks(stacks::Trouble),
    /// `stack~` names more than [`ON_STACK`] functions.
    ManyFunctions,
    /// A function that is hooked on request alone, and no rule of the start has asked for it.
    NotHooked,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Refusal::Busy => f.write_str("another thread is changing the rules"),
            Refusal::Full => {
                write!(f, "more than {RULES} rules, {TEXT} bytes of them, or {COUNTERS} calls that they name")
            }
            Refusal::Stacks(trouble) => write!(f, "stack~ and stack=: {trouble}"),
            Refusal::ManyFunctions => {
                write!(f, "stack~ names more than {ON_STACK} functions in all; give longer names")
            }
            Refusal::NotHooked => f.write_str(
                "functions that take memory are hooked at the start alone: start the program with a rule for them",
            ),
            Refusal::NoCaller => {
                f.write_str("caller= and site= need glibc 2.35 or later (_dl_find_object); musl has no such function")
            }
        }
    }
}
