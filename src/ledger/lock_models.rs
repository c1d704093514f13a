//! Models of the lock and its queue: every participant stops for ever, is interrupted by a handler, or is copied by a fork,
//! at each of its steps.

extern crate std;

use std::boxed::Box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32 as Plain, Ordering::Relaxed as Unordered};
use std::vec::Vec;

use super::lock::Hold;
use super::lock_protocol::{FastPath, Guarded, Here, Locked};
use crate::model::{self, Event, Search, check, participate};
use crate::sync::{AtomicU64, Ordering};

const CHANGES: usize = 12;

/// Records with two derived counts, as the ledger has lists and counts beside its records.
#[derive(Default)]
struct Records {
    /// The records: which changes were made.
    made: [AtomicU64; CHANGES],
    /// What must always agree with them, and is changed after them.
    count: AtomicU64,
    same_count: AtomicU64,
    /// How often each was applied, and rebuilds and losses, as the model sees it.
    applied: [Plain; CHANGES],
    rebuilt: Plain,
    lost: Plain,
    times: Plain,
    /// Threads that have ended, a bit each.
    ended: Plain,
}

impl Guarded<usize> for Records {
    fn apply(&self, change: usize) {
        self.applied[change].fetch_add(1, Unordered);
        if self.made[change].load(Ordering::Relaxed) != 0 {
            return;
        }
        self.made[change].store(1, Ordering::Relaxed);
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.same_count.store(self.same_count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn rebuild(&self) {
        self.rebuilt.fetch_add(1, Unordered);
        let count = self.made.iter().map(|made| made.load(Ordering::Relaxed)).sum();
        self.count.store(count, Ordering::Relaxed);
        self.same_count.store(count, Ordering::Relaxed);
    }

    fn version(&self) -> u64 {
        u64::from(self.applied.iter().map(|applied| applied.load(Unordered)).sum::<u32>())
    }

    fn before_unlock(&self) {}

    fn unlocked(&self) {}

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

    /// Always long after the last time.
    fn now(&self) -> u64 {
        u64::from(self.times.fetch_add(1, Unordered)) * 4_000_000_000
    }

    fn give_way(&self, _: bool) {
        model::step();
    }
}

type Ledger = Locked<Records, usize>;

fn token(thread: u32) -> usize {
    0x7f00_0000_1000 + 64 * thread as usize
}

const STACK: usize = 0x7ffe_0010_0000;
/// A frame of the program's.
fn frame(thread: u32) -> Hold {
    Hold::new(token(thread), STACK)
}
/// A frame of a handler that interrupted it.
fn handler(thread: u32) -> Hold {
    Hold::new(token(thread), STACK - 4096)
}

/// A change as hooks make it: the fast path, or else the slow one.
fn change(ledger: &Ledger, hold: Hold, number: usize) {
    let tried = match ledger.try_lock_fast(hold) {
        FastPath::Done => {
            ledger.guarded.apply(number);
            ledger.unlock_fast(hold)
        }
        tried => tried,
    };
    match tried {
        FastPath::Done | FastPath::DoneSlowPathPending => ledger.finish(tried, hold),
        tried => ledger.change(tried, hold, || ledger.guarded.apply(number), || number),
    }
}

/// What holds in the end: all that returned was made, and records and counts agree.
fn settle_and_check(ledger: &Ledger, returned: &[usize]) {
    let hold = frame(7);
    for _ in 0..64 {
        ledger.settle(hold);
        if ledger.lock.is_idle() {
            break;
        }
    }
    assert!(ledger.lock.is_idle(), "the lock is stuck, or a change waits for ever");
    let records = &ledger.guarded;
    let made: u64 = records.made.iter().map(|made| made.load(Ordering::Relaxed)).sum();
    for &number in returned {
        assert_eq!(records.made[number].load(Ordering::Relaxed), 1, "change {number} returned, and was not made");
    }
    assert_eq!(records.count.load(Ordering::Relaxed), made, "the records and the first count disagree");
    assert_eq!(records.same_count.load(Ordering::Relaxed), made, "the records and the second count disagree");
    assert_eq!(records.lost.load(Unordered), 0);
}

fn new_ledger() -> Arc<Ledger> {
    Arc::new(Locked::new(Records::default()))
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

/// More than the steps of any participant.
const STEPS: usize = 90;
const SCHEDULES: usize = 150;

#[test]
fn without_events_every_change_is_made_once() {
    check(Search::Random(4000), || {
        let ledger = new_ledger();
        let threads = [
            thread(&ledger, 1, &[1, 2, 3], 0, None, |_| {}),
            thread(&ledger, 2, &[4, 5], 0, None, |_| {}),
            thread(&ledger, 3, &[6], 0, None, |_| {}),
        ];
        let returned: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        settle_and_check(&ledger, &returned);
        if ledger.guarded.rebuilt.load(Unordered) == 0 {
            assert!(returned.iter().all(|number| ledger.guarded.applied[*number].load(Unordered) == 1));
            assert!(ledger.nodes_in_use() <= 1, "a node was lost");
        }
    });
}

#[test]
fn a_holder_that_was_only_slow_finds_out_that_it_was_taken_for_gone() {
    static BROKEN: Plain = Plain::new(0);
    check(Search::Random(4000), || {
        let ledger = new_ledger();
        let threads = [
            thread(&ledger, 1, &[0, 1, 2, 3], 0, None, |_| {}),
            thread(&ledger, 2, &[4, 5, 6, 7], 0, None, |_| {}),
            thread(&ledger, 3, &[8, 9, 10, 11], 0, None, |_| {}),
        ];
        let returned: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        settle_and_check(&ledger, &returned);
        BROKEN.fetch_add(ledger.guarded.rebuilt.load(Unordered), Unordered);
    });
    assert!(BROKEN.load(Unordered) > 100, "the model does not come to this case");
}

#[test]
fn a_thread_that_jumps_out_of_any_step_goes_on() {
    for at in 0..STEPS {
        check(Search::Random(SCHEDULES), move || {
            let ledger = new_ledger();
            let threads = [
                thread(&ledger, 1, &[1, 2], at, Some(Event::Stop), |ledger| {
                    change(ledger, frame(1), 3);
                    change(ledger, frame(1), 4);
                }),
                thread(&ledger, 2, &[5, 6], 0, None, |_| {}),
            ];
            let mut returned: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            if model::any_event_met() {
                returned.extend([3, 4]);
            }
            settle_and_check(&ledger, &returned);
        });
    }
}

#[test]
fn a_thread_that_ends_or_sleeps_for_ever_at_any_step_stops_nobody() {
    for ends in [true, false] {
        for at in 0..STEPS {
            check(Search::Random(SCHEDULES), move || {
                let ledger = new_ledger();
                let threads = [
                    thread(&ledger, 1, &[1, 2], at, Some(Event::Stop), move |ledger| {
                        if ends {
                            ledger.guarded.ended.fetch_or(1 << 1, Unordered);
                        }
                    }),
                    thread(&ledger, 2, &[3, 4, 5], 0, None, |_| {}),
                ];
                let returned: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
                settle_and_check(&ledger, &returned);
            });
        }
    }
}

#[test]
fn a_handler_at_any_step_makes_its_changes_and_takes_nothing_from_the_frame_below() {
    for at in 0..STEPS {
        check(Search::Random(SCHEDULES), move || {
            let ledger = new_ledger();
            let in_handler = ledger.clone();
            let work = Box::new(move || {
                change(&in_handler, handler(1), 3);
                // As epollshim_stats does.
                if in_handler.lock_or_break(Here::In(handler(1), 0), handler(1)) {
                    in_handler.drain(handler(1));
                    in_handler.unlock(handler(1));
                }
                change(&in_handler, handler(1), 4);
            });
            let one = thread(&ledger, 1, &[1, 2], at, Some(Event::Handler(work)), |_| {});
            let mut returned = one.join().unwrap();
            if model::any_event_met() {
                returned.extend([3, 4]);
            }
            assert_eq!(ledger.guarded.rebuilt.load(Unordered), 0, "the handler took the lock from a live frame");
            settle_and_check(&ledger, &returned);
            assert!(returned.iter().all(|number| ledger.guarded.applied[*number].load(Unordered) == 1));
        });
    }
}

#[test]
fn a_handler_that_jumps_out_from_above_a_hook_leaves_nothing_stuck() {
    for at in 0..STEPS {
        check(Search::Random(SCHEDULES), move || {
            let ledger = new_ledger();
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
            let mut returned: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            if model::any_event_met() {
                returned.extend([3, 4]);
            }
            settle_and_check(&ledger, &returned);
        });
    }
}

#[test]
fn a_child_forked_by_a_handler_goes_on_in_the_interrupted_frame() {
    for at in 0..STEPS {
        check(Search::Random(SCHEDULES), move || {
            let ledger = new_ledger();
            let in_child = ledger.clone();
            let work = Box::new(move || {
                in_child.after_fork(handler(1), || {});
                change(&in_child, handler(1), 3);
            });
            let one = thread(&ledger, 1, &[1, 2], at, Some(Event::Fork(work)), |_| {});
            let two = thread(&ledger, 2, &[4, 5], 0, None, |_| {});
            let mut returned = one.join().unwrap();
            returned.extend(two.join().unwrap());
            if model::has_forked() {
                returned.push(3);
            }
            model::go_on_alone();
            settle_and_check(&ledger, &returned);
        });
    }
}

#[test]
fn a_child_of_another_thread_has_what_was_done_and_nothing_half_done() {
    for at in 0..STEPS {
        check(Search::Random(SCHEDULES), move || {
            let ledger = new_ledger();
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
            let threads = [thread(&ledger, 1, &[1, 2], 0, None, |_| {}), thread(&ledger, 2, &[3, 4], 0, None, |_| {})];
            forker.join().unwrap();
            let mut returned: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            returned.push(6);
            model::go_on_alone();
            settle_and_check(&ledger, &returned);
            assert!(ledger.nodes_in_use() <= 1, "a node of a thread that is not in the child was lost");
        });
    }
}
