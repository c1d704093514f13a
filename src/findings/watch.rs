//! Detects repetition in a thread's waits. One of a thousand waits with events is examined. If it
//! resembles the one examined before, many more are examined, until the resemblance ends or
//! something is found.
//!
//! The hook only compares the number of events, which it has just counted, with [`Watch::due`].
//! Everything else is here, and rare.

use crate::sync::{AtomicU64, Ordering};

use epollshim_format::call::Call;
use epollshim_format::findings::{Id, Severity, Spin, thresholds};
use libc::epoll_event;

use super::{Note, ghosts, herd, note, spin};
use crate::frame::Frame;
use crate::ledger;
use crate::ledger::records::Long;
use crate::sigsafe::on_own_stack;
use crate::thread::Block;
use crate::{clock, procfs, seccomp, sys, thread};

/// What is known about one thread's waits, in its block. All zero: nothing yet. A signal handler
/// that also waits may confuse it, so a finding is compared with the kernel before it is reported.
#[repr(C)]
pub struct Watch {
    /// How many events the thread must have received before the next look; 0: look at the next
    /// wait. It is the first field, because every wait that returns events reads it:
    /// `thread::Block` has it in its first cache line.
    due: AtomicU64,
    glances: Long,
    /// How many waits were examined since the suspicion began; 0: there is none, and waits are only
    /// sampled.
    run: Long,
    /// The suspicion: [`SPIN`] or [`FULL`].
    suspicion: Long,
    signature: Long,
    was_full: Long,
    /// How many waits of the run do not fit the suspicion.
    odd: Long,
    /// What the thread had done when the suspicion began.
    began: Done,
    /// How often the distance between looks has doubled (`thresholds::DOUBLINGS`).
    doublings: Long,
    /// How many runs of full batches were found.
    full_rows: Long,
    pub trail: spin::Trail,
    pub late: Late,
    /// How many threads owned this block before.
    former: Long,
}

/// The counts of a thread at some moment.
struct Done {
    waits: Long,
    /// Calls of epoll_ctl.
    changes: Long,
    /// Calls that create an instance.
    creations: Long,
    /// Processor time, nanoseconds.
    time: Long,
}

impl Done {
    fn note(&self, block: &Block) {
        self.waits.set(block.counters.waits());
        self.changes.set(block.counters.changes());
        self.creations.set(creations(block));
        self.time.set(time(block));
    }

    /// What the thread has done since then.
    fn since(&self, block: &Block) -> Since {
        Since {
            waits: block.counters.waits().wrapping_sub(self.waits.get()),
            changes: block.counters.changes().wrapping_sub(self.changes.get()),
            creations: creations(block).wrapping_sub(self.creations.get()),
            time: time(block).saturating_sub(self.time.get()),
        }
    }
}

/// Processor time of the thread, or of the process if the thread's is not known.
fn time(block: &Block) -> u64 {
    thread::processor_time(block).or_else(|| sys::processor_time(0)).unwrap_or(0)
}

fn creations(block: &Block) -> u64 {
    [Call::Create, Call::Create1].iter().map(|call| block.counters.calls(*call).get()).fold(0, u64::wrapping_add)
}

/// What a thread has done between two moments.
pub struct Since {
    pub waits: u64,
    pub changes: u64,
    pub creations: u64,
    pub time: u64,
}

impl Since {
    /// Whether at least every other wait was followed by a change of the interest list.
    pub fn is_rearmed(&self) -> bool {
        self.changes.saturating_mul(2) >= self.waits
    }

    /// How often the thread re-armed interests; 0: it does not re-arm them regularly.
    fn rearmed(&self) -> u64 {
        if self.is_rearmed() { self.changes } else { 0 }
    }
}

/// The late work of a thread.
pub struct Late {
    pub count: Long,
    pub time: Long,
    pub longest: Long,
    /// How long the thread had waited for a processor in total when it was last late.
    queued: Long,
    /// The call site of the wait after the first late work, and the instance of the last.
    pub site: Long,
    pub epfd: Long,
}

const SPIN: u64 = 1;
const FULL: u64 = 2;

impl Watch {
    #[inline(always)]
    pub fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    /// Called when another thread takes over the block.
    pub fn next_owner(&self) {
        self.former.add(1);
        self.late.queued.set(0);
        self.run.set(0);
        self.signature.set(0);
        self.was_full.set(0);
    }

    /// Makes the thread's next wait with events due. Returns when the next look was due. Any thread
    /// may call it.
    pub fn look_soon(&self) -> u64 {
        self.due.swap(0, Ordering::Relaxed)
    }

    /// Restores the due number that [`Watch::look_soon`] returned. False: it is already reached.
    pub fn look_later(&self, due: u64, block: &Block) -> bool {
        let is_later = block.counters.batch().sum() < due;
        if is_later {
            self.due.store(due, Ordering::Relaxed);
        }
        is_later
    }

