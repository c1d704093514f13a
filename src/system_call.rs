//! The system call instruction, and its result. No filter is asked: everything but the filters' own code calls
//! src/sys.rs.

pub use crate::arch::system_call::call;

/// A negative error number as the kernel gives it, or the result.
pub type Result<T> = core::result::Result<T, i32>;

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
