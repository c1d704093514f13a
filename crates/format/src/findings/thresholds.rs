//! From where on something is a defect, each number with its reason. Times are nanoseconds.

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
pub(super) const SECOND: u64 = 1_000 * MILLISECOND;

// ---- late-loop ----

/// Work between two waits that is late (time in which the thread waited for a processor is no work): 100 ms is what people notice as a delay, and a tenth of what health checks allow.
pub const LATE: u64 = 100 * MILLISECOND;
/// So many are often: one or two are reading a configuration, a fork of much memory, a process that was stopped.
pub const LATE_TIMES: u64 = 5;
/// And one in so many works is late, or so much of the process's time went into late work. A hundredth: the p99.
pub const LATE_SHARE: u64 = 100;

// ---- poll-loop ----

/// Of a hundred waits of a thread, so many must have found nothing: who waits otherwise too has some use for it.
pub const POLL_SHARE: u64 = 95;
/// Processor time that has gone into it: less is somebody's start or end.
pub const POLL_TIME: u64 = SECOND;
/// Waits that cannot block: a million of them take half a second in the kernel alone.
pub const POLLS: u64 = 1_000_000;
/// Processor time for each of them, all that the thread does besides included: where it is more, the thread works, and
/// looks after events in between (a scheduler between its tasks, a game once a frame).
pub const POLL_COST: u64 = 5 * MICROSECOND;

// ---- spin ----

/// A thousand waits of which each that was looked at, one of three, was the same are a suspicion.
pub const SPIN_LOOKS: u64 = 334;
/// One of so many waits is looked at until then: often enough that a change is not missed, seldom enough to cost little.
pub const SPIN_FIRST_STRIDE: u64 = 3;
/// A wait that took longer has blocked; a system call that finds something at once takes one or two microseconds.
pub const AT_ONCE: u64 = 20 * MICROSECOND;
/// And so much for each event: the kernel asks each file before it is told (ep_send_events of fs/eventpoll.c).
pub const AT_ONCE_EVENT: u64 = MICROSECOND;

/// The longest that a wait takes which brings so many events and has not blocked.
#[must_use]
pub const fn at_once(events: usize) -> u64 {
    AT_ONCE + events as u64 * AT_ONCE_EVENT
}
/// A loop that takes longer for a round than this on average does something in it.
pub const SPIN_ROUND: u64 = MILLISECOND;
/// What is watched is compared so often, at this distance, and must never have changed: a tenth of a second in all. A file
/// that another thread is about to close is gone by then.
pub const SPIN_SAMPLES: u64 = 10;
/// The distance of two comparisons.
pub const SPIN_DISTANCE: u64 = 10 * MILLISECOND;
/// And the thread must have used so much processor time meanwhile: on a busy machine a thread that is about to close the file gets to
/// run as late as this one.
pub const SPIN_TIME: u64 = 20 * MILLISECOND;
/// So many times as often where an unchanged state may be chance: a peer that answers at once.
pub const SPIN_UNSURE: u64 = 3;
/// What a ghost costs is counted again after this.
pub const SPIN_GHOST_DISTANCE: u64 = 100 * MILLISECOND;
/// From then on one of so many waits is looked at: that nothing has changed says the rest.
pub const SPIN_STRIDE: u64 = 251;
/// The events of a batch of which each is compared.
pub const SPIN_EVENTS: usize = 8;

// ---- stalled ----

/// A thread that was asleep in a wait for so long has time to look at what nobody reads. (No wait of a busy server is so long.)
pub const SLEPT: u64 = MILLISECOND;
/// Two looks at a descriptor are so far apart: a thread that is about to read has had its turn of a processor by then.
pub const STALLED_DISTANCE: u64 = 100 * MILLISECOND;
/// What stands while the loop sleeps for so long in all is not about to be read. Readers that pause (a rate limit, a slow disk)
/// mostly go on before that.
pub const STALLED_ASLEEP: u64 = 500 * MILLISECOND;
/// A process that uses one of so many parts of a processor works.
pub const STALLED_WORKS: u64 = 3;
/// And one that uses so much, if a thread runs at the moment: a loaded machine leaves a thread a tenth of a processor.
pub const STALLED_MAY_WORK: u64 = 20;
/// After a look that found nothing the next is twice as far away, up to this.
pub const STALLED_REST: u64 = 13 * SECOND;
/// And a look takes at most one of so many parts of the time.
pub const STALLED_SHARE: u64 = 1_000;

// ---- full-batch ----

/// The waits that are looked at in a row, and how many of them may come back not full, or only after a while.
pub const FULL_WAITS: u64 = 250;
/// And how many of these may be odd: a timer, or a moment without work.
pub const FULL_ODD: u64 = 12;
/// In how many such rows, with a thousand waits or more between them: one may be a burst.
pub const FULL_ROWS: u64 = 3;
/// `maxevents` up to this (with 128, mio's users have seen connections that were served a second late: flux #67). With more,
/// a round is so long that the program is short of processor time, not of room: haproxy's 200, nginx's 512.
pub const FULL_LIMIT: i32 = 128;

// ---- churn ----

