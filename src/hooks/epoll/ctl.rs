//! epoll_ctl(epfd, op, fd, event).

use crate::sync::Ordering;

use epollshim_format::call::Call;
use epollshim_format::findings::use_after_close;
use libc::c_int;

use crate::counters::OwnCounter;
use crate::findings::errors::Pending;
use crate::hooks::entry::{BLOCK, Frame, jump_to_real, opaque};
use crate::ledger::FastPath;
use crate::ledger::core::{Registration, Ticket};
use crate::thread::Block;
use crate::{census, findings, ledger, real, stacks, sys, thread};

#[cfg(not(any(test, portable)))]
mod exports {
    use crate::hooks::parts;

    // `add` jumps to the real function. Most successes are then only counted, by the entry itself.
    crate::arch::x86_64::entries::with_after! {
        entering:
        #[unsafe(link_section = ".text.hot.epollshim.entries")]
        ctl_add(4): super::add, super::after_add, counting CtlAdd;
    }

    crate::arch::x86_64::entries::with_after! {
        #[unsafe(link_section = ".text.hot.epollshim.entries")]
        ctl_del(4): crate::real::function::epoll_ctl, super::after_del;
        #[unsafe(link_section = ".text.hot.epollshim.entries")]
        ctl_mod(4): crate::real::function::epoll_ctl, super::after_mod, counting CtlMod;
        ctl_other(4): crate::real::function::epoll_ctl, super::after_other;
    }

    crate::arch::x86_64::entries::dispatch! {
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.hot.epollshim.entries")]
        epoll_ctl or epoll_ctl by operation ctl_other, ctl_add, ctl_del, ctl_mod;
    }

    // Frames are read with the same type that libc gives to glibc's function.
    const _: crate::real::EpollCtl = libc::epoll_ctl;
}

/// Runs before an ADD. The interest is noted before the real call: another thread may get its
/// events and close the descriptor before this call returns, and the ledger must record the ADD
/// before that close. The kernel may still refuse the ADD.
#[unsafe(link_section = ".text.hot.epollshim.add")]
extern "C-unwind" fn add(frame: &mut Frame) -> c_int {
    let Some(block) = thread::block_at_hand() else { return add_slow(frame, FastPath::NotTried) };
    frame.words[BLOCK] = block.address();
    match add_fast(frame, block) {
        // SAFETY: the address is that of the real epoll_ctl, and the frame has the four arguments
        // that the program passed to it.
        FastPath::Done => unsafe { jump_to_real::<4>(frame, real::function::epoll_ctl.resolved()) },
        tried => add_slow(frame, tried),
    }
}

/// Slow path of [`add`]. The entry does not count the call: it finds `nobody` instead of a block.
#[cold]
#[inline(never)]
fn add_slow(frame: &mut Frame, tried: FastPath) -> c_int {
    frame.words[BLOCK] = thread::nobody();
    let address = before_add_slow(frame, tried);
    // SAFETY: `before_add_slow` returns the address of the real epoll_ctl, and the frame has the
    // four arguments that the program passed to it.
    unsafe { jump_to_real::<4>(frame, address) }
}

/// The same for callers that make the real call themselves.
pub extern "C-unwind" fn before_add(frame: &mut Frame) -> usize {
    let tried = match thread::block_at_hand() {
        Some(block) if !stacks::are_kept() => add_fast(frame, block),
        _ => FastPath::NotTried,
    };
    before_add_slow(frame, tried)
}

#[inline(always)]
fn add_fast(frame: &mut Frame, block: &Block) -> FastPath {
    ledger::adding_fast(frame.int(0), frame.int(2), &frame.caller, block, |ticket| {
        block.adding.store(ticket, Ordering::Relaxed);
        frame.state = ticket;
    })
}

/// Slow path before an ADD. See the module epoll for why it is a function of its own.
#[cold]
#[inline(never)]
fn before_add_slow(frame: &mut Frame, tried: FastPath) -> usize {
    match tried {
        FastPath::Done => {}
        FastPath::DoneSlowPathPending => ledger::finish(tried),
        tried => {
            frame.state = 0;
            match thread::block() {
                Some(block) => {
                    let registration = Registration { site: stacks::site(frame.caller), ..registration(frame) };
                    ledger::adding(&registration, tried, block, |ticket| {
                        block.adding.store(ticket, Ordering::Relaxed);
                        frame.state = ticket;
                    });
                }
                // A signal handler has forked, and the child gets no memory.
                None => ledger::unlock_unapplied(tried),
            }
        }
    }
    real::function::epoll_ctl.address()
}

#[unsafe(link_section = ".text.hot.epollshim.more")]
pub extern "C-unwind" fn after_add(frame: &mut Frame, result: isize) -> isize {
    if result < 0 {
        return after_failed_ctl(frame, result);
    }
    let Some(block) = thread::block_with_nothing_open() else { return after_ctl_slow(frame, result) };
    if !Ticket::is_noted(frame.state) {
        return after_ctl_slow(frame, result);
    }
    block.adding.store(0, Ordering::Relaxed);
    block.counters.calls(Call::CtlAdd).bump();
    result
}

