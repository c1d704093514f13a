//! The entries of epoll_ctl and of the waits when these calls are recorded and nothing else is
//! armed for them. They do what the fast paths do, and write a record. The entries of armed.rs,
//! which have a plan, serve all other cases; they touch about twice as many cache lines
//! (docs/performance.md).

use epollshim_format::call::Call;
use epollshim_format::function::Function;
use libc::c_int;

use super::{ctl, wait};
use crate::counters::WaitEnd;
use crate::hooks::entry::{BLOCK, Frame, jump_to_real};
use crate::record::CallRecord;
use crate::{ledger, real, record, sys, thread};

pub mod exports {
    use crate::hooks::parts;

    crate::arch::x86_64::entries::timed! {
        recorded:
        add(4): super::enter_add, super::after_add;
        del(4): super::enter_ctl, super::after_del;
        modify(4): super::enter_ctl, super::after_mod;
        other(4): super::enter_ctl, super::after_other;
        wait_timed(4): super::wait::enter_wait, super::after_timed_wait;
        wait_untimed(4): super::enter_untimed_wait, super::after_untimed_wait;
        pwait_timed(5): super::wait::enter_pwait, super::after_timed_pwait;
        pwait_untimed(5): super::enter_untimed_pwait, super::after_untimed_pwait;
        epoll_pwait2(5): super::wait::enter_pwait2, super::after_timed_pwait2;
    }

    crate::arch::x86_64::entries::dispatch! {
        #[unsafe(link_section = ".text.hot.epollshim.recorded")]
        epoll_ctl by operation other, add, del, modify;
    }
    crate::arch::x86_64::entries::dispatch! {
        #[unsafe(link_section = ".text.hot.epollshim.recorded")]
        epoll_wait by timeout wait_timed, wait_untimed;
    }
    crate::arch::x86_64::entries::dispatch! {
        #[unsafe(link_section = ".text.hot.epollshim.recorded")]
        epoll_pwait by timeout pwait_timed, pwait_untimed;
    }
}

#[unsafe(link_section = ".text.hot.epollshim.recorded")]
extern "C-unwind" fn enter_add(frame: &mut Frame, _: u64) -> c_int {
    note_block(frame);
    let address = ctl::before_add(frame);
    // SAFETY: `before_add` returns the address of the real epoll_ctl, and the frame has the four
    // arguments that the program passed to it.
    unsafe { jump_to_real::<4>(frame, address) }
}

#[unsafe(link_section = ".text.hot.epollshim.recorded")]
extern "C-unwind" fn enter_ctl(frame: &mut Frame, _: u64) -> c_int {
    note_block(frame);
    // SAFETY: the address is that of the real epoll_ctl, and the frame has the four arguments that
    // the program passed to it.
    unsafe { jump_to_real::<4>(frame, real::function::epoll_ctl.resolved()) }
}

#[unsafe(link_section = ".text.hot.epollshim.recorded")]
extern "C-unwind" fn enter_untimed_wait(frame: &mut Frame, _: u64) -> c_int {
    note_block(frame);
    // SAFETY: the address is that of the real epoll_wait, and the frame has the four arguments that
    // the program passed to it.
    unsafe { jump_to_real::<4>(frame, real::function::epoll_wait.resolved()) }
}

#[unsafe(link_section = ".text.hot.epollshim.recorded")]
extern "C-unwind" fn enter_untimed_pwait(frame: &mut Frame, _: u64) -> c_int {
    note_block(frame);
    // SAFETY: the address is that of the real epoll_pwait, and the frame has the five arguments
    // that the program passed to it.
    unsafe { jump_to_real::<5>(frame, real::function::epoll_pwait.resolved()) }
}

/// Stores the address of the thread's block, which the entry prefetches.
#[inline(always)]
fn note_block(frame: &mut Frame) {
    frame.words[BLOCK] = thread::slot();
}

/// `name = Function: what is done after the call when it is not recorded;`
macro_rules! after {
    ($($name:ident = $function:ident: |$frame:ident, $result:ident, $now:pat_param| $counted:expr;)*) => {$(
        #[unsafe(link_section = ".text.hot.epollshim.recorded")]
        extern "C-unwind" fn $name($frame: &mut Frame, $result: isize, now: u64, began: u64) -> isize {
            let $now = now;
            let result = $counted;
            keep(Function::$function, $frame, result, began, now);
            result
        }
    )*};
}

after! {
    after_add = EpollCtl: |frame, result, _| ctl::after_add(frame, result);
    after_del = EpollCtl: |frame, result, _| ctl::after_del(frame, result);
    after_mod = EpollCtl: |frame, result, _| ctl::after_mod(frame, result);
    after_other = EpollCtl: |frame, result, _| ctl::after_other(frame, result);
    after_timed_wait = EpollWait: |frame, result, now| wait::end_entered_wait(Call::Wait, frame, result, now);
    after_untimed_wait = EpollWait: |frame, result, _| wait::end_untimed_wait(Call::Wait, frame, result);
    after_timed_pwait = EpollPwait: |frame, result, now| wait::end_entered_wait(Call::Pwait, frame, result, now);
    after_untimed_pwait = EpollPwait: |frame, result, _| wait::end_untimed_wait(Call::Pwait, frame, result);
    after_timed_pwait2 = EpollPwait2: |frame, result, now| wait::end_entered_wait(Call::Pwait2, frame, result, now);
}

/// Keeps the record of a call that was made as the program asked, and that is counted already.
#[inline(always)]
fn keep(function: Function, frame: &Frame, result: isize, began: u64, ended: u64) {
    let Some(block) = thread::block() else { return };
    let error = if result == -1 { sys::errno() } else { 0 };
    if function.waits() {
        ledger::recorded_wait(frame.int(0), WaitEnd::of(result, frame.int(2), error), block);
    }
    record::keep(
        block,
        &CallRecord {
            function,
            words: frame.words,
            began,
            ended,
            result,
            error,
            is_made: true,
            is_timeout_given: true,
            is_injected: false,
            is_limited: false,
            caller: frame.caller,
        },
    );
}
