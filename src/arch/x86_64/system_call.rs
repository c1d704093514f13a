//! System calls.

use core::arch::asm;

use libc::c_long;

/// The system call that waits for events.
pub const EPOLL_WAIT: c_long = libc::SYS_epoll_wait;
pub const VFORK: c_long = libc::SYS_vfork;
/// The index of the child's thread-local storage among the arguments of `clone`.
pub const CLONE_STORAGE: usize = 4;
/// The `seccomp_data.arch` of this processor (AUDIT_ARCH_X86_64, include/uapi/linux/audit.h).
pub const AUDIT_ARCH: u32 = 0xc000_003e;

/// A system call with up to six arguments.
///
/// # Safety
/// The arguments must be valid for the call `number`, and pointers among them for what the kernel
/// does with them.
#[inline(always)]
pub unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the x86-64 Linux system call convention: the number is in rax, the arguments are in
    // these registers, rcx and r11 are destroyed, and everything else is kept (Linux v6.1
    // arch/x86/entry/entry_64.S). The caller promises valid arguments.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result,
             in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// Raises SIGILL.
pub fn trap() -> ! {
    // SAFETY: the instruction only raises a signal. A handler can return only to the same
    // instruction.
    unsafe {
        asm!("ud2", options(noreturn));
    }
}
