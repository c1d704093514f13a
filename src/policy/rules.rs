//! The rules of faults that are armed, and how they change. choice.rs: the choice among them at a call.
//!
//! There are two tables, of which one is current. New rules are appended to it. To clear them, the other table is emptied and
//! becomes current: the next generation. A call reads a rule word by word, whatever happens to the tables meanwhile, and then
//! looks whether the generation is still the same; if not, it begins again. So nobody waits, not even in a signal handler,
//! and no memory is given back.

mod choice;
mod entry;
mod on_stack;
pub mod replay;

use crate::sync::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use epollshim_format::faults::{COUNTERS, RULES, Rule};
use epollshim_format::function::{Function, Functions};
use epollshim_format::recording::policy as layout;

use self::choice::{counted, tag, tally};
use self::entry::{Entry, ILLEGAL, Kept, counters_of};
use super::effects;
use crate::ledger::{self, Hold, Lock};
use crate::{stacks, sys, thread};

pub use self::choice::{Fault, Ordinals, RuleTally, decide};

/// Bytes of rules that one table keeps for the report.
const TEXT: usize = 16 * 1024;

/// The functions of `stack~` that one table knows.
const ON_STACK: usize = 4096;

/// Of each the first and the last address.
type OnStack = [[AtomicUsize; 2]; ON_STACK];

/// The tables, and who changes them.
struct Rules {
    tables: [Table; 2],
    /// The lowest bit tells which table is current.
    generation: AtomicU32,
    /// Held by the frame that changes the tables. Others are refused, and do not wait.
    arming: Lock,
}

struct Table {
    /// Rules that are complete. Release by the arming thread, Acquire by calls.
    length: AtomicU32,
    entries: [Entry; RULES],
    text: [AtomicU8; TEXT],
    /// Null: no rule has needed it. Release by the arming thread, Acquire by calls: the kernel has zeroed it.
    on_stack: AtomicPtr<OnStack>,
}

static TABLES: Rules = Rules::new();

/// What lies behind a place whose beginning is in the lower half, and its length in the upper.
fn end(place: u64) -> usize {
    place as u32 as usize + (place >> 32) as usize
}

