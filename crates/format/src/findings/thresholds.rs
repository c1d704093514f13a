//! The numbers from which on something is a finding, each with its reason. Times are nanoseconds.
//!
//! `docs/findings/thresholds.md` is made from this file.

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
pub(super) const SECOND: u64 = 1_000 * MILLISECOND;

// ---- late-loop ----

/// Work between two waits is late from this on. People notice 100 ms as a delay, and it is a tenth
/// of what health checks allow. (Time in which the thread waited for a processor is no work.)
pub const LATE: u64 = 100 * MILLISECOND;
/// So many times are often. Once or twice may be reading a configuration, a fork with much memory,
/// or a process that was stopped.
pub const LATE_TIMES: u64 = 5;
/// And one round in so many is late, or so large a part of the process's time went into late work.
/// A hundredth is the p99.
pub const LATE_SHARE: u64 = 100;

// ---- poll-loop ----

/// Of a hundred waits of a thread, so many must have found nothing. A thread that often finds
/// something has some use for polling.
pub const POLL_SHARE: u64 = 95;
/// Processor time of the thread. Less may be its start or its end.
pub const POLL_TIME: u64 = SECOND;
/// Waits that cannot block. A million of them take half a second in the kernel alone.
pub const POLLS: u64 = 1_000_000;
/// Processor time for each of them, including all other work of the thread. If it is more, the
/// thread works, and checks for events in between (a scheduler between its tasks, a game once a
/// frame).
pub const POLL_COST: u64 = 5 * MICROSECOND;

// ---- spin ----

/// A thousand waits are a suspicion if each examined one, which is one of three, was the same.
pub const SPIN_LOOKS: u64 = 334;
/// One of so many waits is examined until then: often enough to notice a change, rarely enough to
/// cost little.
pub const SPIN_FIRST_STRIDE: u64 = 3;
/// A wait that took longer has blocked. A system call that finds something at once takes one or two
/// microseconds.
pub const AT_ONCE: u64 = 20 * MICROSECOND;
/// And so much for each event, because the kernel polls each file before it returns the event
/// (ep_send_events of fs/eventpoll.c).
pub const AT_ONCE_EVENT: u64 = MICROSECOND;

/// The longest time that a wait takes if it returns so many events and has not blocked.
#[must_use]
pub const fn at_once(events: usize) -> u64 {
    AT_ONCE + events as u64 * AT_ONCE_EVENT
}
/// A loop whose rounds take longer than this on average does something in them.
pub const SPIN_ROUND: u64 = MILLISECOND;
/// The state of the descriptor is compared so many times, [`SPIN_DISTANCE`] apart, and must never
/// have changed: a tenth of a second. A file that another thread is about to close is gone by then.
pub const SPIN_SAMPLES: u64 = 10;
/// The distance of two comparisons.
pub const SPIN_DISTANCE: u64 = 10 * MILLISECOND;
/// And the thread must have used so much processor time meanwhile. On a busy machine, a thread that
/// is about to close the file gets to run as late as this one.
pub const SPIN_TIME: u64 = 20 * MILLISECOND;
/// So many times as many comparisons if an unchanged state may be chance: a peer that answers at
/// once.
pub const SPIN_UNSURE: u64 = 3;
/// The cost of a ghost is counted again after this.
pub const SPIN_GHOST_DISTANCE: u64 = 100 * MILLISECOND;
/// From then on one of so many waits is examined, because the unchanged state is evidence enough.
pub const SPIN_STRIDE: u64 = 251;
/// How many events of a batch are compared.
pub const SPIN_EVENTS: usize = 8;

// ---- stalled ----

/// A thread that slept so long in a wait has time to look for unread data. (No wait of a busy
/// server is so long.)
pub const SLEPT: u64 = MILLISECOND;
/// Two looks at a descriptor are so far apart. A thread that is about to read gets a processor
/// within that time.
pub const STALLED_DISTANCE: u64 = 100 * MILLISECOND;
/// Data that waits while the loop sleeps so long in total is not about to be read. Readers that
/// pause (a rate limit, a slow disk) mostly continue before that.
pub const STALLED_ASLEEP: u64 = 500 * MILLISECOND;
/// A process that uses one part in so many of a processor works.
pub const STALLED_WORKS: u64 = 3;
/// So does one that uses this part, if a thread runs when it is examined: a loaded machine leaves a
/// thread a tenth of a processor.
pub const STALLED_MAY_WORK: u64 = 20;
/// After a look that found nothing, the next one is twice as far away, up to this.
pub const STALLED_REST: u64 = 13 * SECOND;
/// And looks take at most one part in so many of the time.
pub const STALLED_SHARE: u64 = 1_000;

// ---- full-batch ----

/// How many waits in a row are examined.
pub const FULL_WAITS: u64 = 250;
/// How many of these may return not full, or only after a while: a timer, or a moment without work.
pub const FULL_ODD: u64 = 12;
/// In how many such rows, with a thousand waits or more between them. One may be a burst.
pub const FULL_ROWS: u64 = 3;
/// `maxevents` up to this. With 128, users of mio have seen connections that were served a second
/// late: flux #67. With more, a round takes so long that the program is short of processor time,
/// not of room: haproxy's 200, nginx's 512.
pub const FULL_LIMIT: i32 = 128;

// ---- churn ----

