//! The thread-local word that gives a thread's block of counters (thread.rs). It uses the
//! initial-exec model: `thread_local!` would call `__tls_get_addr`, which may allocate.

use core::arch::{asm, global_asm};

/// How many bytes of a block (thread.rs) `epollshim_nobody` has: the first cache line.
pub const HEAD: usize = 64;

// The slot holds the distance of the thread's block from `epollshim_nobody`. The words there are
// always zero, as in a block that a fork has wiped. So a new thread, whose slot is zero, needs no
// test of its own: the block of `nobody` is not in use. (If the slot held an address, one
// instruction would be saved. But a thread whose creator made its thread-local storage by itself,
// of zeros, would crash.)
global_asm!(
    ".pushsection .tbss,\"awT\",@nobits",
    ".p2align 3",
    ".globl epollshim_thread_slot",
    ".hidden epollshim_thread_slot",
    ".type epollshim_thread_slot, @object",
    ".size epollshim_thread_slot, 8",
    "epollshim_thread_slot:",
    ".zero 8",
    ".popsection",
    ".pushsection .bss",
    ".p2align 6",
    ".globl epollshim_nobody",
    ".hidden epollshim_nobody",
    ".type epollshim_nobody, @object",
    ".size epollshim_nobody, {size}",
    "epollshim_nobody:",
    ".zero {size}",
    ".popsection",
    size = const HEAD,
);

/// The address of `epollshim_nobody`.
#[inline(always)]
pub fn nobody() -> usize {
    let address: usize;
    // SAFETY: computes an address and reads no memory.
    unsafe {
        asm!("lea {0}, [rip + epollshim_nobody]", out(reg) address, options(nostack, nomem, preserves_flags, pure));
    }
    address
}

/// The address that the calling thread's slot gives: that of a block (thread.rs), or of [`nobody`].
#[inline(always)]
pub fn slot() -> usize {
    let value: usize;
    // SAFETY: reads the thread's own eight bytes, at the offset that the loader has fixed (x86-64
    // psABI, initial-exec).
    unsafe {
        asm!("mov {0}, qword ptr [rip + epollshim_thread_slot@GOTTPOFF]", "mov {0}, qword ptr fs:[{0}]",
             out(reg) value, options(nostack, preserves_flags, readonly));
    }
    let address = nobody().wrapping_add(value);
    // SAFETY: the address is that of a block or of `nobody`, and neither lies at 0.
    unsafe { core::hint::assert_unchecked(address != 0) };
    address
}

pub fn set_slot(address: usize) {
    let value = address.wrapping_sub(nobody());
    // SAFETY: writes the thread's own eight bytes, at the offset that the loader has fixed (x86-64
    // psABI, initial-exec).
    unsafe {
        asm!("mov {0}, qword ptr [rip + epollshim_thread_slot@GOTTPOFF]", "mov qword ptr fs:[{0}], {1}",
             out(reg) _, in(reg) value, options(nostack, preserves_flags));
    }
}
