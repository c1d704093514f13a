//! When instances are created and closed too often.

use super::{Severity, thresholds};

/// The severity if `ended` instances of one call site were closed in a process that has lived for
/// `lived` nanoseconds, and used `time` nanoseconds of processor time (0: not known). None: no
/// finding.
#[must_use]
#[inline(never)] // for size
pub fn severity(ended: u64, time: u64, lived: u64) -> Option<Severity> {
    let is_as_often =
        |rate: u64, of: u64| u128::from(ended) * u128::from(thresholds::SECOND) >= u128::from(rate) * u128::from(of);
    let is_churn = ended >= thresholds::CHURN
        && time != 0
        && is_as_often(thresholds::CHURN_RATE, time)
        && is_as_often(thresholds::CHURN_LEAST, lived);
    let costs = ended >= thresholds::CHURN_MANY && is_as_often(thresholds::CHURN_COSTLY, time);
    is_churn.then_some(if costs { Severity::Warning } else { Severity::Info })
}

#[cfg(test)]
mod tests {
    use super::thresholds::SECOND;
    use super::{Severity, severity};

    #[test]
    fn the_rate_is_of_processor_time_and_of_a_life() {
        assert_eq!(severity(396, SECOND, 17 * SECOND / 10), Some(Severity::Info));
        // On a machine where the process gets a tenth of the time.
        assert_eq!(severity(396, SECOND, 17 * SECOND), Some(Severity::Info));
        assert_eq!(severity(20_000, SECOND, SECOND), Some(Severity::Warning));
        assert_eq!(severity(400, SECOND / 50, SECOND / 50), Some(Severity::Info));
        // A timer's job, once a minute.
        assert_eq!(severity(1_440, SECOND, 86_400 * SECOND), None);
        // Much work for each.
        assert_eq!(severity(396, 60 * SECOND, 60 * SECOND), None);
        assert_eq!(severity(99, 1, 1), None);
        assert_eq!(severity(1_000, 0, SECOND), None);
    }
}
