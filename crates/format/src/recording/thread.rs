//! Places in a thread's segment. The counters come first. They are the memory in which the library
//! counts (src/record/threads.rs asserts the places).

use super::PAGE;
use crate::call::Call;
use crate::{errno, histogram};

// The words that common calls change come first, in few cache lines.

/// CLOCK_MONOTONIC at the end of the last wait that could block.
pub const LAST_WAIT_END: usize = 0;
/// Waits that could not block and returned nothing; waits that could; of these, after a timeout of
/// 1 ms; waits that returned `maxevents`.
pub const POLLED: usize = 8;
pub const EMPTY: usize = 16;
pub const SHORT: usize = 24;
pub const FULL: usize = 32;
/// Events by kind: IN, OUT, RDHUP, HUP, ERR, PRI.
pub const KINDS: usize = 40;
pub const KIND_NAMES: [&str; 6] = ["IN", "OUT", "RDHUP", "HUP", "ERR", "PRI"];
/// Calls, [`Call::COUNT`] words in the order of `Call`.
pub const CALLS: usize = KINDS + KIND_NAMES.len() * 8;

/// The numbers of the histograms: events in a batch; nanoseconds of work between two waits;
/// nanoseconds blocked, for each call in the order of `Call::WAITS`.
pub const BATCH: usize = 0;
pub const WORK: usize = 1;
pub const BLOCKED: usize = 2;
pub const HISTOGRAMS: usize = BLOCKED + Call::WAITS.len();
/// The sum and the highest value of each histogram.
pub const TOPS: usize = CALLS + Call::COUNT * 8;
pub const TOP_SIZE: usize = 16;
pub const TOP_SUM: usize = 0;
pub const TOP_MAX: usize = 8;
/// [`histogram::BUCKETS`] buckets of each histogram.
pub const BUCKETS: usize = TOPS + HISTOGRAMS * TOP_SIZE;
pub const BUCKETS_SIZE: usize = histogram::BUCKETS * 8;

/// The other counters of one call: injected, limited, failures by errno (0: an errno without a
/// name), and calls that were not made because a fault returned a value. These are no failures, and
/// had no effect.
pub const CALL_SIZE: usize = (3 + errno::NAMED) * 8;
pub const CALL_INJECTED: usize = 0;
pub const CALL_LIMITED: usize = 8;
pub const CALL_ERRORS: usize = 16;
pub const CALL_MADE_UP: usize = CALL_ERRORS + errno::NAMED * 8;
/// The other counters of all calls: [`Call::COUNT`] blocks in the order of `Call`.
pub const OF_CALLS: usize = BUCKETS + HISTOGRAMS * BUCKETS_SIZE;
pub const COUNTERS_SIZE: usize = OF_CALLS + Call::COUNT * CALL_SIZE;
/// The number of records begun since the thread began. Record number N (from 0) lies at place N
/// modulo the ring's length. `begun - length` records were overwritten, if that is positive.
pub const BEGUN: usize = COUNTERS_SIZE.next_multiple_of(PAGE);
/// If every record is kept: the number of records that were dropped. [`BEGUN`] stays zero then: the
/// records begun are the dropped ones, and those that have a place in the thread's areas.
pub const DROPPED: usize = BEGUN + 8;
/// Nanoseconds of processor time that the thread had used when the last row of the series was
/// written, and [`POLLED`] at that time. (If several threads have counted here in turn, it is the
/// time of the process.)
pub const PROCESSOR_TIME: usize = BEGUN + 16;
pub const POLLED_THEN: usize = BEGUN + 24;
/// The beginning of the ring or of the first area of records, one page further.
pub const RING: usize = BEGUN + PAGE;
