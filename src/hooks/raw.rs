//! `syscall()`, for the numbers of the functions that have hooks. Every other number is passed to
//! the real function by a jump.
//!
//! Its arguments are words: the number and five others in registers, and the sixth on the caller's
//! stack, whether the caller passed one or not. For a hooked number, the words after the number are
//! put where the named function has its arguments. That function's own `before` and `after` do the
//! rest.

use epollshim_format::function::Function;
#[cfg(not(test))]
use libc::c_int;
use libc::c_long;

#[cfg(not(test))]
use super::armed::{Armed, call_after, plan_of};
#[cfg(portable)]
use super::creators;
use super::default_handlers::default_handlers;
#[cfg(not(test))]
use super::entry::After;
use super::entry::Frame;
#[cfg(not(test))]
use super::{identity, process_exit, sharing};
#[cfg(not(test))]
use crate::ledger;
#[cfg(not(test))]
use crate::policy::{self, Plan};
use crate::{config, real, seccomp};

/// One more than the highest number that is hooked.
const NUMBERS: usize = 448;

/// The table's entry for a system call that may install a filter. It is not the number of a
/// function.
const INSTALLS: u8 = u8::MAX;

/// The function of each hooked system call, by the call's number: one more than the function's own
/// number. 0: not hooked.
#[allow(clippy::indexing_slicing)] // at compile time: a number too large does not build
static HOOKED: [u8; NUMBERS] = {
    let mut table = [0u8; NUMBERS];
    table[libc::SYS_prctl as usize] = INSTALLS;
    table[libc::SYS_seccomp as usize] = INSTALLS;
    let mut at = 0;
    while at < Function::COUNT {
        let function = Function::ALL[at];
        if function.number() >= 0 {
            table[function.number() as usize] = function as u8 + 1;
        }
        at += 1;
    }
    table
};

/// Checks that the numbers of the table are those of this processor.
macro_rules! numbers {
    ($($function:ident $number:ident;)*) => {
        const _: () = {
            $(assert!(Function::$function.number() == libc::$number);)*
        };
    };
}

numbers! {
    EpollCreate1 SYS_epoll_create1;
    EpollCtl SYS_epoll_ctl;
    EpollPwait SYS_epoll_pwait;
    EpollPwait2 SYS_epoll_pwait2;
    Close SYS_close;
    CloseRange SYS_close_range;
    Dup SYS_dup;
    Dup3 SYS_dup3;
    Fcntl SYS_fcntl;
    OpenAt SYS_openat;
    OpenByHandleAt SYS_open_by_handle_at;
    Socket SYS_socket;
    Socketpair SYS_socketpair;
    Accept SYS_accept;
    Accept4 SYS_accept4;
    Pipe2 SYS_pipe2;
    Eventfd SYS_eventfd2;
    TimerfdCreate SYS_timerfd_create;
    Signalfd SYS_signalfd4;
    InotifyInit1 SYS_inotify_init1;
    MemfdCreate SYS_memfd_create;
    PidfdOpen SYS_pidfd_open;
    PidfdGetfd SYS_pidfd_getfd;
    FanotifyInit SYS_fanotify_init;
    Recvmsg SYS_recvmsg;
    Recvmmsg SYS_recvmmsg;
    Bind SYS_bind;
    Listen SYS_listen;
    Connect SYS_connect;
    Setsockopt SYS_setsockopt;
}

/// The function that a system call's number stands for.
pub fn named(number: usize) -> Option<Function> {
    let place = HOOKED.get(number)?.checked_sub(1)?;
    Function::ALL.get(usize::from(place)).copied()
}

/// The stack of the entry: the frame that the named function would have, and two words below it.
#[cfg(not(test))]
#[repr(C)]
struct Raw {
    /// Runs after the real call. Written by `before`.
    after: core::mem::MaybeUninit<After>,
    number: usize,
    frame: Frame,
}

#[cfg(not(test))]
const _: () = assert!(core::mem::offset_of!(Raw, number) == 8 && core::mem::offset_of!(Raw, frame) == 16);

#[cfg(not(any(test, portable)))]
mod exports {
    use crate::hooks::creators;

    /// The parts that entries read, with the armed entry of `syscall`.
    mod parts {
        pub use crate::hooks::parts::*;

        pub mod armed {
            use crate::hooks::parts;

