//! Models of rules that change while calls are decided by them.

extern crate std;
use super::counts::{NUMBER, RuleTally, Tallies};
use super::{Refusal, Rules};
use crate::frame::Frame;
use crate::ledger::Hold;
use crate::model::{self, Event, Search, check, check_each_step, participate};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use epollshim_format::faults::{self, COUNTERS, Outcome, RULES};
use epollshim_format::function::Function;
use std::boxed::Box;
use std::format;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as Plain, Ordering::Relaxed as Unordered};

struct State {
    rules: Rules,
    process: [RuleTally; 2 * RULES],
    calls: [AtomicU64; 2 * COUNTERS],
    thread: [AtomicU64; COUNTERS],
    ranks: [AtomicU32; 2],
}

impl State {
    fn new() -> Arc<State> {
        // SAFETY: atomics, for which zero is valid.
        Arc::from(unsafe { Box::<State>::new_zeroed().assume_init() })
    }

    /// Arms a rule all of whose numbers follow from one, for every wait.
    fn arm(&self, hold: Hold, number: u64) -> Result<(), Refusal> {
        self.arm_text(hold, &text(number))
    }

    fn arm_text(&self, hold: Hold, text: &str) -> Result<(), Refusal> {
        self.rules.arm(hold, faults::parse(text.as_bytes(), true).map(Result::unwrap))
    }

    /// How many rules are armed.
    fn length(&self) -> u32 {
        self.rules.table(self.rules.generation.load(Ordering::Relaxed)).length.load(Ordering::Relaxed)
    }

    /// The number of the rule that a wait meets. Panics if it is made of two rules.
    fn decide(&self) -> Option<u64> {
        let frame = Frame { words: [0; 6], state: 0, caller: 0 };
        let [own, last] = &self.ranks;
        let tallies = Tallies {
            process: &self.process,
            calls: &self.calls,
            thread: &self.thread,
            shared: None,
            ranks: [own, last],
        };
        let fault = self.rules.decide(tallies, &frame, Function::EpollWait)?;
        let number = u64::from(fault.batch);
        assert_eq!(fault.outcome, Some(Outcome::Error(number as u16)), "a fault of two rules");
        assert_eq!((fault.delay_enter, fault.delay_exit), (number * 1000, number * 1000), "a fault of two rules");
        Some(number)
    }

    fn matched(&self) -> u64 {
        self.process.iter().map(|tally| tally.matched.load(Ordering::Relaxed) & NUMBER).sum()
    }
}

fn text(number: u64) -> std::string::String {
    format!("epoll_wait:error={number}:delay_enter={number}:delay_exit={number}:batch={number}")
}

fn frame(thread: usize) -> Hold {
    Hold::new(0x7f00_0000_1000 + 64 * thread, 0x7ffe_0010_0000)
}

fn handler(thread: usize) -> Hold {
    Hold::new(0x7f00_0000_1000 + 64 * thread, 0x7ffe_0010_0000 - 4096)
}

#[test]
fn a_call_meets_one_rule_whole_while_rules_change_under_it() {
    check(Search::Random(1500), || {
        let state = State::new();
        let steering = {
            let state = state.clone();
            shuttle::thread::spawn(move || {
                for number in [1, 2] {
                    state.arm(frame(1), number).unwrap();
                    state.rules.clear(frame(1)).unwrap();
                }
                state.arm(frame(1), 3).unwrap();
            })
        };
        let calls = {
            let state = state.clone();
            shuttle::thread::spawn(move || {
                let mut last = 0;
                for _ in 0..3 {
                    let number = state.decide().unwrap_or(last);
                    assert!(number >= last, "a rule that was taken back came again");
                    last = number;
                }
            })
        };
        calls.join().unwrap();
        steering.join().unwrap();
        assert_eq!(state.decide(), Some(3));
    });
}

#[test]
fn a_call_that_is_overtaken_at_any_step_begins_again() {
    for at in 0..60 {
        check(Search::Exhaustive(1), move || {
            let state = State::new();
            state.arm(frame(1), 1).unwrap();
            let steering = state.clone();
            // Both tables are written over.
            let work = Box::new(move || {
                for number in [2, 3] {
                    steering.rules.clear(handler(1)).unwrap();
                    steering.arm(handler(1), number).unwrap();
                }
                assert_eq!(steering.decide(), Some(3));
            });
            participate(at, Some(Event::Handler(work)), || {
                let number = state.decide();
                assert_eq!(number, Some(if model::any_event_met() { 3 } else { 1 }));
            });
            assert_eq!(state.matched(), if model::any_event_met() { 2 } else { 1 }, "a call was not counted");
        });
    }
}

