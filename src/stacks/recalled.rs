//! Reads call stacks without the unwinder, which takes a microsecond per frame.
//!
//! A function's frame nearly always has the same size at a given call. So for each return address
//! that the unwinder has met, a table keeps how far above it on the stack the next return address
//! lies. Another walk can then read the stack step by step. The word at each step must be a return
//! address that the unwinder has also met. Otherwise the unwinder walks.
//!
//! Frames have different sizes at one call if the function allocates on the stack (alloca(3),
//! arrays of variable length) or aligns it. When a second size is met, the return address is
//! marked, and from then on the unwinder walks every stack that contains it. Until then, an old
//! return address that lies where a frame of the first size would end can be taken for the caller.

use crate::sync::{AtomicPtr, AtomicU64, Ordering};
use crate::{sys, valgrind};

/// The deepest stack that is read this way. Its frames lie on the hook's own stack, which may be
/// small.
pub const MOST: usize = 16;
/// How many return addresses are kept, and how many of them for calls of hooks. Others replace them
/// when there are more. (A program that locks its memory locks these tables too.)
const PLACES: usize = 2048;
const CALLS: usize = 512;
const PROBES: usize = 4;
const PAGE: usize = 4096;

/// An address (48 bits) and a code (16 bits): one of the values below, or a distance in words. It
/// is one word, so no lock is needed. All accesses are Relaxed: each word is complete by itself.
type Table = [AtomicU64];
/// The address is a return address; the distance to the next one is unknown.
const UNKNOWN: u64 = 0;
/// The stack ends here.
const END: u64 = 0xfffe;
/// The distance varies, or the next return address does not lie on the stack.
const VARIES: u64 = 0xffff;

struct Tables {
    /// From a return address to the next one on the stack.
    next: [AtomicU64; PLACES],
    /// From the stack pointer of the walk to the return address of the hook, which differs between
    /// hooks.
    first: [AtomicU64; CALLS],
}

static TABLES: AtomicPtr<Tables> = AtomicPtr::new(core::ptr::null_mut());

/// Reserves memory. Without it the unwinder walks every time. That is so under memcheck, which
/// reports reads of words of the stack that were not written yet.
pub fn prepare() {
    let here = 0u8;
    if valgrind::is_addressable(&raw const here as usize).is_some() {
        return;
    }
    if let Ok(start) = sys::map(size_of::<Tables>()) {
        TABLES.store(start.cast(), Ordering::Release);
    }
}

fn tables() -> Option<&'static Tables> {
    // SAFETY: null, or the mapping that `prepare` made, which is never unmapped. Zero is a valid
    // value. Acquire: pairs with the Release in `prepare`. The kernel has zeroed the mapping.
    unsafe { TABLES.load(Ordering::Acquire).as_ref() }
}

fn places(table: &Table, address: usize) -> impl Iterator<Item = &AtomicU64> {
    let hash = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (0..PROBES).filter_map(move |step| table.get((hash as usize + step) % table.len()))
}

/// What is known about an address, if anything.
fn code(table: &Table, address: usize) -> Option<u64> {
    let found = places(table, address).map(|place| place.load(Ordering::Relaxed));
    found.into_iter().find(|word| word >> 16 == address as u64).map(|word| word & 0xffff)
}

/// Changes what is known about an address. `changed` receives the old code.
fn set(table: &Table, address: usize, changed: impl FnOnce(Option<u64>) -> u64) {
    let is_its = |place: &&AtomicU64| place.load(Ordering::Relaxed) >> 16 == address as u64;
    let is_free = |place: &&AtomicU64| place.load(Ordering::Relaxed) == 0;
    let all = || places(table, address);
    let place = all().find(is_its).or_else(|| all().find(is_free)).or_else(|| all().next());
    if let Some(place) = place.filter(|_| address != 0 && address >> 48 == 0) {
        place.store((address as u64) << 16 | changed(code(table, address)), Ordering::Relaxed);
    }
}

/// Reads words of the stack, and asks the kernel once for each page whether it can be read.
struct Reader {
    /// The number of a page that can be read.
    page: usize,
}

impl Reader {
    fn at(here: usize) -> Reader {
        Reader { page: here / PAGE }
    }

    fn word(&mut self, address: usize) -> Option<usize> {
        if !address.is_multiple_of(size_of::<usize>()) || address / PAGE != self.page && !sys::is_word_readable(address)
        {
            return None;
        }
        self.page = address / PAGE;
        // SAFETY: the address is aligned and lies in a page that can be read. It is on the caller's
        // own stack, whose pages stay mapped while the caller runs on them.
        Some(unsafe { core::ptr::read_volatile(address as *const usize) })
    }
}

