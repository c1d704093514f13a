//! How threads run their loops, judged from their counts. Times are nanoseconds.

use super::thresholds;

/// Whether a loop is often late to its wait. `times` of `works` rounds were late and took `time` of
/// the `lived` time of the process.
#[must_use]
pub const fn is_often_late(times: u64, time: u64, works: u64, lived: u64) -> bool {
    times >= thresholds::LATE_TIMES
        && (times.saturating_mul(thresholds::LATE_SHARE) >= works
            || time.saturating_mul(thresholds::LATE_SHARE) >= lived)
}

/// Counts of the waits of a thread.
#[derive(Clone, Copy)]
pub struct Waits {
    pub all: u64,
    /// Waits that could not block and returned nothing.
    pub polled: u64,
}

/// A thread that polls: its waits do not block and find nothing, and it does little else.
///
/// Waits of 1 ms do not count: a loop whose next timer is due within a millisecond makes the same
/// calls as one that polls every millisecond.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Polling {
    /// The number of such waits.
    pub count: u64,
    /// Processor time of the thread.
    pub time: u64,
}

impl Waits {
    /// `time` returns an upper bound of the thread's processor time. It is called only if it
    /// decides, because in the library it makes a system call.
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
