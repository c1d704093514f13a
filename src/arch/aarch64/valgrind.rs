//! The instructions that valgrind takes for a request (valgrind.h, "The code sequences for arm64").

use core::arch::asm;

/// What valgrind answers to the six words of a request; 0 where the program runs on a processor.
#[inline(always)]
pub fn request(words: &[usize; 6]) -> usize {
    let mut answer = 0usize;
    // SAFETY: the four rotations add up to 128 bits, so x12 keeps its value, and x10 or itself is itself. valgrind reads the six words and
    // writes x3.
    unsafe {
        asm!("ror x12, x12, #3", "ror x12, x12, #13", "ror x12, x12, #51", "ror x12, x12, #61", "orr x10, x10, x10",
             in("x4") words.as_ptr(), inout("x3") answer, options(nostack));
    }
    answer
}