impl Table {
    const fn new() -> Self {
        Table {
            length: AtomicU32::new(0),
            entries: [const { Entry::new() }; RULES],
            text: [const { AtomicU8::new(0) }; TEXT],
            on_stack: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Keeps bytes from `at` on, which it moves behind them, and returns where they are. None: no room.
    fn keep(&self, at: &mut usize, bytes: &[u8]) -> Option<u64> {
        let places = self.text.get(*at..*at + bytes.len())?;
        for (place, byte) in places.iter().zip(bytes) {
            place.store(*byte, Ordering::Relaxed);
        }
        let kept = *at as u64 | (bytes.len() as u64) << 32;
        *at += bytes.len();
        Some(kept)
    }

    /// Where the text of the first so many rules ends. (It is not a count of its own: whoever stops while it fills in a rule
    /// leaves nothing behind.)
    fn text_end(&self, length: u32) -> usize {
        let last = length.checked_sub(1).and_then(|last| self.entries.get(last as usize));
        last.map_or(0, |entry| end(entry.stack_name.load(Ordering::Relaxed)))
    }

    /// How many counters the first so many rules have.
    fn counters_end(&self, length: u32) -> usize {
        let last = length.checked_sub(1).and_then(|last| self.entries.get(last as usize));
        last.map_or(0, |entry| {
            let functions = Functions(entry.functions.load(Ordering::Relaxed));
            entry.counters.load(Ordering::Relaxed) as usize + counters_of(functions)
        })
    }

    /// How many functions of `stack~` the first so many rules have.
    fn on_stack_end(&self, length: u32) -> usize {
        let last = length.checked_sub(1).and_then(|last| self.entries.get(last as usize));
        last.map_or(0, |entry| end(entry.on_stack.load(Ordering::Relaxed)))
    }

    /// Finds the functions that a rule names, and keeps where they lie from `at` on.
    fn find_functions(&self, at: &mut usize, name: &[u8]) -> Result<u64, Refusal> {
        let first = *at;
        if !name.is_empty() {
            if self.on_stack.load(Ordering::Relaxed).is_null() {
                let start = sys::map(size_of::<OnStack>()).map_err(|_| Refusal::Full)?;
                self.on_stack.store(start.cast(), Ordering::Release);
            }
            // SAFETY: the mapping made here, now or for an earlier rule, which nobody unmaps; zero bytes are valid.
            let functions = unsafe { self.on_stack.load(Ordering::Acquire).as_ref() };
            let has_room = on_stack::find(name, |start, end| {
                let Some([first, last]) = functions.and_then(|functions| functions.get(*at)) else { return false };
                first.store(start, Ordering::Relaxed);
                last.store(end, Ordering::Relaxed);
                *at += 1;
                true
            });
            if !has_room {
                return Err(Refusal::ManyFunctions);
            }
        }
        Ok(first as u64 | ((*at - first) as u64) << 32)
    }

    /// Whether an address lies in one of these functions.
    fn has_function_at(&self, place: u64, address: usize) -> bool {
        // SAFETY: null, or the mapping that `find_functions` made and nobody unmaps.
        let functions = unsafe { self.on_stack.load(Ordering::Acquire).as_ref() };
        let functions = functions.and_then(|functions| functions.get(place as u32 as usize..end(place)));
        functions
            .unwrap_or_default()
            .iter()
            .any(|[first, last]| (first.load(Ordering::Relaxed)..=last.load(Ordering::Relaxed)).contains(&address))
    }

    fn kept(&self, place: u64) -> impl Iterator<Item = u8> + Clone + '_ {
        let (at, length) = (place as u32 as usize, (place >> 32) as usize);
        self.text.get(at..at + length).unwrap_or_default().iter().map(|byte| byte.load(Ordering::Relaxed))
    }
}

impl Rules {
    const fn new() -> Rules {
        Rules { tables: [const { Table::new() }; 2], generation: AtomicU32::new(0), arming: Lock::new() }
    }

    fn table(&self, generation: u32) -> &Table {
        let [even, odd] = &self.tables;
        if generation.is_multiple_of(2) { even } else { odd }
    }

    /// Adds rules behind those that are armed. None of them is armed if one cannot be.
    fn arm<'a>(&self, hold: Hold, rules: impl Iterator<Item = Rule<'a>>) -> Result<(), Refusal> {
        self.exclusively(hold, || {
            let table = self.table(self.generation.load(Ordering::Relaxed));
            let mut length = table.length.load(Ordering::Relaxed);
            let mut text_end = table.text_end(length);
            let mut counters = table.counters_end(length);
            let mut functions_end = table.on_stack_end(length);
            for rule in rules {
                if !rule.caller.is_empty() && !effects::can_tell_callers() {
                    return Err(Refusal::NoCaller);
                }
                if !rule.stack_name.is_empty() || rule.stack.is_some() {
                    stacks::want_walks().map_err(Refusal::Stacks)?;
                }
                request(rule.functions)?;
                let entry = table.entries.get(length as usize).ok_or(Refusal::Full)?;
                let mut keep = |bytes| table.keep(&mut text_end, bytes).ok_or(Refusal::Full);
                let kept = Kept {
                    counters,
                    text: keep(rule.text)?,
                    caller: keep(rule.caller)?,
                    stack_name: keep(rule.stack_name)?,
                    on_stack: table.find_functions(&mut functions_end, rule.stack_name)?,
                };
                entry.fill(&rule, &kept);
                counters += counters_of(rule.functions);
                if counters > COUNTERS {
                    return Err(Refusal::Full);
                }
                length += 1;
            }
            // Release: whoever reads the length finds the rules complete.
            table.length.store(length, Ordering::Release);
            Ok(())
        })
    }