/// A MOD does not change what is watched. Reports compare with the kernel whether the interest
/// existed.
#[unsafe(link_section = ".text.hot.epollshim.more")]
pub extern "C-unwind" fn after_mod(frame: &mut Frame, result: isize) -> isize {
    if result < 0 {
        return after_failed_ctl(frame, result);
    }
    let Some(block) = thread::block_with_nothing_open() else { return after_ctl_slow(frame, result) };
    block.counters.calls(Call::CtlMod).bump();
    result
}

#[unsafe(link_section = ".text.hot.epollshim.del")]
pub extern "C-unwind" fn after_del(frame: &mut Frame, result: isize) -> isize {
    if result < 0 {
        return after_failed_ctl(frame, result);
    }
    let Some(block) = thread::block_with_nothing_open() else { return after_ctl_slow(frame, result) };
    block.counters.calls(Call::CtlDel).bump();
    match ledger::deleted_fast(frame.int(0), frame.int(2), block) {
        FastPath::Done => result,
        tried => after_del_slow(frame, result, block, tried),
    }
}

#[cold]
#[inline(never)]
fn after_del_slow(frame: &mut Frame, result: isize, block: &Block, tried: FastPath) -> isize {
    ledger::deleted(frame.int(0), frame.int(2), frame.caller, block, tried);
    opaque(result)
}

/// For an unknown operation.
pub extern "C-unwind" fn after_other(frame: &mut Frame, result: isize) -> isize {
    after_ctl_slow(frame, result)
}

/// Slow path after an `epoll_ctl`. See the module epoll for why it is a function of its own.
#[cold]
#[inline(never)]
fn after_ctl_slow(frame: &mut Frame, result: isize) -> isize {
    let Some(block) = thread::block() else { return opaque(result) };
    if result < 0 {
        return after_failed_ctl(frame, result);
    }
    let call = match frame.int(1) {
        libc::EPOLL_CTL_ADD => {
            block.adding.store(0, Ordering::Relaxed);
            if !Ticket::is_noted(frame.state) {
                ledger::added_late(&registration(frame), Ticket::from_word(frame.state));
            }
            Call::CtlAdd
        }
        libc::EPOLL_CTL_MOD => Call::CtlMod,
        libc::EPOLL_CTL_DEL => Call::CtlDel,
        _ => Call::CtlOther,
    };
    if block.part::<Pending>().is_open() && call != Call::CtlOther {
        // The thread's last `epoll_ctl` has left something for findings to complete.
        findings::errors::ctl_succeeded(block, frame.int(0), frame.int(1), frame.int(2), frame.caller);
    }
    block.counters.calls(call).bump();
    if call == Call::CtlDel {
        ledger::deleted(frame.int(0), frame.int(2), frame.caller, block, FastPath::NotTried);
    }
    opaque(result)
}

#[inline(always)]
fn registration(frame: &Frame) -> Registration {
    Registration { epfd: frame.int(0), fd: frame.int(2), site: frame.caller }
}

#[cold]
#[inline(never)]
fn after_failed_ctl(frame: &mut Frame, result: isize) -> isize {
    let Some(block) = thread::block() else { return opaque(result) };
    let error = sys::errno();
    // Asked before the ledger records the failure, because it then forgets the interest.
    let is_ghost = findings::ghosts::ctl_failed(frame.int(0), frame.int(1), frame.int(2), error);
    let call = match frame.int(1) {
        libc::EPOLL_CTL_ADD => {
            block.adding.store(0, Ordering::Relaxed);
            ledger::not_added(&registration(frame), frame.state, error);
            Call::CtlAdd
        }
        libc::EPOLL_CTL_MOD => {
            ledger::not_changed(frame.int(0), frame.int(2), error, frame.caller);
            Call::CtlMod
        }
        libc::EPOLL_CTL_DEL => {
            ledger::not_changed(frame.int(0), frame.int(2), error, frame.caller);
            Call::CtlDel
        }
        _ => Call::CtlOther,
    };
    block.counters.failed(call, error);
    findings::errors::ctl_failed(block.part(), frame, error, is_ghost);
    if error == libc::EBADF {
        let of_fd = if call == Call::CtlDel { use_after_close::DEL } else { use_after_close::CTL };
        let _ = census::used(frame.int(0), use_after_close::CTL, frame.caller)
            || census::used(frame.int(2), of_fd, frame.caller);
    }
    if matches!(error, libc::ENOSPC | libc::ENOMEM) {
        note_refusal(frame, error);
    }
    opaque(result)
}

#[cold]
#[inline(never)]
fn note_refusal(frame: &Frame, error: c_int) {
    findings::limits::ctl_refused(&registration(frame), error);
}
