//! Counters that one thread writes, and any thread reads.

use crate::arch;

use epollshim_ledger::records::Counter;

/// A count with one writing thread.
///
/// The addition is one instruction without a lock prefix. One instruction: a signal handler on the same
/// thread comes before or after it, never between its read and its write. No lock prefix: no other thread
/// writes. Readers see some value that it had (an aligned 8-byte store is never torn), which is all that a
/// counter promises; they need no ordering with other memory, hence Relaxed loads.
pub trait OwnCounter {
    fn bump(&self);
    fn add(&self, amount: u64);
}

impl OwnCounter for Counter {
    #[inline(always)]
    fn bump(&self) {
        // SAFETY: this counter's word, which the thread of its block alone writes.
        unsafe { arch::counters::bump(self.as_ptr()) }
    }

    #[inline(always)]
    fn add(&self, amount: u64) {
        // SAFETY: as in `bump`.
        unsafe { arch::counters::add(self.as_ptr(), amount) }
    }
}
