//! prctl, of which two options concern the library: PR_SET_SECCOMP installs a filter that may forbid system calls of the
//! library's own, PR_SET_TSC forbids the processor's counter that the clock reads. (`syscall(SYS_prctl)` and
//! `syscall(SYS_seccomp)`: raw.rs.) Every other option goes on to the real function.

#[cfg(not(test))]
mod exports {
    use libc::c_int;

    use crate::{config, real, seccomp};

    /// Variadic in C: its further arguments lie where fixed ones would (x86-64 psABI).
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int {
        if seccomp::may_concern(option) {
            // SAFETY: the program's own call, with its own arguments.
            return unsafe { installing(option, a, b, c, d) };
        }
        // SAFETY: the program's own call, with its own arguments.
        unsafe { real::prctl()(option, a, b, c, d) }
    }

    #[cold]
    unsafe fn installing(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int {
        let words = [option as usize, a, b];
        let noted = seccomp::installing(libc::SYS_prctl, words, config::get().is_some());
        // SAFETY: the program's own call, with its own arguments.
        let result = unsafe { real::prctl()(option, a, b, c, d) };
        seccomp::installed(libc::SYS_prctl, words, noted, result as isize);
        result
    }
}
