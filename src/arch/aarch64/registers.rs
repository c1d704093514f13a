//! What is read from the processor's registers.

use core::arch::asm;

/// A word that tells this thread from the others, for the ledger's lock: never 0. The address of its control block, which
/// every thread has, whether or not it ever called epoll.
#[inline(always)]
pub fn token() -> usize {
    let address: usize;
    // SAFETY: reads the thread pointer (ELF for the Arm 64-bit Architecture, thread-local storage).
    unsafe {
        asm!("mrs {0}, tpidr_el0", out(reg) address, options(nostack, preserves_flags, nomem));
    }
    address
}

/// Where the calling frame lies on its stack.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let address: usize;
    // SAFETY: reads a register.
    unsafe {
        asm!("mov {0}, sp", out(reg) address, options(nostack, nomem, preserves_flags));
    }
    address
}

/// Where the function that has this local was called.
#[cfg(not(test))]
#[inline(always)]
pub fn return_address<T>(anchor: &mut crate::arch::portable::entries::Anchor<T>) -> usize {
    let address: usize;
    // SAFETY: reads the second word of the frame record that x29 points to (AAPCS64 6.4.6). A function with a local that is aligned to more
    // than 16 keeps one: it aligns the stack pointer below it, and finds its way back by x29 alone. This function is no function of its
    // own. (The operand makes the compiler have both the local and the frame by then.)
    unsafe {
        asm!("/* {1} */", "ldr {0}, [x29, #8]", out(reg) address, in(reg) core::ptr::from_mut(anchor),
             options(nostack, preserves_flags, readonly));
    }
    address
}
