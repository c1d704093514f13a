//! Threads that stop forever, end, or are suspended, at each of their steps.

use super::*;

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
fn a_slow_holder_that_was_judged_gone_notices_it() {
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
fn the_first_waiting_threads_wait_as_long_as_later_ones() {
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
fn an_old_count_of_waiting_threads_does_not_affect_a_new_holder() {
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
            // The holder may have unlocked.
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
fn a_change_that_a_frame_queued_before_it_stopped_is_made_by_the_holder() {
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
fn a_change_by_a_broken_holder_during_a_rebuild_is_seen() {
    check_each_step(Search::Exhaustive(1), |at| {
        let ledger = new_ledger(HASTY);
        // One holder was broken, and has noticed it.
        assert!(ledger.guarded.lock.try_lock(frame(1)));
        ledger.unlock(frame(2));
        let other = ledger.clone();
        let work = Box::new(move || {
            // Another holder was broken too, and continues in the middle of its change.
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
fn a_thread_that_jumps_out_of_any_step_continues() {
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
            // The thread jumps out once more, now while it holds the lock.
            assert!(ledger.guarded.lock.try_lock(frame(1)));
            change(&ledger, frame(1), 4);
            one.push(4);
            settle_and_check(&ledger, &[&one, &two]);
            // The node that was consumed last may be its own.
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
