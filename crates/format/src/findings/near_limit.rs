//! What is close to a limit, and the variants of `near-limit`. (The other variants are errno: what
//! the kernel refused, and why.)

use super::Severity;
use super::thresholds::NEAR_LIMIT_PART;

/// RLIMIT_NOFILE.
pub const DESCRIPTORS: u8 = 200;
/// `/proc/sys/fs/epoll/max_user_watches`.
pub const WATCHES: u8 = 201;
/// A limit of `EPOLLSHIM_LIMIT`: this plus the number of its key.
pub const SET: u8 = 210;
/// The keys by number: those that count something come first.
pub use crate::limits::KEYS;

/// Whether a peak is within one part in [`NEAR_LIMIT_PART`] of its limit. `limit` 0: there is none.
#[must_use]
pub const fn is_near(peak: u64, limit: u64) -> bool {
    limit != 0 && peak >= limit - limit / NEAR_LIMIT_PART
}

/// The severity if `numbers` (the highest known descriptor number, plus one) is near RLIMIT_NOFILE.
/// None: it is not.
///
/// The kernel allocates the lowest free number, so a number near the limit shows how many were
/// open. A number that the program chose (dup2) does not, so watches must account for much of it.
/// If the limit was reached, `exhausted` judges what the program did then.
#[must_use]
pub const fn of_descriptors(numbers: u64, limit: u64, watches_peak: u64, was_met: bool) -> Option<Severity> {
    if !is_near(numbers, limit) || watches_peak < numbers.saturating_sub(1) / 2 {
        None
    } else if was_met {
        Some(Severity::Info)
    } else {
        Some(Severity::Warning)
    }
}

/// The severity for a limit that the user has set. A refused call has affected the program. A limit
/// that was only approached is the user's own choice. None: the peak was not near it.
#[must_use]
pub const fn of_own(peak: u64, limit: u64, denied: u64) -> Option<Severity> {
    if denied != 0 {
        Some(Severity::Warning)
    } else if is_near(peak, limit) {
        Some(Severity::Info)
    } else {
        None
    }
}
