//! `syscall()`, for the numbers of the other families; every other number goes to the real function by a jump.
//!
//! Its arguments are words: six behind the number, of which the last lies on the caller's stack. A hooked
//! number is called with the return address besides; the frame that this takes is described to unwinders.

use epollshim_format::call::Call;
use libc::{c_int, c_long, c_uint};

use super::{descriptors, epoll};
use crate::ledger::core::Creation;
use crate::ledger::records::Origin;
use crate::{ledger, real};

/// One more than the highest number that is looked at here.
const NUMBERS: usize = 448;

/// One for the numbers that `hooked` handles.
static HOOKED: [u8; NUMBERS] = {
    let mut table = [0u8; NUMBERS];
    let numbers = [
        libc::SYS_epoll_create,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_wait,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_close,
        libc::SYS_dup,
        libc::SYS_dup2,
        libc::SYS_dup3,
        libc::SYS_fcntl,
        libc::SYS_close_range,
    ];
    let mut at = 0;
    while at < numbers.len() {
        table[numbers[at] as usize] = 1;
        at += 1;
    }
    table
};

/// Where every other number goes: the real `syscall`, jumped to with all registers as they came.
extern "C" fn destination() -> usize {
    real::statics::syscall.get().get()
}

#[cfg(not(test))]
mod exports {
    use core::arch::naked_asm;
    use libc::c_long;

    #[unsafe(naked)]
    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn syscall(number: c_long) -> c_long {
        naked_asm!(
            ".cfi_startproc",
            "cmp rdi, {numbers}",
            "jae 2f",
            "lea r11, [rip + {hooked}]",
            "cmp byte ptr [r11 + rdi], 0",
            "je 2f",
            // hooked(number, a, b, c, d, e, f, caller): the last two on the stack, which stays aligned to 16.
            "sub rsp, 8",
            "push qword ptr [rsp + 8]",
            "push qword ptr [rsp + 24]",
            ".cfi_adjust_cfa_offset 24",
            "call {inner}",
            "add rsp, 24",
            ".cfi_adjust_cfa_offset -24",
            "ret",
            "2:",
            // Keep what the real function will read; the look-up is one load after the first time.
            "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9", "sub rsp, 8",
            ".cfi_adjust_cfa_offset 56",
            "call {destination}",
            "add rsp, 8", "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
            ".cfi_adjust_cfa_offset -56",
            "jmp rax",
            ".cfi_endproc",
            numbers = const super::NUMBERS,
            hooked = sym super::HOOKED,
            inner = sym super::hooked,
            destination = sym super::destination,
        )
    }
}

/// A system call of a hooked number.
///
/// # Safety
/// As the system call's own.
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn hooked(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
    caller: usize,
) -> c_long {
    let real = || {
        // SAFETY: the program's own call, all words as they came.
        unsafe { real::syscall()(number, a, b, c, d, e, f) }
    };
    let fd = a as c_int;
    match number {
        libc::SYS_epoll_create => {
            let result = real();
            let creation = Creation { origin: Origin::Create, argument: a as c_int, site: caller };
            epoll::note_creation(Call::Create, result as c_int, creation);
            result
        }
        libc::SYS_epoll_create1 => {
            let result = real();
            let creation = Creation { origin: Origin::Create1, argument: a as c_int, site: caller };
            epoll::note_creation(Call::Create1, result as c_int, creation);
            result
        }
        libc::SYS_epoll_ctl => {
            // SAFETY: the kernel reads the event from where the program says.
            let result =
                unsafe { epoll::control(fd, b as c_int, c as c_int, d as *mut _, caller, || real() as c_int) };
            c_long::from(result)
        }
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => {
            let (call, can_block) = match number {
                libc::SYS_epoll_wait => (Call::Wait, d as c_int != 0),
                libc::SYS_epoll_pwait => (Call::Pwait, d as c_int != 0),
                _ => (Call::Pwait2, true),
            };
            // SAFETY: the kernel writes the events to where the program says.
            let result =
                unsafe { epoll::waiting(call, fd, b as *mut _, c as c_int, can_block, || real() as c_int) };
            c_long::from(result)
        }
        libc::SYS_close => {
            ledger::closing(fd);
            real()
        }
        libc::SYS_close_range => {
            descriptors::note_range(a as c_uint, b as c_uint, c as c_int);
            real()
        }
        libc::SYS_fcntl => {
            let result = real();
            // Commands other than the dups may return what is no int.
            if b as c_int == libc::F_DUPFD || b as c_int == libc::F_DUPFD_CLOEXEC {
                descriptors::note_duplicate(fd, result as c_int);
            }
            result
        }
        _ => {
            // dup, dup2, dup3.
            let result = real();
            descriptors::note_duplicate(fd, result as c_int);
            result
        }
    }
}
