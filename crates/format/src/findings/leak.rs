//! When instances that are open are a leak.

use super::Severity;
use super::thresholds::{LEAK_MANY, LEAK_PART, LEAK_SOME, LEAK_UNUSED};

/// Whether an instance was waited on since the waits were marked: `marked` is how often it had been by then. If none was, the program
/// has done nothing since.
#[must_use]
pub const fn is_used(waits: u64, marked: u64) -> bool {
    waits != 0 && waits != marked
}

/// Whether it was not, and may be taken for idle: one that was never waited on is after [`LEAK_UNUSED`] nanoseconds since the mark.
#[must_use]
pub const fn looks_idle(waits: u64, marked: u64, since_mark: u64) -> bool {
    waits == marked && (waits != 0 || since_mark >= LEAK_UNUSED)
}

/// Variants of `leak`; 0: nobody waits on them any more.
pub const NEVER_USED: u8 = 1;

/// The open instances of one site.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Group {
    pub alive: u64,
    /// Those that look idle.
    pub idle: u64,
    /// Those that are certainly forgotten: never waited on, while the process has waited on others; and they never watched anything,
    /// or a younger one of the same site was waited on. And how many of these are older than [`LEAK_UNUSED`] nanoseconds.
    pub unused: u64,
    pub old: u64,
}

impl Group {
    /// How bad it is, and which variant. `has_ended`: what was never used at the end of a process never will be.
    #[must_use]
    pub const fn judge(&self, has_ended: bool) -> (Severity, u8) {
        let by_idle = severity(self.alive, self.idle);
        let by_unused = match () {
            () if !has_ended || self.unused < LEAK_MANY => Severity::Info,
            () if self.old < LEAK_MANY => Severity::Warning,
            () => Severity::Error,
        };
        // That they were never used says more.
        let is_unused = by_unused as u8 > by_idle as u8 || by_unused as u8 == by_idle as u8 && self.unused >= self.idle;
        if is_unused && by_unused as u8 > Severity::Info as u8 { (by_unused, NEVER_USED) } else { (by_idle, 0) }
    }
}

/// How bad it is that of `alive` instances of one site `idle` ones are not used any more.
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