/// So many closed instances of one call site. A program that runs one loop after the other for its
/// tasks may have tens.
pub const CHURN: u64 = 100;
/// And so many in each second of processor time. A loop that runs for 20 ms of work is worth its
/// instance.
pub const CHURN_RATE: u64 = 50;
/// And at least one for each second that the process has lived. A timer's job may have a loop of
/// its own.
pub const CHURN_LEAST: u64 = 1;
/// So many, at the rate of `CHURN_COSTLY`, are a warning. Fewer may be a burst. To create an
/// instance, fill it and close it takes 5 to 10 microseconds: a twentieth of the processor by then.
pub const CHURN_MANY: u64 = 1_000;
/// How many in a second of processor time.
pub const CHURN_COSTLY: u64 = 5_000;

// ---- ignored-error ----

/// A thread whose waits fail so many times in a row with one error does not check their result. (A
/// loop that checks ends at the first, or creates a new instance.)
pub const FAILED_WAITS: u64 = 16;

// ---- exhausted ----

/// A program does nothing about a missing descriptor if its call fails so many times in a row, each
/// soon after the one before. (One round of a loop makes a call for each connection that waits at
/// the listening socket: a few dozen.)
pub const EXHAUSTED_ROW: u64 = 64;
/// How soon. A server that stops accepting does so for longer: nginx for 500 ms
/// (accept_mutex_delay), asyncio for 1 s (ACCEPT_RETRY_DELAY), Go's http.Server for 5 ms first, and
/// twice as long with each failure.
pub const EXHAUSTED_PAUSE: u64 = 10 * MILLISECOND;

// ---- leak ----

/// An instance that was never waited on counts as idle after this time. Programs create loops in
/// advance, and start the threads that will run them later.
pub const LEAK_UNUSED: u64 = 10 * SECOND;
/// So many idle instances of one call site are a warning. One abandoned loop is an oversight, two
/// are a pattern.
pub const LEAK_SOME: u64 = 2;
/// So many are an error. A program that has leaked so many will continue until it has no descriptor
/// left.
pub const LEAK_MANY: u64 = 8;
/// At least one in so many of the open ones is idle. Of a leak, nearly half are idle at any time
/// (the other half is younger than the last look). A pool of busy instances may have a few that
/// nobody needs at the moment.
pub const LEAK_PART: u64 = 3;

// ---- fd-leak ----

/// Fewer than these are no evidence. Programs have a handful of each kind for life.
pub const FD_LEAK_FEW: u64 = 16;
/// From here on a warning becomes an error, if nearly none of them was ever closed.
pub const FD_LEAK_MANY: u64 = 64;
/// Growth has ended if it stands still for so many times as long as the last doubling took. Tables
/// that are filled once do that.
pub const FD_LEAK_STANDSTILL: u64 = 4;
/// The least increase of the lowest count, four doublings ago, if only that increase doubles. A
/// smaller one is chance.
pub const FD_LEAK_STEP: u64 = 8;
/// A pause this short, as at the end of a program, is no standstill.
pub const FD_LEAK_SLACK: u64 = 20 * MILLISECOND;
/// Between two checks for other ends that are gone, the program must have waited once for so many
/// creations. The connections that one round accepts may all have been closed by their clients
/// before it reads.
pub const FD_LEAK_ROUND: u64 = 4;

// ---- near-limit ----

/// A peak within one part in so many of a limit is near it. Such a peak is one busy day from the
/// limit.
pub const NEAR_LIMIT_PART: u64 = 10;

// ---- double-close: when closes are a sweep ----

/// From so many closes of neighbouring numbers on, the program closes every number that may be
/// open.
pub const SWEEP: u32 = 3;
/// From there on, the next number of a sweep is at most so far away. The program keeps the numbers
/// that it skips.
pub const SWEEP_GAP: u32 = 8;
/// A sweep in which so many numbers were not open closes every number that may be open. The owner
/// of what it closed may close it again. (A loop that closes all connections meets none.)
pub const SWEEP_MISSES: u32 = 2;

// ---- herd, of processes ----

/// Workers that start within this time start together. (If a worker replaces another one, that one
/// still lives for a while, and no longer watches anything.)
pub const HERD_START: u64 = 10 * SECOND;

// ---- herd, of threads on one instance ----

/// Two threads that return with one event within this time, while the first has not waited again,
/// both have it. (To wake a thread takes 5 to 50 microseconds if a processor is free.)
pub const HERD_TOGETHER: u64 = MILLISECOND;
/// The same at a listening socket. Later, the next connection may have come.
pub const HERD_CLOSE_TOGETHER: u64 = 200 * MICROSECOND;
/// So many are no accident, such as a connection's next bytes that came at once.
pub const HERD_DOUBLES: u64 = 100;
/// And one in so many waits that returned events.
pub const HERD_SHARE: u64 = 10;
/// The same at a listening socket.
pub const HERD_SHARE_OF_LISTENER: u64 = 4;
/// In one of so many cases there may be a connection for each of the two. If connections come so
/// fast that the next is there within [`HERD_CLOSE_TOGETHER`] each time, two are there more often
/// than that.
pub const HERD_RICH: u64 = 20;

// ---- everything that examines waits ----

/// One of so many waits with events is examined. It is a prime, so that events that take turns are
/// not met at the same turn each time.
pub const GLANCE: u64 = 1_021;
/// After each suspicion that came to nothing, the distance to the next look doubles, up to so many
/// times.
pub const DOUBLINGS: u64 = 6;
/// The same after something was found: a million waits.
pub const DOUBLINGS_FOUND: u64 = 10;
