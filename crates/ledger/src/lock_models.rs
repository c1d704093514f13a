//! Models of the lock and its queue. Every participant stops for ever, is interrupted by a handler,
//! or is copied by a fork, at each of its steps.

extern crate std;

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
    /// The records: which changes were made.
    made: [AtomicU64; CHANGES],
    /// What must always agree with them, and is changed after them.
    count: AtomicU64,
    same_count: AtomicU64,
    /// How often each was applied, and its position in the order, from 1; rebuilds and losses, as
    /// the model sees them.
    applied: [Plain; CHANGES],
    turns: [Plain; CHANGES],
    turn: Plain,
    rebuilt: Plain,
    lost: Plain,
    /// Changes and rebuilds for which the lock was wrong about whether they had waited.
    misjudged: Plain,
    times: Plain,
    /// Seconds, where the time does not pass by itself.
    clock: Plain,
    /// Time passes: a holder that is only slow is judged gone.
    is_hasty: bool,
    ledger: OnceLock<Weak<Ledger>>,
    late: AtomicBool,
    lock: Lock,
    /// Threads that have ended, a bit each.
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

    /// Long after the last time, or the same.
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

/// A change as hooks make it: on the fast path, or else on the slow one.
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

/// What holds in the end: every change that returned was made, those of one thread in its order,
/// and records and counts agree.
fn settle_and_check(ledger: &Ledger, threads: &[&[usize]]) {
    let made = settle_and_check_made(ledger, threads);
    let records = &ledger.guarded;
    assert_eq!(records.count.load(Ordering::Relaxed), made, "the records and the first count disagree");
    assert_eq!(records.same_count.load(Ordering::Relaxed), made, "the records and the second count disagree");
    if !records.is_hasty {
        assert_eq!(records.misjudged.load(Unordered), 0, "a change was taken for one that waited, or the other way");
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
    assert!(ledger.guarded.lock.is_idle(), "the lock is stuck, or a change waits for ever");
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

/// Makes changes as one thread, and says which of them returned.
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

#[test]
fn without_events_every_change_is_made_once() {
    for search in [Search::Random(3000), Search::Suspending(3000)] {
        check(search, || {
            let ledger = new_ledger(PATIENT);
            let threads = [
                thread(&ledger, 1, &[1, 2, 3], 0, None, |_| {}),
                thread(&ledger, 2, &[4, 5], 0, None, |_| {}),
                thread(&ledger, 3, &[6], 0, None, |_| {}),
            ];
            let returned = join(threads);
            assert!(ledger.guarded.lock.is_idle(), "a change waits, and nobody makes it");
            settle_and_check(&ledger, &returned.each_ref().map(|changes| &changes[..]));
            assert_eq!(ledger.guarded.rebuilt.load(Unordered), 0);
            assert!((1..=6).all(|number: usize| ledger.guarded.applied[number].load(Unordered) == 1));
            assert!(ledger.nodes_in_use() <= 1, "a node was lost");
        });
    }
}

#[test]
fn a_holder_that_was_only_slow_finds_out_that_it_was_taken_for_gone() {
    static BROKEN: Plain = Plain::new(0);
    for search in [Search::Random(8000), Search::Suspending(20_000)] {
        BROKEN.store(0, Unordered);
        check(search, || {
            let ledger = new_ledger(HASTY);
            let threads = [
                thread(&ledger, 1, &[0, 1, 2, 3], 0, None, |_| {}),
                thread(&ledger, 2, &[4, 5, 6, 7], 0, None, |_| {}),
                thread(&ledger, 3, &[8, 9, 10, 11], 0, None, |_| {}),
            ];
            let returned = join(threads);
            settle_and_check(&ledger, &returned.each_ref().map(|changes| &changes[..]));
            BROKEN.fetch_add(ledger.guarded.rebuilt.load(Unordered), Unordered);
        });
        assert!(BROKEN.load(Unordered) > 100, "the model does not come to this case");
    }
}

#[test]
fn the_first_crowd_of_all_waits_as_long_as_any_other() {
    check(Search::Exhaustive(1), || {
        let ledger = new_ledger(PATIENT);
        ledger.guarded.clock.store(4, Unordered);
        assert!(ledger.guarded.lock.try_lock(frame(4)));
        for _ in 0..8 {
            change(&ledger, frame(2), 3);
        }
        assert_eq!(ledger.guarded.rebuilt.load(Unordered), 0, "a live holder was taken for gone");
        ledger.unlock(frame(4));
        settle_and_check(&ledger, &[&[3]]);
    });
}

#[test]
fn what_a_crowd_has_counted_long_ago_is_not_held_against_a_new_holder() {
    check_each_step(Search::Exhaustive(1), |at| {
        let ledger = new_ledger(PATIENT);
        assert!(ledger.guarded.lock.try_lock(frame(4)));
        for _ in 0..4 {
            change(&ledger, frame(2), 3);
        }
        ledger.unlock(frame(4));
        ledger.guarded.clock.store(4, Unordered);
        assert!(ledger.guarded.lock.try_lock(frame(4)));
        change(&ledger, frame(3), 5);
        let other = ledger.clone();
        let work = Box::new(move || change(&other, frame(2), 4));
        participate(at, Some(Event::Handler(work)), || change(&ledger, frame(1), 1));
        assert_eq!(ledger.guarded.rebuilt.load(Unordered), 0, "a live holder was taken for gone");
        ledger.unlock(frame(4));
        settle_and_check(&ledger, &[&[3], &[1]]);
    });
}

#[test]
fn a_thread_that_is_suspended_at_any_step_finds_what_others_did_meanwhile() {
    for others in 0..7 {
        check_each_step(Search::Exhaustive(1), move |at| {
            let ledger = new_ledger(HASTY);
            let meanwhile = ledger.clone();
            let work = Box::new(move || {
                for number in 3..3 + others {
                    change(&meanwhile, frame(2), number);
                }
            });
            let one = thread(&ledger, 1, &[1, 2], at, Some(Event::Handler(work)), |_| {});
            let returned = one.join().unwrap();
            let met: Vec<_> = (3..3 + if model::any_event_met() { others } else { 0 }).collect();
            settle_and_check(&ledger, &[&returned, &met]);
        });
    }
}

#[test]
fn a_holder_that_ends_while_it_empties_the_queue_leaves_what_came_meanwhile() {
    for ends_after in 0..8 {
        check_each_step(Search::Exhaustive(1), move |at| {
            let ledger = new_ledger(PATIENT);
            assert!(ledger.guarded.lock.try_lock(frame(1)));
            change(&ledger, frame(2), 3);
            let (meanwhile, mut two) = (ledger.clone(), std::vec![3]);
            let work = Box::new(move || {
                change(&meanwhile, frame(2), 4);
                model::meet_next(ends_after, Event::Stop);
            });
            participate(at, Some(Event::Handler(work)), || ledger.unlock(frame(1)));
            if model::any_event_met() {
                two.push(4);
            }
            ledger.guarded.ended.fetch_or(1 << 1, Unordered);
            if ledger.lock_or_break(Here::In(frame(7), View::OF_THE_CALLER), frame(7)) {
                ledger.unlock(frame(7));
            }
            assert!(!ledger.has_waiting());
            settle_and_check(&ledger, &[&two]);
        });
    }
}

#[test]
fn a_holder_that_was_broken_applies_only_what_it_has_in_hand() {
    check_each_step(Search::Exhaustive(1), |at| {
        let ledger = new_ledger(PATIENT);
        assert!(ledger.guarded.lock.try_lock(frame(1)));
        for number in [1, 2, 3] {
            change(&ledger, frame(2), number);
        }
        let other = ledger.clone();
        let applied = |ledger: &Ledger| ledger.guarded.applied.iter().map(|times| times.load(Unordered)).sum::<u32>();
        let before = Arc::new(Plain::new(0));
        let noted = before.clone();
        let work = Box::new(move || {
            noted.store(applied(&other), Unordered);
            // It may have unlocked.
            let _ = other.guarded.lock.break_lock(frame(1), frame(3)) || other.guarded.lock.try_lock(frame(3));
        });
        participate(at, Some(Event::Handler(work)), || ledger.unlock(frame(1)));
        if model::any_event_met() {
            assert!(applied(&ledger) <= before.load(Unordered) + 1, "it applies what is another's to apply");
            ledger.unlock(frame(3));
        }
        settle_and_check(&ledger, &[&[1, 2, 3]]);
    });
}

#[test]
fn what_a_frame_has_queued_before_it_stops_is_made_by_the_holder() {
    check_each_step(Search::Exhaustive(1), |at| {
        let ledger = new_ledger(PATIENT);
        assert!(ledger.guarded.lock.try_lock(frame(2)));
        participate(at, Some(Event::Stop), || change(&ledger, frame(1), 1));
        ledger.unlock(frame(2));
        assert!(!ledger.has_waiting());
        settle_and_check(&ledger, &[]);
    });
}

#[test]
fn what_a_broken_holder_changes_while_another_rebuilds_is_seen() {
    check_each_step(Search::Exhaustive(1), |at| {
        let ledger = new_ledger(HASTY);
        // One holder was broken, and has noticed it.
        assert!(ledger.guarded.lock.try_lock(frame(1)));
        ledger.unlock(frame(2));
        let other = ledger.clone();
        let work = Box::new(move || {
            // So was another, and continues in the middle of its change.
            other.guarded.made[3].store(1, Ordering::Relaxed);
            other.unlock(frame(3));
        });
        participate(at, Some(Event::Handler(work)), || ledger.unlock(frame(1)));
        settle_and_check(&ledger, &[]);
    });
}

#[test]
fn of_two_threads_that_break_a_lock_one_holds_it() {
    for search in [Search::Random(2000), Search::Suspending(2000)] {
        check(search, || {
            let ledger = new_ledger(PATIENT);
            assert!(ledger.guarded.lock.try_lock(frame(1)));
            ledger.guarded.ended.fetch_or(1 << 1, Unordered);
            let holders = Arc::new(Plain::new(0));
            let threads = [2, 3].map(|number| {
                let (ledger, holders) = (ledger.clone(), holders.clone());
                shuttle::thread::spawn(move || {
                    if ledger.lock_or_break(Here::In(frame(number), View::OF_THE_CALLER), frame(number)) {
                        assert_eq!(holders.fetch_add(1, Unordered), 0, "two hold the lock");
                        model::step();
                        holders.fetch_sub(1, Unordered);
                        ledger.unlock(frame(number));
                    }
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
            settle_and_check(&ledger, &[]);
        });
    }
}

#[test]
fn a_thread_that_jumps_out_of_any_step_goes_on() {
    for search in SEARCHES {
        check_each_step(search, move |at| {
            let ledger = new_ledger(PATIENT);
            let threads = [
                thread(&ledger, 1, &[1, 2], at, Some(Event::Stop), |ledger| {
                    change(ledger, frame(1), 3);
                    change(ledger, frame(1), 4);
                }),
                thread(&ledger, 2, &[5, 6], 0, None, |_| {}),
            ];
            let [mut one, two] = join(threads);
            if model::any_event_met() {
                one.extend([3, 4]);
            }
            settle_and_check(&ledger, &[&one, &two]);
        });
    }
}

#[test]
fn a_node_that_a_jump_has_lost_is_found_when_the_lock_is_broken() {
    for search in SEARCHES {
        check_each_step(search, move |at| {
            let ledger = new_ledger(PATIENT);
            let threads = [
                thread(&ledger, 1, &[1, 2], at, Some(Event::Stop), |ledger| change(ledger, frame(1), 3)),
                thread(&ledger, 2, &[5, 6], 0, None, |_| {}),
            ];
            let [mut one, two] = join(threads);
            if model::any_event_met() {
                one.push(3);
            }
            // It jumps out once more, and holds the lock.
            assert!(ledger.guarded.lock.try_lock(frame(1)));
            change(&ledger, frame(1), 4);
            one.push(4);
            settle_and_check(&ledger, &[&one, &two]);
            // The one that was consumed last may be its own.
            assert!(ledger.nodes_of(frame(1)) <= 1, "a node was lost");
        });
    }
}

#[test]
fn a_thread_that_ends_or_sleeps_for_ever_at_any_step_stops_nobody() {
    for ends in [true, false] {
        for search in SEARCHES {
            check_each_step(search, move |at| {
                let ledger = new_ledger(HASTY);
                // A slow holder lost its lock to another. If it ends before it sees that, nobody
                // corrects the counts.
                let was_broken = Arc::new(Plain::new(0));
                let broken = was_broken.clone();
                let threads = [
                    thread(&ledger, 1, &[1, 2], at, Some(Event::Stop), move |ledger| {
                        broken.store(ledger.guarded.rebuilt.load(Unordered), Unordered);
                        if ends {
                            ledger.guarded.ended.fetch_or(1 << 1, Unordered);
                        }
                    }),
                    thread(&ledger, 2, &[3, 4, 5], 0, None, |_| {}),
                    thread(&ledger, 3, &[6, 7], 0, None, |_| {}),
                ];
                let returned = join(threads);
                let returned = returned.each_ref().map(|changes| &changes[..]);
                if was_broken.load(Unordered) == 0 {
                    settle_and_check(&ledger, &returned);
                } else {
                    settle_and_check_made(&ledger, &returned);
                }
            });
        }
    }
}

#[test]
fn a_handler_at_any_step_makes_its_changes_and_takes_nothing_from_the_frame_below() {
    for search in SEARCHES {
        check_each_step(search, move |at| {
            let ledger = new_ledger(PATIENT);
            let in_handler = ledger.clone();
            let work = Box::new(move || {
                change(&in_handler, handler(1), 3);
                // As epollshim_stats does.
                if in_handler.lock_or_break(Here::In(handler(1), View::OF_THE_CALLER), handler(1)) {
                    in_handler.drain(handler(1));
                    in_handler.unlock(handler(1));
                }
                change(&in_handler, handler(1), 4);
            });
            let two = thread(&ledger, 2, &[5, 6], 0, None, |_| {});
            let one = thread(&ledger, 1, &[1, 2], at, Some(Event::Handler(work)), |_| {});
            let returned = join([one, two]);
            let [one, two] = &returned;
            let of_handler = if model::any_event_met() { &[3, 4][..] } else { &[] };
            assert!(ledger.guarded.lock.is_idle(), "a change waits, and nobody makes it");
            assert_eq!(ledger.guarded.rebuilt.load(Unordered), 0, "the handler took the lock from a live frame");
            settle_and_check(&ledger, &[one, two, of_handler]);
            let all = one.iter().chain(two).chain(of_handler);
            assert!(all.clone().all(|number| ledger.guarded.applied[*number].load(Unordered) == 1));
        });
    }
}

#[test]
fn signals_that_keep_a_frame_from_going_on_do_not_take_its_lock() {
    check_each_step(Search::Exhaustive(1), |at| {
        let ledger = new_ledger(PATIENT);
        let in_handler = ledger.clone();
        // One handler after the other, or one that is long. Each asks for answers of the ledger, too, as limits do.
        let work = Box::new(move || {
            for _ in 0..MANY {
                change(&in_handler, handler(1), 3);
                in_handler.settle(handler(1));
            }
        });
        let one = thread(&ledger, 1, &[1, 2], at, Some(Event::Handler(work)), |_| {});
        let returned = one.join().unwrap();
        assert_eq!(ledger.guarded.rebuilt.load(Unordered), 0, "the handlers took the lock from a live frame");
        settle_and_check(&ledger, &[&returned]);
    });
}

/// Changes and answers, of which a reader's count for more, that are more than a thread waits for under a frame of its own, and
/// fewer than the queue is nearly full with.
const MANY: usize = 100;

#[test]
fn a_frame_that_was_left_for_good_is_found_in_time_and_before_the_queue_is_full() {
    for (times, is_hasty) in [(MANY, HASTY), (250, PATIENT)] {
        check(Search::Exhaustive(1), move || {
            let ledger = new_ledger(is_hasty);
            assert!(ledger.guarded.lock.try_lock(frame(1)));
            // The thread goes on far deeper on its stack.
            for _ in 0..times {
                change(&ledger, handler(1), 3);
                if is_hasty {
                    ledger.settle(handler(1));
                }
            }
            assert!(ledger.guarded.lock.is_idle(), "the lock is stuck");
            assert_eq!(ledger.guarded.rebuilt.load(Unordered), 1);
            settle_and_check(&ledger, &[&[3]]);
        });
    }
}

#[test]
fn a_frame_that_no_handler_has_interrupted_is_found_gone_at_once() {
    check(Search::Exhaustive(1), || {
        let ledger = new_ledger(PATIENT);
        assert!(ledger.guarded.lock.try_lock(frame(1)));
        // A handler above it makes two changes and jumps away; the thread goes on far deeper on its stack.
        change(&ledger, handler(1), 3);
        change(&ledger, handler(1), 4);
        assert!(!ledger.guarded.lock.is_idle(), "the lock was taken from a live frame");
        ledger.guarded.is_left.store(true, Unordered);
        change(&ledger, handler(1), 5);
        change(&ledger, handler(1), 6);
        assert!(ledger.guarded.lock.is_idle(), "the lock is stuck");
        settle_and_check(&ledger, &[&[3, 4, 5, 6]]);
    });
}

#[test]
fn a_reader_finds_a_frame_gone_at_once() {
    check(Search::Exhaustive(1), || {
        let ledger = new_ledger(PATIENT);
        assert!(ledger.guarded.lock.try_lock(frame(1)));
        let look = || ledger.lock_or_break(Here::In(handler(1), View::OF_THE_CALLER), handler(1));
        assert!(!look() && !look() && !look(), "a live frame");
        ledger.guarded.is_left.store(true, Unordered);
        assert!(look());
        ledger.unlock(handler(1));
        settle_and_check(&ledger, &[]);
    });
}

#[test]
fn a_handler_that_jumps_out_from_above_a_hook_leaves_nothing_stuck() {
    for search in SEARCHES {
        check_each_step(search, move |at| {
            let ledger = new_ledger(PATIENT);
            let in_handler = ledger.clone();
            let work = Box::new(move || {
                change(&in_handler, handler(1), 3);
                model::stop();
            });
            let threads = [
                thread(&ledger, 1, &[1, 2], at, Some(Event::Handler(work)), |ledger| {
                    change(ledger, frame(1), 4);
                }),
                thread(&ledger, 2, &[5], 0, None, |_| {}),
            ];
            let [mut one, two] = join(threads);
            if model::any_event_met() {
                one.extend([3, 4]);
            }
            settle_and_check(&ledger, &[&one, &two]);
        });
    }
}

#[test]
fn a_child_forked_by_a_handler_goes_on_in_the_interrupted_frame() {
    for search in SEARCHES {
        check_each_step(search, move |at| {
            let ledger = new_ledger(PATIENT);
            let in_child = ledger.clone();
            let work = Box::new(move || {
                let is_below = in_child.guarded.lock.is_held_beside(handler(1));
                in_child.after_fork(handler(1), || {});
                assert_eq!(
                    in_child.guarded.lock.holder().is_some(),
                    is_below,
                    "the frame below goes on, and holds the lock"
                );
                assert!(!is_below || in_child.guarded.lock.holder() == Some(frame(1)));
                change(&in_child, handler(1), 3);
            });
            let one = thread(&ledger, 1, &[1, 2], at, Some(Event::Fork(work)), |_| {});
            let two = thread(&ledger, 2, &[4, 5], 0, None, |_| {});
            let [one, two] = join([one, two]);
            let of_handler = if model::has_forked() { &[3][..] } else { &[] };
            model::go_on_alone();
            settle_and_check(&ledger, &[&one, &two, of_handler]);
        });
    }
}

#[test]
fn a_child_of_another_thread_has_what_was_done_and_nothing_half_done() {
    for search in SEARCHES {
        for at in 0..STEPS {
            check(search, move || {
                let ledger = new_ledger(PATIENT);
                let in_child = ledger.clone();
                // Not in a handler: the forking thread's own frame is between two hooks.
                let forker = {
                    let ledger = ledger.clone();
                    shuttle::thread::spawn(move || {
                        let event = Event::Fork(Box::new(move || in_child.after_fork(frame(3), || {})));
                        participate(at, Some(event), || {
                            for _ in 0..=at {
                                model::step();
                            }
                        });
                        change(&ledger, frame(3), 6);
                    })
                };
                let threads =
                    [thread(&ledger, 1, &[1, 2], 0, None, |_| {}), thread(&ledger, 2, &[3, 4], 0, None, |_| {})];
                forker.join().unwrap();
                let [one, two] = join(threads);
                model::go_on_alone();
                settle_and_check(&ledger, &[&one, &two, &[6]]);
                assert!(ledger.nodes_in_use() <= 1, "a node of a thread that is not in the child was lost");
            });
        }
    }
}