            crate::arch::x86_64::entries::armed! {
                syscall("mov rsi, rax") = "xor esi, esi", crate::hooks::raw::before_armed;
            }
        }
    }

    crate::arch::x86_64::entries::dispatch! {
        #[unsafe(no_mangle)]
        syscall by number in super::HOOKED, close super::close,
            creators from creators::FIRST as u8 + 1, super::Function::COUNT - creators::FIRST as usize,
            noted syscall_noted, else super::unhooked_destination;
    }

    crate::arch::x86_64::entries::armed! {
        raw: syscall_noted = super::before;
    }
}

#[cfg(all(portable, not(test)))]
mod exports {
    crate::arch::tail_jump! {
        #[unsafe(no_mangle)]
        syscall: super::any_destination;
    }
}

extern "C" fn destination() -> usize {
    real::SYSCALL.address()
}

/// The system calls that are noted though the table has no function for them: one bit per number.
#[cfg(not(test))]
#[allow(clippy::indexing_slicing)] // at compile time: a number too large does not build
static NOTED: [u64; NUMBERS / 64] = {
    let mut bits = [0; NUMBERS / 64];
    let mut all: &[&[c_long]] = &[&sharing::NOTED, &process_exit::NOTED, &identity::NOTED];
    while let [numbers, rest @ ..] = all {
        let mut at = 0;
        while at < numbers.len() {
            // A system call that this processor lacks has a negative number.
            if numbers[at] >= 0 {
                bits[numbers[at] as usize / 64] |= 1 << (numbers[at] as usize % 64);
            }
            at += 1;
        }
        all = rest;
    }
    bits
};

#[cfg(not(test))]
#[cold]
#[inline(never)]
fn before_unhooked(number: usize, arguments: [usize; 5]) {
    sharing::before_raw(number, arguments);
    process_exit::before_raw(number, arguments);
    identity::before_raw(number, arguments);
}

/// For a number that is not hooked.
#[cfg(not(test))]
extern "C-unwind" fn unhooked_destination(number: usize, a: usize, b: usize, c: usize, d: usize, e: usize) -> usize {
    // A negative number is beyond the table too.
    let is_noted = NOTED.get(number / 64).is_some_and(|bits| bits >> (number % 64) & 1 != 0);
    if is_noted {
        before_unhooked(number, [a, b, c, d, e]);
    }
    destination()
}

/// For any number: the real function, or the function that notes the call.
#[cfg(all(portable, not(test)))]
extern "C-unwind" fn any_destination(number: usize, a: usize, b: usize, c: usize, d: usize, e: usize) -> usize {
    match HOOKED.get(number) {
        None | Some(0) => unhooked_destination(number, a, b, c, d, e),
        Some(_) => super::portable::syscall_noted as *const () as usize,
    }
}

/// Whether the ledger records a call of a hooked number when nothing is armed.
#[cfg(portable)]
pub fn is_noted(number: usize, first: usize) -> bool {
    match named(number) {
        Some(Function::Close) => ledger::may_concern(first as c_int),
        // The ledger does not record functions that only create descriptors.
        Some(function) => (function as usize) < creators::FIRST as usize,
        None => true,
    }
}

/// Runs before a call of a hooked number when nothing is armed. The frame begins with the number.
#[cfg(portable)]
pub fn before_unarmed(frame: &mut Frame) {
    let Some(function) = named(frame.word(0)) else { return before_unnamed(frame) };
    let mut own = shifted(frame);
    (default_handlers(function, own.word(1)).before)(&mut own);
    frame.state = own.state;
}

/// The real `syscall`, with the number and five words. Its sixth argument is the word above the
/// return address.
#[cfg(not(test))]
type Call = unsafe extern "C-unwind" fn(usize, usize, usize, usize, usize, usize) -> isize;

/// `syscall(SYS_close, fd)`: a descriptor that is unknown to the ledger is passed to the real
/// function, as by `close`.
#[cfg(not(any(test, portable)))]
unsafe extern "C-unwind" fn close(number: usize, fd: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let address = if ledger::may_concern(fd as c_int) {
        exports::syscall_noted as unsafe extern "C-unwind" fn() -> isize as usize
    } else {
        real::SYSCALL.resolved()
    };
    // SAFETY: both functions take the arguments of `syscall`, and pass their registers and the word
    // above the return address on unchanged.
    let call = unsafe { core::mem::transmute::<usize, Call>(address) };
    // SAFETY: the arguments are those that the program passed to `syscall`.
    unsafe { call(number, fd, a, b, c, d) }
}

