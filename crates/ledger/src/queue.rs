//! The changes that wait for the ledger's lock. A participant may stop at any step.
//!
//! It is the queue of Michael and Scott (PODC 1996), with one consumer at a time, the holder of the
//! lock. An entry is filled in before any other thread can see it, and becomes visible by one
//! compare-exchange. So there is no half-written entry. A writer that stops before that instruction
//! has appended nothing. One that stops after it has appended everything. The same holds in the
//! child of a fork.
//!
//! ```text
//! head ─▶ node ─▶ node ─▶ node ◀─ tail (or one behind)
//!         passed  oldest  newest
//! ```
//!
//! The node at `head` was consumed before; the entries follow it. A consumer that stops between
//! applying an entry and moving `head` leaves the entry. It is applied again, after the records
//! were rebuilt.
//!
//! `head` and `tail` count entries in their upper half, and the `next` of a node counts the node's
//! uses. So the compare-exchange of a thread that was suspended in the meantime fails. A node
//! belongs to the frame that its `owner` names until it is consumed. A frame that stops before it
//! has published its node loses that node, until [`Queue::reclaim`] finds it.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use crate::lock::Hold;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
use crate::{Memory, chunk};

/// Nodes in a chunk of 40 KiB. The kernel provides chunks as they are needed. (In the models there
/// are few nodes, so that nodes are reused at once.)
const CHUNK: u32 = if cfg!(test) { 2 } else { 512 };
const CHUNKS: usize = 128;
/// The most entries that wait. It covers what other threads may do while the holder waits some tens
/// of milliseconds for a processor.
pub const ENTRIES: u32 = CHUNK * CHUNKS as u32;
/// How many nodes a writer tries before it maps another chunk.
const PROBES: u32 = 64;
/// Words of a change.
const WORDS: usize = 8;

type Content = [MaybeUninit<u64>; WORDS];

// A node's owner is a frame, or one of these.
const FREE: u64 = 0;
/// Its frame is gone. It is free once it is known not to be in the queue.
const UNREACHED: u64 = 1;
/// The node is in the queue. Its writer may be gone.
const IN_QUEUE: u64 = 2;

#[repr(C)]
struct Node {
    /// The upper half counts the uses of this node. The lower half is the index of the next node;
    /// 0: none.
    next: AtomicU64,
    owner: AtomicU64,
    content: UnsafeCell<Content>,
}

pub struct Queue<T: 'static, M: Memory> {
    /// The lower half is the index of the node that was consumed last. The upper half counts the
    /// consumed entries.
    head: AtomicU64,
    /// The newest node, or an older one, in the same form.
    tail: AtomicU64,
    /// The node of index 0. It is only the first that `head` names, and never an entry. The whole
    /// queue begins as zero.
    first: Node,
    chunks: [AtomicPtr<Node>; CHUNKS],
    /// How many nodes the mapped chunks contain.
    extent: AtomicU32,
    /// The place where the next search for a free node begins.
    cursor: AtomicU32,
    holds: PhantomData<fn(T, M) -> T>,
}

// SAFETY: only the frame that a node's `owner` names writes its content, before it publishes the
// node. A consumer reads it, and discards what it read unless `head` shows that the node was not
// reused (`apply_next`).
unsafe impl<T: Send, M: Memory> Sync for Queue<T, M> {}

const fn index_of(word: u64) -> u32 {
    word as u32
}

/// The word that follows `word`: the count is one more, and the index another.
const fn after(word: u64, index: u32) -> u64 {
    (word >> 32).wrapping_add(1) << 32 | index as u64
}

