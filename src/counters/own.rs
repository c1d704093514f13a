//! Counters that one thread writes, and any thread reads.

use crate::arch;

use epollshim_ledger::records::Counter;

/// A counter that one thread writes.
///
/// The addition is one instruction without a lock prefix. One instruction: a signal handler on the
/// same thread runs before or after it, never between its read and its write. No lock prefix: no
/// other thread writes the counter. Readers see some value that the counter had (an aligned 8-byte
/// store is never torn). They need no ordering with other memory, so their loads are Relaxed.
pub trait OwnCounter {
    fn bump(&self);
    fn add(&self, amount: u64);
}

impl OwnCounter for Counter {
    #[inline(always)]
    fn bump(&self) {
        // SAFETY: the word of this counter, which only the thread of its block writes.
        unsafe { arch::counters::bump(self.as_ptr()) }
    }

    #[inline(always)]
    fn add(&self, amount: u64) {
        // SAFETY: the word of this counter, which only the thread of its block writes.
        unsafe { arch::counters::add(self.as_ptr(), amount) }
    }
}
