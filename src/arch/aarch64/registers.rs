//! What is read from the processor's registers.

use core::arch::asm;

/// A word that identifies the calling thread for the ledger's lock; never 0. It is the address of
/// the thread control block, which every thread has, whether it has called epoll or not.
#[inline(always)]
pub fn token() -> usize {
    let address: usize;
    // SAFETY: reads the thread pointer (ELF for the Arm 64-bit Architecture, thread-local storage).
    unsafe {
        asm!("mrs {0}, tpidr_el0", out(reg) address, options(nostack, preserves_flags, nomem));
    }
    address
}

/// The stack pointer of the calling frame.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let address: usize;
    // SAFETY: reads a register.
    unsafe {
        asm!("mov {0}, sp", out(reg) address, options(nostack, nomem, preserves_flags));
    }
    address
}

/// The return address of the function that has this local variable.
#[cfg(not(test))]
#[inline(always)]
pub fn return_address<T>(anchor: &mut crate::arch::portable::entries::Anchor<T>) -> usize {
    let address: usize;
    // SAFETY: reads the second word of the frame record that x29 points to (AAPCS64 6.4.6). A
    // function with a local variable that is aligned to more than 16 has such a record: it aligns
    // the stack pointer below it, and can restore it only by x29. This function is inlined and has
    // no frame. (With the operand, the compiler must have created the local variable and the frame
    // before.)
    unsafe {
        asm!("/* {1} */", "ldr {0}, [x29, #8]", out(reg) address, in(reg) core::ptr::from_mut(anchor),
             options(nostack, preserves_flags, readonly));
    }
    address
}
