//! System calls.

use core::arch::asm;

use libc::c_long;

/// The system call that waits for events. This processor has no other (Linux v6.1
/// include/uapi/asm-generic/unistd.h).
pub const EPOLL_WAIT: c_long = libc::SYS_epoll_pwait;
/// This processor has no vfork: glibc uses clone for it.
pub const VFORK: c_long = -1;
/// The index of the child's thread-local storage among the arguments of `clone`.
pub const CLONE_STORAGE: usize = 3;
/// The `seccomp_data.arch` of this processor (AUDIT_ARCH_AARCH64, include/uapi/linux/audit.h).
pub const AUDIT_ARCH: u32 = 0xc000_00b7;

/// A system call with up to six arguments.
///
/// # Safety
/// The arguments must be valid for the call `number`, and pointers among them for what the kernel
/// does with them.
#[inline(always)]
pub unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the aarch64 Linux system call convention: the number is in x8, the arguments are in
    // these registers, and everything except x0 is kept (Linux v6.1 arch/arm64/kernel/entry.S). The
    // caller promises valid arguments.
    unsafe {
        asm!("svc #0", in("x8") number, inlateout("x0") a => result,
             in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f, options(nostack));
    }
    result
}

/// Raises SIGILL.
pub fn trap() -> ! {
    // SAFETY: the instruction only raises a signal. A handler can return only to the same
    // instruction.
    unsafe {
        asm!("udf #0", options(noreturn));
    }
}
