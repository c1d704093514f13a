//! System calls.

use core::arch::asm;

use libc::c_long;

/// That of a wait for events: there is no other than this (Linux v6.1 include/uapi/asm-generic/unistd.h).
pub const EPOLL_WAIT: c_long = libc::SYS_epoll_pwait;
/// There is none: glibc makes vfork by clone.
pub const VFORK: c_long = -1;
/// Which word of `clone` is the child's thread-local storage.
pub const CLONE_STORAGE: usize = 3;
/// `seccomp_data.arch` of this processor (AUDIT_ARCH_AARCH64, include/uapi/linux/audit.h).
pub const AUDIT_ARCH: u32 = 0xc000_00b7;

/// One system call with up to six arguments.
///
/// # Safety
/// The arguments must be valid for the call `number`; pointers must be valid for what the kernel does with them.
#[inline(always)]
pub unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the aarch64 Linux system call convention: number in x8, arguments in these registers, everything but x0 kept (Linux v6.1
    // arch/arm64/kernel/entry.S). The caller answers for the arguments.
    unsafe {
        asm!("svc #0", in("x8") number, inlateout("x0") a => result,
             in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f, options(nostack));
    }
    result
}

/// Raises SIGILL.
pub fn trap() -> ! {
    // SAFETY: the instruction raises a signal that nobody returns from but to the same instruction.
    unsafe {
        asm!("udf #0", options(noreturn));
    }
}
