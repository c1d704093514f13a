//! epoll_create, epoll_create1, epoll_ctl, epoll_wait, epoll_pwait, epoll_pwait2.
//!
//! After the real call the thread's block is looked up again: a signal handler may have forked meanwhile, and this may be
//! the child. The waits are cancellation points; entry.rs lets the unwinder through.

use core::sync::atomic::Ordering;

use epollshim_format::call::Call;
use epollshim_format::findings::thresholds;
use libc::{c_int, epoll_event};

use super::entry::Frame;
use crate::ledger::core::{Creation, Registration, Ticket};
use crate::ledger::counters::{Counter, WaitEnd};
use crate::ledger::records::Origin;
use crate::thread::Block;
use crate::{clock, findings, ledger, process, real, stacks, sys, thread};

#[cfg(not(test))]
mod exports {
    crate::hooks::entry::around! {
        #[unsafe(no_mangle)]
        epoll_create("jmp 4f") or epoll_create: super::before_create, crate::real::EPOLL_CREATE, super::after_create;
        #[unsafe(no_mangle)]
        epoll_create1("jmp 4f") or epoll_create1: super::before_create1, crate::real::EPOLL_CREATE1, super::after_create1;
        ctl_add("/* noted first */"): super::before_add, crate::real::EPOLL_CTL, super::after_add;
        ctl_del("jmp 4f"): super::before_other, crate::real::EPOLL_CTL, super::after_del;
        ctl_mod("jmp 4f"): super::before_other, crate::real::EPOLL_CTL, super::after_mod;
        ctl_other("jmp 4f"): super::before_other, crate::real::EPOLL_CTL, super::after_other;
        wait_timed("/* its beginning is noted */"): super::before_wait, crate::real::EPOLL_WAIT, super::after_wait;
        wait_untimed("jmp 4f"): super::before_wait, crate::real::EPOLL_WAIT, super::after_untimed_wait;
        pwait_timed("/* its beginning is noted */"): super::before_pwait, crate::real::EPOLL_PWAIT, super::after_pwait;
        pwait_untimed("jmp 4f"): super::before_pwait, crate::real::EPOLL_PWAIT, super::after_untimed_pwait;
        #[unsafe(no_mangle)]
        epoll_pwait2("/* always timed */") or epoll_pwait2: super::before_pwait2, crate::real::EPOLL_PWAIT2, super::after_pwait2;
    }

    /// A wait that can block is timed, and has a way of its own: what is decided before the call need not be asked behind it.
    macro_rules! wait {
        ($($name:ident = $timed:ident, $untimed:ident;)*) => {$(
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            pub unsafe extern "C-unwind" fn $name() -> isize {
                core::arch::naked_asm!(
                    ".cfi_startproc",
                    "test word ptr [rip + {armed_for}], {bit}",
                    "jnz {armed}",
                    "test ecx, ecx",
                    "jz {untimed}",
                    "jmp {timed}",
                    ".cfi_endproc",
                    ".p2align 6",
                    armed_for = sym crate::policy::ARMED_FOR,
                    bit = const crate::hooks::armed::bits::$name,
                    armed = sym crate::hooks::armed::exports::$name,
                    timed = sym $timed,
                    untimed = sym $untimed,
                )
            }
        )*};
    }

    wait! {
        epoll_wait = wait_timed, wait_untimed;
        epoll_pwait = pwait_timed, pwait_untimed;
    }

