//! The variants of `no-cloexec`.

/// An exec was seen that handed an instance on.
pub const HANDED_ON: u8 = 0;
/// Children were forked while it was open; whether they made an exec was not seen.
pub const COULD_BE: u8 = 1;
/// This program was handed one.
pub const CAME: u8 = 2;