    /// Whether nothing is suspected.
    pub fn has_no_suspicion(&self) -> bool {
        self.run.get() == 0
    }

    /// Whether everything that the block has counted belongs to its owner.
    pub fn has_one_owner(&self) -> bool {
        self.former.get() == 0
    }

    /// Resets all counts.
    pub fn restart(&self) {
        self.late.count.set(0);
        self.late.time.set(0);
        self.late.longest.set(0);
        self.full_rows.set(0);
        self.due.store(0, Ordering::Relaxed);
    }

    /// Called when the thread is late to its wait, after `work` nanoseconds. True: it was late so
    /// often that it may be a finding.
    ///
    /// It does not count if several threads wait on the instance, because another one has waited in
    /// the meantime, nor at the first wait on an instance, because nothing had to wait for it.
    #[cold]
    #[inline(never)]
    pub fn late(&self, epfd: i32, work: u64, site: usize) -> bool {
        if !ledger::crowd_of(epfd).is_some_and(|crowd| crowd.waits != 0 && !crowd.is_shared) || seccomp::hinders() {
            return false;
        }
        // A thread that waited for a processor did not work. The time in the queue is counted since
        // the last late work, so it may be overestimated.
        let Some(Some(queued)) = on_own_stack(procfs::time_in_queue) else { return false };
        let before = self.late.queued.get();
        self.late.queued.set(queued);
        if queued.wrapping_sub(before) > work / 2 {
            return false;
        }
        if self.late.count.get() == 0 {
            self.late.site.set(site as u64);
        }
        self.late.epfd.set(epfd as u64);
        self.late.count.add(1);
        self.late.time.add(work);
        self.late.longest.reach(work);
        self.late.count.get() >= thresholds::LATE_TIMES
    }

    /// Skips so many waits, if their batches are like this one.
    fn skip(&self, waits: u64, block: &Block, batch: usize) {
        let due = block.counters.batch().sum().saturating_add(waits.saturating_mul(batch as u64));
        self.due.store(due, Ordering::Relaxed);
    }

    /// Examines nothing for a while.
    fn rest(&self, block: &Block, batch: usize) {
        self.run.set(0);
        self.skip(thresholds::GLANCE << (self.doublings.get() & 31), block, batch);
    }

    /// Rests for long after a finding, which need not be found again soon.
    fn rest_long(&self, block: &Block, batch: usize) {
        self.doublings.set(thresholds::DOUBLINGS_FOUND);
        self.rest(block, batch);
    }

    /// Drops a suspicion that was not confirmed.
    fn give_up(&self, block: &Block, batch: usize) {
        self.doublings.set((self.doublings.get() + 1).min(thresholds::DOUBLINGS));
        self.rest(block, batch);
    }

    /// Begins to follow a suspicion.
    fn begin(&self, suspicion: u64, block: &Block) {
        self.suspicion.set(suspicion);
        self.odd.set(0);
        self.began.note(block);
        self.trail.begin();
        self.run.set(1);
        self.due.store(0, Ordering::Relaxed);
    }
}

/// A wait that has returned events.
pub struct Wait<'a> {
    pub epfd: i32,
    pub site: usize,
    maxevents: i32,
    /// The first of its events.
    pub events: &'a [epoll_event],
    batch: usize,
    signature: u64,
    /// It did not block.
    is_at_once: bool,
    /// CLOCK_MONOTONIC when it returned.
    pub now: u64,
}

/// The first `count` events of a wait that has returned at least so many.
pub fn events(frame: &Frame, count: usize) -> &[epoll_event] {
    // SAFETY: the kernel has just written that many events there; the type has an alignment of 1.
    unsafe { core::slice::from_raw_parts(frame.word(1) as *const epoll_event, count) }
}

/// Examines a wait that returned events, when a look is due.
#[cold]
#[inline(never)]
pub fn look(block: &Block, frame: &Frame, batch: usize) {
    let shown = batch.min(thresholds::SPIN_EVENTS);
    let events = events(frame, shown);
    let is_timed = frame.state != 0;
    let now = if is_timed { block.counters.last_wait_end.load(Ordering::Relaxed) } else { clock::monotonic() };
    let wait = Wait {
        epfd: frame.int(0),
        site: frame.caller,
        maxevents: frame.int(2),
        events,
        batch,
        signature: signature(batch, events),
        is_at_once: !is_timed || now.saturating_sub(frame.state) < thresholds::at_once(batch),
        now,
    };
    let watch: &Watch = block.part();
    match (watch.run.get(), watch.suspicion.get()) {
        (0, _) => glance(block, &wait),
        (_, SPIN) => follow_spin(block, &wait),
        _ => follow_full(block, &wait),
    }
}

