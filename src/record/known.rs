//! Whether a site lies in an object that the file's newest list of modules has.

use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use crate::{process, procfs};

/// The newest list of this process's file: text that ends with a zero; null: there is none.
#[repr(transparent)]
pub struct List(AtomicPtr<u8>);

/// The object in which the last site was found that was looked for: its addresses.
static LAST: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// A site lies in no object that is listed. Relaxed: whoever takes it reads the list anew.
static LACKS_ONE: AtomicBool = AtomicBool::new(false);

/// The file has a site: in an object that was loaded after the list was written, perhaps. May be
/// called with the ledger's lock.
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
    // A stack's addresses were met when it was kept.
    if site == 0 || crate::stacks::is_stack(site as usize) {
        return;
    }
    // Acquire: pairs with the Release in `has_list`.
    let start = list.0.load(Ordering::Acquire);
    if start.is_null() {
        return;
    }
    // SAFETY: text in a segment of this process's file, mapped for good, that ends with a zero.
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
    // It is not looked for again at each call.
    set_last(site, site + 1);
}

fn set_last(from: u64, to: u64) {
    let [first, last] = &LAST;
    first.store(from, Ordering::Relaxed);
    last.store(to, Ordering::Relaxed);
}

/// Whether the list must be written anew.
#[inline(always)]
pub fn lacks_one() -> bool {
    LACKS_ONE.load(Ordering::Relaxed)
}

/// The list is about to be written anew.
pub fn forget() {
    LACKS_ONE.store(false, Ordering::Relaxed);
}

/// The newest list lies there.
pub fn has_list(start: *mut u8) {
    if let Some(list) = process::part::<List>() {
        // Release: pairs with the Acquire in `look_for`.
        list.0.store(start, Ordering::Release);
    }
}
