//! System calls.

use core::arch::asm;

use libc::c_long;

/// That of a wait for events.
pub const EPOLL_WAIT: c_long = libc::SYS_epoll_wait;
pub const VFORK: c_long = libc::SYS_vfork;
/// Which word of `clone` is the child's thread-local storage.
pub const CLONE_STORAGE: usize = 4;
/// `seccomp_data.arch` of this processor (AUDIT_ARCH_X86_64, include/uapi/linux/audit.h).
pub const AUDIT_ARCH: u32 = 0xc000_003e;

/// One system call with up to six arguments.
///
/// # Safety
/// The arguments must be valid for the call `number`; pointers must be valid for what the kernel does with them.
#[inline(always)]
pub unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the x86-64 Linux system call convention: number in rax, arguments in these registers, rcx and
    // r11 destroyed, everything else kept (Linux v6.1 arch/x86/entry/entry_64.S). The caller answers for the arguments.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result,
             in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// Raises SIGILL.
pub fn trap() -> ! {
    // SAFETY: the instruction raises a signal that nobody returns from but to the same instruction.
    unsafe {
        asm!("ud2", options(noreturn));
    }
}
