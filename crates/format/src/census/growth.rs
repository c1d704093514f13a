//! When descriptors of one place that only grow in number are a leak.

use crate::findings::thresholds::{FD_LEAK_FEW, FD_LEAK_MANY, FD_LEAK_SLACK, FD_LEAK_STANDSTILL, FD_LEAK_STEP};

/// Half as many again, and more.
pub(super) fn rises(before: u64, after: u64) -> bool {
    after >= before.saturating_mul(3) / 2 && after > before
}

/// What is known of the descriptors of one place when it is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Growth {
    /// Made there.
    pub born: u64,
    /// Of these, alive and not looked after by anybody.
    pub alive: u64,
    /// The lowest number alive in each of the last four spans from one power of two of births to
    /// the next, the oldest first.
    pub floors: [u64; 4],
    /// Nanoseconds of the last whole span, and since.
    pub span: u64,
    pub since: u64,
}

/// How sure it is that they leak.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Leak {
    No,
    Likely,
    Certain,
}

impl Leak {
    /// A leak of so many, of those that were made.
    pub(super) const fn of(alive: u64, born: u64) -> Leak {
        // Nine of ten.
        let nearly_all = alive.saturating_mul(10) >= born.saturating_mul(9);
        if alive >= FD_LEAK_MANY && nearly_all { Leak::Certain } else { Leak::Likely }
    }
}

impl Growth {
    /// A leak's floor rises with every doubling of the births; that of a program that closes what
    /// it opens comes to rest, at the number that it works with.
    #[must_use]
    pub fn judge(&self) -> Leak {
        let [first, second, third, fourth] = self.floors;
        let doubles = rises(first, second) && rises(second, third) && rises(third, fourth);
        let goes_on = self.since <= self.span.saturating_mul(FD_LEAK_STANDSTILL).saturating_add(FD_LEAK_SLACK);
        let grows = goes_on && (doubles || self.grows_beneath());
        if self.alive < FD_LEAK_FEW || !grows { Leak::No } else { Leak::of(self.alive, self.born) }
    }

    /// A quiet leak beneath a number that the program works with: what is added doubles, though the
    /// sum does not. What nobody looks after must be mostly what was added: a number that is as
    /// high at any time is no leak.
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