    /// Takes all rules back.
    fn clear(&self, hold: Hold) -> Result<(), Refusal> {
        self.exclusively(hold, || {
            let next = self.generation.load(Ordering::Relaxed).wrapping_add(1);
            self.table(next).length.store(0, Ordering::Relaxed);
            // Release: whoever reads the new generation finds its table empty.
            self.generation.store(next, Ordering::Release);
            Ok(())
        })
    }

    /// One change is whole before the next begins. A frame that stopped in the middle of one has published nothing: the next
    /// one takes its place.
    fn exclusively(&self, hold: Hold, work: impl FnOnce() -> Result<(), Refusal>) -> Result<(), Refusal> {
        if !self.arming.try_lock(hold) {
            let holder = self.arming.holder().ok_or(Refusal::Busy)?;
            let is_gone = holder.is_gone(hold, thread::has_owner_ended, sys::is_on_alternate_stack);
            if !is_gone || !self.arming.break_lock(holder, hold) {
                return Err(Refusal::Busy);
            }
        }
        let result = work();
        self.arming.unlock(hold);
        result
    }

    /// In the child of a fork: a thread of the parent's that was arming is not here to end it.
    fn after_fork(&self, hold: Hold) {
        if let Some(holder) = self.arming.holder().filter(|holder| !holder.is_beside(hold))
            && self.arming.break_lock(holder, hold)
        {
            self.arming.unlock(hold);
        }
    }
}

/// Why rules could not be armed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Another thread is changing them.
    Busy,
    /// More than [`RULES`], or their text is too long, or they name too many calls.
    Full,
    /// `caller=` needs glibc 2.35.
    NoCaller,
    /// The call stack cannot be looked at.
    Stacks(stacks::Trouble),
    /// `stack~` names more than [`ON_STACK`] functions.
    ManyFunctions,
    /// A function that is hooked on request alone, and no rule of the start has asked for it.
    NotHooked,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Refusal::Busy => f.write_str("another thread is changing the rules"),
            Refusal::Full => {
                write!(f, "more than {RULES} rules, {TEXT} bytes of them, or {COUNTERS} calls that they name")
            }
            Refusal::Stacks(trouble) => write!(f, "stack~ and stack=: {trouble}"),
            Refusal::ManyFunctions => {
                write!(f, "stack~ names more than {ON_STACK} functions in all; give longer names")
            }
            Refusal::NotHooked => f.write_str(
                "functions that take memory are hooked at the start alone: start the program with a rule for them",
            ),
            Refusal::NoCaller => {
                f.write_str("caller= and site= need glibc 2.35 or later (_dl_find_object); musl has no such function")
            }
        }
    }
}

/// Those functions of [`Functions::ON_REQUEST`] that rules of the start have asked for. Relaxed: the thread that arms them hooks them.
static REQUESTED: AtomicU64 = AtomicU64::new(0);
/// They are hooked: it is too late to ask for more.
static IS_STARTED: AtomicBool = AtomicBool::new(false);

/// Asks for the functions that are hooked on request alone.
fn request(functions: Functions) -> Result<(), Refusal> {
    let asked = functions.0 & Functions::ON_REQUEST.0;
    if IS_STARTED.load(Ordering::Relaxed) && asked & !REQUESTED.load(Ordering::Relaxed) != 0 {
        return Err(Refusal::NotHooked);
    }
    if asked != 0 {
        REQUESTED.fetch_or(asked, Ordering::Relaxed);
    }
    Ok(())
}

/// Those that are to be hooked, which the caller does; no more are from now on.
pub fn requested() -> Functions {
    IS_STARTED.store(true, Ordering::Relaxed);
    Functions(REQUESTED.load(Ordering::Relaxed))
}

/// Adds rules behind those that are armed. None of them is armed if one cannot be.
pub fn arm<'a>(rules: impl Iterator<Item = Rule<'a>>) -> Result<(), Refusal> {
    TABLES.arm(ledger::here(), rules)
}

/// Takes all rules back.
pub fn clear() -> Result<(), Refusal> {
    TABLES.clear(ledger::here())
}

