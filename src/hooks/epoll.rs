//! epoll_create, epoll_create1, epoll_ctl, epoll_wait, epoll_pwait, epoll_pwait2.
//!
//! After the real call the thread's block is looked up again: a signal handler may have forked meanwhile, and this may be
//! the child. The waits are cancellation points; entry.rs lets the unwinder through.

use core::sync::atomic::Ordering;

use epollshim_format::call::Call;
use epollshim_format::findings::thresholds;
use libc::{c_int, epoll_event};

use super::entry::Frame;
use crate::ledger::Passage;
use crate::ledger::core::{Creation, Registration, Ticket};
use crate::ledger::counters::{self, Counter, WaitEnd};
use crate::ledger::records::Origin;
use crate::thread::Block;
use crate::{clock, findings, ledger, real, stacks, sys, thread};

#[cfg(not(test))]
mod exports {
    crate::hooks::entry::around! {
        #[unsafe(link_section = ".text.hot.epollshim")]
        ctl_add(4): super::before_add, super::after_add;
        #[unsafe(link_section = ".text.hot.epollshim")]
        wait_timed(4): super::before_timed_wait, super::after_timed_wait;
        #[unsafe(link_section = ".text.hot.epollshim")]
        pwait_timed(5): super::before_timed_pwait, super::after_timed_pwait;
        #[unsafe(no_mangle)]
        epoll_pwait2(5) or epoll_pwait2: super::before_pwait2, super::after_pwait2;
    }

    crate::hooks::entry::behind! {
        #[unsafe(no_mangle)]
        epoll_create(1) or epoll_create: super::before_create, crate::real::EPOLL_CREATE, super::after_create;
        #[unsafe(no_mangle)]
        epoll_create1(1) or epoll_create1: super::before_create1, crate::real::EPOLL_CREATE1, super::after_create1;
        #[unsafe(link_section = ".text.hot.epollshim")]
        ctl_del(4): super::before_other, crate::real::EPOLL_CTL, super::after_del;
        #[unsafe(link_section = ".text.hot.epollshim")]
        ctl_mod(4): super::before_other, crate::real::EPOLL_CTL, super::after_mod;
        ctl_other(4): super::before_other, crate::real::EPOLL_CTL, super::after_other;
        // A wait that can block is timed, and has a way of its own: what is decided before the call need not be asked behind it.
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.hot.epollshim")]
        epoll_wait(4) or epoll_wait unless wait_timed: super::before_wait, crate::real::EPOLL_WAIT, super::after_untimed_wait;
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.hot.epollshim")]
        epoll_pwait(4) or epoll_pwait unless pwait_timed: super::before_pwait, crate::real::EPOLL_PWAIT, super::after_untimed_pwait;
    }

    /// Each operation has its own way, chosen by a jump through a table: behind ADD and DEL, which are long in the
    /// kernel, a conditional branch that is taken costs 8 to 15 ns (benches/branches).
    #[unsafe(naked)]
    #[unsafe(no_mangle)]
    #[unsafe(link_section = ".text.hot.epollshim")]
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

    // The order of the table above.
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

#[unsafe(link_section = ".text.hot.epollshim")]
pub extern "C-unwind" fn after_create(frame: &mut Frame, fd: isize) -> isize {
    note_creation(Call::Create, Origin::Create, frame, fd as c_int);
    fd
}

pub extern "C-unwind" fn before_create1(_: &mut Frame) -> usize {
    real::EPOLL_CREATE1.address()
}

#[unsafe(link_section = ".text.hot.epollshim")]
pub extern "C-unwind" fn after_create1(frame: &mut Frame, fd: isize) -> isize {
    note_creation(Call::Create1, Origin::Create1, frame, fd as c_int);
    fd
}

#[unsafe(link_section = ".text.hot.epollshim")]
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
    block.counters.calls(call).bump();
    ledger::created(block, fd, Creation { origin, argument: frame.int(0), site: stacks::site(frame.caller) });
}

// ---- epoll_ctl(epfd, op, fd, event) ----

pub extern "C-unwind" fn before_other(_: &mut Frame) -> usize {
    real::EPOLL_CTL.address()
}

/// An ADD is noted before it is made, so that a thread that already gets its events and closes the descriptor
/// comes second in the ledger too. The kernel may still refuse it.
#[unsafe(link_section = ".text.hot.epollshim")]
pub extern "C-unwind" fn before_add(frame: &mut Frame) -> usize {
    let Some(block) = thread::block_at_hand() else { return before_add_otherwise(frame, Passage::NotTried) };
    if stacks::are_kept() {
        return before_add_otherwise(frame, Passage::NotTried);
    }
    let passage = ledger::adding_at_once(registration(frame), |ticket| {
        block.adding.store(ticket, Ordering::Relaxed);
        frame.state = ticket;
    });
    match (passage, real::EPOLL_CTL.address_at_hand()) {
        (Passage::Through, Some(address)) => address.get(),
        (passage, _) => before_add_otherwise(frame, passage),
    }
}

