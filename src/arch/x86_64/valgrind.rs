//! The instructions that valgrind takes for a request (valgrind.h, "The code sequences for amd64").

use core::arch::asm;

/// What valgrind answers to the six words of a request; 0 where the program runs on a processor.
#[inline(always)]
pub fn request(words: &[usize; 6]) -> usize {
    let mut answer = 0usize;
    // SAFETY: the four rotations add up to 128 bits, so rdi keeps its value, and the exchange of rbx with itself changes
    // nothing. valgrind reads the six words and writes rdx.
    unsafe {
        asm!("rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
             in("rax") words.as_ptr(), inout("rdx") answer, options(nostack));
    }
    answer
}
