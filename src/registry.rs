//! The members of a process, one for each thread: a table that only grows and whose members are
//! reused.
//!
//! Nothing here locks. One compare-exchange of a free place lists a member, and one of its owner
//! gives it to a new thread. So a frame that stops at any step (a handler jumps out of it) leaves a
//! consistent table. It leaves at most one member that no other thread can get. The frame's own
//! thread finds that member again, because it is the owner.
//!
//! The child of a fork lists its members after those of its parent, whose memory the kernel has
//! wiped.

use crate::sync::{AtomicPtr, AtomicU32, Ordering};
use crate::sys;

/// What each thread has one of. All zero is valid: a fork may wipe a member at any moment.
pub trait Member: Sync + 'static {
    /// The kernel's id of the thread that owns the member, or [`KEPT`]. 0: not listed yet.
    fn owner(&self) -> &AtomicU32;
    /// The place at which it is listed, plus one; 0: not listed yet.
    fn place(&self) -> &AtomicU32;
}

/// An owner of which it cannot be known that it has ended.
pub const KEPT: u32 = u32::MAX;

/// Places that exist from the start, enough for most programs.
const FIRST: usize = 64;
/// Places in a part, which is one page and is mapped when it is needed.
const PART: usize = 512;
const PARTS: usize = 128;

/// How many members a new thread tries before it creates one. More than one, so that the number of
/// members stays close to the highest number of threads that existed at once.
const SEARCH: u32 = 4;

type Part<T> = [AtomicPtr<T>; PART];

pub struct Registry<T: 'static> {
    first: [AtomicPtr<T>; FIRST],
    parts: [AtomicPtr<Part<T>>; PARTS],
    /// The number of places in use, or one less.
    end: AtomicU32,
    /// The first place of this process. The places before it belong to its ancestors.
    begin: AtomicU32,
    /// Where the next search for a member of an ended thread begins.
    cursor: AtomicU32,
}

impl<T: Member> Registry<T> {
    pub const fn new() -> Self {
        Registry {
            first: [const { AtomicPtr::new(core::ptr::null_mut()) }; FIRST],
            parts: [const { AtomicPtr::new(core::ptr::null_mut()) }; PARTS],
            end: AtomicU32::new(0),
            begin: AtomicU32::new(0),
            cursor: AtomicU32::new(0),
        }
    }

    fn place(&self, index: u32) -> Option<&AtomicPtr<T>> {
        let index = index as usize;
        if let Some(place) = self.first.get(index) {
            return Some(place);
        }
        let index = index - FIRST;
        // Acquire: pairs with the Release in `map_part`. The kernel zeroed the part.
        let part = self.parts.get(index / PART)?.load(Ordering::Acquire);
        // SAFETY: null, or a part, which is never unmapped.
        unsafe { part.as_ref() }?.get(index % PART)
    }

    #[cold]
    fn map_part(&self, index: u32) -> Option<&AtomicPtr<T>> {
        let part = self.parts.get((index as usize).checked_sub(FIRST)? / PART)?;
        let bytes = size_of::<Part<T>>();
        let start = sys::map(bytes).ok()?;
        if part.compare_exchange(core::ptr::null_mut(), start.cast(), Ordering::Release, Ordering::Relaxed).is_err() {
            // SAFETY: another frame mapped the part first. No other thread has the address of this
            // mapping.
            unsafe { sys::unmap(start, bytes) };
        }
        self.place(index)
    }

    /// Lists a member once. False: there is no room or no memory for it.
    pub fn list(&self, member: &'static T) -> bool {
        loop {
            if member.place().load(Ordering::Relaxed) != 0 {
                return true;
            }
            let index = self.end.load(Ordering::Acquire);
            let Some(place) = self.place(index).or_else(|| self.map_part(index)) else { return false };
            let this = core::ptr::from_ref(member).cast_mut();
            // Release: pairs with the Acquire in `at`. A thread that finds the member also sees
            // what was written to it.
            let listed =
                place.compare_exchange(core::ptr::null_mut(), this, Ordering::Release, Ordering::Relaxed).is_ok();
            if listed {
                // If two frames of one thread list it, the first place counts. Readers skip the
                // member at the other place.
                let _ = member.place().compare_exchange(0, index + 1, Ordering::Relaxed, Ordering::Relaxed);
            }
            // Do this also for a frame that stopped before it did so itself.
            let _ = self.end.compare_exchange(index, index + 1, Ordering::Release, Ordering::Relaxed);
        }
    }

