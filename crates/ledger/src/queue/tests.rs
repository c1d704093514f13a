extern crate std;
use super::{Hold, Queue};
use crate::kernel::tests::Heap;
use crate::model::{Event, Search, check, check_each_step, participate};
use std::boxed::Box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32 as Plain, Ordering::Relaxed as Unordered};

/// All words of an entry follow from one number.
type Entry = [u64; 3];

const ENTRIES: usize = 16;
/// The entry of the frame that stops or is suspended.
const ITS_OWN: usize = 15;
const A_THIRDS: usize = 14;
/// The steps of other frames in the meantime, one bit for each. They push an entry if the bit is
/// set, and consume one if it is not.
const DEEDS: u32 = 7;

struct State {
    queue: Queue<Entry, Heap>,
    pushed: Plain,
    /// How often each was applied, and its position in the order, from 1.
    applied: [Plain; ENTRIES],
    turns: [Plain; ENTRIES],
    turn: Plain,
}

fn its_frame() -> Hold {
    Hold::new(0x7f00_0000_1000, 0x7ffe_0010_0000)
}

fn third_frame() -> Hold {
    Hold::new(0x7f00_0000_3000, 0x7ffe_0010_0000)
}

fn other_frame() -> Hold {
    Hold::new(0x7f00_0000_2000, 0x7ffe_0010_0000)
}

impl State {
    /// Two entries wait, and one was consumed.
    fn new() -> Arc<State> {
        let zeros = || [const { Plain::new(0) }; ENTRIES];
        let state =
            State { queue: Queue::new(), pushed: Plain::new(0), applied: zeros(), turns: zeros(), turn: Plain::new(0) };
        state.others_do(0b111, 3);
        state.others_do(0, 1);
        Arc::new(state)
    }

    fn push(&self, number: usize, hold: Hold) {
        let number = number as u64;
        assert!(self.queue.push([number, number + 100, number + 200], hold));
    }

    fn consume(&self) -> bool {
        self.queue.apply_next(|entry| {
            let [number, ..] = entry;
            assert_eq!(entry, [number, number + 100, number + 200], "an entry of two");
            let number = number as usize;
            if self.applied[number].fetch_add(1, Unordered) == 0 {
                self.turns[number].store(1 + self.turn.fetch_add(1, Unordered), Unordered);
            }
        })
    }

    fn others_do(&self, deeds: u32, count: u32) {
        for deed in 0..count {
            if deeds & 1 << deed != 0 {
                self.push(self.pushed.fetch_add(1, Unordered) as usize, other_frame());
            } else {
                self.consume();
            }
        }
    }

    /// To be called when everything is consumed. Each entry of the others was applied, in
    /// order, and at most `most` times. At most `lost` nodes are lost.
    fn check_at_end(&self, most: u32, lost: usize) {
        (0..2 * ENTRIES).any(|_| !self.consume());
        assert!(self.queue.is_empty(), "it has no end");
        let pushed = self.pushed.load(Unordered) as usize;
        let applied = self.applied.each_ref().map(|applied| applied.load(Unordered));
        assert!(applied[..pushed].iter().all(|times| (1..=most).contains(times)), "{applied:?}");
        assert!(applied[pushed..A_THIRDS].iter().all(|times| *times == 0), "{applied:?}");
        let turns = self.turns.each_ref().map(|turn| turn.load(Unordered));
        assert!(turns[..pushed].is_sorted(), "out of order: {turns:?}");
        assert!(self.queue.owned() <= 1 + lost, "a node was lost");
    }
}

fn for_each_step_and_deeds(count: u32, model: impl Fn(usize, u32) + Copy + Send + Sync + 'static) {
    for deeds in 0..1 << count {
        check_each_step(Search::Exhaustive(1), move |at| model(at, deeds));
    }
}

#[test]
fn a_writer_that_is_suspended_at_any_step_appends_its_entry_once() {
    for_each_step_and_deeds(DEEDS, |at, deeds| {
        let state = State::new();
        let others = state.clone();
        let work = Box::new(move || others.others_do(deeds, DEEDS));
        participate(at, Some(Event::Handler(work)), || state.push(ITS_OWN, its_frame()));
        state.check_at_end(1, 0);
        assert_eq!(state.applied[ITS_OWN].load(Unordered), 1);
    });
}

/// A frame's entry is appended even if a third frame stops in the middle of its own push.
#[test]
fn a_writer_that_is_suspended_while_another_stops_appends_its_entry_once() {
    for stops_at in 0..24 {
        for_each_step_and_deeds(4, move |at, deeds| {
            let state = State::new();
            let others = state.clone();
            let work = Box::new(move || {
                others.others_do(deeds, 4);
                participate(stops_at, Some(Event::Stop), || others.push(A_THIRDS, third_frame()));
            });
            participate(at, Some(Event::Handler(work)), || state.push(ITS_OWN, its_frame()));
            // The third frame's node may be lost.
            state.check_at_end(1, 1);
            assert_eq!(state.applied[ITS_OWN].load(Unordered), 1);
        });
    }
}

#[test]
fn a_writer_that_stops_at_any_step_loses_nothing() {
    for reclaimed_at in [0, 2, DEEDS] {
        for_each_step_and_deeds(DEEDS, move |at, deeds| {
            let state = State::new();
            participate(at, Some(Event::Stop), || state.push(ITS_OWN, its_frame()));
            state.others_do(deeds, reclaimed_at);
            state.queue.reclaim(|owner| owner == its_frame());
            state.others_do(deeds >> reclaimed_at, DEEDS - reclaimed_at);
            state.check_at_end(1, 0);
            assert!(state.applied[ITS_OWN].load(Unordered) <= 1);
        });
    }
}

#[test]
fn a_consumer_that_stops_at_any_step_leaves_what_it_has_not_applied() {
    for_each_step_and_deeds(DEEDS, |at, deeds| {
        let state = State::new();
        participate(at, Some(Event::Stop), || {
            state.consume();
        });
        state.others_do(deeds, DEEDS);
        // It may have removed the entry without freeing the node.
        state.check_at_end(2, 1);
    });
}

/// The consumer was judged gone, so there are two consumers.
#[test]
fn a_consumer_that_is_suspended_at_any_step_applies_what_was_an_entry_then() {
    for_each_step_and_deeds(DEEDS, |at, deeds| {
        let state = State::new();
        let others = state.clone();
        let work = Box::new(move || others.others_do(deeds, DEEDS));
        participate(at, Some(Event::Handler(work)), || {
            state.consume();
        });
        state.check_at_end(2, 0);
    });
}

#[test]
fn writers_and_consumers_at_once_lose_no_entry_and_no_node() {
    check(Search::Suspending(10_000), || {
        let state = State::new();
        let thread = |work: fn(&State)| {
            let state = state.clone();
            shuttle::thread::spawn(move || work(&state))
        };
        let threads = [
            thread(|state| state.others_do(0b1011, 4)),
            thread(|state| state.push(ITS_OWN, its_frame())),
            thread(|state| state.others_do(0, 3)),
        ];
        for thread in threads {
            thread.join().unwrap();
        }
        state.check_at_end(2, 0);
        assert!((1..=2).contains(&state.applied[ITS_OWN].load(Unordered)));
    });
}
