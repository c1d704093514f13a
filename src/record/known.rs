//! Whether a site lies in an object of the file's newest list of modules.

use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use crate::{process, procfs};

/// The newest list in this process's file: text that ends with a zero. Null: there is none.
#[repr(transparent)]
pub struct List(AtomicPtr<u8>);

/// The addresses of the object in which the last site was found.
static LAST: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// Set when a site lies in no listed object. Relaxed: the thread that clears it reads all mappings
/// again.
static LACKS_ONE: AtomicBool = AtomicBool::new(false);

/// Checks a site that the file contains: its object may have been loaded after the list was
/// written. It may be called with the ledger's lock held.
#[inline(always)]
pub fn meet(site: usize) {
    let [start, end] = &LAST;
    let (start, end) = (start.load(Ordering::Relaxed), end.load(Ordering::Relaxed));
    if (site as u64).wrapping_sub(start) >= end.wrapping_sub(start) {
        look_for(site as u64);
    }
}

#[cold]
#[inline(never)]
fn look_for(site: u64) {
    let Some(list) = process::part::<List>() else { return };
    // The addresses of a stack were checked when the stack was kept.
    if site == 0 || crate::stacks::is_stack(site as usize) {
        return;
    }
    // Acquire: pairs with the Release in `has_list`.
    let start = list.0.load(Ordering::Acquire);
    if start.is_null() {
        return;
    }
    // SAFETY: `has_list` stored the start of a text that ends with a zero, in a segment of this
    // process's file, which is never unmapped or changed.
    let list = unsafe { core::ffi::CStr::from_ptr(start.cast()) }.to_bytes();
    for line in list.split(|byte| *byte == b'\n') {
        let mut bounds = line.split(|byte| *byte == b' ').filter_map(procfs::hexadecimal);
        if let (Some(from), Some(to)) = (bounds.next(), bounds.next())
            && (from..to).contains(&site)
        {
            return set_last(from, to);
        }
    }
    LACKS_ONE.store(true, Ordering::Relaxed);
    // So that the next call does not search for it again.
    set_last(site, site + 1);
}

fn set_last(from: u64, to: u64) {
    let [first, last] = &LAST;
    first.store(from, Ordering::Relaxed);
    last.store(to, Ordering::Relaxed);
}

/// Whether a new list must be written.
#[inline(always)]
pub fn lacks_one() -> bool {
    LACKS_ONE.load(Ordering::Relaxed)
}

/// Called before a new list is written.
pub fn forget() {
    LACKS_ONE.store(false, Ordering::Relaxed);
}

/// Sets the newest list.
pub fn has_list(start: *mut u8) {
    if let Some(list) = process::part::<List>() {
        // Release: pairs with the Acquire in `look_for`.
        list.0.store(start, Ordering::Release);
    }
}
