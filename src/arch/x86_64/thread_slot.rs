//! The thread-local word by which a thread's block of counters is found (thread.rs). The initial-exec model: `thread_local!` would go
//! through `__tls_get_addr`, which may allocate.

use core::arch::{asm, global_asm};

/// How much of a block (thread.rs) is there in `epollshim_nobody`: its first cache line.
pub const HEAD: usize = 64;

// The slot says how far the thread's block lies behind `epollshim_nobody`: words that are always zero, as in a block that a fork has
// wiped. So a new thread, whose slot is zero, needs no question of its own: nobody's block is not in use. (That the slot held the address
// of `epollshim_nobody` would be an instruction less, and the death of a thread that has made its thread-local storage itself, of zeros.)
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
    // SAFETY: takes an address.
    unsafe {
        asm!("lea {0}, [rip + epollshim_nobody]", out(reg) address, options(nostack, nomem, preserves_flags, pure));
    }
    address
}

/// What the calling thread's slot says: the address of a block (thread.rs), or of [`nobody`].
#[inline(always)]
pub fn slot() -> usize {
    let value: usize;
    // SAFETY: reads the thread's own eight bytes at the offset that the loader fixed (x86-64 psABI, initial-exec).
    unsafe {
        asm!("mov {0}, qword ptr [rip + epollshim_thread_slot@GOTTPOFF]", "mov {0}, qword ptr fs:[{0}]",
             out(reg) value, options(nostack, preserves_flags, readonly));
    }
    let address = nobody().wrapping_add(value);
    // SAFETY: neither a block lies there nor `nobody`.
    unsafe { core::hint::assert_unchecked(address != 0) };
    address
}

pub fn set_slot(address: usize) {
    let value = address.wrapping_sub(nobody());
    // SAFETY: writes the thread's own eight bytes, as above.
    unsafe {
        asm!("mov {0}, qword ptr [rip + epollshim_thread_slot@GOTTPOFF]", "mov qword ptr fs:[{0}], {1}",
             out(reg) _, in(reg) value, options(nostack, preserves_flags));
    }
}
