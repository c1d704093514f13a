//! Memory for the library if a filter forbids mmap or munmap, or where the process has no address
//! space left (RLIMIT_AS). It is mapped before that, and allocated like a stack. What is released
//! out of order stays in use.

use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// Enough for a report: its stack, its text, and what it reads. Only touched pages use memory.
pub const BYTES: usize = 4 << 20;

/// Null: there is none. Release by `begin`, Acquire by `take`: the mapping exists and its length is
/// known before the address is found.
static START: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
/// Its length, written before `START`.
static LENGTH: AtomicUsize = AtomicUsize::new(0);
/// What lies above is zero, and free.
static USED: AtomicUsize = AtomicUsize::new(0);

pub fn is_there() -> bool {
    !START.load(Ordering::Relaxed).is_null()
}

/// Takes a fresh mapping for the reserve. From here on all memory of the library comes from it, as
/// long as it lasts. False: there is one already.
pub fn begin(start: *mut u8, bytes: usize) -> bool {
    if is_there() || LENGTH.compare_exchange(0, bytes, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return false;
    }
    START.store(start, Ordering::Release);
    true
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
    let next = |used: usize| used.checked_add(wanted).filter(|end| *end <= LENGTH.load(Ordering::Relaxed));
    // Acquire: pairs with the Release in `give_back`. Memory that was released is zeroed.
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
    (!start.is_null() && place < LENGTH.load(Ordering::Relaxed)).then_some(place)
}

/// Releases memory. False: it does not belong to the reserve.
///
/// # Safety
/// If `at` came from [`take`], it must have been with `bytes`, and nothing may refer to it any
/// more.
#[inline(always)]
pub unsafe fn give_back(at: *mut u8, bytes: usize) -> bool {
    let Some(place) = place(at) else { return false };
    let wanted = bytes.next_multiple_of(4096);
    let end = place + wanted;
    if USED.load(Ordering::Relaxed) == end {
        // SAFETY: the caller promises that it is the only user, until the next line.
        unsafe { at.write_bytes(0, wanted) };
        let _ = USED.compare_exchange(end, place, Ordering::AcqRel, Ordering::Relaxed);
    }
    true
}