/// The frame that the named function would have.
pub fn shifted(frame: &Frame) -> Frame {
    let [_, words @ ..] = frame.words;
    let [a, b, c, d, e] = words;
    Frame { words: [a, b, c, d, e, 0], state: frame.state, caller: frame.caller }
}

#[cfg(not(test))]
extern "C-unwind" fn before(raw: &mut Raw) -> usize {
    raw.frame.state = 0;
    let after = match named(raw.number) {
        Some(function) => {
            let default = default_handlers(function, raw.frame.word(1));
            (default.before)(&mut raw.frame);
            default.after
        }
        None => before_filter(raw.number, &mut raw.frame),
    };
    raw.after.write(after);
    destination()
}

/// Runs before `seccomp` and `prctl`.
#[cfg(not(test))]
#[cold]
#[inline(never)]
fn before_filter(number: usize, frame: &mut Frame) -> After {
    let [a, b, c, ..] = frame.words;
    frame.state = seccomp::installing(number as c_long, [a, b, c], config::get().is_some());
    if number as c_long == libc::SYS_seccomp { after_seccomp } else { after_prctl }
}

#[cfg(not(test))]
extern "C-unwind" fn after_seccomp(frame: &mut Frame, result: isize) -> isize {
    let [a, b, c, ..] = frame.words;
    seccomp::installed(libc::SYS_seccomp, [a, b, c], frame.state, result);
    result
}

#[cfg(not(test))]
extern "C-unwind" fn after_prctl(frame: &mut Frame, result: isize) -> isize {
    let [a, b, c, ..] = frame.words;
    seccomp::installed(libc::SYS_prctl, [a, b, c], frame.state, result);
    result
}

/// Runs before a system call that the table has no function for. The frame begins with the number
/// (armed.rs).
pub fn before_unnamed(frame: &mut Frame) {
    let [number, a, b, c, ..] = frame.words;
    frame.state = seccomp::installing(number as c_long, [a, b, c], config::get().is_some());
}

/// Notes the result. The frame begins with the number (armed.rs).
pub extern "C-unwind" fn after(frame: &mut Frame, result: isize) -> isize {
    match named(frame.word(0)) {
        Some(function) => {
            let mut own = shifted(frame);
            (default_handlers(function, own.word(1)).after)(&mut own, result)
        }
        None => {
            let [number, a, b, c, ..] = frame.words;
            seccomp::installed(number as c_long, [a, b, c], frame.state, result);
            result
        }
    }
}

// ---- if something is armed ----

/// syscall(number, five words, one on the stack). The plan is made for the frame that the named
/// function would have. Only hooked numbers get here.
#[cfg(not(test))]
pub extern "C-unwind" fn before_armed(armed: &mut Armed, _: u32) -> usize {
    let number = armed.frame.word(0);
    let Some(function) = named(number) else {
        before_unnamed(&mut armed.frame);
        call_after(&mut armed.plan, after);
        return real::SYSCALL.address();
    };
    let mut own = shifted(&armed.frame);
    // SAFETY: an `Armed` of `syscall` lies below the return address and one more word, which the
    // real function reads too.
    own.words[5] = unsafe { (&raw const armed.frame).add(1).cast::<usize>().read() };
    let default = default_handlers(function, own.word(1));
    let (address, plan) = policy::before(&mut armed.plan, &mut own, function, default);
    let is_planned = plan.is_some();
    let is_real = plan.is_none_or(Plan::is_real);
    call_after(&mut armed.plan, if is_planned { after_armed } else { after });
    let [a, b, c, d, e, _] = own.words;
    armed.frame.words = if is_real { [number, a, b, c, d, e] } else { own.words };
    armed.frame.state = own.state;
    if is_real { real::SYSCALL.address() } else { address }
}

#[cfg(not(test))]
extern "C-unwind" fn after_armed(frame: &mut Frame, result: isize) -> isize {
    // SAFETY: the frame is that of the entry's `Armed`. `before_armed` has written the plan:
    // otherwise it would not have chosen this function.
    let plan = unsafe { plan_of(frame) };
    let mut own = if plan.is_real() { shifted(frame) } else { *frame };
    let default = default_handlers(plan.function, own.word(1));
    policy::after(plan, &mut own, result, default.after)
}
