//! When open instances are a leak.

use super::Severity;
use super::thresholds::{LEAK_MANY, LEAK_PART, LEAK_SOME, LEAK_UNUSED};

/// Whether an instance was waited on since the waits were marked. `marked` is its count of waits at
/// that time. If no instance was waited on, the program has done nothing since.
#[must_use]
pub const fn is_used(waits: u64, marked: u64) -> bool {
    waits != 0 && waits != marked
}

/// Whether an instance was not waited on since then, and counts as idle. One that was never waited
/// on counts after [`LEAK_UNUSED`] nanoseconds since the mark.
#[must_use]
pub const fn looks_idle(waits: u64, marked: u64, since_mark: u64) -> bool {
    waits == marked && (waits != 0 || since_mark >= LEAK_UNUSED)
}

/// Variants of `leak`; 0: no thread waits on them any more.
pub const NEVER_USED: u8 = 1;

/// The open instances of one site.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Group {
    pub alive: u64,
    /// Those that look idle.
    pub idle: u64,
    /// Those that are certainly lost. They were never waited on, although the process has waited on
    /// others; and they never watched anything, or a younger one of the same site was waited on.
    pub unused: u64,
    /// How many of the unused are older than [`LEAK_UNUSED`] nanoseconds.
    pub old: u64,
}

impl Group {
    /// Severity and variant. `has_ended`: an instance that was never used by the end of the process
    /// never will be.
    #[must_use]
    pub const fn judge(&self, has_ended: bool) -> (Severity, u8) {
        let by_idle = severity(self.alive, self.idle);
        let by_unused = match () {
            () if !has_ended || self.unused < LEAK_MANY => Severity::Info,
            () if self.old < LEAK_MANY => Severity::Warning,
            () => Severity::Error,
        };
        // "Never used" is the more precise finding.
        let is_unused = by_unused as u8 > by_idle as u8 || by_unused as u8 == by_idle as u8 && self.unused >= self.idle;
        if is_unused && by_unused as u8 > Severity::Info as u8 { (by_unused, NEVER_USED) } else { (by_idle, 0) }
    }
}

/// The severity if `idle` of the `alive` instances of one site are no longer used.
#[must_use]
const fn severity(alive: u64, idle: u64) -> Severity {
    if idle < LEAK_SOME || idle.saturating_mul(LEAK_PART) < alive {
        Severity::Info
    } else if idle < LEAK_MANY {
        Severity::Warning
    } else {
        Severity::Error
    }
}
