//! Requests to valgrind: instructions that change nothing on a processor, and that valgrind recognises in the code that it
//! translates (valgrind.h, "The code sequences for amd64").

use core::arch::asm;

/// Whether the program runs under valgrind (`VG_USERREQ__RUNNING_ON_VALGRIND`).
pub fn is_running() -> bool {
    request(0x1001, [0; 5]) != 0
}

/// What valgrind answers; 0 where the program runs on a processor.
fn request(code: usize, arguments: [usize; 5]) -> usize {
    let [a, b, c, d, e] = arguments;
    let words = [code, a, b, c, d, e];
    let mut answer = 0usize;
    // SAFETY: the four rotations add up to 128 bits, so rdi keeps its value, and the exchange of rbx with itself changes
    // nothing. valgrind reads the six words and writes rdx.
    unsafe {
        asm!("rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
             in("rax") words.as_ptr(), inout("rdx") answer, options(nostack));
    }
    answer
}
