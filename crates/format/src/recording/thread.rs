//! Places in a thread's segment. Counters first; they are the shim's own memory
//! (src/ledger/counters.rs asserts the places).

use super::PAGE;
use crate::call::Call;
use crate::{errno, histogram};

// What a common call touches comes first, in few cache lines.

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

/// Histograms by number: events in a batch; nanoseconds of work between two waits; nanoseconds
/// blocked, by call, in the order of `Call::WAITS`.
pub const BATCH: usize = 0;
pub const WORK: usize = 1;
pub const BLOCKED: usize = 2;
pub const HISTOGRAMS: usize = BLOCKED + Call::WAITS.len();
/// Of each its sum and its highest value.
pub const TOPS: usize = CALLS + Call::COUNT * 8;
pub const TOP_SIZE: usize = 16;
pub const TOP_SUM: usize = 0;
pub const TOP_MAX: usize = 8;
/// Of each [`histogram::BUCKETS`] buckets.
pub const BUCKETS: usize = TOPS + HISTOGRAMS * TOP_SIZE;
pub const BUCKETS_SIZE: usize = histogram::BUCKETS * 8;

/// One call's other counters: injected, limited, failures by errno (0: without a name), and those
/// that returned a value by a fault, without being made: they are no failures, and made nothing.
pub const CALL_SIZE: usize = (3 + errno::NAMED) * 8;
pub const CALL_INJECTED: usize = 0;
pub const CALL_LIMITED: usize = 8;
pub const CALL_ERRORS: usize = 16;
pub const CALL_MADE_UP: usize = CALL_ERRORS + errno::NAMED * 8;
/// [`Call::COUNT`] of them, in the order of `Call`.
pub const OF_CALLS: usize = BUCKETS + HISTOGRAMS * BUCKETS_SIZE;
pub const COUNTERS_SIZE: usize = OF_CALLS + Call::COUNT * CALL_SIZE;
/// Records begun since the thread began. Record number N (from 0) lies in place N modulo the ring's
/// length; those that were overwritten are `begun - length`, where that is positive.
pub const BEGUN: usize = COUNTERS_SIZE.next_multiple_of(PAGE);
/// Records that found no place, where each is to be kept. (Then [`BEGUN`] stays zero: begun are
/// those, and the places that are taken in the thread's areas.)
pub const DROPPED: usize = BEGUN + 8;
/// Nanoseconds of processor time that the thread had used when the last row of the series was
/// written, and [`POLLED`] then. (Of the process, where several threads have counted here in turn.)
pub const PROCESSOR_TIME: usize = BEGUN + 16;
pub const POLLED_THEN: usize = BEGUN + 24;
/// Where the ring begins, or the first area of records: a page behind.
pub const RING: usize = BEGUN + PAGE;
