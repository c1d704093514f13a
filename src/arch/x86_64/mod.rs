//! What is x86-64's own.

#[cfg(portable)]
use core::arch::asm;

/// Where the function that has this local was called.
#[cfg(portable)]
#[inline(always)]
pub fn return_address(anchor: &super::portable::entries::Anchor) -> usize {
    let address: usize;
    // SAFETY: reads the word above the one that rbp points to. A function with a local that is aligned to more than 16 keeps rbp as its
    // frame pointer: it aligns the stack pointer in between, and finds its way back by rbp alone. So the word is what its caller's
    // `call` has pushed (x86-64 psABI 3.2.2). This function is no function of its own. (The operand makes the compiler have both the
    // local and the frame by then.)
    unsafe {
        asm!("/* {1} */", "mov {0}, qword ptr [rbp + 8]", out(reg) address, in(reg) core::ptr::from_ref(anchor),
             options(nostack, preserves_flags, readonly));
    }
    address
}
