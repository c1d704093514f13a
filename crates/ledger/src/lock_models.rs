//! Models of the lock and its queue. A participant stops forever, is interrupted by a handler, or
//! is copied by a fork, at each of its steps. Here is what the models share; the cases are in
//! threads.rs and handlers.rs.

extern crate std;

mod handlers;
mod threads;

use std::boxed::Box;
use std::sync::atomic::{AtomicBool as AtomicFlag, AtomicU32 as Plain, Ordering::Relaxed as Unordered};
use std::sync::{Arc, OnceLock, Weak};
use std::vec::Vec;

use crate::kernel::tests::Heap;
use crate::lock::{Hold, Lock};
use crate::lock_protocol::{FastPath, Guarded, Here, Locked, View};
use crate::model::{self, Event, Search, check, check_each_step, participate};
use crate::sync::{AtomicBool, AtomicU64, Ordering};

const CHANGES: usize = 12;

/// Records with two derived counts, as the ledger has lists and counts beside its records.
#[derive(Default)]
struct Records {
    /// Which changes were made: the records.
    made: [AtomicU64; CHANGES],
    /// A derived count, which is changed after the records and must agree with them.
    count: AtomicU64,
    same_count: AtomicU64,
    /// How often each change was applied, and its position in the order, from 1. Rebuilds and
    /// losses, as the model sees them.
    applied: [Plain; CHANGES],
    turns: [Plain; CHANGES],
    turn: Plain,
    rebuilt: Plain,
    lost: Plain,
    /// Changes and rebuilds for which the lock was wrong about whether they had waited.
    misjudged: Plain,
    times: Plain,
    /// The time in seconds, unless `is_hasty`.
    clock: Plain,
    /// Time passes at each look: a holder that is only slow is judged gone.
    is_hasty: bool,
    ledger: OnceLock<Weak<Ledger>>,
    late: AtomicBool,
    lock: Lock,
    /// Threads that have ended, one bit for each.
    ended: Plain,
    /// No handler lies above the frame that holds the lock.
    is_left: AtomicFlag,
}

impl Records {
    fn judge(&self, has_waited: bool) {
        let ledger = self.ledger.get().and_then(Weak::upgrade);
        if ledger.is_some_and(|ledger| ledger.is_timely() == has_waited) {
            self.misjudged.fetch_add(1, Unordered);
        }
    }