/// Reads the stack that begins with `caller`, at most `depth` frames of it. Returns their number.
/// `here` is a place on the caller's stack, the same as for [`learn`]. None: the unwinder must
/// walk.
pub fn recall(caller: usize, here: usize, depth: usize, into: &mut [usize; MOST]) -> Option<usize> {
    let tables = tables()?;
    let mut reader = Reader::at(here);
    let mut slot = here.checked_add(code(&tables.first, caller)? as usize * size_of::<usize>())?;
    let mut address = reader.word(slot).filter(|address| *address == caller)?;
    let mut count = 0;
    for place in into.iter_mut().take(depth) {
        let known = code(&tables.next, address)?;
        *place = address;
        count += 1;
        match known {
            END => break,
            _ if count == depth => break,
            UNKNOWN | VARIES => return None,
            distance => {
                slot = slot.checked_add(distance as usize * size_of::<usize>())?;
                address = reader.word(slot)?;
            }
        }
    }
    (count == depth.min(MOST) || count > 0 && code(&tables.next, address)? == END).then_some(count)
}

/// Called after the unwinder has walked.
///
/// `frames` are return addresses, and `slots` their places on the stack, if they lie there.
/// `is_whole`: the stack has no more frames.
pub fn learn(here: usize, frames: &[usize], slots: &[usize], is_whole: bool) {
    let Some(tables) = tables() else { return };
    let mut reader = Reader::at(here);
    let mut is_there = |address: usize, slot: usize| slot > here && reader.word(slot) == Some(address);
    let mut all = frames.iter().copied().zip(slots.iter().copied()).peekable();
    let Some((caller, slot)) = all.peek().copied().filter(|(address, slot)| is_there(*address, *slot)) else { return };
    let distance = |from: usize, to: usize| {
        let words = to.wrapping_sub(from) as u64 / size_of::<usize>() as u64;
        if words == 0 || words >= END { VARIES } else { words }
    };
    set(&tables.first, caller, |_| distance(here, slot));
    while let Some((address, slot)) = all.next() {
        let found = match all.peek().copied() {
            Some((next, above)) if above > slot && is_there(next, above) => distance(slot, above),
            Some(_) => VARIES,
            None if is_whole => END,
            None => UNKNOWN,
        };
        set(&tables.next, address, |known| match known {
            None | Some(UNKNOWN) => found,
            Some(known) if found == UNKNOWN || found == known => known,
            Some(_) => VARIES,
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// A stack in memory: return addresses, each some words above the one before.
    fn stack(frames: &[(usize, usize)]) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
        let mut words = std::vec![0; 512];
        let here = words.as_ptr() as usize;
        let (mut at, mut addresses, mut slots) = (0, Vec::new(), Vec::new());
        for (address, distance) in frames {
            at += distance;
            words[at] = *address;
            addresses.push(*address);
            slots.push(here + at * 8);
        }
        (words, addresses, slots)
    }

    #[test]
    fn a_walked_stack_is_read_and_a_different_one_is_not() {
        prepare();
        let mut into = [0; MOST];
        let (words, frames, slots) = stack(&[(0x5001, 9), (0x5002, 4), (0x5003, 30), (0x5004, 7)]);
        let here = words.as_ptr() as usize;
        assert_eq!(recall(0x5001, here, 4, &mut into), None);
        learn(here, &frames, &slots, true);
        assert_eq!(recall(0x5001, here, 8, &mut into), Some(4));
        assert_eq!(into[..4], [0x5001, 0x5002, 0x5003, 0x5004]);
        assert_eq!(recall(0x5001, here, 2, &mut into), Some(2));
        // Another path to the same call, whose parts are known.
        let (words, other, slots) = stack(&[(0x5001, 9), (0x5002, 4), (0x5005, 30), (0x5004, 7)]);
        let here = words.as_ptr() as usize;
        assert_eq!(recall(0x5001, here, 8, &mut into), None, "0x5005 was never met");
        learn(here, &other, &slots, true);
        assert_eq!(recall(0x5001, here, 8, &mut into), Some(4));
        assert_eq!(into[2], 0x5005);
        // A frame of another size: from now on it is walked.
        let (words, other, slots) = stack(&[(0x5001, 9), (0x5002, 6), (0x5003, 30), (0x5004, 7)]);
        let here = words.as_ptr() as usize;
        assert_eq!(recall(0x5001, here, 8, &mut into), None);
        learn(here, &other, &slots, true);
        let (words, ..) = stack(&[(0x5001, 9), (0x5002, 4), (0x5003, 30), (0x5004, 7)]);
        assert_eq!(recall(0x5001, words.as_ptr() as usize, 8, &mut into), None, "0x5002 varies");
        // A return address is not where the unwinder says: a processor that keeps them elsewhere.
        let (words, wrong, mut slots) = stack(&[(0x6001, 3), (0x6002, 4)]);
        slots[1] += 8;
        learn(words.as_ptr() as usize, &wrong, &slots, true);
        assert_eq!(recall(0x6001, words.as_ptr() as usize, 8, &mut into), None);
    }
}
