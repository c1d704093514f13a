//! _exit, _Exit, abort, and exec*: the ends of a process that run no exit handler. (exit and quick_exit run the
//! handlers that the constructor registered.)
//!
//! The exec family is partly variadic, so all of it goes through one trampoline: it keeps the arguments'
//! registers, delivers the report, and jumps to the real function with stack and registers as they came.

use libc::c_int;

use crate::{census, real, report};

#[cfg(not(test))]
mod exports {
    use libc::c_int;

    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn _exit(status: c_int) -> ! {
        crate::report::at_end(crate::process::End::UnderscoreExit);
        // SAFETY: the program's own call.
        unsafe { crate::real::_exit()(status) }
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn _Exit(status: c_int) -> ! {
        crate::report::at_end(crate::process::End::UnderscoreExit);
        // SAFETY: the program's own call.
        unsafe { crate::real::_Exit()(status) }
    }

    crate::arch::passing! {
        #[unsafe(no_mangle)]
        execve: super::before_exec, telling 0;
        #[unsafe(no_mangle)]
        execv: super::before_exec, telling 1;
        #[unsafe(no_mangle)]
        execl: super::before_exec, telling 2;
        #[unsafe(no_mangle)]
        execle: super::before_exec, telling 3;
        #[unsafe(no_mangle)]
        execvp: super::before_exec, telling 4;
        #[unsafe(no_mangle)]
        execvpe: super::before_exec, telling 5;
        #[unsafe(no_mangle)]
        execlp: super::before_exec, telling 6;
        #[unsafe(no_mangle)]
        fexecve: super::before_exec, telling 7;
        #[unsafe(no_mangle)]
        execveat: super::before_exec, telling 8;
        #[unsafe(no_mangle)]
        abort: super::before_abort;
    }
}

/// Only noted: the program may have a handler of the signal, which jumps out.
#[cfg(not(test))]
extern "C-unwind" fn before_abort() -> usize {
    crate::record::at_abort();
    real::ABORT.address()
}

/// Delivers the report if the call can be expected to succeed, and returns the real function's address.
unsafe extern "C-unwind" fn before_exec(first: usize, second: usize, which: u32, caller: usize) -> usize {
    let program = match which {
        7 => report::Program::Descriptor(first as c_int),
        8 => report::Program::At(first as c_int, second as *const libc::c_char),
        4..=6 => report::Program::Searched(first as *const libc::c_char),
        _ => report::Program::At(libc::AT_FDCWD, first as *const libc::c_char),
    };
    if census::is_on() && report::is_executable(program) {
        census::evaluation::at_exec(caller);
    }
    report::before_exec(program, caller);
    let real = match which {
        0 => &real::EXECVE,
        1 => &real::EXECV,
        2 => &real::EXECL,
        3 => &real::EXECLE,
        4 => &real::EXECVP,
        5 => &real::EXECVPE,
        6 => &real::EXECLP,
        7 => &real::FEXECVE,
        _ => &real::EXECVEAT,
    };
    real.address()
}
