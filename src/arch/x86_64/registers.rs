//! What is read from the processor's registers.

use core::arch::asm;

/// A word that identifies the calling thread for the ledger's lock; never 0. It is the address of
/// the thread control block, which every thread has, whether it has called epoll or not.
#[inline(always)]
pub fn token() -> usize {
    let address: usize;
    // SAFETY: the word at fs:0 is the thread control block's own address (x86-64 psABI,
    // thread-local storage).
    unsafe {
        asm!("mov {0}, qword ptr fs:[0]", out(reg) address, options(nostack, preserves_flags, readonly));
    }
    address
}

/// The stack pointer of the calling frame.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let address: usize;
    // SAFETY: reads a register.
    unsafe {
        asm!("mov {0}, rsp", out(reg) address, options(nostack, nomem, preserves_flags));
    }
    address
}

/// The return address of the function that has this local variable.
#[cfg(all(portable, not(test)))]
#[inline(always)]
pub fn return_address<T>(anchor: &mut crate::arch::portable::entries::Anchor<T>) -> usize {
    let address: usize;
    // SAFETY: reads the word above the one that rbp points to. A function with a local variable
    // that is aligned to more than 16 keeps rbp as its frame pointer: it aligns the stack pointer,
    // and can restore it only by rbp. So the word is the return address that its caller's `call`
    // has pushed (x86-64 psABI 3.2.2). This function is inlined and has no frame. (With the
    // operand, the compiler must have created the local variable and the frame before.)
    unsafe {
        asm!("/* {1} */", "mov {0}, qword ptr [rbp + 8]", out(reg) address, in(reg) core::ptr::from_mut(anchor),
             options(nostack, preserves_flags, readonly));
    }
    address
}
