//! Room for descriptors, if a limit counts them: how many are open, and how many more the calls in
//! progress may open.
//!
//! Both numbers are in one word. A call reserves its room in one step, before it is made, so the
//! limit is never exceeded, however many threads race. The creation turns the room into a
//! descriptor, also in one step, so that no other thread is refused in between. After the call,
//! unused room is released.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

use crate::thread::{self, Block};

/// The number of open descriptors, and from bit [`TAKEN`] on the reserved room. Relaxed throughout:
/// all threads see the read-modify-writes of one word in one order, and it publishes nothing else.
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

    /// Counts one more that is open. Returns how many are.
    #[inline(always)]
    pub fn begin(&self) -> u64 {
        (self.0.fetch_add(1, Ordering::Relaxed) & ALIVE) + 1
    }

    /// Like [`Room::begin`], but uses room that the call has reserved.
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

    /// Called in the child of a fork: the calls in progress are the parent's.
    pub fn after_fork(&self) {
        self.0.fetch_and(ALIVE, Ordering::Relaxed);
    }

    pub fn give_back(&self, count: u32) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            Some(word - ((word >> TAKEN).min(u64::from(count)) << TAKEN))
        });
    }

    /// Releases the room of threads that were cancelled in a call.
    pub fn forget_the_gone(&self) {
        for block in thread::all() {
            let left = word(block).load(Ordering::Relaxed);
            // Exchange, because a new thread may have got the block in the meantime, and reserved
            // room.
            let is_taken = left != 0
                && thread::has_ended(block)
                && word(block).compare_exchange(left, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if is_taken {
                self.give_back(left);
            }
        }
    }
}

/// How much room a thread's calls have reserved for descriptors that they may still create, or
/// more. It is in the thread's block. Signal handlers reserve and release room in between. A thread
/// that was cancelled leaves some.
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
    // No read-modify-write is needed: only this thread and its signal handlers write it, and a
    // handler leaves it as it was.
    word(block).store(now - less, Ordering::Relaxed);
    less
}
