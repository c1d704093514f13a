//! How threads run their loops, as their counts tell. Times are nanoseconds.

use super::{Severity, thresholds};

/// Whether a loop comes late to its wait often: so many times of so many works, and with so much time in these of what the process has
/// lived.
#[must_use]
pub const fn is_often_late(times: u64, time: u64, works: u64, lived: u64) -> bool {
    times >= thresholds::LATE_TIMES
        && (times.saturating_mul(thresholds::LATE_SHARE) >= works
            || time.saturating_mul(thresholds::LATE_SHARE) >= lived)
}

/// What the waits of a thread came to.
#[derive(Clone, Copy)]
pub struct Waits {
    pub all: u64,
    /// Those that could not block and returned nothing; those that returned nothing after 1 ms.
    pub polled: u64,
    pub short: u64,
    /// In waits that could block, and between these.
    pub asleep: u64,
    pub worked: u64,
}

/// A thread that polls: waits that do not block, or hardly, and find nothing, and little else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Polling {
    /// Such waits.
    pub count: u64,
    /// Their timeout: 0 or 1.
    pub milliseconds: u64,
    /// Processor time of the thread.
    pub time: u64,
}

impl Polling {
    /// Waits of 1 ms are info: a loop whose timers are shorter than that has them too, and is no defect.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        if self.milliseconds == 0 { Severity::Warning } else { Severity::Info }
    }
}

impl Waits {
    /// `time`: an upper bound of the thread's processor time, which takes a system call in the library: asked where it decides.
    #[must_use]
    pub fn polling(&self, time: &dyn Fn() -> u64) -> Option<Polling> {
        let is_most = |count: u64| count.saturating_mul(100) >= self.all.saturating_mul(thresholds::POLL_SHARE);
        if self.polled >= thresholds::POLLS && is_most(self.polled) {
            let time = time();
            let is_idle = time < self.polled.saturating_mul(thresholds::POLL_COST);
            let polling = Polling { count: self.polled, milliseconds: 0, time };
            (time >= thresholds::POLL_TIME && is_idle).then_some(polling)
        } else if self.short >= thresholds::SHORT_POLLS && is_most(self.short.saturating_add(self.polled)) {
            // A thread that works for longer than it sleeps looks for events in between.
            let sleeps = self.asleep >= thresholds::POLL_TIME && self.worked < self.asleep;
            sleeps.then(|| Polling { count: self.short, milliseconds: 1, time: time() })
        } else {
            None
        }
    }
}