    fn at(&self, index: u32) -> Option<&'static T> {
        // SAFETY: null, or a listed member, which is never unmapped. Acquire: pairs with the
        // Release in `list`.
        let member = unsafe { self.place(index)?.load(Ordering::Acquire).as_ref() }?;
        (member.place().load(Ordering::Relaxed) == index + 1).then_some(member)
    }

    /// Every member of this process, each once.
    pub fn all(&self) -> impl Iterator<Item = &'static T> {
        // One more, because `end` may be behind.
        let end = self.end.load(Ordering::Acquire) + 1;
        (self.begin.load(Ordering::Relaxed)..end).filter_map(|index| self.at(index))
    }

    /// Whether anything was listed here. In the child of a fork, before [`Registry::after_fork`]:
    /// whether its parent listed anything.
    pub fn is_used(&self) -> bool {
        let (begin, end) = (self.begin.load(Ordering::Relaxed), self.end.load(Ordering::Relaxed));
        begin < end || self.place(end).is_some_and(|place| !place.load(Ordering::Relaxed).is_null())
    }

    /// Gives `tid` a member whose thread has ended. None: none of a few candidates is free.
    pub fn reuse(&self, tid: u32, is_alive: impl Fn(u32) -> bool) -> Option<&'static T> {
        let (begin, end) = (self.begin.load(Ordering::Relaxed), self.end.load(Ordering::Acquire));
        let start = self.cursor.load(Ordering::Relaxed);
        let count = end.checked_sub(begin)?;
        for step in 0..SEARCH.min(count) {
            let index = begin + start.wrapping_add(step).checked_rem(count)?;
            let Some(member) = self.at(index) else { continue };
            let owner = member.owner().load(Ordering::Relaxed);
            // If the owner has the same id, either that thread has ended and its id was reused, or
            // it is this thread: a frame below this one got the member and was interrupted, or
            // stopped.
            let is_free = owner != KEPT && owner != 0 && (owner == tid || !is_alive(owner));
            // The winner of the exchange is the new owner. Relaxed: the previous owner has left the
            // kernel, and `is_alive` returned after that.
            if is_free && member.owner().compare_exchange(owner, tid, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.cursor.store(start.wrapping_add(step + 1), Ordering::Relaxed);
                return Some(member);
            }
        }
        self.cursor.store(start.wrapping_add(SEARCH), Ordering::Relaxed);
        None
    }

    /// The child of a fork calls this before it lists anything.
    pub fn after_fork(&self) {
        // A frame that does not exist in the child may have taken a place after `end`.
        let mut end = self.end.load(Ordering::Relaxed);
        while self.place(end).is_some_and(|place| !place.load(Ordering::Relaxed).is_null()) {
            end += 1;
        }
        self.end.store(end, Ordering::Relaxed);
        self.begin.store(end, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{KEPT, Member, Registry};
    use crate::model::{self, Event, Search, check, participate};
    use crate::sync::{AtomicU32, AtomicU64, Ordering};
    use std::boxed::Box;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64 as Plain, Ordering::Relaxed as Unordered};

    #[derive(Default)]
    struct Block {
        owner: AtomicU32,
        place: AtomicU32,
        /// Counted as hooks count: one thread writes it.
        count: AtomicU64,
        /// The thread that is counting, to detect two of them.
        counting: Plain,
    }

    impl Member for Block {
        fn owner(&self) -> &AtomicU32 {
            &self.owner
        }
        fn place(&self) -> &AtomicU32 {
            &self.place
        }
    }

    struct State {
        registry: Registry<Block>,
        /// A bit for each thread that has ended.
        ended: Plain,
        counted: Plain,
    }

    impl State {
        fn new() -> Arc<State> {
            Arc::new(State { registry: Registry::new(), ended: Plain::new(0), counted: Plain::new(0) })
        }

        /// Does what a thread's first hook does.
        fn acquire(&self, tid: u32) -> &'static Block {
            let is_alive = |tid: u32| tid != KEPT && self.ended.load(Unordered) & 1 << tid == 0;
            self.registry.reuse(tid, is_alive).unwrap_or_else(|| {
                let block: &'static Block = Box::leak(Box::default());
                block.owner.store(tid, Ordering::Relaxed);
                assert!(self.registry.list(block));
                block
            })
        }

        fn count(&self, block: &Block, tid: u32) {
            let other = block.counting.swap(u64::from(tid), Unordered);
            assert!(other == 0 || other == u64::from(tid), "threads {other} and {tid} count in one block");
            // This is one step, as `Counter::bump` is one instruction.
            block.count.fetch_add(1, Ordering::Relaxed);
            block.counting.store(0, Unordered);
            self.counted.fetch_add(1, Unordered);
        }

        fn end(&self, tid: u32) {
            self.ended.fetch_or(1 << tid, Unordered);
        }

        fn sum(&self) -> u64 {
            self.registry.all().map(|block| block.count.load(Ordering::Relaxed)).sum()
        }
    }

    fn thread(state: &Arc<State>, tid: u32, at: usize, event: Option<Event>) -> shuttle::thread::JoinHandle<()> {
        let state = state.clone();
        shuttle::thread::spawn(move || {
            let went_on = participate(at, event, || {
                let block = state.acquire(tid);
                state.count(block, tid);
            });
            if model::has_forked() {
                return;
            }
            if !went_on {
                // The thread continues after the jump, and enters its next hook.
                let block = state.acquire(tid);
                block.counting.store(0, Unordered);
                state.count(block, tid);
            }
            state.end(tid);
        })
    }

    #[test]
    fn no_count_is_lost_and_no_block_has_two_threads_wherever_one_stops_or_is_interrupted() {
        for at in 0..24 {
            for stops in [true, false] {
                check(Search::Random(80), move || {
                    let state = State::new();
                    let in_handler = state.clone();
                    let handler: Box<dyn FnOnce() + Send> = Box::new(move || {
                        let block = in_handler.acquire(1);
                        in_handler.count(block, 1);
                    });
                    let event = if stops { Event::Stop } else { Event::Handler(handler) };
                    let threads =
                        [thread(&state, 1, at, Some(event)), thread(&state, 2, 0, None), thread(&state, 3, 0, None)];
                    for thread in threads {
                        thread.join().unwrap();
                    }
                    let (sum, counted) = (state.sum(), state.counted.load(Unordered));
                    // A frame that stopped may have counted without updating `counted`.
                    assert!(sum == counted || stops && sum == counted + 1, "{sum} in the list, of {counted}");
                    assert!(state.registry.all().count() <= 5);
                });
            }
        }
    }

    #[test]
    fn a_block_whose_thread_has_ended_is_given_to_one_of_two_threads() {
        check(Search::Random(2000), || {
            let state = State::new();
            let block = state.acquire(5);
            state.count(block, 5);
            state.end(5);
            for thread in [thread(&state, 1, 0, None), thread(&state, 2, 0, None)] {
                thread.join().unwrap();
            }
            assert_eq!(state.sum(), 3);
        });
    }

    #[test]
    fn a_block_that_a_handler_lists_as_well_is_listed_once() {
        for at in 0..12 {
            check(Search::Exhaustive(1), move || {
                let state = State::new();
                let block: &'static Block = Box::leak(Box::default());
                let in_handler = state.clone();
                let work = Box::new(move || {
                    assert!(in_handler.registry.list(block));
                    assert_eq!(in_handler.registry.all().count(), 1, "the handler counts in it from here on");
                });
                participate(at, Some(Event::Handler(work)), || assert!(state.registry.list(block)));
                assert_eq!(state.registry.all().count(), 1);
            });
        }
    }

    #[test]
    fn a_block_that_is_listed_is_found_by_every_reader() {
        for at in 0..12 {
            check(Search::Random(200), move || {
                let state = State::new();
                let block: &'static Block = Box::leak(Box::default());
                let is_listed = Arc::new(Plain::new(0));
                let lister = {
                    let (state, is_listed) = (state.clone(), is_listed.clone());
                    shuttle::thread::spawn(move || {
                        let (in_handler, noted) = (state.clone(), is_listed.clone());
                        let work = Box::new(move || {
                            assert!(in_handler.registry.list(block));
                            noted.store(1, Unordered);
                        });
                        participate(at, Some(Event::Handler(work)), || assert!(state.registry.list(block)));
                        is_listed.store(1, Unordered);
                    })
                };
                for _ in 0..6 {
                    let was_listed = is_listed.load(Unordered) == 1;
                    let found = state.registry.all().count();
                    assert!(found == 1 || found == 0 && !was_listed, "found {found} times");
                }
                lister.join().unwrap();
            });
        }
    }

    #[test]
    fn a_thread_that_returns_gets_its_own_block() {
        let state = State::new();
        let block = state.acquire(7);
        assert!(core::ptr::eq(state.acquire(7), block));
    }

    #[test]
    fn a_block_that_is_kept_or_has_no_owner_is_given_to_nobody() {
        for owner in [KEPT, 0] {
            let state = State::new();
            let block: &'static Block = Box::leak(Box::default());
            block.owner.store(owner, Ordering::Relaxed);
            assert!(state.registry.list(block));
            state.end(0);
            assert!(!core::ptr::eq(state.acquire(7), block));
            assert_eq!(block.owner.load(Ordering::Relaxed), owner);
        }
    }

    #[test]
    fn blocks_are_used_again() {
        let state = State::new();
        for tid in 1..60 {
            let block = state.acquire(tid);
            state.count(block, tid);
            state.end(tid);
        }
        assert_eq!((state.registry.all().count(), state.sum()), (1, 59));
    }

    #[test]
    fn many_threads_at_once_have_a_block_each() {
        let state = State::new();
        for tid in 1..2000 {
            let block: &'static Block = Box::leak(Box::default());
            block.owner.store(tid, Ordering::Relaxed);
            assert!(state.registry.list(block) && state.registry.list(block));
        }
        assert_eq!(state.registry.all().count(), 1999);
    }

    #[test]
    fn the_child_of_a_fork_knows_whether_its_parent_has_listed_anything() {
        for at in 0..12 {
            check(Search::Random(80), move || {
                let state = State::new();
                let other = thread(&state, 1, 0, None);
                let in_child = state.clone();
                let fork = Event::Fork(Box::new(move || {
                    let is_listed = !in_child.registry.first[0].load(Ordering::Relaxed).is_null();
                    assert_eq!(in_child.registry.is_used(), is_listed);
                    in_child.registry.after_fork();
                    assert!(!in_child.registry.is_used());
                }));
                participate(at, Some(fork), || (0..=at).for_each(|_| model::step()));
                other.join().unwrap();
                model::go_on_alone();
            });
        }
    }

    #[test]
    fn the_child_of_a_fork_lists_its_own_blocks_alone() {
        for at in 0..24 {
            check(Search::Random(80), move || {
                let state = State::new();
                let own = state.acquire(9);
                let others = [thread(&state, 1, 0, None), thread(&state, 2, 0, None)];
                let in_child = state.clone();
                let fork = Event::Fork(Box::new(move || {
                    // Does what the kernel does: wipes the blocks.
                    for block in in_child.registry.all() {
                        block.owner.store(0, Ordering::Relaxed);
                        block.place.store(0, Ordering::Relaxed);
                        block.count.store(0, Ordering::Relaxed);
                        block.counting.store(0, Unordered);
                    }
                    in_child.counted.store(0, Unordered);
                    assert!(in_child.registry.is_used());
                    in_child.registry.after_fork();
                    assert!(!in_child.registry.is_used());
                    assert_eq!(in_child.registry.all().count(), 0);
                    own.owner.store(9, Ordering::Relaxed);
                    assert!(in_child.registry.list(own));
                    in_child.count(own, 9);
                }));
                participate(at, Some(fork), || (0..=at).for_each(|_| model::step()));
                for other in others {
                    other.join().unwrap();
                }
                model::go_on_alone();
                let block = state.acquire(4);
                state.count(block, 4);
                assert_eq!(state.sum(), state.counted.load(Unordered));
            });
        }
    }
}
