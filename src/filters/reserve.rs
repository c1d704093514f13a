//! Memory for the library where a filter forbids mmap or munmap: mapped before the filter is installed, and lent from its
//! end, as a stack is. What is given back out of order stays away.

use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// As much as a report takes: its stack of 256 KiB, its text, and what it reads. Only what is touched is backed by memory.
pub const BYTES: usize = 4 << 20;

/// Null: there is none. Release by `begin`, Acquire by `take`: the mapping is there before it is
/// found.
static START: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
/// What lies above is zero, and nobody's.
static USED: AtomicUsize = AtomicUsize::new(0);

pub fn is_there() -> bool {
    !START.load(Ordering::Relaxed).is_null()
}

/// Takes a fresh mapping of [`BYTES`] for the reserve. From here on all memory of the library comes
/// from it, as long as it lasts. False: there is one already.
pub fn begin(start: *mut u8) -> bool {
    START.compare_exchange(core::ptr::null_mut(), start, Ordering::Release, Ordering::Relaxed).is_ok()
}

/// Zeroed memory, aligned to a page. None: there is no reserve, or it is used up.
#[inline(always)]
pub fn take(bytes: usize) -> Option<*mut u8> {
    let start = START.load(Ordering::Acquire);
    if start.is_null() { None } else { take_from(start, bytes) }
}

#[cold]
fn take_from(start: *mut u8, bytes: usize) -> Option<*mut u8> {
    let wanted = bytes.checked_next_multiple_of(4096)?;
    let next = |used: usize| used.checked_add(wanted).filter(|end| *end <= BYTES);
    // Acquire: who gave it back has zeroed it. Release pairs with that.
    let used = USED.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next).ok()?;
    Some(start.wrapping_add(used))
}

/// Whether memory is part of the reserve.
pub fn contains(at: *mut u8) -> bool {
    place(at).is_some()
}

fn place(at: *mut u8) -> Option<usize> {
    let start = START.load(Ordering::Acquire);
    let place = (at as usize).wrapping_sub(start as usize);
    (!start.is_null() && place < BYTES).then_some(place)
}

/// Takes memory back. False: it is none of the reserve's.
///
/// # Safety
/// If `at` came from [`take`], it must have been with `bytes`, and nobody may refer to it any more.
#[inline(always)]
pub unsafe fn give_back(at: *mut u8, bytes: usize) -> bool {
    let Some(place) = place(at) else { return false };
    let wanted = bytes.next_multiple_of(4096);
    let end = place + wanted;
    if USED.load(Ordering::Relaxed) == end {
        // SAFETY: by this function's contract it is the caller's until the next line.
        unsafe { at.write_bytes(0, wanted) };
        let _ = USED.compare_exchange(end, place, Ordering::AcqRel, Ordering::Relaxed);
    }
    true
}
