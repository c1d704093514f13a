//! The system call instruction. No filter is asked: everything but the filters' own code calls
//! src/sys.rs.

use core::arch::asm;

/// A negative error number as the kernel gives it, or the result.
pub type Result<T> = core::result::Result<T, i32>;

/// One system call with up to six arguments.
///
/// # Safety
/// The arguments must be valid for the call `number`; pointers must be valid for what the kernel
/// does with them.
#[inline(always)]
pub unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the x86-64 Linux system call convention: number in rax, arguments in these registers,
    // rcx and r11 destroyed, everything else kept (Linux v6.1 arch/x86/entry/entry_64.S). The
    // caller answers for the arguments.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result,
             in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

pub fn checked(result: isize) -> Result<usize> {
    if result < 0 { Err(-(result as i32)) } else { Ok(result as usize) }
}

/// Up to six arguments as all six.
#[inline(always)]
pub fn words<const N: usize>(given: [usize; N]) -> [usize; 6] {
    let mut all = [0; 6];
    for (word, argument) in all.iter_mut().zip(given) {
        *word = argument;
    }
    all
}

/// A system call that no filter is asked about.
///
/// # Safety
/// As the system call's own; and a filter that forbids it kills.
pub unsafe fn unasked(number: libc::c_long, arguments: [usize; 6]) -> Result<usize> {
    // SAFETY: by this function's contract.
    checked(unsafe { call(number, arguments) })
}
