//! The limits and faults that are armed, and their counts.

/// The number of rules; written last.
pub const COUNT: usize = 0;
/// How often all rules were removed, modulo 256.
pub const GENERATION: usize = 8;
/// The limits, in the order of [`crate::limits::KEYS`].
pub const LIMITS: usize = 64;
pub const KEYS: usize = 9;
pub const LIMIT: usize = 48;
/// One more than the limit; 0: there is none.
pub const LIMIT_SET: usize = 0;
/// The highest count that was reached.
pub const LIMIT_PEAK: usize = 8;
/// How many calls were refused, and how many were made although they exceeded the limit.
pub const LIMIT_DENIED: usize = 16;
pub const LIMIT_LET_THROUGH: usize = 24;
/// For `size`: 1 warn, 2 enforce.
pub const LIMIT_MODE: usize = 32;

/// The rules.
pub const FIRST: usize = 1024;
pub const RULES: usize = 64;
pub const RULE: usize = 32;
pub const MATCHED: usize = 0;
pub const FIRED: usize = 8;
/// 0: a fault that no kernel causes.
pub const IS_LEGAL: usize = 16;
/// The place of the rule's text from [`TEXT`] on in the lower 32 bits, and its length in the upper.
pub const WORDS: usize = 24;

/// The faults that fired last, each at the place of its number modulo [`FIRINGS`].
pub const LAST: usize = FIRST + RULES * RULE;
pub const FIRINGS: usize = 16;
pub const FIRING: usize = 64;
/// One more than the number of faults that had fired before it; 0: not in use. Written last.
pub const NUMBER: usize = 0;
/// From the lowest byte: the rule's place (from 0), the function's number, the operation of
/// `epoll_ctl` (0: none), and [`GENERATION`]. The upper 32 bits are the thread.
pub const WHAT: usize = 8;
/// CLOCK_MONOTONIC.
pub const AT: usize = 16;
/// The ordinal of the call in the rule's count, to which `when=` refers.
pub const ORDINAL: usize = 24;
/// The hash of the innermost [`crate::faults::decisions::DEPTH`] callers; 0: the stack could not be
/// walked.
pub const STACK: usize = 32;
pub const SITE: usize = 40;

pub const TEXT: usize = 4096;
pub const TEXT_BYTES: usize = 16 * 1024;
pub const SIZE: usize = TEXT + TEXT_BYTES;
const _: () = assert!(LAST + FIRINGS * FIRING <= TEXT);
