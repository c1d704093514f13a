//! The way into a hook while a limit, a fault or the log is armed: the same path as entry.rs, with room for a plan.
//!
//! ```text
//! entry ── something armed? ──▶ armed ── before(plan, frame) ──▶ which function to call: the real one, or an answer
//!                                 │ ───── that function
//!                                 │ ───── after(plan, frame, result) ──▶ what the program gets
//! program ◀──────── jump ─────────┘
//! ```
//!
//! The hooks look at one byte ([`crate::policy::ARMED`]) and go on as if this file were not there when it is zero.

use epollshim_format::function::Function;
use libc::{c_long, c_uint};

use super::entry::{After, Before, Frame};
use super::raw::shifted;
use super::{descriptors, epoll};
use crate::policy::{self, Plan};
use crate::{ledger, real};

/// What the armed entry leaves on the stack.
#[repr(C)]
pub struct Armed {
    /// Written by `before`, first of all.
    plan: core::mem::MaybeUninit<Plan>,
    frame: Frame,
}

/// The bytes of a plan. A multiple of 16 keeps the stack aligned.
pub const PLAN: usize = size_of::<Plan>();
const _: () = assert!(PLAN.is_multiple_of(16) && core::mem::offset_of!(Armed, frame) == PLAN);

#[cfg(not(test))]
pub mod exports {
    /// `name(instruction that widens the result) = function's number: before, after;`
    macro_rules! armed {
        ($($name:ident($widen:literal) = $number:expr, $before:path, $after:path;)*) => {$(
            #[unsafe(naked)]
            pub unsafe extern "C-unwind" fn $name() -> isize {
                core::arch::naked_asm!(
                    ".cfi_startproc",
                    "sub rsp, {plan} + 56",
                    ".cfi_adjust_cfa_offset {plan} + 56",
                    "mov qword ptr [rsp + {plan}], rdi",
                    "mov qword ptr [rsp + {plan} + 8], rsi",
                    "mov qword ptr [rsp + {plan} + 16], rdx",
                    "mov qword ptr [rsp + {plan} + 24], rcx",
                    "mov qword ptr [rsp + {plan} + 32], r8",
                    "mov qword ptr [rsp + {plan} + 40], r9",
                    "mov qword ptr [rsp + {plan} + 48], 0",
                    "mov rdi, rsp",
                    "mov esi, {number}",
                    "call {before}",
                    "mov rdi, qword ptr [rsp + {plan}]",
                    "mov rsi, qword ptr [rsp + {plan} + 8]",
                    "mov rdx, qword ptr [rsp + {plan} + 16]",
                    "mov rcx, qword ptr [rsp + {plan} + 24]",
                    "mov r8, qword ptr [rsp + {plan} + 32]",
                    "mov r9, qword ptr [rsp + {plan} + 40]",
                    // syscall() reads a seventh word above its return address; the others do not look.
                    "sub rsp, 8",
                    ".cfi_adjust_cfa_offset 8",
                    "push qword ptr [rsp + {plan} + 72]",
                    ".cfi_adjust_cfa_offset 8",
                    // A call without `call`, as in entry.rs.
                    "lea r11, [rip + 6f]",
                    "push r11",
                    ".cfi_adjust_cfa_offset 8",
                    "jmp rax",
                    ".cfi_adjust_cfa_offset -8",
                    "nop",
                    "6:",
                    "add rsp, 16",
                    ".cfi_adjust_cfa_offset -16",
                    $widen,
                    "mov rdi, rsp",
                    "call {after}",
                    "add rsp, {plan} + 56",
                    ".cfi_adjust_cfa_offset -({plan} + 56)",
                    "pop rcx",
                    ".cfi_adjust_cfa_offset -8",
                    ".cfi_register rip, rcx",
                    "jmp rcx",
                    ".cfi_endproc",
                    plan = const super::PLAN,
                    number = const $number as u32,
                    before = sym $before,
                    after = sym $after,
                )
            }
        )*};
    }

    use epollshim_format::function::Function;

    armed! {
        epoll_create("movsxd rsi, eax") = Function::EpollCreate, super::before, super::after;
        epoll_create1("movsxd rsi, eax") = Function::EpollCreate1, super::before, super::after;
        epoll_ctl("movsxd rsi, eax") = Function::EpollCtl, super::before, super::after;
        epoll_wait("movsxd rsi, eax") = Function::EpollWait, super::before, super::after;
        epoll_pwait("movsxd rsi, eax") = Function::EpollPwait, super::before, super::after;
        epoll_pwait2("movsxd rsi, eax") = Function::EpollPwait2, super::before, super::after;
        close("movsxd rsi, eax") = Function::Close, super::before, super::after;
        dup("movsxd rsi, eax") = Function::Dup, super::before, super::after;
        dup2("movsxd rsi, eax") = Function::Dup2, super::before, super::after;
        dup3("movsxd rsi, eax") = Function::Dup3, super::before, super::after;
        fcntl("movsxd rsi, eax") = Function::Fcntl, super::before, super::after;
        close_range("movsxd rsi, eax") = Function::CloseRange, super::before, super::after;
        syscall("mov rsi, rax") = 0u32, super::before_raw, super::after_raw;
    }
}