/// So many instances of one place that have ended: a program that runs a loop for each of its tasks, one after the other, may have tens.
pub const CHURN: u64 = 100;
/// And in each second of processor time so many: a loop that is good for 20 ms of work is worth its instance.
pub const CHURN_RATE: u64 = 50;
/// And one a second at least, of all the time that the process has lived: a timer's job may have a loop of its own.
pub const CHURN_LEAST: u64 = 1;
/// So many, and so many in a second of processor time, are a warning: fewer may be a burst. To create an instance, fill it and close it takes 5 to 10 microseconds, a
/// twentieth of the processor by then.
pub const CHURN_MANY: u64 = 1_000;
/// How many in a second of processor time.
pub const CHURN_COSTLY: u64 = 5_000;

// ---- ignored-error ----

/// So many waits of a thread that fail in a row with one error are not looked at. (A loop that looks ends at the first, or makes its
/// instance again.)
pub const FAILED_WAITS: u64 = 16;

// ---- exhausted ----

/// A call that fails so many times in a row for want of a descriptor, each soon after the one before, gets no answer from its program.
/// (One round of a loop makes a call for each connection that waits at the listening socket: a few dozen.)
pub const EXHAUSTED_ROW: u64 = 64;
/// What is soon. A server that stops accepting does so for longer: nginx for 500 ms (accept_mutex_delay), asyncio for 1 s
/// (ACCEPT_RETRY_DELAY), Go's http.Server for 5 ms first, and twice as long with each failure.
pub const EXHAUSTED_PAUSE: u64 = 10 * MILLISECOND;

// ---- leak ----

/// An instance that was never waited on counts as idle after this long: programs make loops ahead, and start the threads that will
/// run them in their own time.
pub const LEAK_UNUSED: u64 = 10 * SECOND;
/// Idle instances of one site that make a warning: one abandoned loop is an oversight, two are a pattern.
pub const LEAK_SOME: u64 = 2;
/// And an error: a program that has left so many will go on to do so, until it has no descriptor left.
pub const LEAK_MANY: u64 = 8;
/// Of those that are open, one in so many is idle at least. Of a leak nearly half are at any time (the other half is younger than the
/// last look); a pool of busy instances may have a few that nobody needs at the moment.
pub const LEAK_PART: u64 = 3;

// ---- fd-leak ----

/// Fewer than these are no evidence: programs have a handful of each kind for life.
pub const FD_LEAK_FEW: u64 = 16;
/// From here on a warning becomes an error, if nearly none of them was ever closed.
pub const FD_LEAK_MANY: u64 = 64;
/// Growth that stands still this much longer than the last doubling took has ended: tables that are filled once do that.
pub const FD_LEAK_STANDSTILL: u64 = 4;
/// The least that the floor has risen by, four doublings ago, where only what is added doubles: fewer are chance.
pub const FD_LEAK_STEP: u64 = 8;
/// What the end of a program takes is no standstill.
pub const FD_LEAK_SLACK: u64 = 20 * MILLISECOND;
/// Between two looks for other ends that are gone, the program must have waited once for each so many creations. Connections that one
/// round accepts may all have been closed by their clients before it reads.
pub const FD_LEAK_ROUND: u64 = 4;

// ---- near-limit ----

/// What is within one of so many parts of a limit is near it: a peak that high is one busy day from the limit.
pub const NEAR_LIMIT_PART: u64 = 10;

// ---- double-close: when closes are a sweep ----

/// From so many closes of neighbouring numbers on, the program closes whatever may be open.
pub const SWEEP: u32 = 3;
/// From there on a sweep may leave out so many numbers less one: what the program keeps.
pub const SWEEP_GAP: u32 = 8;
/// So many numbers of a sweep that were not open show that it closes whatever may be open: what it has closed, its owner may close
/// again. (A loop that ends all connections meets none.)
pub const SWEEP_MISSES: u32 = 2;

// ---- herd, of processes ----

/// Workers that begin within this begin together. (Where a worker takes another one's place, that one still lives for a while, and
/// watches nothing any more.)
pub const HERD_START: u64 = 10 * SECOND;

// ---- herd, of threads on one instance ----

/// Two threads that come back with one event within this, while the first has not waited again, have it both. (To wake a thread
/// takes 5 to 50 microseconds where a processor is free.)
pub const HERD_TOGETHER: u64 = MILLISECOND;
/// At a listening socket: later, the next connection may have come.
pub const HERD_CLOSE_TOGETHER: u64 = 200 * MICROSECOND;
/// So many are no accident (a connection's next bytes that came at once).
pub const HERD_DOUBLES: u64 = 100;
/// And one of so many waits that brought events.
pub const HERD_SHARE: u64 = 10;
/// At a listening socket, one of so many.
pub const HERD_SHARE_OF_LISTENER: u64 = 4;
/// One of so many times there may be a connection for each of the two. Where they come so fast that the next is there within
/// [`HERD_CLOSE_TOGETHER`] each time, two are there more often than that.
pub const HERD_RICH: u64 = 20;

// ---- all that looks at waits ----

/// One of so many waits with events is looked at. A prime: what comes round by turns is not met at the same turn each time.
pub const GLANCE: u64 = 1_021;
/// After a suspicion that came to nothing the next is so much farther away, as a power of two, until this many times.
pub const DOUBLINGS: u64 = 6;
/// After something was found: a million waits.
pub const DOUBLINGS_FOUND: u64 = 10;
