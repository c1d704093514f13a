//! The instructions that valgrind recognizes as a request (valgrind.h, "The code sequences for
//! amd64").

use core::arch::asm;

/// valgrind's answer to the six words of a request; 0 if the program does not run under valgrind.
#[inline(always)]
pub fn request(words: &[usize; 6]) -> usize {
    let mut answer = 0usize;
    // SAFETY: the four rotations add up to 128 bits, so rdi keeps its value, and exchanging rbx
    // with itself changes nothing. valgrind reads the six words and writes rdx.
    unsafe {
        asm!("rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
             in("rax") words.as_ptr(), inout("rdx") answer, options(nostack));
    }
    answer
}
