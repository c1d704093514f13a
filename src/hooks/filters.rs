//! prctl. Two of its options concern the library: PR_SET_SECCOMP installs a filter, which may
//! forbid system calls of the library, and PR_SET_TSC forbids the processor's counter that the
//! clock reads. Every other option is passed to the real function. (For `syscall(SYS_prctl)` and
//! `syscall(SYS_seccomp)` see raw.rs.)

#[cfg(not(test))]
mod exports {
    use libc::c_int;

    use crate::{config, real, seccomp};

    /// prctl is variadic in C. Its further arguments are where fixed ones would be (x86-64 psABI).
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int {
        if seccomp::may_concern(option) {
            // SAFETY: the arguments are those that the program passed to prctl.
            return unsafe { installing(option, a, b, c, d) };
        }
        // SAFETY: the arguments are those that the program passed to prctl.
        unsafe { real::prctl()(option, a, b, c, d) }
    }

    #[cold]
    unsafe fn installing(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int {
        let words = [option as usize, a, b];
        let noted = seccomp::installing(libc::SYS_prctl, words, config::get().is_some());
        // SAFETY: the arguments are those that the program passed to prctl.
        let result = unsafe { real::prctl()(option, a, b, c, d) };
        seccomp::installed(libc::SYS_prctl, words, noted, result as isize);
        result
    }
}
