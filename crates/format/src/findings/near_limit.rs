//! What is close to a limit, and the variants of `near-limit`. (The others are errno: what the kernel refused, and why.)

/// RLIMIT_NOFILE.
pub const DESCRIPTORS: u8 = 200;
/// `/proc/sys/fs/epoll/max_user_watches`.
pub const WATCHES: u8 = 201;
/// A limit of `EPOLLSHIM_LIMIT`: this and the number of its key.
pub const SET: u8 = 210;
/// The keys by number: those that count come first.
pub use crate::limits::KEYS;

/// Within 10 % of it: a peak that high is one busy day from the limit. (What has no limit is near none.)
#[must_use]
pub const fn is_near(peak: u64, limit: u64) -> bool {
    limit != 0 && peak >= limit - limit / 10
}
