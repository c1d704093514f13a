//! How threads run their loops, as their counts tell. Times are nanoseconds.

use super::thresholds;

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
    /// Those that could not block and returned nothing.
    pub polled: u64,
}

/// A thread that polls: waits that do not block and find nothing, and little else.
///
/// Waits of 1 ms are none: a loop whose next timer is due within a millisecond makes the same calls as one that looks every millisecond.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Polling {
    /// Such waits.
    pub count: u64,
    /// Processor time of the thread.
    pub time: u64,
}

impl Waits {
    /// `time`: an upper bound of the thread's processor time, which takes a system call in the library: asked where it decides.
    #[must_use]
    pub fn polling(&self, time: &dyn Fn() -> u64) -> Option<Polling> {
        let is_most = self.polled.saturating_mul(100) >= self.all.saturating_mul(thresholds::POLL_SHARE);
        if self.polled < thresholds::POLLS || !is_most {
            return None;
        }
        let time = time();
        let is_idle = time < self.polled.saturating_mul(thresholds::POLL_COST);
        (time >= thresholds::POLL_TIME && is_idle).then_some(Polling { count: self.polled, time })
    }
}