/// In the child of a fork.
pub fn after_fork() {
    TABLES.after_fork(ledger::here());
}

/// Counts begin anew.
pub fn restart() {
    if let Some(tally) = super::tally() {
        for rule in &tally.rules {
            rule.matched.store(0, Ordering::Relaxed);
            rule.fired.store(0, Ordering::Relaxed);
            rule.beyond.store(0, Ordering::Relaxed);
        }
        tally.calls.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }
    for block in crate::thread::all() {
        block.part::<Ordinals>().forget_counts();
    }
}

/// A rule, for the report.
pub struct RuleStatus {
    generation: u32,
    text: u64,
    pub matched: u64,
    pub fired: u64,
    pub legal: bool,
}

impl RuleStatus {
    pub fn text(&self) -> impl Iterator<Item = u8> + Clone + use<> {
        TABLES.table(self.generation).kept(self.text)
    }
}

/// A call of a function has been looked at by the rules: what they count for it.
#[inline(never)]
pub fn follow(function: Function) {
    let Some(start) = super::recorded() else { return };
    for (index, rule) in armed_for(function) {
        let at = layout::FIRST + index * layout::RULE;
        for (place, count) in [(layout::MATCHED, rule.matched), (layout::FIRED, rule.fired)] {
            let copy = super::word(start, at + place);
            if copy.load(Ordering::Relaxed) < count {
                // The highest of what several threads have read: it only grows.
                copy.fetch_max(count, Ordering::Relaxed);
            }
        }
    }
}

/// The functions that rules name.
pub fn functions() -> Functions {
    let table = TABLES.table(TABLES.generation.load(Ordering::Acquire));
    let length = table.length.load(Ordering::Acquire) as usize;
    let named = table.entries.iter().take(length).map(|entry| Functions(entry.functions.load(Ordering::Relaxed)));
    named.fold(Functions::NONE, Functions::with)
}

/// How often all rules were taken back, as the recording has it: the lowest byte.
pub fn generation() -> u64 {
    u64::from(TABLES.generation.load(Ordering::Acquire) as u8)
}

/// The rules that are armed now.
pub fn armed() -> impl Iterator<Item = RuleStatus> {
    armed_where(None).map(|(_, status)| status)
}

/// Those that name a function, with their places among all.
pub fn armed_for(function: Function) -> impl Iterator<Item = (usize, RuleStatus)> {
    armed_where(Some(function))
}

fn armed_where(function: Option<Function>) -> impl Iterator<Item = (usize, RuleStatus)> {
    let generation = TABLES.generation.load(Ordering::Acquire);
    let table = TABLES.table(generation);
    let length = table.length.load(Ordering::Acquire) as usize;
    let tallies = super::tally().map_or(&[][..], |tally| &tally.rules[..]);
    let names = move |entry: &Entry| match function {
        Some(function) => Functions(entry.functions.load(Ordering::Relaxed)).has(function),
        None => true,
    };
    let all = table.entries.iter().enumerate().take(length).filter(move |(_, entry)| names(entry));
    all.map(move |(index, entry)| {
        let of = |word: fn(&RuleTally) -> &AtomicU64| {
            tally(tallies, generation, index).map_or(0, |tally| counted(word(tally), tag(generation)))
        };
        let status = RuleStatus {
            generation,
            text: entry.text.load(Ordering::Relaxed),
            matched: of(|tally| &tally.matched),
            fired: of(|tally| &tally.fired),
            legal: entry.head.load(Ordering::Relaxed) & ILLEGAL == 0 && of(|tally| &tally.beyond) == 0,
        };
        (index, status)
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::choice::{NUMBER, Tallies};
    use super::{COUNTERS, RULES, Refusal, RuleTally, Rules};
    use crate::frame::Frame;
    use crate::ledger::Hold;
    use crate::model::{self, Event, Search, check, check_each_step, participate};
    use crate::sync::{AtomicU32, AtomicU64, Ordering};
    use epollshim_format::faults::{self, Outcome};
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
}
