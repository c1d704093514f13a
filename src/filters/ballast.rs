//! Address space that is held from the start, for when the process has none left (RLIMIT_AS, or as
//! many mappings as the kernel allows).
//!
//! ```text
//! │ the reserve (reserve.rs) if mmap fails │ segments of the recording │ for the report │
//! ```
//!
//! Its pages cannot be touched, and use no memory. What replaces them with MAP_FIXED needs no more
//! address space (Linux v6.1 mm/mmap.c, mmap_region). The last part is for the report: the kernel
//! has it back before the report is made.

use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// A stack, a helper's stack, and a buffer.
pub const FOR_RESERVE: usize = 384 << 10;
const FOR_SEGMENTS: usize = 128 << 10;
/// A report's stack, its text, and what it reads.
pub const FOR_REPORT: usize = 1 << 20;
pub const BYTES: usize = FOR_RESERVE + FOR_SEGMENTS + FOR_REPORT;

/// The first part; null: there is none, or it is the reserve by now. AcqRel: one thread takes it.
static RESERVE: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
/// The second part's first byte that is free, and its end. Relaxed: nobody has touched the memory.
static NEXT: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);
/// The third part; null: given back.
static REPORT: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

/// Holds a new mapping of [`BYTES`]. Called once, at load.
pub fn hold(start: *mut u8) {
    let segments = start as usize + FOR_RESERVE;
    NEXT.store(segments, Ordering::Relaxed);
    END.store(segments + FOR_SEGMENTS, Ordering::Relaxed);
    REPORT.store(start.wrapping_add(FOR_RESERVE + FOR_SEGMENTS), Ordering::Relaxed);
    RESERVE.store(start, Ordering::Release);
}

/// The first part, for one caller. None: there is none, or it was taken before.
pub fn take_reserve() -> Option<*mut u8> {
    let start = RESERVE.swap(core::ptr::null_mut(), Ordering::AcqRel);
    (!start.is_null()).then_some(start)
}

/// Address space for a segment, for good, to be mapped over. None: there is none left.
pub fn take(bytes: usize) -> Option<*mut u8> {
    let wanted = bytes.checked_next_multiple_of(4096)?;
    let next = |at: usize| at.checked_add(wanted).filter(|end| *end <= END.load(Ordering::Relaxed));
    NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok().map(|at| at as *mut u8)
}

/// The third part, for one caller.
pub fn take_report() -> Option<*mut u8> {
    let start = REPORT.swap(core::ptr::null_mut(), Ordering::AcqRel);
    (!start.is_null()).then_some(start)
}
