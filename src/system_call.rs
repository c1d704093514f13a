//! The system call instruction and its result. This does not consult the program's filters: only
//! the code of the filters calls it directly, and everything else calls src/sys.rs.

pub use crate::arch::system_call::call;

/// The result of a system call, or its error number.
pub type Result<T> = core::result::Result<T, i32>;

pub fn checked(result: isize) -> Result<usize> {
    if result < 0 { Err(-(result as i32)) } else { Ok(result as usize) }
}

/// Fills up the arguments to six words.
#[inline(always)]
pub fn words<const N: usize>(given: [usize; N]) -> [usize; 6] {
    let mut all = [0; 6];
    for (word, argument) in all.iter_mut().zip(given) {
        *word = argument;
    }
    all
}

/// A system call made without consulting the program's filters.
///
/// # Safety
/// As for the system call itself. A filter that forbids the call kills the process.
pub unsafe fn unasked(number: libc::c_long, arguments: [usize; 6]) -> Result<usize> {
    // SAFETY: the caller promises what the system call needs.
    checked(unsafe { call(number, arguments) })
}