/// What is rare before an ADD; and see [`after_ctl_otherwise`].
#[cold]
#[inline(never)]
fn before_add_otherwise(frame: &mut Frame, passage: Passage) -> usize {
    match passage {
        Passage::Through => {}
        Passage::Left => ledger::pass_on(passage),
        passage => {
            frame.state = 0;
            match thread::block() {
                Some(block) => {
                    let registration = Registration { site: stacks::site(frame.caller), ..registration(frame) };
                    ledger::adding(&registration, passage, block, |ticket| {
                        block.adding.store(ticket, Ordering::Relaxed);
                        frame.state = ticket;
                    });
                }
                // A handler has forked, and the child gets no memory.
                None => ledger::turn_back(passage),
            }
        }
    }
    real::EPOLL_CTL.address()
}

#[unsafe(link_section = ".text.hot.epollshim")]
pub extern "C-unwind" fn after_add(frame: &mut Frame, result: isize) -> isize {
    let Some(block) = thread::block_at_hand() else { return after_ctl_otherwise(frame, result) };
    if result < 0 {
        return after_failed_ctl(frame, result);
    }
    if !Ticket::is_noted(frame.state) {
        return after_ctl_otherwise(frame, result);
    }
    if block.pending.is_open() {
        return after_ctl_otherwise(frame, result);
    }
    block.adding.store(0, Ordering::Relaxed);
    block.counters.calls(Call::CtlAdd).bump();
    result
}

/// Nothing changes in what is watched; that the kernel had it is compared at the report.
#[unsafe(link_section = ".text.hot.epollshim")]
pub extern "C-unwind" fn after_mod(frame: &mut Frame, result: isize) -> isize {
    let Some(block) = thread::block_at_hand() else { return after_ctl_otherwise(frame, result) };
    if result < 0 {
        return after_failed_ctl(frame, result);
    }
    if block.pending.is_open() {
        return after_ctl_otherwise(frame, result);
    }
    block.counters.calls(Call::CtlMod).bump();
    result
}

#[unsafe(link_section = ".text.hot.epollshim")]
pub extern "C-unwind" fn after_del(frame: &mut Frame, result: isize) -> isize {
    let Some(block) = thread::block_at_hand() else { return after_ctl_otherwise(frame, result) };
    if result < 0 {
        return after_failed_ctl(frame, result);
    }
    if block.pending.is_open() {
        return after_ctl_otherwise(frame, result);
    }
    block.counters.calls(Call::CtlDel).bump();
    match ledger::deleted_at_once(frame.int(0), frame.int(2)) {
        Passage::Through => result,
        passage => after_del_otherwise(frame, result, passage),
    }
}

#[cold]
#[inline(never)]
fn after_del_otherwise(frame: &mut Frame, result: isize, passage: Passage) -> isize {
    ledger::deleted(frame.int(0), frame.int(2), frame.caller, passage);
    unforeseen(result)
}

/// Of an operation that there is none of.
pub extern "C-unwind" fn after_other(frame: &mut Frame, result: isize) -> isize {
    after_ctl_otherwise(frame, result)
}

/// A result that the compiler does not see through. It would have the common way keep what it knows is returned, in a register
/// that is to be saved first, and call what it was to jump to.
#[inline(always)]
fn unforeseen(result: isize) -> isize {
    core::hint::black_box(result)
}

/// What is rare behind an `epoll_ctl`, in a function of its own to its end, which the common way jumps to.
#[cold]
#[inline(never)]
fn after_ctl_otherwise(frame: &mut Frame, result: isize) -> isize {
    let Some(block) = thread::block() else { return unforeseen(result) };
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
    if block.pending.is_open() && call != Call::CtlOther {
        // The thread's last `epoll_ctl` has left something open.
        findings::errors::ctl_succeeded(&block.pending, frame.int(0), frame.int(1), frame.int(2));
    }
    block.counters.calls(call).bump();
    if call == Call::CtlDel {
        ledger::deleted(frame.int(0), frame.int(2), frame.caller, Passage::NotTried);
    }
    unforeseen(result)
}

#[inline(always)]
fn registration(frame: &Frame) -> Registration {
    Registration { epfd: frame.int(0), fd: frame.int(2), site: frame.caller }
}

