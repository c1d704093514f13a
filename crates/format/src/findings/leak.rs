//! When instances that are open are a leak.

use super::Severity;

/// An instance that was never waited on counts as idle after this long, in nanoseconds: programs make loops ahead, and start the
/// threads that will run them in their own time.
pub const UNUSED: u64 = 10_000_000_000;

/// Idle instances of one site that make a warning: one abandoned loop is an oversight, two are a pattern.
pub const SOME: u64 = 2;
/// And an error: a program that has left so many will go on to do so, until it has no descriptor left.
pub const MANY: u64 = 8;
/// Of those that are open, one in so many is idle at least. Of a leak nearly half are at any time (the other half is younger than the
/// last look); a pool of busy instances may have a few that nobody needs at the moment.
pub const PART: u64 = 3;

/// Whether an instance was waited on since the waits were marked: `marked` is how often it had been by then. If none was, the program
/// has done nothing since.
#[must_use]
pub const fn is_used(waits: u64, marked: u64) -> bool {
    waits != 0 && waits != marked
}

/// Whether it was not, and may be taken for idle: one that was never waited on is after [`UNUSED`] nanoseconds since the mark.
#[must_use]
pub const fn looks_idle(waits: u64, marked: u64, since_mark: u64) -> bool {
    waits == marked && (waits != 0 || since_mark >= UNUSED)
}

/// How bad it is that of `alive` instances of one site `idle` ones are not used any more.
#[must_use]
pub const fn severity(alive: u64, idle: u64) -> Severity {
    if idle < SOME || idle.saturating_mul(PART) < alive {
        Severity::Info
    } else if idle < MANY {
        Severity::Warning
    } else {
        Severity::Error
    }
}
