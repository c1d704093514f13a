//! What is read from the processor's registers.

use core::arch::asm;

/// A word that tells this thread from the others, for the ledger's lock: never 0. The address of its control block, which
/// every thread has, whether or not it ever called epoll.
#[inline(always)]
pub fn token() -> usize {
    let address: usize;
    // SAFETY: the word at fs:0 is the thread control block's own address (x86-64 psABI, thread-local storage).
    unsafe {
        asm!("mov {0}, qword ptr fs:[0]", out(reg) address, options(nostack, preserves_flags, readonly));
    }
    address
}

/// Where the calling frame lies on its stack.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let address: usize;
    // SAFETY: reads a register.
    unsafe {
        asm!("mov {0}, rsp", out(reg) address, options(nostack, nomem, preserves_flags));
    }
    address
}
