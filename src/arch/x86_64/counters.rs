//! Additions to words that one thread writes and others read. Each is one instruction without a
//! lock prefix: a signal handler of the same thread runs before or after it, never between its read
//! and its write.

use core::arch::asm;

use libc::epoll_event;

/// Adds 1.
///
/// # Safety
/// Only this thread may write the word, and other threads may read it only by atomic operations.
#[inline(always)]
pub unsafe fn bump(word: *mut u64) {
    // SAFETY: the caller promises a word that only this thread writes. The flags count as clobbered
    // by default.
    unsafe {
        asm!("add qword ptr [{word}], 1", word = in(reg) word, options(nostack));
    }
}

/// Adds `amount`.
///
/// # Safety
/// Only this thread may write the word, and other threads may read it only by atomic operations.
#[inline(always)]
pub unsafe fn add(word: *mut u64, amount: u64) {
    // SAFETY: the caller promises a word that only this thread writes. The flags count as clobbered
    // by default.
    unsafe {
        asm!("add qword ptr [{word}], {amount}", word = in(reg) word, amount = in(reg) amount, options(nostack));
    }
}

/// Adds 1, and returns the former value.
///
/// # Safety
/// Only this thread may write the word, and other threads may read it only by atomic operations.
#[inline(always)]
pub unsafe fn fetch_bump(word: *mut u64) -> u64 {
    let mut before: u64 = 1;
    // SAFETY: the caller promises a word that only this thread writes. The flags count as clobbered
    // by default.
    unsafe {
        asm!("xadd qword ptr [{word}], {before}", word = in(reg) word, before = inout(reg) before,
             options(nostack));
    }
    before
}

/// Adds 1 to a word of four bytes, or subtracts 1.
///
/// # Safety
/// Only this thread may write the word, and other threads may read it only by atomic operations.
#[inline(always)]
pub unsafe fn step(word: *mut u32, more: bool) {
    // SAFETY: the caller promises a word that only this thread writes. The flags count as clobbered
    // by default.
    unsafe {
        if more {
            asm!("inc dword ptr [{word}]", word = in(reg) word, options(nostack));
        } else {
            asm!("dec dword ptr [{word}]", word = in(reg) word, options(nostack));
        }
    }
}

/// `bits`, or-ed with the masks of all events from `first` to `end`. It is written in assembly
/// because compilers make longer code of strides of twelve bytes.
///
/// # Safety
/// `first` and `end` must be the bounds of an array of events, whose number is even and at least
/// two.
#[inline(always)]
pub unsafe fn or_of_pairs(first: *const epoll_event, end: *const epoll_event, bits: u32) -> u32 {
    let mut all = bits;
    // SAFETY: the loop reads two events at a time, from `first` until it reaches `end`. The caller
    // promises an even number of events between the two.
    unsafe {
        asm!("2:", "or {all:e}, dword ptr [{at}]", "or {all:e}, dword ptr [{at} + {size}]",
             "add {at}, 2 * {size}", "cmp {at}, {end}", "jne 2b",
             all = inout(reg) all, at = inout(reg) first => _, end = in(reg) end,
             size = const size_of::<epoll_event>(), options(nostack, readonly));
    }
    all
}

/// Adds to the counter that lies `$place` bytes after a base. `bump_at_offset` adds 1 to that
/// counter, or to the one that lies `$index` counters after it. They differ from [`add`] and
/// [`bump`] in using a register that the caller already has: the address of the counter is not
/// computed first, which saves an instruction and a register. Both are unsafe: there must be a
/// counter at that address, which only this thread writes.
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
