//! The ways in which a process ends without running exit handlers: `_exit`, `_Exit`, `exec*`,
//! `abort`, a failed assertion, `syscall(SYS_exit_group)`, and a signal that the process sends to
//! itself. (`exit` and `quick_exit` run the handlers that the constructor registered.)
//!
//! Some of these functions are variadic. So all but the first two use one entry: it keeps the
//! argument registers, delivers the report, and jumps to the real function with the original stack
//! and registers.
//!
//! A server that ends by a signal often cleans up in a handler, restores the default action and
//! sends itself the signal again. The library can see nothing of the process after that.

use libc::{c_int, c_long};

use super::arguments::{Numbers, Strings};
#[cfg(not(test))]
use crate::registers;
use crate::{census, interrupted, process, real, report, sys};

#[cfg(not(test))]
mod exports {
    use libc::c_int;

    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn _exit(status: c_int) -> ! {
        crate::report::at_end(crate::process::End::UnderscoreExit);
        // SAFETY: the real function may be called with any status, and does not return.
        unsafe { crate::real::_exit()(status) }
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn _Exit(status: c_int) -> ! {
        crate::report::at_end(crate::process::End::UnderscoreExit);
        // SAFETY: the real function may be called with any status, and does not return.
        unsafe { crate::real::_Exit()(status) }
    }

    crate::arch::tail_jump! {
        #[unsafe(no_mangle)]
        execve: super::before_exec, numbered 0;
        #[unsafe(no_mangle)]
        execv: super::before_exec, numbered 1;
        #[unsafe(no_mangle)]
        execl: super::before_exec, numbered 2;
        #[unsafe(no_mangle)]
        execle: super::before_exec, numbered 3;
        #[unsafe(no_mangle)]
        execvp: super::before_exec, numbered 4;
        #[unsafe(no_mangle)]
        execvpe: super::before_exec, numbered 5;
        #[unsafe(no_mangle)]
        execlp: super::before_exec, numbered 6;
        #[unsafe(no_mangle)]
        fexecve: super::before_exec, numbered 7;
        #[unsafe(no_mangle)]
        execveat: super::before_exec, numbered 8;
    }

    crate::arch::tail_jump! {
        #[unsafe(no_mangle)]
        abort: super::before_abort;
        #[unsafe(no_mangle)]
        __assert_fail: super::before_assert_fail;
        #[unsafe(no_mangle)]
        raise: super::before_raise;
        #[unsafe(no_mangle)]
        kill: super::before_kill;
        #[unsafe(no_mangle)]
        killpg: super::before_killpg;
        #[unsafe(no_mangle)]
        tgkill: super::before_tgkill;
        #[unsafe(no_mangle)]
        pthread_kill: super::before_pthread_kill;
    }
}

/// Delivers the report if the call can be expected to succeed, and returns the real function's
/// address.
///
/// # Safety
/// `words` must be the address of the call's arguments, as an entry stores them (arguments.rs).
unsafe extern "C-unwind" fn before_exec(words: *const usize, which: u32, caller: usize) -> usize {
    // SAFETY: the caller promises the arguments as an entry stores them, which is at least six
    // registers.
    let [first, second, third, fourth] = unsafe { words.cast::<[usize; 4]>().read() };
    let program = match which {
        7 => report::Program::Descriptor(first as c_int),
        8 => report::Program::At(first as c_int, second as *const libc::c_char),
        4..=6 => report::Program::Searched(first as *const libc::c_char),
        _ => report::Program::At(libc::AT_FDCWD, first as *const libc::c_char),
    };
    if census::is_on() && report::is_executable(program) {
        let numbers = match which {
            0 | 5 | 7 => Numbers::of(Strings::Array(second), third),
            8 => Numbers::of(Strings::Array(third), fourth),
            2 | 3 | 6 => Numbers::with_own_environment(Strings::Listed(words, 1, which == 3)),
            _ => Numbers::with_own_environment(Strings::Array(second)),
        };
        census::evaluation::at_exec(caller, &|fd| numbers.have(fd));
    }
    report::note_start(program);
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

#[cfg(not(test))]
extern "C-unwind" fn before_abort() -> usize {
    note_abort();
    real::ABORT.address()
}

#[cfg(not(test))]
extern "C-unwind" fn before_assert_fail() -> usize {
    note_abort();
    real::ASSERT_FAIL.address()
}

/// A handler of SIGABRT may leave by siglongjmp, so that the process continues. If it returns, the
/// process ends without a report.
#[cold]
fn note_abort() {
    if matches!(sys::disposition(libc::SIGABRT), Ok(libc::SIG_DFL | libc::SIG_IGN)) {
        report::at_end(process::End::Aborted);
    }
}

#[cfg(not(test))]
extern "C-unwind" fn before_raise(signal: c_int) -> usize {
    note_signal_to_self(signal);
    real::RAISE.address()
}

#[cfg(not(test))]
extern "C-unwind" fn before_kill(pid: c_int, signal: c_int) -> usize {
    note_signal(pid, signal);
    real::KILL.address()
}

#[cfg(not(test))]
extern "C-unwind" fn before_killpg(group: c_int, signal: c_int) -> usize {
    note_signal(group.wrapping_neg(), signal);
    real::KILLPG.address()
}

#[cfg(not(test))]
extern "C-unwind" fn before_tgkill(pid: c_int, thread: c_int, signal: c_int) -> usize {
    note_signal_to_thread(pid, thread, signal);
    real::TGKILL.address()
}

/// A `pthread_t` of glibc is the thread pointer on x86-64. On aarch64 it is another address, and
/// the signal is not noticed.
#[cfg(not(test))]
extern "C-unwind" fn before_pthread_kill(thread: usize, signal: c_int) -> usize {
    if thread == registers::token() {
        note_signal_to_self(signal);
    }
    real::PTHREAD_KILL.address()
}

/// The system calls that [`before_raw`] handles.
pub const NOTED: [c_long; 4] = [libc::SYS_exit_group, libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill];

/// Runs before a system call that is not hooked, with its number and its first arguments.
pub fn before_raw(number: usize, [first, second, third, ..]: [usize; 5]) {
    match number as c_long {
        libc::SYS_exit_group => report::at_end(process::End::ExitGroup),
        libc::SYS_kill => note_signal(first as c_int, second as c_int),
        libc::SYS_tkill => note_signal_to_thread(sys::getpid(), first as c_int, second as c_int),
        libc::SYS_tgkill => note_signal_to_thread(first as c_int, second as c_int, third as c_int),
        _ => {}
    }
}

/// kill(2).
#[inline(never)] // for size
fn note_signal(pid: c_int, signal: c_int) {
    if is_fatal(signal) && (pid == 0 || pid == sys::getpid() || pid < -1 && pid.wrapping_neg() == sys::process_group())
    {
        note_signal_to_self(signal);
    }
}

fn note_signal_to_thread(pid: c_int, thread: c_int, signal: c_int) {
    if is_fatal(signal) && pid == sys::getpid() && thread == sys::gettid() {
        note_signal_to_self(signal);
    }
}

#[cold]
#[inline(never)] // for size
fn note_signal_to_self(signal: c_int) {
    if is_fatal(signal) && will_end_by(signal) {
        report::before_signal();
    }
}

/// Whether the default action of a signal ends the process (signal(7)). glibc uses 32 and 33
/// itself.
fn is_fatal(signal: c_int) -> bool {
    use libc::{SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};
    let others = [SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, 32, 33];
    (1..=64).contains(&signal) && !others.contains(&signal)
}

/// Whether a fatal signal has its default action, and will be delivered. The kernel ignores it for
/// pid 1 of a pid namespace (Linux v6.1 kernel/signal.c, sig_task_ignored).
fn will_end_by(signal: c_int) -> bool {
    let is_delivered = || match sys::blocked_signals() {
        Ok(mask) if mask & 1 << (signal - 1) == 0 => true,
        // It is pending until the handler returns.
        Ok(_) => interrupted::blocks_for_a_handler(signal),
        Err(_) => false,
    };
    sys::getpid() != 1 && (signal == libc::SIGKILL || sys::disposition(signal) == Ok(libc::SIG_DFL) && is_delivered())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_signal_is_fatal_where_its_default_action_ends_the_process() {
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGKILL, libc::SIGABRT, libc::SIGPIPE, 34, 64] {
            assert!(super::is_fatal(signal), "{signal}");
        }
        for signal in [-1, 0, 32, 33, 65, libc::SIGCHLD, libc::SIGSTOP, libc::SIGWINCH] {
            assert!(!super::is_fatal(signal), "{signal}");
        }
    }
}
