//! The variants of `herd`.

/// One listening socket in several instances.
pub const SEVERAL_INSTANCES: u8 = 0;
/// Several threads on one instance.
pub const ONE_INSTANCE: u8 = 1;
/// A listening socket that related processes may watch, too. The kernel refused to compare (kcmp).
pub const NOT_ASKED: u8 = 2;