#[test]
fn a_handler_at_any_step_of_a_change_meets_no_rule_that_was_taken_back() {
    check_each_step(Search::Exhaustive(1), |at| {
        let state = State::new();
        let in_handler = state.clone();
        let taken_back = Arc::new(Plain::new(0));
        let least = taken_back.clone();
        let work = Box::new(move || {
            let least = least.load(Unordered);
            assert!(in_handler.decide().is_none_or(|number| number > least), "it came again");
        });
        participate(at, Some(Event::Handler(work)), || {
            for number in 1..=3 {
                state.arm(frame(1), number).unwrap();
                state.rules.clear(frame(1)).unwrap();
                taken_back.store(number, Unordered);
            }
        });
        assert_eq!(state.decide(), None);
    });
}

#[test]
fn two_threads_that_call_are_both_counted() {
    check(Search::Random(1500), || {
        let state = State::new();
        state.arm(frame(1), 1).unwrap();
        let call = |state: Arc<State>| shuttle::thread::spawn(move || assert_eq!(state.decide(), Some(1)));
        for thread in [call(state.clone()), call(state.clone())] {
            thread.join().unwrap();
        }
        assert_eq!(state.matched(), 2);
    });
}

#[test]
fn of_two_threads_that_call_one_meets_a_rule_that_fires_once() {
    check(Search::Random(1500), || {
        let state = State::new();
        state.arm_text(frame(1), &format!("{}:max=1", text(1))).unwrap();
        let call = |state: Arc<State>| shuttle::thread::spawn(move || state.decide());
        let calls = [call(state.clone()), call(state.clone())].map(|call| call.join().unwrap());
        assert!(calls == [Some(1), None] || calls == [None, Some(1)], "{calls:?}");
    });
}

#[test]
fn of_two_rules_that_are_armed_together_both_are_there_or_none() {
    check_each_step(Search::Exhaustive(1), |at| {
        let state = State::new();
        let in_handler = state.clone();
        let look = Box::new(move || assert!(matches!(in_handler.length(), 0 | 2)));
        let pair = format!("{};{}", text(1), text(2));
        participate(at, Some(Event::Handler(look)), || state.arm_text(frame(1), &pair).unwrap());
        assert_eq!(state.length(), 2);
    });
}

#[test]
fn a_thread_that_jumps_out_while_it_arms_leaves_no_rule_and_no_lock() {
    // A rule of this kind takes some 20 words and its text.
    for at in 0..110 {
        check(Search::Random(15), move || {
            let state = State::new();
            let caller = {
                let state = state.clone();
                shuttle::thread::spawn(move || state.decide())
            };
            let went_on = participate(at, Some(Event::Stop), || state.arm(frame(1), 1).unwrap());
            assert!(caller.join().unwrap().is_none_or(|number| number == 1));
            if !went_on {
                assert!(state.decide().is_none_or(|number| number == 1));
                state.rules.clear(frame(1)).expect("the lock of a frame that is gone");
                assert_eq!(state.decide(), None);
                state.arm(frame(1), 2).unwrap();
                assert_eq!(state.decide(), Some(2));
            }
        });
    }
}

#[test]
fn a_handler_above_a_frame_that_arms_is_refused_and_calls_go_on() {
    for at in 0..110 {
        check(Search::Random(5), move || {
            let state = State::new();
            let in_handler = state.clone();
            let work = Box::new(move || {
                let armed = in_handler.arm(handler(1), 2);
                assert!(matches!(armed, Ok(()) | Err(Refusal::Busy)));
                in_handler.decide();
            });
            participate(at, Some(Event::Handler(work)), || state.arm(frame(1), 1).unwrap());
            assert!(state.decide().is_some());
        });
    }
}

#[test]
fn the_child_of_a_fork_arms_whatever_a_thread_of_its_parent_was_at() {
    for at in 0..110 {
        check(Search::Random(15), move || {
            let state = State::new();
            let arming = {
                let state = state.clone();
                shuttle::thread::spawn(move || {
                    participate(0, None, || state.arm(frame(1), 1).unwrap());
                })
            };
            let in_child = state.clone();
            let fork = Event::Fork(Box::new(move || in_child.rules.after_fork(frame(2))));
            participate(at, Some(fork), || (0..=at).for_each(|_| model::step()));
            let forked = model::has_forked();
            arming.join().unwrap();
            model::go_on_alone();
            if forked {
                state.rules.clear(frame(2)).expect("the lock of a thread that is not in the child");
                state.arm(frame(2), 3).unwrap();
                assert_eq!(state.decide(), Some(3));
            }
        });
    }
}