    /// Each operation has its own way, chosen by a jump through a table: behind ADD and DEL, which are long in the
    /// kernel, a conditional branch that is taken costs 8 to 15 ns (benches/branches).
    #[unsafe(naked)]
    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn epoll_ctl() -> isize {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "test word ptr [rip + {armed_for}], {bit}",
            "jnz {armed}",
            "cmp esi, 3",
            "ja 2f",
            "mov eax, esi",
            "lea r11, [rip + 3f]",
            "movsxd rax, dword ptr [r11 + rax * 4]",
            "add rax, r11",
            "jmp rax",
            "2:",
            "jmp {other}",
            ".p2align 2",
            "3:",
            ".long {other} - 3b",
            ".long {add} - 3b",
            ".long {del} - 3b",
            ".long {modify} - 3b",
            ".cfi_endproc",
            ".p2align 6",
            armed_for = sym crate::policy::ARMED_FOR,
            bit = const crate::hooks::armed::bits::epoll_ctl,
            armed = sym crate::hooks::armed::exports::epoll_ctl,
            other = sym ctl_other,
            add = sym ctl_add,
            del = sym ctl_del,
            modify = sym ctl_mod,
        )
    }

    // The order of the table above; and a timeout of 0 (in ecx) does not block.
    const _: () = assert!(libc::EPOLL_CTL_ADD == 1 && libc::EPOLL_CTL_DEL == 2 && libc::EPOLL_CTL_MOD == 3);
    // The types that frames are read by are those that libc gives to glibc's functions.
    const _: crate::real::EpollCreate = libc::epoll_create;
    const _: crate::real::EpollCreate = libc::epoll_create1;
    const _: crate::real::EpollCtl = libc::epoll_ctl;
    const _: unsafe extern "C" fn(i32, *mut libc::epoll_event, i32, i32) -> i32 = libc::epoll_wait;
    const _: unsafe extern "C" fn(i32, *mut libc::epoll_event, i32, i32, *const libc::sigset_t) -> i32 =
        libc::epoll_pwait;
}

// ---- epoll_create, epoll_create1 ----

pub extern "C-unwind" fn before_create(_: &mut Frame) -> usize {
    real::EPOLL_CREATE.address()
}

pub extern "C-unwind" fn after_create(frame: &mut Frame, fd: isize) -> isize {
    note_creation(Call::Create, Origin::Create, frame, fd as c_int);
    fd
}

pub extern "C-unwind" fn before_create1(_: &mut Frame) -> usize {
    real::EPOLL_CREATE1.address()
}

pub extern "C-unwind" fn after_create1(frame: &mut Frame, fd: isize) -> isize {
    note_creation(Call::Create1, Origin::Create1, frame, fd as c_int);
    fd
}

fn note_creation(call: Call, origin: Origin, frame: &Frame, fd: c_int) {
    let Some(block) = thread::block() else { return };
    if fd < 0 {
        let error = sys::errno();
        if origin == Origin::Create {
            findings::errors::create_failed(frame.int(0), error, frame.caller);
        }
        findings::limits::creation_refused(error, frame.caller);
        return block.counters.failed(call, error);
    }
    block.counters.call(call).calls.bump();
    ledger::created(block, fd, Creation { origin, argument: frame.int(0), site: stacks::site(frame.caller) });
}

// ---- epoll_ctl(epfd, op, fd, event) ----

pub extern "C-unwind" fn before_other(_: &mut Frame) -> usize {
    real::EPOLL_CTL.address()
}

/// An ADD is noted before it is made, so that a thread that already gets its events and closes the descriptor
/// comes second in the ledger too. The kernel may still refuse it.
pub extern "C-unwind" fn before_add(frame: &mut Frame) -> usize {
    let address = real::EPOLL_CTL.address();
    frame.state = 0;
    let Some(block) = thread::block() else { return address };
    let registration = Registration { site: stacks::site(frame.caller), ..registration(frame) };
    ledger::adding(&registration, |ticket| {
        block.adding.store(ticket, Ordering::Relaxed);
        frame.state = ticket;
    });
    address
}

pub extern "C-unwind" fn after_add(frame: &mut Frame, result: isize) -> isize {
    let Some(block) = thread::block() else { return result };
    if result < 0 {
        return note_failed_ctl(block, frame, result);
    }
    block.adding.store(0, Ordering::Relaxed);
    let ticket = Ticket::from_word(frame.state);
    if !matches!(ticket, Ticket::Noted { .. }) {
        ledger::added_late(&registration(frame), ticket);
    }
    if block.pending.is_open() {
        note_mended(block, frame);
    }
    block.counters.call(Call::CtlAdd).calls.bump();
    result
}

/// Nothing changes in what is watched; that the kernel had it is compared at the report.
pub extern "C-unwind" fn after_mod(frame: &mut Frame, result: isize) -> isize {
    let Some(block) = thread::block() else { return result };
    if result < 0 {
        return note_failed_ctl(block, frame, result);
    }
    if block.pending.is_open() {
        note_mended(block, frame);
    }
    block.counters.call(Call::CtlMod).calls.bump();
    result
}

