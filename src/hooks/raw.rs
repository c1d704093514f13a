//! `syscall()`, for the numbers of the other families; every other number goes to the real function by a jump.
//!
//! Its arguments are words: the number and five in registers, the sixth on the caller's stack, whether the
//! caller gave it or not. A hooked number goes the way of entry.rs: the words behind the number are put where the named
//! function has its arguments, and its own `before` and `after` do the rest.

use epollshim_format::function::Function;
use libc::c_long;

use super::counted::counted;
use super::entry::Frame;
use crate::real;

/// One more than the highest number that is looked at here.
const NUMBERS: usize = 448;

/// The function of each system call that is looked at here: one more than its own number. 0: none.
#[allow(clippy::indexing_slicing)] // at compile time: a number too large does not build
static HOOKED: [u8; NUMBERS] = {
    let mut table = [0u8; NUMBERS];
    let functions: [(c_long, Function); Function::COUNT] = [
        (libc::SYS_epoll_create, Function::EpollCreate),
        (libc::SYS_epoll_create1, Function::EpollCreate1),
        (libc::SYS_epoll_ctl, Function::EpollCtl),
        (libc::SYS_epoll_wait, Function::EpollWait),
        (libc::SYS_epoll_pwait, Function::EpollPwait),
        (libc::SYS_epoll_pwait2, Function::EpollPwait2),
        (libc::SYS_close, Function::Close),
        (libc::SYS_dup, Function::Dup),
        (libc::SYS_dup2, Function::Dup2),
        (libc::SYS_dup3, Function::Dup3),
        (libc::SYS_fcntl, Function::Fcntl),
        (libc::SYS_close_range, Function::CloseRange),
    ];
    let mut at = 0;
    while at < functions.len() {
        let (number, function) = functions[at];
        table[number as usize] = function as u8 + 1;
        at += 1;
    }
    table
};

/// The function of a system call's number.
pub fn named(number: usize) -> Option<Function> {
    let place = HOOKED.get(number)?.checked_sub(1)?;
    Function::ALL.get(usize::from(place)).copied()
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
            "cmp word ptr [rip + {armed_for}], 0",
            "jne {armed}",
            // As in entry.rs, but for the sixth argument: a word that lies above the return address.
            crate::hooks::entry::open_frame!(6),
            "mov rdi, rsp",
            "call {before}",
            crate::hooks::entry::give_words!(6),
            "sub rsp, 8",
            ".cfi_adjust_cfa_offset 8",
            "push qword ptr [rsp + 72]",
            ".cfi_adjust_cfa_offset 8",
            crate::hooks::entry::call_real!(),
            "add rsp, 16",
            ".cfi_adjust_cfa_offset -16",
            "mov rsi, rax",
            "mov rdi, rsp",
            "call {after}",
            crate::hooks::entry::leave!("56"),
            "2:",
            ".cfi_def_cfa rsp, 8",
            ".cfi_offset rip, -8",
            // Any other number: keep what the real function will read while its address is looked up.
            crate::hooks::entry::open_frame!(6),
            "call {destination}",
            crate::hooks::entry::close_frame!(6),
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

/// The frame that the function of the number's own name would have had.
pub fn shifted(frame: &Frame) -> Frame {
    let [_, words @ ..] = frame.words;
    let [a, b, c, d, e] = words;
    Frame { words: [a, b, c, d, e, 0], state: frame.state, caller: frame.caller }
}

extern "C-unwind" fn before(frame: &mut Frame) -> usize {
    frame.state = 0;
    if let Some(function) = named(frame.word(0)) {
        let mut own = shifted(frame);
        (counted(function, own.word(1)).before)(&mut own);
        frame.state = own.state;
    }
    destination()
}

pub extern "C-unwind" fn after(frame: &mut Frame, result: isize) -> isize {
    match named(frame.word(0)) {
        Some(function) => {
            let mut own = shifted(frame);
            (counted(function, own.word(1)).after)(&mut own, result)
        }
        None => result,
    }
}
