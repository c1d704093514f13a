//! The instructions that valgrind recognizes as a request (valgrind.h, "The code sequences for
//! arm64").

use core::arch::asm;

/// valgrind's answer to the six words of a request; 0 if the program does not run under valgrind.
#[inline(always)]
pub fn request(words: &[usize; 6]) -> usize {
    let mut answer = 0usize;
    // SAFETY: the four rotations add up to 128 bits, so x12 keeps its value, and or-ing x10 with
    // itself changes nothing. valgrind reads the six words and writes x3.
    unsafe {
        asm!("ror x12, x12, #3", "ror x12, x12, #13", "ror x12, x12, #51", "ror x12, x12, #61", "orr x10, x10, x10",
             in("x4") words.as_ptr(), inout("x3") answer, options(nostack));
    }
    answer
}