pub extern "C-unwind" fn after_del(frame: &mut Frame, result: isize) -> isize {
    let Some(block) = thread::block() else { return result };
    if result < 0 {
        return note_failed_ctl(block, frame, result);
    }
    if block.pending.is_open() {
        note_mended(block, frame);
    }
    // Counted first: what comes last reads straight down to its end (benches/branches).
    block.counters.call(Call::CtlDel).calls.bump();
    ledger::deleted(frame.int(0), frame.int(2), frame.caller);
    result
}

/// Of an operation that there is none of.
pub extern "C-unwind" fn after_other(frame: &mut Frame, result: isize) -> isize {
    let Some(block) = thread::block() else { return result };
    if result < 0 {
        return note_failed_ctl(block, frame, result);
    }
    block.counters.call(Call::CtlOther).calls.bump();
    result
}

#[inline(always)]
fn registration(frame: &Frame) -> Registration {
    Registration { epfd: frame.int(0), fd: frame.int(2), site: frame.caller }
}

/// The thread's last `epoll_ctl` has left something open.
#[cold]
#[inline(never)]
fn note_mended(block: &Block, frame: &Frame) {
    findings::errors::ctl_succeeded(&block.pending, frame.int(0), frame.int(1), frame.int(2));
}

#[cold]
#[inline(never)]
fn note_failed_ctl(block: &Block, frame: &Frame, result: isize) -> isize {
    let error = sys::errno();
    // Before the ledger hears of it, and forgets what it believed.
    let is_ghost = findings::ghosts::ctl_failed(frame.int(0), frame.int(1), frame.int(2), error);
    let call = match frame.int(1) {
        libc::EPOLL_CTL_ADD => {
            block.adding.store(0, Ordering::Relaxed);
            ledger::not_added(&registration(frame), Ticket::from_word(frame.state), error);
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
    findings::errors::ctl_failed(&block.pending, frame, error, is_ghost);
    if matches!(error, libc::ENOSPC | libc::ENOMEM) {
        note_refusal(frame, error);
    }
    result
}

#[cold]
#[inline(never)]
fn note_refusal(frame: &Frame, error: c_int) {
    findings::limits::ctl_refused(&registration(frame), error);
}

// ---- epoll_wait(epfd, events, maxevents, timeout) and its relatives ----

pub extern "C-unwind" fn before_wait(frame: &mut Frame) -> usize {
    begin_wait(Call::Wait, frame, frame.int(3) != 0);
    real::EPOLL_WAIT.address()
}

pub extern "C-unwind" fn after_wait(frame: &mut Frame, count: isize) -> isize {
    end_wait(Call::Wait, frame, count)
}

pub extern "C-unwind" fn after_untimed_wait(frame: &mut Frame, count: isize) -> isize {
    end_untimed_wait(Call::Wait, frame, count)
}

pub extern "C-unwind" fn before_pwait(frame: &mut Frame) -> usize {
    begin_wait(Call::Pwait, frame, frame.int(3) != 0);
    real::EPOLL_PWAIT.address()
}

pub extern "C-unwind" fn after_pwait(frame: &mut Frame, count: isize) -> isize {
    end_wait(Call::Pwait, frame, count)
}

pub extern "C-unwind" fn after_untimed_pwait(frame: &mut Frame, count: isize) -> isize {
    end_untimed_wait(Call::Pwait, frame, count)
}

/// A timeout may point to zero, but only the kernel may look: the address may be bad, which is EFAULT.
pub extern "C-unwind" fn before_pwait2(frame: &mut Frame) -> usize {
    begin_wait(Call::Pwait2, frame, true);
    real::EPOLL_PWAIT2.address()
}

pub extern "C-unwind" fn after_pwait2(frame: &mut Frame, count: isize) -> isize {
    end_wait(Call::Pwait2, frame, count)
}

/// Only a wait that can block is timed: `state` is when it began, or 0. It is counted as it begins, since it may never
/// come back: cancelled, or left by siglongjmp.
#[inline(always)]
fn begin_wait(call: Call, frame: &mut Frame, can_block: bool) {
    frame.state = 0;
    if can_block {
        begin_timed_wait(call, frame);
    }
}

#[inline(never)]
fn begin_timed_wait(call: Call, frame: &mut Frame) {
    let Some(block) = thread::block() else { return };
    let counters = &block.counters;
    counters.call(call).calls.bump();
    block.begin_wait(frame.int(0), frame.caller);
    let start = clock::monotonic();
    let last = counters.last_wait_end.load(Ordering::Relaxed);
    if last != 0 {
        let work = start.saturating_sub(last);
        counters.work.record(work);
        counters.last_wait_end.store(0, Ordering::Relaxed);
        if work >= thresholds::LATE {
            block.watch.late(frame.int(0), work, frame.caller);
        }
    }
    frame.state = start;
}

#[inline(always)]
fn end_wait(call: Call, frame: &Frame, count: isize) -> isize {
    if frame.state == 0 {
        return end_untimed_wait(call, frame, count);
    }
    let Some(block) = thread::block() else { return count };
    end_timed_wait(block, call, frame.state);
    if count == 0 {
        block.counters.short.add(u64::from(frame.int(3) == 1));
    }
    note_wait(block, call, frame, count, &block.counters.empty)
}

#[inline(always)]
fn end_untimed_wait(call: Call, frame: &Frame, count: isize) -> isize {
    let Some(block) = thread::block() else { return count };
    block.counters.call(call).calls.bump();
    block.counters.last_wait_end.store(0, Ordering::Relaxed);
    note_wait(block, call, frame, count, &block.counters.polled)
}

/// What came of a wait; `empty` counts it if that is nothing.
#[inline(always)]
fn note_wait(block: &'static Block, call: Call, frame: &Frame, count: isize, empty: &Counter) -> isize {
    let counters = &block.counters;
    let owner = core::ptr::from_ref(block) as usize;
    if count == 0 {
        empty.bump();
        ledger::waited(frame.int(0), WaitEnd::Empty, owner, &frame.caller);
    } else if count > 0 {
        let full = count as c_int == frame.int(2);
        counters.full.add(u64::from(full));
        let events = frame.word(1) as *const epoll_event;
        counters.batch.record(count as u64);
        counters.delivered((0..count as usize).map(|index| {
            // SAFETY: the kernel has just written that many events there.
            unsafe { (&raw const (*events.add(index)).events).read_unaligned() }
        }));
        let end = WaitEnd::Events { count: count as u64, full, first: events };
        if counters.batch.sum() >= block.watch.due() {
            // In a function of its own to its end: the common way has no branch to take around it.
            return note_wait_and_look(block, frame, count, end);
        }
        ledger::waited(frame.int(0), end, owner, &frame.caller);
    } else {
        note_failed_wait(block, call, frame, owner);
    }
    count
}

#[cold]
#[inline(never)]
fn note_wait_and_look(block: &'static Block, frame: &Frame, count: isize, end: WaitEnd) -> isize {
    ledger::waited(frame.int(0), end, core::ptr::from_ref(block) as usize, &frame.caller);
    findings::watch::look(block, frame, count as usize);
    count
}

#[inline(never)]
fn end_timed_wait(block: &Block, call: Call, start: u64) {
    block.end_wait();
    let end = clock::monotonic();
    if start < process::began() {
        // A handler has forked, and this is the child: here too a call returns, as other calls do, and is counted.
        block.counters.call(call).calls.bump();
    }
    block.counters.last_wait_end.store(end, Ordering::Relaxed);
    if let Some(blocked) = block.counters.blocked.get(call as usize - Call::Wait as usize) {
        blocked.record(end.saturating_sub(start));
    }
}

#[cold]
#[inline(never)]
fn note_failed_wait(block: &'static Block, call: Call, frame: &Frame, owner: usize) {
    let epfd = frame.int(0);
    let error = sys::errno();
    block.counters.error(call, error);
    ledger::waited(epfd, WaitEnd::Failed { interrupted: error == libc::EINTR }, owner, &frame.caller);
    if error == libc::EBADF {
        ledger::waited_on_bad(epfd);
        findings::errors::wait_failed(epfd, frame.caller);
    }
}
