//! The interface between entries and hooks: the frame, and the functions that run before and after
//! the real function.
//!
//! Templates make the entries. Read src/arch/portable/entries.rs first, then
//! src/arch/x86_64/entries.rs. The latter reads words of other parts of the library; parts.rs lists
//! them.

pub use crate::frame::{After, Before, Frame, Handlers};

/// The word of the frame in which a function that jumps to the real one ([`jump_to_real`]) stores
/// the address of the thread's block, or [`crate::thread::nobody`]. It is read after the call.
pub const BLOCK: usize = 5;

/// Runs before the real function and ends in a jump to it. The real function returns to the entry.
#[cfg(not(test))]
pub type Enter = extern "C-unwind" fn(&mut Frame) -> libc::c_int;
/// The same, with the time in nanoseconds of CLOCK_MONOTONIC.
pub type TimedEnter = extern "C-unwind" fn(&mut Frame, u64) -> libc::c_int;
pub type TimedAfter = extern "C-unwind" fn(&mut Frame, isize, u64) -> isize;
/// The same, with the time at which the call ended, then the time at which it began.
pub type RecordedAfter = extern "C-unwind" fn(&mut Frame, isize, u64, u64) -> isize;

/// Calls the function at `address` with the first `WORDS` words of a frame, four or five. It must
/// be the last thing that its caller does: the compiler then makes a jump of it.
///
/// # Safety
/// `address` must be that of the function that the program called, and the frame's words its
/// arguments. It must have at most `WORDS` arguments.
#[inline(always)]
pub unsafe fn jump_to_real<const WORDS: usize>(frame: &Frame, address: usize) -> libc::c_int {
    const { assert!(WORDS == 4 || WORDS == 5) };
    let [a, b, c, d, ..] = frame.words;
    if WORDS == 4 {
        type Real = extern "C-unwind" fn(usize, usize, usize, usize) -> libc::c_int;
        // SAFETY: the caller promises a function that takes these words as its arguments.
        let real = unsafe { core::mem::transmute::<usize, Real>(address) };
        real(a, b, c, d)
    } else {
        type Real = extern "C-unwind" fn(usize, usize, usize, usize, usize) -> libc::c_int;
        // SAFETY: the caller promises a function that takes these words as its arguments.
        let real = unsafe { core::mem::transmute::<usize, Real>(address) };
        real(a, b, c, d, frame.word(4))
    }
}

/// Hides a result from the optimizer. If the compiler knew which value is returned, it would keep
/// the value in a register, save that register first, and call a function instead of jumping to it.
#[inline(always)]
pub fn opaque(result: isize) -> isize {
    core::hint::black_box(result)
}
