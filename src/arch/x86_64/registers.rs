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

/// Where the function that has this local was called.
#[cfg(all(portable, not(test)))]
#[inline(always)]
pub fn return_address<T>(anchor: &mut crate::arch::portable::entries::Anchor<T>) -> usize {
    let address: usize;
    // SAFETY: reads the word above the one that rbp points to. A function with a local that is aligned to more than 16 keeps rbp as its
    // frame pointer: it aligns the stack pointer in between, and finds its way back by rbp alone. So the word is what its caller's
    // `call` has pushed (x86-64 psABI 3.2.2). This function is no function of its own. (The operand makes the compiler have both the
    // local and the frame by then.)
    unsafe {
        asm!("/* {1} */", "mov {0}, qword ptr [rbp + 8]", out(reg) address, in(reg) core::ptr::from_mut(anchor),
             options(nostack, preserves_flags, readonly));
    }
    address
}
