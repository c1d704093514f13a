//! Log-linear buckets: exact to 8, then eight buckets for each power of two (at most 12.5 % wide).
//!
//! The recording side counts in `bucket(value)`. The reading side computes quantiles. A quantile is
//! the highest value of its bucket, as in HdrHistogram, but never above the recorded maximum.

/// log2 of the number of buckets in each power of two.
const FINE: u32 = 3;
/// The number of buckets: every `u64` has one.
pub const BUCKETS: usize = ((64 - FINE as usize) << FINE) + (1 << FINE);

/// Each lower value has a bucket of its own, with the same number.
pub const EXACT: u64 = 2 << FINE;

/// The bucket of a value; always less than [`BUCKETS`].
#[inline]
#[must_use]
pub const fn bucket(value: u64) -> usize {
    // No branch, which would be mispredicted: below 8 the shift is 0, above it the highest bit that
    // is left adds one octave.
    let shift = (value | 1 << FINE).ilog2() - FINE;
    ((shift as usize) << FINE) + (value >> shift) as usize
}

/// The highest value that falls into a bucket.
#[must_use]
pub const fn highest(bucket: usize) -> u64 {
    if bucket < 1 << FINE {
        bucket as u64
    } else {
        let shift = (bucket >> FINE) as u32 - 1;
        let lowest = ((1 << FINE) + (bucket & ((1 << FINE) - 1))) as u64;
        // The last bucket ends at u64::MAX: add before shifting, so that it wraps to exactly that.
        ((lowest + 1).wrapping_shl(shift) & mask(lowest + 1, shift)).wrapping_sub(1)
    }
}

/// All ones, but zero if `value << shift` overflows 64 bits.
const fn mask(value: u64, shift: u32) -> u64 {
    if value.leading_zeros() < shift { 0 } else { u64::MAX }
}

/// The value below or at which `per_mille` of the recorded values lie, from bucket counts that sum
/// to `total`. None: nothing was recorded.
#[must_use]
pub fn quantile(counts: impl Iterator<Item = u64>, total: u64, max: u64, per_mille: u64) -> Option<u64> {
    if total == 0 {
        return None;
    }
    let rank = total.saturating_mul(per_mille).div_ceil(1000).max(1);
    let mut seen = 0u64;
    for (index, count) in counts.enumerate() {
        seen = seen.saturating_add(count);
        if seen >= rank {
            return Some(highest(index).min(max));
        }
    }
    Some(max)
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, bucket, highest, quantile};

    #[test]
    fn the_least_values_have_buckets_of_their_own_numbers() {
        for value in 0..super::EXACT {
            assert_eq!((bucket(value), highest(bucket(value))), (value as usize, value));
        }
        assert_ne!(bucket(super::EXACT + 1), super::EXACT as usize + 1);
    }

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        let mut lowest = 0u64;
        for index in 0..BUCKETS {
            assert_eq!(bucket(lowest), index);
            assert_eq!(bucket(highest(index)), index);
            if index + 1 < BUCKETS {
                lowest = highest(index) + 1;
            }
        }
        assert_eq!(highest(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn a_bucket_is_at_most_an_eighth_wide() {
        for value in [9u64, 100, 1000, 123_456_789, 1 << 40, u64::MAX - 5] {
            let top = highest(bucket(value));
            assert!(top - value <= value / 8, "{value} {top}");
        }
    }

    #[test]
    fn quantiles_never_exceed_the_maximum() {
        let mut counts = [0u64; BUCKETS];
        for value in 1..=1000u64 {
            counts[bucket(value)] += 1;
        }
        let at = |per_mille| quantile(counts.iter().copied(), 1000, 1000, per_mille).unwrap_or(0);
        assert!((500..=511).contains(&at(500)), "{}", at(500));
        assert!((990..=1000).contains(&at(990)), "{}", at(990));
        assert_eq!(at(1000), 1000);
        assert_eq!(quantile(core::iter::empty(), 0, 0, 500), None);
    }
}
