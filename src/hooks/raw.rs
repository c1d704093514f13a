//! `syscall()`, for the numbers of the other families; every other number goes to the real function by a jump.
//!
//! Its arguments are words: the number and five in registers, the sixth on the caller's stack, whether the
//! caller gave it or not. A hooked number goes the way of entry.rs: the words behind the number are put where the named
//! function has its arguments, and its own `before` and `after` do the rest.

use libc::{c_int, c_long, c_uint};

use super::entry::{After, Before, Frame};
use super::{descriptors, epoll};
use crate::{ledger, real};

/// One more than the highest number that is looked at here.
const NUMBERS: usize = 448;

/// One for the numbers that `named` knows.
#[allow(clippy::indexing_slicing)] // at compile time: a number too large does not build
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
            "cmp word ptr [rip + {armed_for}], 0",
            "jne {armed}",
            // As in entry.rs, but for the sixth argument: a word that lies above the return address.
            "sub rsp, 56",
            ".cfi_adjust_cfa_offset 56",
            "mov qword ptr [rsp], rdi",
            "mov qword ptr [rsp + 8], rsi",
            "mov qword ptr [rsp + 16], rdx",
            "mov qword ptr [rsp + 24], rcx",
            "mov qword ptr [rsp + 32], r8",
            "mov qword ptr [rsp + 40], r9",
            "mov rdi, rsp",
            "call {before}",
            "mov rdi, qword ptr [rsp]",
            "mov rsi, qword ptr [rsp + 8]",
            "mov rdx, qword ptr [rsp + 16]",
            "mov rcx, qword ptr [rsp + 24]",
            "mov r8, qword ptr [rsp + 32]",
            "mov r9, qword ptr [rsp + 40]",
            "sub rsp, 8",
            ".cfi_adjust_cfa_offset 8",
            "push qword ptr [rsp + 72]",
            ".cfi_adjust_cfa_offset 8",
            "lea r11, [rip + 6f]",
            "push r11",
            ".cfi_adjust_cfa_offset 8",
            "jmp rax",
            ".cfi_adjust_cfa_offset -8",
            "nop",
            "6:",
            "add rsp, 16",
            ".cfi_adjust_cfa_offset -16",
            "mov rsi, rax",
            "mov rdi, rsp",
            "call {after}",
            "add rsp, 56",
            ".cfi_adjust_cfa_offset -56",
            "pop rcx",
            ".cfi_adjust_cfa_offset -8",
            ".cfi_register rip, rcx",
            "jmp rcx",
            "2:",
            ".cfi_def_cfa rsp, 8",
            ".cfi_offset rip, -8",
            // Any other number: keep what the real function will read while its address is looked up.
            "sub rsp, 56",
            ".cfi_adjust_cfa_offset 56",
            "mov qword ptr [rsp], rdi",
            "mov qword ptr [rsp + 8], rsi",
            "mov qword ptr [rsp + 16], rdx",
            "mov qword ptr [rsp + 24], rcx",
            "mov qword ptr [rsp + 32], r8",
            "mov qword ptr [rsp + 40], r9",
            "call {destination}",
            "mov rdi, qword ptr [rsp]",
            "mov rsi, qword ptr [rsp + 8]",
            "mov rdx, qword ptr [rsp + 16]",
            "mov rcx, qword ptr [rsp + 24]",
            "mov r8, qword ptr [rsp + 32]",
            "mov r9, qword ptr [rsp + 40]",
            "add rsp, 56",
            ".cfi_adjust_cfa_offset -56",
            "jmp rax",
            ".cfi_endproc",
            armed_for = sym crate::policy::ARMED_FOR,
            armed = sym crate::hooks::armed::exports::syscall,
            numbers = const super::NUMBERS,
            hooked = sym super::HOOKED,
            before = sym super::before,
            after = sym super::after,
            destination = sym super::destination,
        )
    }
}

extern "C" fn destination() -> usize {
    real::SYSCALL.address()
}

/// What the function of a number's own name does before and after.
fn named(number: c_long) -> Option<(Before, After)> {
    Some(match number {
        libc::SYS_epoll_create => (epoll::before_create, epoll::after_create),
        libc::SYS_epoll_create1 => (epoll::before_create1, epoll::after_create1),
        libc::SYS_epoll_ctl => (epoll::before_ctl, epoll::after_ctl),
        libc::SYS_epoll_wait => (epoll::before_wait, epoll::after_wait),
        libc::SYS_epoll_pwait => (epoll::before_pwait, epoll::after_pwait),
        libc::SYS_epoll_pwait2 => (epoll::before_pwait2, epoll::after_pwait2),
        libc::SYS_close => (before_close, after_nothing),
        libc::SYS_close_range => (before_close_range, after_nothing),
        libc::SYS_fcntl => (before_nothing, after_fcntl),
        libc::SYS_dup | libc::SYS_dup2 | libc::SYS_dup3 => (before_nothing, descriptors::after_dup),
        _ => return None,
    })
}

/// The frame that the function of the number's own name would have had.
pub fn shifted(frame: &Frame) -> Frame {
    let [_, words @ ..] = frame.words;
    let [a, b, c, d, e] = words;
    Frame { words: [a, b, c, d, e, 0], state: frame.state, caller: frame.caller }
}

extern "C-unwind" fn before(frame: &mut Frame) -> usize {
    if let Some((before, _)) = named(frame.word(0) as c_long) {
        let mut own = shifted(frame);
        before(&mut own);
        frame.state = own.state;
    }
    destination()
}

extern "C-unwind" fn after(frame: &mut Frame, result: isize) -> isize {
    match named(frame.word(0) as c_long) {
        Some((_, after)) => after(&mut shifted(frame), result),
        None => result,
    }
}

extern "C-unwind" fn before_nothing(_: &mut Frame) -> usize {
    0
}

extern "C-unwind" fn after_nothing(_: &mut Frame, result: isize) -> isize {
    result
}

extern "C-unwind" fn before_close(frame: &mut Frame) -> usize {
    ledger::closing(frame.int(0));
    0
}

extern "C-unwind" fn before_close_range(frame: &mut Frame) -> usize {
    descriptors::note_range(frame.word(0) as c_uint, frame.word(1) as c_uint, frame.int(2), false);
    0
}

extern "C-unwind" fn after_fcntl(frame: &mut Frame, result: isize) -> isize {
    if descriptors::gives_a_number(frame.int(1)) {
        descriptors::note_duplicate(frame.int(0), result as c_int);
    }
    result
}