#[cold]
#[inline(never)]
fn after_failed_ctl(frame: &mut Frame, result: isize) -> isize {
    let Some(block) = thread::block() else { return unforeseen(result) };
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
    unforeseen(result)
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

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim")]
extern "C-unwind" fn before_timed_wait(frame: &mut Frame) -> usize {
    begin_wait(Call::Wait, frame, true);
    real::EPOLL_WAIT.address()
}

pub extern "C-unwind" fn after_wait(frame: &mut Frame, count: isize) -> isize {
    end_wait(Call::Wait, frame, count)
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim")]
extern "C-unwind" fn after_timed_wait(frame: &mut Frame, count: isize) -> isize {
    end_timed_wait(Call::Wait, frame, count)
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim")]
extern "C-unwind" fn after_untimed_wait(frame: &mut Frame, count: isize) -> isize {
    end_untimed_wait(Call::Wait, frame, count)
}

pub extern "C-unwind" fn before_pwait(frame: &mut Frame) -> usize {
    begin_wait(Call::Pwait, frame, frame.int(3) != 0);
    real::EPOLL_PWAIT.address()
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim")]
extern "C-unwind" fn before_timed_pwait(frame: &mut Frame) -> usize {
    begin_wait(Call::Pwait, frame, true);
    real::EPOLL_PWAIT.address()
}

pub extern "C-unwind" fn after_pwait(frame: &mut Frame, count: isize) -> isize {
    end_wait(Call::Pwait, frame, count)
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim")]
extern "C-unwind" fn after_timed_pwait(frame: &mut Frame, count: isize) -> isize {
    end_timed_wait(Call::Pwait, frame, count)
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim")]
extern "C-unwind" fn after_untimed_pwait(frame: &mut Frame, count: isize) -> isize {
    end_untimed_wait(Call::Pwait, frame, count)
}

/// A timeout may point to zero, but only the kernel may look: the address may be bad, which is EFAULT.
pub extern "C-unwind" fn before_pwait2(frame: &mut Frame) -> usize {
    begin_wait(Call::Pwait2, frame, true);
    real::EPOLL_PWAIT2.address()
}

pub extern "C-unwind" fn after_pwait2(frame: &mut Frame, count: isize) -> isize {
    end_timed_wait(Call::Pwait2, frame, count)
}

/// Only a wait that can block is timed: `state` is when it began, or 0. It is counted as it begins, since it may never
/// come back: cancelled, or left by siglongjmp.
#[inline(always)]
fn begin_wait(call: Call, frame: &mut Frame, can_block: bool) {
    frame.state = 0;
    if !can_block {
        return;
    }
    let Some(block) = thread::block() else { return };
    let counters = &block.counters;
    counters.calls(call).bump();
    block.begin_wait(frame.int(0), frame.caller);
    let start = clock::monotonic();
    let last = counters.last_wait_end.load(Ordering::Relaxed);
    if last != 0 {
        let work = start.saturating_sub(last);
        counters.work().record(work);
        counters.last_wait_end.store(0, Ordering::Relaxed);
        if work >= thresholds::LATE {
            block.watch.late(frame.int(0), work, frame.caller);
        }
    }
    frame.state = start;
}

#[inline(always)]
fn end_wait(call: Call, frame: &mut Frame, count: isize) -> isize {
    if frame.state == 0 { end_untimed_wait(call, frame, count) } else { end_timed_wait(call, frame, count) }
}

#[inline(always)]
fn end_timed_wait(call: Call, frame: &mut Frame, count: isize) -> isize {
    let start = frame.state;
    if start == 0 {
        // The thread had no block when it began.
        return end_first_wait(call, frame, count);
    }
    let Some(block) = thread::block() else { return count };
    block.end_wait();
    let end = clock::monotonic();
    if block.is_older(start) {
        count_in_child(block, call);
    }
    block.counters.last_wait_end.store(end, Ordering::Relaxed);
    if let Some(blocked) = block.counters.blocked(call) {
        blocked.record(end.saturating_sub(start));
    }
    if count == 0 {
        block.counters.short.add(u64::from(frame.int(3) == 1));
    }
    note_wait(block, call, frame, start, count, &block.counters.empty)
}

/// A handler has forked, and this is the child: here too a call returns, as other calls do, and is counted.
#[cold]
#[inline(never)]
fn count_in_child(block: &Block, call: Call) {
    block.counters.calls(call).bump();
}

#[inline(always)]
fn end_untimed_wait(call: Call, frame: &mut Frame, count: isize) -> isize {
    let Some(block) = thread::block_at_hand() else { return end_first_wait(call, frame, count) };
    block.counters.calls(call).bump();
    block.counters.last_wait_end.store(0, Ordering::Relaxed);
    note_wait(block, call, frame, 0, count, &block.counters.polled)
}

#[cold]
#[inline(never)]
fn end_first_wait(call: Call, frame: &mut Frame, count: isize) -> isize {
    if thread::block().is_some() { end_untimed_wait(call, frame, count) } else { unforeseen(count) }
}

/// What came of a wait that began at `start` (0: it was not timed); `empty` counts it if that is nothing. What is rare, and
/// what calls something, has a function of its own to its end, as behind an `epoll_ctl`.
#[inline(always)]
fn note_wait(block: &'static Block, call: Call, frame: &mut Frame, start: u64, count: isize, empty: &Counter) -> isize {
    if count < 0 {
        return note_failed_wait(block, call, frame, count);
    }
    if count == 0 {
        empty.bump();
        if !ledger::waited_alone(frame.int(0), WaitEnd::Empty, block) {
            return note_rare_wait(block, frame, count);
        }
        return count;
    }
    let batch = block.counters.batch();
    if !batch.has_reached(count as u64) || batch.sum().wrapping_add(count as u64) >= block.watch.due() {
        return note_events_and_look(block, frame, start, count);
    }
    batch.record_reached(count as u64);
    let full = is_full(frame, count);
    block.counters.full.add(u64::from(full));
    if !counters::are_plain(count as usize, |index| mask(frame, index)) {
        return note_mixed_wait(block, frame, count);
    }
    block.counters.delivered_plain(count as u64);
    let end = WaitEnd::Events { count: count as u64, full, first: core::ptr::null() };
    if !ledger::waited_alone(frame.int(0), end, block) {
        return note_rare_wait(block, frame, count);
    }
    count
}

#[inline(always)]
fn is_full(frame: &Frame, count: isize) -> bool {
    count as c_int == frame.int(2)
}

/// What the events that a wait returned are.
fn masks(frame: &Frame, count: isize) -> impl Iterator<Item = u32> {
    (0..count as usize).map(|index| mask(frame, index))
}

/// `index`: less than the wait returned.
#[inline(always)]
fn mask(frame: &Frame, index: usize) -> u32 {
    let events = frame.word(1) as *const epoll_event;
    // SAFETY: the kernel has just written that many events there.
    unsafe { (&raw const (*events.wrapping_add(index)).events).read_unaligned() }
}

fn end_of(frame: &Frame, count: isize) -> WaitEnd {
    match count {
        0 => WaitEnd::Empty,
        _ => WaitEnd::Events {
            count: count as u64,
            full: is_full(frame, count),
            first: frame.word(1) as *const epoll_event,
        },
    }
}

/// The rest, where several threads wait on an instance, or for the first time.
#[cold]
#[inline(never)]
fn note_rare_wait(block: &'static Block, frame: &Frame, count: isize) -> isize {
    ledger::waited(frame.int(0), end_of(frame, count), block, &frame.caller);
    unforeseen(count)
}

/// The rest, where other events than the plain ones have come.
#[inline(never)]
fn note_mixed_wait(block: &'static Block, frame: &Frame, count: isize) -> isize {
    block.counters.delivered(masks(frame, count));
    ledger::waited(frame.int(0), end_of(frame, count), block, &frame.caller);
    unforeseen(count)
}

/// Of a wait that returned events, with whatever that brings.
#[cold]
#[inline(never)]
fn note_events_and_look(block: &'static Block, frame: &mut Frame, start: u64, count: isize) -> isize {
    let counters = &block.counters;
    counters.batch().record(count as u64);
    counters.full.add(u64::from(is_full(frame, count)));
    counters.delivered(masks(frame, count));
    ledger::waited(frame.int(0), end_of(frame, count), block, &frame.caller);
    if counters.batch().sum() >= block.watch.due() {
        frame.state = start;
        findings::watch::look(block, frame, count as usize);
    }
    unforeseen(count)
}

#[cold]
#[inline(never)]
fn note_failed_wait(block: &'static Block, call: Call, frame: &Frame, count: isize) -> isize {
    let epfd = frame.int(0);
    let error = sys::errno();
    block.counters.error(call, error);
    ledger::waited(epfd, WaitEnd::Failed { interrupted: error == libc::EINTR }, block, &frame.caller);
    if error == libc::EBADF {
        ledger::waited_on_bad(epfd);
        findings::errors::wait_failed(epfd, frame.caller);
    }
    unforeseen(count)
}
