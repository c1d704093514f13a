//! The variants of `no-cloexec`.

/// An exec was seen that passed an instance to another program.
pub const HANDED_ON: u8 = 0;
/// Children were forked while it was open. Their execs, if any, were not seen.
pub const COULD_BE: u8 = 1;
/// This program was started with an instance open.
pub const CAME: u8 = 2;
