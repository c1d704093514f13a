//! _exit, _Exit, and exec*: the ends of a process that run no exit handler. (exit and quick_exit run the
//! handlers that the constructor registered.)
//!
//! The exec family is partly variadic, so all of it goes through one trampoline: it keeps the arguments'
//! registers, delivers the report, and jumps to the real function with stack and registers as they came.

use libc::c_int;

use crate::{census, real, report};

#[cfg(not(test))]
mod exports {
    use core::arch::naked_asm;
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

    macro_rules! exec {
        ($($name:ident = $number:literal;)*) => {$(
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name() -> c_int {
                naked_asm!(
                    ".cfi_startproc",
                    crate::hooks::entry::open_frame!(6),
                    "mov edx, {number}",
                    "mov rcx, qword ptr [rsp + 56]",
                    "call {before}",
                    "mov r11, rax",
                    crate::hooks::entry::close_frame!(6),
                    // al: the number of vector registers in a variadic call, of which these have none in use.
                    "xor eax, eax",
                    "jmp r11",
                    ".cfi_endproc",
                    number = const $number,
                    before = sym super::before_exec,
                )
            }
        )*};
    }

    exec! {
        execve = 0;
        execv = 1;
        execl = 2;
        execle = 3;
        execvp = 4;
        execvpe = 5;
        execlp = 6;
        fexecve = 7;
        execveat = 8;
    }
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