impl<T: Copy + Send + 'static, M: Memory> Queue<T, M> {
    const FITS: () = assert!(size_of::<T>() <= size_of::<Content>() && align_of::<T>() <= align_of::<Content>());

    pub const fn new() -> Self {
        () = Self::FITS;
        Queue {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            first: Node {
                next: AtomicU64::new(0),
                owner: AtomicU64::new(FREE),
                content: UnsafeCell::new([MaybeUninit::uninit(); WORDS]),
            },
            chunks: [const { AtomicPtr::new(core::ptr::null_mut()) }; CHUNKS],
            extent: AtomicU32::new(0),
            cursor: AtomicU32::new(0),
            holds: PhantomData,
        }
    }

    fn node(&self, index: u32) -> Option<&Node> {
        let Some(place) = index.checked_sub(1) else { return Some(&self.first) };
        // Acquire: pairs with the Release in `chunk::make`. The kernel zeroed the chunk before its
        // address was stored.
        let chunk = self.chunks.get((place / CHUNK) as usize)?.load(Ordering::Acquire);
        // SAFETY: a chunk has CHUNK nodes, for which zero bytes are valid, and is never unmapped
        // while the queue exists.
        (!chunk.is_null()).then(|| unsafe { &*chunk.add((place % CHUNK) as usize) })
    }

    /// About how many entries wait.
    pub fn len(&self) -> u32 {
        let count = |word: &AtomicU64| (word.load(Ordering::Relaxed) >> 32) as u32;
        count(&self.tail).wrapping_sub(count(&self.head)).min(ENTRIES)
    }

    /// How many entries were ever consumed, modulo 2^32.
    pub fn consumed(&self) -> u32 {
        (self.head.load(Ordering::Relaxed) >> 32) as u32
    }

    /// How many were ever appended, modulo 2^32.
    pub fn appended(&self) -> u32 {
        (self.tail.load(Ordering::Relaxed) >> 32) as u32
    }

    /// Whether no entry waits. Only the consumer calls it.
    pub fn is_empty(&self) -> bool {
        let head = index_of(self.head.load(Ordering::Relaxed));
        // SeqCst: pairs with the exchange in `push`; see `Locked::append`.
        self.node(head).is_none_or(|node| index_of(node.next.load(Ordering::SeqCst)) == 0)
    }

    /// Appends an entry. False: no node is free, and the kernel provides no memory for more.
    pub fn push(&self, content: T, hold: Hold) -> bool {
        let Some((index, node)) = self.claim(hold) else { return false };
        // SAFETY: `claim` made this frame the only writer of the node's content until it is
        // published below.
        unsafe { write(node.content.get(), content) };
        node.next.store(after(node.next.load(Ordering::Relaxed), 0), Ordering::Relaxed);
        loop {
            // Acquire: pairs with the Release below. The node that `tail` names was published with
            // its content.
            let tail = self.tail.load(Ordering::Acquire);
            let Some(last) = self.node(index_of(tail)) else { return false };
            let next = last.next.load(Ordering::Acquire);
            if self.tail.load(Ordering::Acquire) != tail {
                continue;
            }
            if index_of(next) != 0 {
                // The writer of that node has not moved `tail` yet, and may never do so.
                self.advance(&self.tail, tail, index_of(next));
                continue;
            }
            #[cfg(test)]
            assert_eq!(node.owner.load(Ordering::Relaxed), hold.to_word(), "the node is another's");
            // Release: the content is complete for every thread that finds the node. SeqCst: see
            // `Locked::append`.
            let published = next & !u64::from(u32::MAX) | u64::from(index);
            if last.next.compare_exchange(next, published, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                self.advance(&self.tail, tail, index);
                return true;
            }
        }
    }

    fn advance(&self, word: &AtomicU64, from: u64, index: u32) -> bool {
        word.compare_exchange(from, after(from, index), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Passes the oldest entry to `apply`, and then removes it. Only the holder of the lock calls
    /// it. False: the queue is empty, or the lock was broken and another thread consumes.
    #[inline(always)]
    pub fn apply_next(&self, apply: impl FnOnce(T)) -> bool {
        let head = self.head.load(Ordering::Acquire);
        let Some(passed) = self.node(index_of(head)) else { return false };
        let next = index_of(passed.next.load(Ordering::Acquire));
        let Some(node) = self.node(next).filter(|_| next != 0) else { return false };
        if self.tail.load(Ordering::Acquire) == head {
            self.advance(&self.tail, head, next);
        }
        // SAFETY: `node.content` is a node's content. The copy is used only if `head` shows below
        // that the node was not reused while it was read: a node is reused only after `head` has
        // passed it.
        let content = unsafe { read::<T>(node.content.get()) };
        fence(Ordering::Acquire);
        if self.head.load(Ordering::Relaxed) != head {
            return false;
        }
        // SAFETY: the node was published, so `push` had written a T to it. `head` has not moved, so
        // the node was not reused while it was copied.
        apply(unsafe { content.assume_init() });
        if self.advance(&self.head, head, next) && index_of(head) != 0 {
            // Release: pairs with the Acquire in `claim`. This consumer has finished reading the
            // node.
            passed.owner.store(FREE, Ordering::Release);
        }
        true
    }

    /// A node that belongs to this frame alone.
    fn claim(&self, hold: Hold) -> Option<(u32, &Node)> {
        loop {
            // Acquire: pairs with the Release in `extend`. The chunks that it counts are mapped.
            let extent = self.extent.load(Ordering::Acquire);
            let start = self.cursor.fetch_add(1, Ordering::Relaxed);
            let looks = if extent < ENTRIES { extent.min(PROBES) } else { extent };
            for step in 0..looks {
                let Some(place) = start.wrapping_add(step).checked_rem(extent) else { break };
                let index = place + 1;
                let Some(node) = self.node(index) else { continue };
                if node.owner.load(Ordering::Relaxed) == FREE
                    && node.owner.compare_exchange(FREE, hold.to_word(), Ordering::Acquire, Ordering::Relaxed).is_ok()
                {
                    return Some((index, node));
                }
            }
            if !self.extend(extent) {
                return None;
            }
        }
    }

    #[cold]
    fn extend(&self, extent: u32) -> bool {
        let Some(chunk) = self.chunks.get((extent / CHUNK) as usize) else { return false };
        if !chunk::make::<Node, M>(chunk, CHUNK as usize) {
            return false;
        }
        // If another frame has counted the chunk first, the exchange fails.
        let _ = self.extent.compare_exchange(extent, extent + CHUNK, Ordering::Release, Ordering::Relaxed);
        true
    }

    /// Frees the nodes of frames that are gone. Only the holder of the lock calls it. `is_gone`
    /// must not be true of a frame that continues.
    pub fn reclaim(&self, is_gone: impl Fn(Hold) -> bool) {
        let extent = self.extent.load(Ordering::Acquire);
        let owners = || (1..=extent).filter_map(|index| Some(&self.node(index)?.owner));
        // A frame that is gone publishes nothing from here on. So the walk below meets every node
        // that it published.
        for owner in owners() {
            let word = owner.load(Ordering::Relaxed);
            if Hold::from_word(word).is_some_and(&is_gone) {
                let _ = owner.compare_exchange(word, UNREACHED, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
        let mut index = index_of(self.head.load(Ordering::Acquire));
        for _ in 0..=extent {
            let Some(node) = self.node(index) else { break };
            let _ = node.owner.compare_exchange(UNREACHED, IN_QUEUE, Ordering::Relaxed, Ordering::Relaxed);
            index = index_of(node.next.load(Ordering::Acquire));
            if index == 0 {
                break;
            }
        }
        for owner in owners() {
            let _ = owner.compare_exchange(UNREACHED, FREE, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// How many nodes are not free.
    #[cfg(test)]
    pub fn owned(&self) -> usize {
        self.owners().filter(|owner| *owner != FREE).count()
    }

    /// How many nodes belong to a frame.
    #[cfg(test)]
    pub fn owned_by(&self, hold: Hold) -> usize {
        self.owners().filter(|owner| *owner == hold.to_word()).count()
    }

    #[cfg(test)]
    fn owners(&self) -> impl Iterator<Item = u64> {
        let extent = self.extent.load(Ordering::Relaxed);
        (1..=extent).filter_map(|index| Some(self.node(index)?.owner.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
impl<T: 'static, M: Memory> Drop for Queue<T, M> {
    fn drop(&mut self) {
        for chunk in &self.chunks {
            let start = chunk.load(Ordering::Relaxed);
            if !start.is_null() {
                // SAFETY: `extend` mapped this chunk, and `&mut self` proves that nothing else uses
                // the queue.
                unsafe { M::unmap(start.cast(), CHUNK as usize * size_of::<Node>()) };
            }
        }
    }
}

/// Writes a value word by word: a suspended consumer may read the place at the same time, and
/// discards what it read.
///
/// # Safety
/// Only the caller may write `place`, and a `T` must fit.
unsafe fn write<T: Copy>(place: *mut Content, value: T) {
    let mut words: Content = [MaybeUninit::uninit(); WORDS];
    // SAFETY: the caller promises that a T fits.
    unsafe { words.as_mut_ptr().cast::<T>().write(value) };
    for (at, word) in words.iter().enumerate() {
        #[cfg(test)]
        crate::model::step();
        // SAFETY: `at` is below WORDS, so the word is within the content.
        unsafe { place.cast::<MaybeUninit<u64>>().add(at).write_volatile(*word) };
    }
}

/// Copies a value word by word. The caller decides whether it is valid.
///
/// # Safety
/// `place` must be a node's content.
unsafe fn read<T: Copy>(place: *const Content) -> MaybeUninit<T> {
    let mut words: Content = [MaybeUninit::uninit(); WORDS];
    for (at, word) in words.iter_mut().enumerate() {
        #[cfg(test)]
        crate::model::step();
        // SAFETY: `at` is below WORDS, so the word is within the content.
        *word = unsafe { place.cast::<MaybeUninit<u64>>().add(at).read_volatile() };
    }
    // SAFETY: a T fits (`Queue::FITS`). The caller knows whether it is initialised.
    unsafe { words.as_ptr().cast::<MaybeUninit<T>>().read() }
}

#[cfg(test)]
mod tests;
