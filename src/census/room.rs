//! Room for descriptors, if a limit counts them: what is open, and what calls in progress may still
//! open.
//!
//! Both are in one word. A call reserves its room in one step, before it is made, so that racing
//! threads never exceed the limit. The creation turns the room into a descriptor in one step too,
//! so that no other thread is refused in between. What was not needed is released after the call.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

use crate::thread::{self, Block};

/// Open descriptors; above [`TAKEN`], the reserved room. Relaxed throughout: a read-modify-write of
/// one word has one order for all threads, and nothing else is published by it.
pub struct Room(AtomicU64);

const TAKEN: u32 = 32;
const ALIVE: u64 = (1 << TAKEN) - 1;

impl Room {
    pub const fn new() -> Room {
        Room(AtomicU64::new(0))
    }

    pub fn alive(&self) -> u64 {
        self.0.load(Ordering::Relaxed) & ALIVE
    }

    /// One more is open. Returns how many are.
    #[inline(always)]
    pub fn begin(&self) -> u64 {
        (self.0.fetch_add(1, Ordering::Relaxed) & ALIVE) + 1
    }

    /// The same, in the room that its call has reserved.
    pub fn begin_within(&self) -> u64 {
        (self.0.fetch_sub((1 << TAKEN) - 1, Ordering::Relaxed) & ALIVE) + 1
    }

    #[inline(always)]
    pub fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Reserves room for `count`, unless there would then be more than `most`. Ok: how many are
    /// then open or reserved.
    pub fn take(&self, count: u32, most: u64) -> Result<u64, ()> {
        let sum = |word: u64| (word & ALIVE) + (word >> TAKEN) + u64::from(count);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                (sum(word) <= most).then(|| word.wrapping_add(u64::from(count) << TAKEN))
            })
            .map(sum)
            .map_err(drop)
    }

    /// In the child of a fork: the calls in progress are the parent's.
    pub fn after_fork(&self) {
        self.0.fetch_and(ALIVE, Ordering::Relaxed);
    }

    pub fn give_back(&self, count: u32) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            Some(word - ((word >> TAKEN).min(u64::from(count)) << TAKEN))
        });
    }

    /// Releases what threads had reserved that were cancelled in a call.
    pub fn forget_the_gone(&self) {
        for block in thread::all() {
            let left = word(block).load(Ordering::Relaxed);
            // By an exchange: a new thread may have got the block in the meantime, and have noted
            // more.
            let is_taken = left != 0
                && thread::has_ended(block)
                && word(block).compare_exchange(left, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if is_taken {
                self.give_back(left);
            }
        }
    }
}

/// How much room a thread's calls have reserved for descriptors that they may still create: never
/// less than it is. Handlers reserve and release in between. In the thread's block. A thread that
/// was cancelled leaves some.
#[repr(transparent)]
pub struct OfThread(AtomicU32);

/// How much room the calls of a thread have reserved.
pub fn of(block: &Block) -> u32 {
    word(block).load(Ordering::Relaxed)
}

fn word(block: &Block) -> &AtomicU32 {
    &block.part::<OfThread>().0
}

pub fn note(block: &Block, count: u32) {
    word(block).fetch_add(count, Ordering::Relaxed);
}

/// Subtracts `count`, or what there is. Returns how much that was.
pub fn unnote(block: &Block, count: u32) -> u32 {
    let now = word(block).load(Ordering::Relaxed);
    let less = now.min(count);
    // Only this thread and its handlers write it, and a handler leaves it as it was.
    word(block).store(now - less, Ordering::Relaxed);
    less
}