    fn make(&self, change: usize, has_waited: bool) {
        if self.applied[change].fetch_add(1, Unordered) == 0 {
            self.turns[change].store(1 + self.turn.fetch_add(1, Unordered), Unordered);
        }
        self.judge(has_waited);
        if self.made[change].load(Ordering::Relaxed) != 0 {
            return;
        }
        self.made[change].store(1, Ordering::Relaxed);
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.same_count.store(self.same_count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

impl Guarded<usize> for Records {
    fn lock(&self) -> &Lock {
        &self.lock
    }

    fn apply(&self, change: usize) {
        self.make(change, true);
    }

    fn rebuild(&self) {
        self.rebuilt.fetch_add(1, Unordered);
        self.judge(false);
        let count = self.made.iter().map(|made| made.load(Ordering::Relaxed)).sum();
        self.count.store(count, Ordering::Relaxed);
        self.same_count.store(count, Ordering::Relaxed);
    }

    fn version(&self) -> u64 {
        u64::from(self.applied.iter().map(|applied| applied.load(Unordered)).sum::<u32>())
    }

    fn late(&self) -> &AtomicBool {
        &self.late
    }

    type Events = ();

    fn before_unlock(&self) {}

    fn take_events(&self) {}

    fn deliver(&self, (): ()) {}

    fn unlocked(&self) {}

    fn is_nearly_out(&self) -> bool {
        false
    }

    fn lose(&self, _: usize) {
        self.lost.fetch_add(1, Unordered);
    }

    fn has_ended(&self, hold: Hold) -> bool {
        let ended = self.ended.load(Unordered);
        (0..8).any(|thread| ended & 1 << thread != 0 && hold.is_of(token(thread)))
    }

    fn is_on_another_stack(&self) -> bool {
        false
    }

    fn is_amid_a_hook(&self, _: View, bytes: usize) -> bool {
        assert!((4096..=4096 + 64).contains(&bytes));
        !self.is_left.load(Unordered)
    }

    /// A time long after the last one, or the same time.
    fn now(&self) -> u64 {
        let seconds = if self.is_hasty { self.times.fetch_add(4, Unordered) } else { self.clock.load(Unordered) };
        u64::from(seconds) * 1_000_000_000
    }

    fn give_way(&self, _: bool) {
        model::step();
    }
}

type Ledger = Locked<Records, usize, Heap>;

fn token(thread: u32) -> usize {
    0x7f00_0000_1000 + 64 * thread as usize
}

const STACK: usize = 0x7ffe_0010_0000;
/// A frame of the program.
fn frame(thread: u32) -> Hold {
    Hold::new(token(thread), STACK)
}
/// A frame of a handler that interrupted it.
fn handler(thread: u32) -> Hold {
    Hold::new(token(thread), STACK - 4096)
}

/// A change as hooks make it: on the fast path, or else on the slow path.
fn change(ledger: &Ledger, hold: Hold, number: usize) {
    let tried = match ledger.try_lock_fast(hold) {
        FastPath::Done => {
            ledger.guarded.make(number, false);
            ledger.unlock_fast(hold)
        }
        tried => tried,
    };
    match tried {
        FastPath::Done | FastPath::DoneSlowPathPending => ledger.finish(tried, hold),
        tried => ledger.change(tried, hold, || ledger.guarded.make(number, false), || number),
    }
}

/// Checks what holds at the end: every change that returned was made, those of one thread in its
/// order, and records and counts agree.
fn settle_and_check(ledger: &Ledger, threads: &[&[usize]]) {
    let made = settle_and_check_made(ledger, threads);
    let records = &ledger.guarded;
    assert_eq!(records.count.load(Ordering::Relaxed), made, "the records and the first count disagree");
    assert_eq!(records.same_count.load(Ordering::Relaxed), made, "the records and the second count disagree");
    if !records.is_hasty {
        assert_eq!(records.misjudged.load(Unordered), 0, "a change was taken for one that waited, or the reverse");
    }
}

/// The same without the counts. Returns how many changes were made.
fn settle_and_check_made(ledger: &Ledger, threads: &[&[usize]]) -> u64 {
    let hold = frame(7);
    for _ in 0..64 {
        ledger.settle(hold);
        if ledger.guarded.lock.is_idle() {
            break;
        }
    }
    assert!(ledger.guarded.lock.is_idle(), "the lock is stuck, or a change waits forever");
    let records = &ledger.guarded;
    for returned in threads {
        for &number in *returned {
            assert_eq!(records.made[number].load(Ordering::Relaxed), 1, "change {number} returned, and was not made");
        }
        let turns: Vec<_> = returned.iter().map(|number| records.turns[*number].load(Unordered)).collect();
        assert!(turns.is_sorted(), "changes {returned:?} were made in turns {turns:?}");
    }
    assert_eq!(records.lost.load(Unordered), 0);
    records.made.iter().map(|made| made.load(Ordering::Relaxed)).sum()
}

/// `is_hasty`: holders that are only slow are judged gone.
fn new_ledger(is_hasty: bool) -> Arc<Ledger> {
    let ledger = Arc::new(Locked::new(Records { is_hasty, ..Records::default() }));
    ledger.guarded.ledger.set(Arc::downgrade(&ledger)).unwrap();
    ledger
}

const PATIENT: bool = false;
const HASTY: bool = true;

fn join<const THREADS: usize>(threads: [shuttle::thread::JoinHandle<Vec<usize>>; THREADS]) -> [Vec<usize>; THREADS] {
    threads.map(|thread| thread.join().unwrap())
}

/// Makes changes as one thread, and returns those that returned.
fn thread(
    ledger: &Arc<Ledger>,
    number: u32,
    changes: &'static [usize],
    at: usize,
    event: Option<Event>,
    after: impl FnOnce(&Ledger) + Send + 'static,
) -> shuttle::thread::JoinHandle<Vec<usize>> {
    let ledger = ledger.clone();
    shuttle::thread::spawn(move || {
        let mut returned = Vec::new();
        let went_on = participate(at, event, || {
            for &change_number in changes {
                change(&ledger, frame(number), change_number);
                returned.push(change_number);
            }
        });
        if !went_on {
            after(&ledger);
        }
        returned
    })
}

/// More than the steps of two threads that make two changes each.
const STEPS: usize = 150;
const SCHEDULES: usize = 150;
const SEARCHES: [Search; 2] = [Search::Random(SCHEDULES), Search::Suspending(SCHEDULES)];