fn glance(block: &Block, wait: &Wait) {
    let watch: &Watch = block.part();
    watch.glances.add(1);
    let resembles = wait.is_at_once && wait.signature == watch.signature.get();
    let fills = wait.is_at_once && wait.is_full() && watch.was_full.get() != 0 && wait.leaves_some();
    watch.signature.set(wait.signature);
    watch.was_full.set(u64::from(wait.is_full()));
    // A wait that fits both suspicions is examined for each in turn.
    let is_turn = !fills || watch.glances.get() & 1 == 0;
    if resembles && is_turn && wait.batch <= thresholds::SPIN_EVENTS {
        watch.begin(SPIN, block);
    } else if fills {
        watch.begin(FULL, block);
    } else {
        watch.rest(block, wait.batch);
    }
    herd::look(wait.now);
}

/// Follows the suspicion that the same events are returned again and again.
fn follow_spin(block: &Block, wait: &Wait) {
    let watch: &Watch = block.part();
    watch.run.add(1);
    let run = watch.run.get();
    if !wait.is_at_once {
        watch.odd.add(1);
    }
    // A thread that lost its processor seems to have blocked, so some waits may differ.
    if wait.signature != watch.signature.get() || watch.odd.get() > 2 + run / 32 {
        watch.signature.set(wait.signature);
        return watch.give_up(block, wait.batch);
    }
    if run < thresholds::SPIN_LOOKS {
        return watch.skip(thresholds::SPIN_FIRST_STRIDE, block, wait.batch);
    }
    watch.skip(thresholds::SPIN_STRIDE, block, wait.batch);
    if !watch.trail.is_due(wait.now) {
        return;
    }
    let since = watch.began.since(block);
    match watch.trail.follow(wait, &since) {
        spin::Verdict::Unchanged => {}
        spin::Verdict::Changed => watch.give_up(block, wait.batch),
        spin::Verdict::Spins(found) => {
            let asked = found.asked.map_or(u64::MAX, u64::from);
            let how = Spin { is_refused: found.is_refused, rearmed: since.rearmed(), rebuilt: since.creations };
            note(&Note {
                epfd: wait.epfd,
                fd: found.fd,
                site: wait.site,
                other: found.added_at,
                detail: [u64::from(found.mask) | asked << 32, since.waits, since.time, how.to_word()],
                ..Note::of(Id::Spin, found.severity)
            });
            watch.rest_long(block, wait.batch);
        }
        spin::Verdict::Ghost(fd) => {
            if ghosts::met_in_wait(wait.epfd, fd, &since) {
                // The cost is counted from here again as long as it continues.
                watch.began.note(block);
            } else {
                watch.give_up(block, wait.batch);
            }
        }
    }
}

/// Follows the suspicion that batches are full again and again.
fn follow_full(block: &Block, wait: &Wait) {
    let watch: &Watch = block.part();
    watch.run.add(1);
    // The same events again mean that these are not handled, and not that others have to queue.
    if !wait.is_full() || !wait.is_at_once || wait.signature == watch.signature.get() {
        watch.odd.add(1);
    }
    watch.signature.set(wait.signature);
    if watch.odd.get() > thresholds::FULL_ODD || !wait.leaves_some() {
        return watch.give_up(block, wait.batch);
    }
    if watch.run.get() < thresholds::FULL_WAITS {
        return;
    }
    watch.full_rows.add(1);
    if watch.full_rows.get() >= thresholds::FULL_ROWS {
        let watches = ledger::crowd_of(wait.epfd).map_or(0, |crowd| crowd.watches);
        note(&Note {
            epfd: wait.epfd,
            site: wait.site,
            detail: [wait.maxevents as u64, watches, watch.run.get() - watch.odd.get(), watch.run.get()],
            ..Note::of(Id::FullBatch, Severity::Warning)
        });
        return watch.rest_long(block, wait.batch);
    }
    watch.rest(block, wait.batch);
}

impl Wait<'_> {
    fn is_full(&self) -> bool {
        self.batch == self.maxevents as usize
    }

    /// Whether more descriptors are watched than fit into a batch, and the batch is small. (Threads
    /// that share an instance should take few events each.)
    fn leaves_some(&self) -> bool {
        self.maxevents <= thresholds::FULL_LIMIT
            && ledger::crowd_of(self.epfd)
                .is_some_and(|crowd| crowd.watches > self.maxevents as u64 && !crowd.is_shared)
    }
}

/// A hash of a batch, never 0. It does not include the instance, because a new instance for the
/// same descriptors returns the same events.
#[inline(always)]
fn signature(batch: usize, events: &[epoll_event]) -> u64 {
    let start = mix((batch as u64) << 32);
    // The kernel may rotate their order.
    events.iter().fold(start, |sum, event| {
        let (data, mask) = (event.u64, event.events);
        sum.wrapping_add(mix(data ^ u64::from(mask) << 40))
    }) | 1
}

/// Spreads a difference over all bits (the finalizer of MurmurHash3).
pub fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let value = (value ^ value >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ value >> 33
}
