//! When the descriptors of one call site are a leak: how their number grows.

use crate::findings::thresholds::{FD_LEAK_FEW, FD_LEAK_MANY, FD_LEAK_SLACK, FD_LEAK_STANDSTILL, FD_LEAK_STEP};

/// Whether `after` is at least one and a half times `before`.
pub(super) fn rises(before: u64, after: u64) -> bool {
    after >= before.saturating_mul(3) / 2 && after > before
}

/// The descriptors of one call site when they are judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Growth {
    /// How many were created there.
    pub born: u64,
    /// How many of these are open, and nothing takes care of them.
    pub alive: u64,
    /// The lowest number that was open at a time in each of the last four spans, the oldest first.
    /// A span ends when the number of creations reaches a power of two.
    pub floors: [u64; 4],
    /// Nanoseconds of the last complete span, and since its end.
    pub span: u64,
    pub since: u64,
}

/// How certain it is that they leak.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Leak {
    No,
    Likely,
    Certain,
}

impl Leak {
    /// How certain a leak of `alive` descriptors is, of `born` that were created.
    pub(super) const fn of(alive: u64, born: u64) -> Leak {
        // At least nine of ten.
        let nearly_all = alive.saturating_mul(10) >= born.saturating_mul(9);
        if alive >= FD_LEAK_MANY && nearly_all { Leak::Certain } else { Leak::Likely }
    }
}

impl Growth {
    /// The floor of a leak rises with every doubling of the creations. The floor of a program that
    /// closes what it opens stops rising at its working set.
    #[must_use]
    pub fn judge(&self) -> Leak {
        let [first, second, third, fourth] = self.floors;
        let doubles = rises(first, second) && rises(second, third) && rises(third, fourth);
        let goes_on = self.since <= self.span.saturating_mul(FD_LEAK_STANDSTILL).saturating_add(FD_LEAK_SLACK);
        let grows = goes_on && (doubles || self.grows_beneath());
        if self.alive < FD_LEAK_FEW || !grows { Leak::No } else { Leak::of(self.alive, self.born) }
    }

    /// A slow leak in addition to a working set: the increments double, though the sum does not.
    /// The descriptors that nothing takes care of must be mostly what was added: a number that is
    /// always as high is not a leak.
    fn grows_beneath(&self) -> bool {
        let [first, second, third, fourth] = self.floors;
        let steps = [second.saturating_sub(first), third.saturating_sub(second), fourth.saturating_sub(third)];
        let [one, two, three] = steps;
        one >= FD_LEAK_STEP
            && two.saturating_mul(4) >= one.saturating_mul(5)
            && three.saturating_mul(4) >= two.saturating_mul(5)
            && three >= one.saturating_mul(3)
            && self.alive <= fourth.saturating_sub(first).saturating_mul(2)
    }
}
