//! What entries and hooks agree upon: the frame, and what is called before and behind the real function.
//!
//! The entries are made by templates: src/arch/portable/entries.rs, which is to be read first, and src/arch/x86_64/entries.rs. The latter read
//! words of other parts of the library: parts.rs has them all.

pub use crate::frame::{After, Before, Frame, Handlers};

/// The word of its frame in which a function that goes on to the real one ([`jump_to_real`]) leaves the thread's block, or
/// [`crate::thread::nobody`], for what comes behind it.
pub const BLOCK: usize = 5;

/// What does the same and calls it, without coming back in between.
#[cfg(not(test))]
pub type Enter = extern "C-unwind" fn(&mut Frame) -> libc::c_int;
/// The same where it is told the time, in nanoseconds of CLOCK_MONOTONIC.
pub type TimedEnter = extern "C-unwind" fn(&mut Frame, u64) -> libc::c_int;
pub type TimedAfter = extern "C-unwind" fn(&mut Frame, isize, u64) -> isize;
/// The same that is told when the call began, too, behind when it ended.
pub type RecordedAfter = extern "C-unwind" fn(&mut Frame, isize, u64, u64) -> isize;

/// Calls the function at `address` with the first words of a frame, four or more, as the last thing that is done before it: a jump.
///
/// # Safety
/// It must be the function that the frame's words are the arguments of, and have so many of them.
#[inline(always)]
pub unsafe fn jump_to_real<const WORDS: usize>(frame: &Frame, address: usize) -> libc::c_int {
    const { assert!(WORDS == 4 || WORDS == 5) };
    let [a, b, c, d, ..] = frame.words;
    if WORDS == 4 {
        type Real = extern "C-unwind" fn(usize, usize, usize, usize) -> libc::c_int;
        // SAFETY: by this function's contract.
        let real = unsafe { core::mem::transmute::<usize, Real>(address) };
        real(a, b, c, d)
    } else {
        type Real = extern "C-unwind" fn(usize, usize, usize, usize, usize) -> libc::c_int;
        // SAFETY: as above.
        let real = unsafe { core::mem::transmute::<usize, Real>(address) };
        real(a, b, c, d, frame.word(4))
    }
}