/// What the hook of a function does before and after, when nothing is armed.
pub fn counted(function: Function) -> (Before, After) {
    match function {
        Function::EpollCreate => (epoll::before_create, epoll::after_create),
        Function::EpollCreate1 => (epoll::before_create1, epoll::after_create1),
        Function::EpollCtl => (epoll::before_ctl, epoll::after_ctl),
        Function::EpollWait => (epoll::before_wait, epoll::after_wait),
        Function::EpollPwait => (epoll::before_pwait, epoll::after_pwait),
        Function::EpollPwait2 => (epoll::before_pwait2, epoll::after_pwait2),
        Function::Close => (before_close, after_close),
        Function::Dup => (descriptors::before_dup, descriptors::after_dup),
        Function::Dup2 => (descriptors::before_dup2, descriptors::after_dup),
        Function::Dup3 => (descriptors::before_dup3, descriptors::after_dup),
        Function::Fcntl => (descriptors::before_fcntl, after_fcntl),
        Function::CloseRange => (before_close_range, after_close),
    }
}

extern "C-unwind" fn before_close(frame: &mut Frame) -> usize {
    ledger::closing_for_now(frame.int(0));
    real::CLOSE.address()
}

extern "C-unwind" fn before_close_range(frame: &mut Frame) -> usize {
    descriptors::note_range(frame.word(0) as c_uint, frame.word(1) as c_uint, frame.int(2), true);
    real::CLOSE_RANGE.address()
}

extern "C-unwind" fn after_close(_: &mut Frame, result: isize) -> isize {
    ledger::closed();
    result
}

extern "C-unwind" fn after_fcntl(frame: &mut Frame, result: isize) -> isize {
    if descriptors::gives_a_number(frame.int(1)) { descriptors::after_dup(frame, result) } else { result }
}

extern "C-unwind" fn before(armed: &mut Armed, number: u32) -> usize {
    let Some(function) = Function::ALL.get(number as usize).copied() else { return 0 };
    let (counted, _) = counted(function);
    policy::before(&mut armed.plan, &mut armed.frame, function, counted)
}

extern "C-unwind" fn after(armed: &mut Armed, result: isize) -> isize {
    // SAFETY: `before` has written it.
    let plan = unsafe { armed.plan.assume_init_mut() };
    let (_, counted) = counted(plan.function);
    policy::after(plan, &mut armed.frame, result, counted)
}

/// The function of a system call's number.
fn named(number: c_long) -> Option<Function> {
    Some(match number {
        libc::SYS_epoll_create => Function::EpollCreate,
        libc::SYS_epoll_create1 => Function::EpollCreate1,
        libc::SYS_epoll_ctl => Function::EpollCtl,
        libc::SYS_epoll_wait => Function::EpollWait,
        libc::SYS_epoll_pwait => Function::EpollPwait,
        libc::SYS_epoll_pwait2 => Function::EpollPwait2,
        libc::SYS_close => Function::Close,
        libc::SYS_dup => Function::Dup,
        libc::SYS_dup2 => Function::Dup2,
        libc::SYS_dup3 => Function::Dup3,
        libc::SYS_fcntl => Function::Fcntl,
        libc::SYS_close_range => Function::CloseRange,
        _ => return None,
    })
}

/// syscall(number, five words, one on the stack): the plan is made for the frame that the named function would have had.
/// Only hooked numbers come here (raw.rs).
extern "C-unwind" fn before_raw(armed: &mut Armed, _: u32) -> usize {
    let number = armed.frame.word(0);
    let function = named(number as c_long).unwrap_or(Function::Close);
    let mut own = shifted(&armed.frame);
    let (counted, _) = counted(function);
    let address = policy::before(&mut armed.plan, &mut own, function, counted);
    // SAFETY: it has just been written.
    let is_real = unsafe { armed.plan.assume_init_ref() }.is_real();
    let [a, b, c, d, e, _] = own.words;
    armed.frame.words = if is_real { [number, a, b, c, d, e] } else { own.words };
    armed.frame.state = own.state;
    if is_real { real::SYSCALL.address() } else { address }
}

extern "C-unwind" fn after_raw(armed: &mut Armed, result: isize) -> isize {
    // SAFETY: `before_raw` has written it.
    let plan = unsafe { armed.plan.assume_init_mut() };
    let (_, counted) = counted(plan.function);
    let mut own = if plan.is_real() { shifted(&armed.frame) } else { armed.frame };
    policy::after(plan, &mut own, result, counted)
}
