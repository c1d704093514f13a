//! Additions to words that one thread writes and others read: one instruction without a lock prefix. A signal handler of the thread comes
//! before or after it, never between its read and its write.

use core::arch::asm;

use libc::epoll_event;

/// Adds one.
///
/// # Safety
/// The word must be one that this thread alone writes, and others read by atomic operations alone.
#[inline(always)]
pub unsafe fn bump(word: *mut u64) {
    // SAFETY: as in `add`.
    unsafe {
        asm!("add qword ptr [{word}], 1", word = in(reg) word, options(nostack));
    }
}

/// Adds some.
///
/// # Safety
/// The word must be one that this thread alone writes, and others read by atomic operations alone.
#[inline(always)]
pub unsafe fn add(word: *mut u64, amount: u64) {
    // SAFETY: by this function's contract; flags are declared destroyed by default.
    unsafe {
        asm!("add qword ptr [{word}], {amount}", word = in(reg) word, amount = in(reg) amount, options(nostack));
    }
}

/// Adds one, and returns what it was.
///
/// # Safety
/// The word must be one that this thread alone writes, and others read by atomic operations alone.
#[inline(always)]
pub unsafe fn fetch_bump(word: *mut u64) -> u64 {
    let mut before: u64 = 1;
    // SAFETY: as in `add`.
    unsafe {
        asm!("xadd qword ptr [{word}], {before}", word = in(reg) word, before = inout(reg) before,
             options(nostack));
    }
    before
}

/// Adds one to a word of four bytes, or takes one away.
///
/// # Safety
/// The word must be one that this thread alone writes, and others read by atomic operations alone.
#[inline(always)]
pub unsafe fn step(word: *mut u32, more: bool) {
    // SAFETY: as in `add`.
    unsafe {
        if more {
            asm!("inc dword ptr [{word}]", word = in(reg) word, options(nostack));
        } else {
            asm!("dec dword ptr [{word}]", word = in(reg) word, options(nostack));
        }
    }
}

/// All bits of `bits` and of the events from `first` to `end`, of which there are an even number, two or more. Written out, since what
/// compilers make of strides of twelve bytes is longer.
///
/// # Safety
/// So many events must lie there.
#[inline(always)]
pub unsafe fn or_of_pairs(first: *const epoll_event, end: *const epoll_event, bits: u32) -> u32 {
    let mut all = bits;
    // SAFETY: reads what is between the two.
    unsafe {
        asm!("2:", "or {all:e}, dword ptr [{at}]", "or {all:e}, dword ptr [{at} + {size}]",
             "add {at}, 2 * {size}", "cmp {at}, {end}", "jne 2b",
             all = inout(reg) all, at = inout(reg) first => _, end = in(reg) end,
             size = const size_of::<epoll_event>(), options(nostack, readonly));
    }
    all
}

/// Adds to the counter that lies so many bytes behind a base, or one to that which lies `index` counters further: as [`add`] and [`bump`], by a register that the caller has already. (What takes a counter's own address has it computed first: an
/// instruction and a register each.) To be called where there is a counter, which is its safety.
macro_rules! add_at_offset {
    ($base:expr, $place:expr, $amount:expr) => {
        core::arch::asm!("add qword ptr [{base} + {place}], {amount}", base = in(reg) $base, place = const $place, amount = in(reg) $amount,
             options(nostack))
    };
}

macro_rules! bump_at_offset {
    ($base:expr, $place:expr) => {
        core::arch::asm!("add qword ptr [{base} + {place}], 1", base = in(reg) $base, place = const $place, options(nostack))
    };
    ($base:expr, $place:expr, $index:expr) => {
        core::arch::asm!("add qword ptr [{base} + {index} * 8 + {place}], 1", base = in(reg) $base, index = in(reg) $index,
             place = const $place, options(nostack))
    };
}

pub(crate) use {add_at_offset, bump_at_offset};
