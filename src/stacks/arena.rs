//! The arena in which each stack is kept once, and the hash table that finds it.
//!
//! Any thread writes both, without a lock.

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use epollshim_format::recording::stacks::PART;

use crate::above::Library;
use crate::sys;

/// What this module needs of the layers above it.
pub trait Above {
    /// Called after a stack was written into the part of the arena with that number. A recording
    /// mirrors it.
    fn wrote_stack(stack: &[AtomicU64], number: usize);
}

/// The parts of the arena. Each is a segment of a recording.
pub const PARTS: usize = 64;
const WORDS: usize = PARTS * PART / 8;
const PART_WORDS: usize = PART / 8;
/// Places of the hash table: a power of two, and more than the stacks that fit into the arena.
const PLACES: usize = 1 << 17;

/// The hash table: each place holds a stack's offset in the arena in words, plus one. 0: free.
type Table = [AtomicU32; PLACES];

static TABLE: AtomicPtr<Table> = AtomicPtr::new(core::ptr::null_mut());
/// The arena's parts. Each is mapped when the first stack is written into it.
static ARENA: [AtomicPtr<[AtomicU64; PART_WORDS]>; PARTS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; PARTS];
/// How many words of the arena are in use.
static END: AtomicUsize = AtomicUsize::new(0);

pub fn prepare() -> Result<(), i32> {
    let start = sys::map(size_of::<Table>())?;
    TABLE.store(start.cast(), Ordering::Release);
    Ok(())
}

fn table() -> Option<&'static Table> {
    // SAFETY: null, or the mapping that `prepare` made, which is never unmapped. Acquire: pairs
    // with the Release in `prepare`. The kernel has zeroed the mapping.
    unsafe { TABLE.load(Ordering::Acquire).as_ref() }
}

/// A part of the arena, if it holds a stack.
pub fn part(number: usize) -> Option<&'static [AtomicU64]> {
    // SAFETY: null, or a mapping that `map_part` made, which is never unmapped. Acquire: pairs with
    // the Release in `map_part`. The kernel has zeroed the mapping.
    unsafe { ARENA.get(number)?.load(Ordering::Acquire).as_ref() }.map(<[_; PART_WORDS]>::as_slice)
}

#[cold]
#[inline(never)]
fn map_part(number: usize) -> Option<&'static [AtomicU64]> {
    let start = sys::map(PART).ok()?;
    let place = ARENA.get(number)?;
    // Release: pairs with the Acquire in `part`. A thread that finds the part also finds it zeroed.
    if place.compare_exchange(core::ptr::null_mut(), start.cast(), Ordering::Release, Ordering::Relaxed).is_err() {
        // SAFETY: another thread mapped the part first. No other thread has the address of this
        // mapping.
        unsafe { sys::unmap(start, PART) };
    }
    part(number)
}

/// Words of one part.
fn words(at: usize, length: usize) -> Option<&'static [AtomicU64]> {
    let first = at % PART_WORDS;
    part(at / PART_WORDS)?.get(first..first.checked_add(length)?)
}

/// Keeps a stack and returns its address in the arena. None: the arena is full.
pub fn keep(frames: &[usize]) -> Option<usize> {
    let table = table()?;
    let hash = frames.iter().fold(frames.len() as u64, |hash, frame| {
        (hash.rotate_left(5) ^ *frame as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    let address = |at: usize| words(at, 1).map(|word| word.as_ptr() as usize);
    let mut written = None;
    for step in 0..PLACES {
        let place = table.get(((hash >> 40) as usize + step) % PLACES)?;
        let mut there = place.load(Ordering::Acquire);
        if there == 0 {
            let at = match written {
                Some(at) => at,
                None => write(frames)?,
            };
            written = Some(at);
            // Release: pairs with the Acquire loads of `place` here. A thread that finds the place
            // also finds the stack.
            match place.compare_exchange(0, at as u32 + 1, Ordering::Release, Ordering::Acquire) {
                Ok(_) => return address(at),
                Err(other) => there = other,
            }
        }
        let at = there as usize - 1;
        if is_at(at, frames) {
            return address(at);
        }
    }
    None
}

fn is_at(at: usize, frames: &[usize]) -> bool {
    words(at, frames.len() + 1).and_then(<[_]>::split_first).is_some_and(|(length, words)| {
        length.load(Ordering::Relaxed) as usize == frames.len()
            && words.iter().zip(frames).all(|(word, frame)| word.load(Ordering::Relaxed) == *frame as u64)
    })
}

/// Appends a stack to the arena, within one part. Returns its offset in words.
fn write(frames: &[usize]) -> Option<usize> {
    let length = frames.len() + 1;
    let mut end = END.load(Ordering::Relaxed);
    let at = loop {
        let left = PART_WORDS - end % PART_WORDS;
        let at = if left < length { end + left } else { end };
        if at + length > WORDS {
            return None;
        }
        match END.compare_exchange_weak(end, at + length, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => break at,
            Err(now) => end = now,
        }
    };
    let number = at / PART_WORDS;
    let _ = part(number).or_else(|| map_part(number))?;
    let stack = words(at, length)?;
    let (first, others) = stack.split_first()?;
    for (word, frame) in others.iter().zip(frames) {
        word.store(*frame as u64, Ordering::Relaxed);
    }
    first.store(frames.len() as u64, Ordering::Release);
    // The fence comes before `wrote_stack` looks at the part's segment: either this thread or the
    // thread that makes the segment sees what the other has done.
    fence(Ordering::SeqCst);
    Library::wrote_stack(stack, number);
    Some(at)
}

/// The parts in use with their numbers, for a recording.
pub fn parts() -> impl Iterator<Item = (usize, &'static [AtomicU64])> {
    let used = END.load(Ordering::Relaxed).div_ceil(PART_WORDS);
    (0..used).filter_map(|number| Some((number, part(number)?)))
}
