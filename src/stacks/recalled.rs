//! Call stacks without the unwinder, which takes a microsecond a frame.
//!
//! A function's frame has one size at a given call, nearly always. So what the unwinder has found is
//! kept for each return address: how far above it on the stack the next return address lies. A stack
//! is then read step by step. What lies at each step must be a return address that the unwinder has
//! met as well; if it is not, the unwinder walks.
//!
//! Frames of different sizes at one call are those of functions that allocate on the stack (alloca(3),
//! arrays of variable length) or align it. Such a return address is marked when a second size is met,
//! and from then on the unwinder walks wherever it is met. Before that, an old return address
//! that lies where a frame of the first size would end can be taken for the caller.

use crate::sync::{AtomicPtr, AtomicU64, Ordering};
use crate::{sys, valgrind};

/// The deepest stack that is read so: its frames lie on the hook's own stack, which may be small.
pub const MOST: usize = 16;
/// Return addresses that are kept, and calls of hooks among them. More replace others. (A program that locks its memory locks these too.)
const PLACES: usize = 2048;
const CALLS: usize = 512;
const PROBES: usize = 4;
const PAGE: usize = 4096;

/// An address (48 bits) and a code (16 bits): one of these, or a distance in words. One word, so that no lock is needed. Relaxed
/// everywhere: each word says all that it says.
type Table = [AtomicU64];
/// The address is one of a return; how far the next is, is not known.
const UNKNOWN: u64 = 0;
/// The stack ends there.
const END: u64 = 0xfffe;
/// The distance is not always the same, or not to be found so.
const VARIES: u64 = 0xffff;

struct Tables {
    /// From a return address to the next one of the stack.
    next: [AtomicU64; PLACES],
    /// From where the library looks to the return address of the hook: it differs between hooks.
    first: [AtomicU64; CALLS],
}

static TABLES: AtomicPtr<Tables> = AtomicPtr::new(core::ptr::null_mut());

/// Reserves memory. Without it the unwinder walks each time: under memcheck, which reports a look at a word of the stack that was
/// not written yet.
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
    // SAFETY: null, or the mapping that `prepare` made, which is never unmapped; zero is valid. Acquire: the kernel has zeroed it.
    unsafe { TABLES.load(Ordering::Acquire).as_ref() }
}

fn places(table: &Table, address: usize) -> impl Iterator<Item = &AtomicU64> {
    let hash = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (0..PROBES).filter_map(move |step| table.get((hash as usize + step) % table.len()))
}

/// What is known of an address; None: nothing.
fn code(table: &Table, address: usize) -> Option<u64> {
    let found = places(table, address).map(|place| place.load(Ordering::Relaxed));
    found.into_iter().find(|word| word >> 16 == address as u64).map(|word| word & 0xffff)
}

/// `changed` is given what was known.
fn set(table: &Table, address: usize, changed: impl FnOnce(Option<u64>) -> u64) {
    let is_its = |place: &&AtomicU64| place.load(Ordering::Relaxed) >> 16 == address as u64;
    let is_free = |place: &&AtomicU64| place.load(Ordering::Relaxed) == 0;
    let all = || places(table, address);
    let place = all().find(is_its).or_else(|| all().find(is_free)).or_else(|| all().next());
    if let Some(place) = place.filter(|_| address != 0 && address >> 48 == 0) {
        place.store((address as u64) << 16 | changed(code(table, address)), Ordering::Relaxed);
    }
}

/// Reads words of the stack, and asks the kernel once for each page.
struct Reader {
    /// It can be read.
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
        // SAFETY: aligned, and in a page that can be read: the caller's own stack, whose pages stay while it runs on them.
        Some(unsafe { core::ptr::read_volatile(address as *const usize) })
    }
}

/// The stack that begins with `caller`, of at most `depth` frames, and their number. `here`: a place of the caller's stack, the same
/// for [`learn`]. None: the unwinder must walk.
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

/// The unwinder has walked. `frames`: return addresses; `slots`: where they lie on the stack, if it is there. `is_whole`: the stack
/// has no more.
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

    /// A stack in memory: return addresses, each so many words above the one before.
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
    fn what_was_walked_is_read_and_what_differs_is_not() {
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
        // Not where the unwinder says: a processor that keeps return addresses elsewhere.
        let (words, wrong, mut slots) = stack(&[(0x6001, 3), (0x6002, 4)]);
        slots[1] += 8;
        learn(words.as_ptr() as usize, &wrong, &slots, true);
        assert_eq!(recall(0x6001, words.as_ptr() as usize, 8, &mut into), None);
    }
}
