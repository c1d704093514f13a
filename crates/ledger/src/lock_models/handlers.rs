//! Signal handlers and forks, at each step of the frame that they interrupt.

use super::*;

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
fn signals_that_keep_a_frame_from_continuing_do_not_take_its_lock() {
    check_each_step(Search::Exhaustive(1), |at| {
        let ledger = new_ledger(PATIENT);
        let in_handler = ledger.clone();
        // One handler after the other, or one that is long. Each also asks the ledger for counts,
        // as limits do.
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

/// How many changes and reads a handler makes. Since a read counts for several changes, this is
/// more than a thread queues under a frame of its own before that frame is judged gone. It is fewer
/// changes than make the queue nearly full.
const MANY: usize = 100;

#[test]
fn a_frame_that_was_left_for_good_is_found_in_time_and_before_the_queue_is_full() {
    for (times, is_hasty) in [(MANY, HASTY), (250, PATIENT)] {
        check(Search::Exhaustive(1), move || {
            let ledger = new_ledger(is_hasty);
            assert!(ledger.guarded.lock.try_lock(frame(1)));
            // The thread continues far deeper on its stack.
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
        // A handler above it makes two changes and jumps out. The thread continues far deeper on
        // its stack.
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
fn a_child_forked_by_a_handler_continues_in_the_interrupted_frame() {
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
                // Not in a handler: the forking thread is between two hooks.
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
