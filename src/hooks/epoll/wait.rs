//! epoll_wait(epfd, events, maxevents, timeout) and its relatives.

mod results;

use crate::sync::Ordering;

use epollshim_format::call::Call;
use epollshim_format::findings::thresholds;
#[cfg(not(test))]
use libc::c_int;

use self::results::note_wait;
use crate::counters::OwnCounter;
use crate::findings::watch::Watch;
#[cfg(not(test))]
use crate::hooks::entry::{BLOCK, jump_to_real};
use crate::hooks::entry::{Frame, opaque};
#[cfg(not(test))]
use crate::real::Real;
use crate::thread::Block;
use crate::{clock, findings, real, thread};

#[cfg(not(any(test, portable)))]
mod exports {
    use crate::hooks::parts;

    crate::arch::x86_64::entries::timed! {
        #[unsafe(link_section = ".text.hot.epollshim.entries")]
        wait_timed(4): super::enter_wait, super::after_timed_wait;
        #[unsafe(link_section = ".text.hot.epollshim.entries")]
        pwait_timed(5): super::enter_pwait, super::after_timed_pwait;
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.hot.epollshim.entries")]
        epoll_pwait2(5) or epoll_pwait2: super::enter_pwait2, super::after_timed_pwait2;
    }

    // A wait that can block is timed by an entry of its own. What is decided before the call is not
    // tested again after it.
    crate::arch::x86_64::entries::with_after! {
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.hot.epollshim.entries")]
        epoll_wait(4) or epoll_wait unless wait_timed: crate::real::function::epoll_wait, super::after_untimed_wait;
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.hot.epollshim.entries")]
        epoll_pwait(4) or epoll_pwait unless pwait_timed: crate::real::function::epoll_pwait, super::after_untimed_pwait;
    }

    // Frames are read with the same types that libc gives to glibc's functions.
    const _: unsafe extern "C" fn(i32, *mut libc::epoll_event, i32, i32) -> i32 = libc::epoll_wait;
    const _: unsafe extern "C" fn(i32, *mut libc::epoll_event, i32, i32, *const libc::sigset_t) -> i32 =
        libc::epoll_pwait;
}

pub extern "C-unwind" fn before_wait(frame: &mut Frame) -> usize {
    frame.state = 0;
    if frame.int(3) != 0 {
        begin_wait(Call::Wait, frame);
    }
    real::function::epoll_wait.address()
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim.enter_wait")]
pub(super) extern "C-unwind" fn enter_wait(frame: &mut Frame, now: u64) -> c_int {
    enter::<4>(Call::Wait, &real::function::epoll_wait, frame, now)
}

pub extern "C-unwind" fn after_wait(frame: &mut Frame, count: isize) -> isize {
    end_wait(Call::Wait, frame, count)
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim.timed_wait")]
extern "C-unwind" fn after_timed_wait(frame: &mut Frame, count: isize, now: u64) -> isize {
    end_entered_wait(Call::Wait, frame, count, now)
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim.untimed_wait")]
extern "C-unwind" fn after_untimed_wait(frame: &mut Frame, count: isize) -> isize {
    end_untimed_wait(Call::Wait, frame, count)
}

pub extern "C-unwind" fn before_pwait(frame: &mut Frame) -> usize {
    frame.state = 0;
    if frame.int(3) != 0 {
        begin_wait(Call::Pwait, frame);
    }
    real::function::epoll_pwait.address()
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim.enter_pwait")]
pub(super) extern "C-unwind" fn enter_pwait(frame: &mut Frame, now: u64) -> c_int {
    enter::<5>(Call::Pwait, &real::function::epoll_pwait, frame, now)
}

pub extern "C-unwind" fn after_pwait(frame: &mut Frame, count: isize) -> isize {
    end_wait(Call::Pwait, frame, count)
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim.timed_pwait")]
extern "C-unwind" fn after_timed_pwait(frame: &mut Frame, count: isize, now: u64) -> isize {
    end_entered_wait(Call::Pwait, frame, count, now)
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim.untimed_pwait")]
extern "C-unwind" fn after_untimed_pwait(frame: &mut Frame, count: isize) -> isize {
    end_untimed_wait(Call::Pwait, frame, count)
}

/// Always timed: the timeout may point to zero, but only the kernel may read it, since a bad
/// address must give EFAULT.
pub extern "C-unwind" fn before_pwait2(frame: &mut Frame) -> usize {
    begin_wait(Call::Pwait2, frame);
    real::function::epoll_pwait2.address()
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim.enter_pwait2")]
pub(super) extern "C-unwind" fn enter_pwait2(frame: &mut Frame, now: u64) -> c_int {
    enter::<5>(Call::Pwait2, &real::function::epoll_pwait2, frame, now)
}

#[cfg(not(test))]
#[unsafe(link_section = ".text.hot.epollshim.timed_pwait2")]
extern "C-unwind" fn after_timed_pwait2(frame: &mut Frame, count: isize, now: u64) -> isize {
    end_entered_wait(Call::Pwait2, frame, count, now)
}

pub extern "C-unwind" fn after_pwait2(frame: &mut Frame, count: isize) -> isize {
    end_timed_wait(Call::Pwait2, frame, count, clock::monotonic())
}

/// What is left to do before a wait.
enum Begun {
    Done,
    /// The work of the thread since its last wait, in nanoseconds, must be recorded by
    /// [`begin_after_work`].
    WorkPending(u64),
}

/// Fast path at the beginning of a wait that can block. The wait is counted now, since it may never
/// return: it may be cancelled, or left by siglongjmp. It is timed as well: the frame's `state`
/// becomes its beginning.
#[inline(always)]
fn begin_fast(block: &Block, call: Call, frame: &mut Frame, now: u64) -> Begun {
    let counters = &block.counters;
    counters.bump_wait(call);
    block.begin_wait(frame.int(0), frame.caller);
    frame.state = now;
    let last = counters.last_wait_end.load(Ordering::Relaxed);
    if last != 0 {
        let work = now.saturating_sub(last);
        if work >= thresholds::LATE || !counters.work().has_reached(work) {
            return Begun::WorkPending(work);
        }
        counters.record_work_reached(work);
        counters.last_wait_end.store(0, Ordering::Relaxed);
    }
    Begun::Done
}

/// The same for any thread. If it has no block and gets none, `state` is 0.
fn begin(call: Call, frame: &mut Frame, now: u64) -> Option<&'static Block> {
    frame.state = 0;
    let block = thread::block()?;
    if let Begun::WorkPending(work) = begin_fast(block, call, frame, now) {
        begin_after_work(frame, block, work);
    }
    Some(block)
}

/// The thread has worked longer between two waits than ever before, or longer than `LATE`.
#[inline]
fn begin_after_work(frame: &Frame, block: &Block, work: u64) {
    block.counters.work().record(work);
    block.counters.last_wait_end.store(0, Ordering::Relaxed);
    if work >= thresholds::LATE && block.part::<Watch>().late(frame.int(0), work, frame.caller) {
        findings::loops::late();
    }
}

/// The same, if the entry has not read the clock.
#[cold]
#[inline(never)]
fn begin_wait(call: Call, frame: &mut Frame) {
    let now = clock::monotonic();
    begin(call, frame, now);
}

/// Runs before a wait that can block, and jumps to the real function, which has `WORDS` arguments.
#[cfg(not(test))]
#[inline(always)]
pub(super) fn enter<const WORDS: usize>(call: Call, real: &Real, frame: &mut Frame, now: u64) -> c_int {
    let Some(block) = thread::block_at_hand() else { return enter_first::<WORDS>(call, real, frame, now) };
    frame.words[BLOCK] = block.address();
    match begin_fast(block, call, frame, now) {
        // SAFETY: `real` is the function that the program called, and the frame has its arguments,
        // of which there are `WORDS`.
        Begun::Done => unsafe { jump_to_real::<WORDS>(frame, real.resolved()) },
        Begun::WorkPending(work) => enter_after_work::<WORDS>(real, frame, block, work),
    }
}

#[cfg(not(test))]
#[cold]
#[inline(never)]
fn enter_after_work<const WORDS: usize>(real: &Real, frame: &Frame, block: &Block, work: u64) -> c_int {
    begin_after_work(frame, block, work);
    // SAFETY: `real` is the function that the program called, and the frame has its arguments, of
    // which there are `WORDS`.
    unsafe { jump_to_real::<WORDS>(frame, real.resolved()) }
}

#[cfg(not(test))]
#[cold]
#[inline(never)]
fn enter_first<const WORDS: usize>(call: Call, real: &Real, frame: &mut Frame, now: u64) -> c_int {
    frame.words[BLOCK] = begin(call, frame, now).map_or(thread::nobody(), Block::address);
    // SAFETY: `real` is the function that the program called, and the frame has its arguments, of
    // which there are `WORDS`.
    unsafe { jump_to_real::<WORDS>(frame, real.resolved()) }
}

#[inline(always)]
fn end_wait(call: Call, frame: &mut Frame, count: isize) -> isize {
    if frame.state != 0 {
        return end_timed_wait_now(call, frame, count);
    }
    end_untimed_wait(call, frame, count)
}

#[cold]
#[inline(never)]
fn end_timed_wait_now(call: Call, frame: &mut Frame, count: isize) -> isize {
    end_timed_wait(call, frame, count, clock::monotonic())
}

/// For a wait that began with [`enter`].
#[cfg(not(test))]
#[inline(always)]
pub(super) fn end_entered_wait(call: Call, frame: &mut Frame, count: isize, now: u64) -> isize {
    // SAFETY: `enter` ran before the real call, and stored the address of a block or of `nobody` in
    // that word. Nothing writes the word in between.
    match unsafe { thread::block_since(frame.words[BLOCK], frame.state) } {
        Some(block) => end_timed_wait_in(block, call, frame, count, now),
        None => end_timed_wait_slow(call, frame, count, now),
    }
}

fn end_timed_wait(call: Call, frame: &mut Frame, count: isize, now: u64) -> isize {
    match thread::block_at_hand() {
        Some(block) if !block.is_older(frame.state) => end_timed_wait_in(block, call, frame, count, now),
        _ => end_timed_wait_slow(call, frame, count, now),
    }
}

#[inline(always)]
fn end_timed_wait_in(block: &'static Block, call: Call, frame: &mut Frame, count: isize, now: u64) -> isize {
    block.end_wait();
    let time = now.saturating_sub(frame.state);
    let Some(blocked) = block.counters.blocked(call) else { return count };
    // A wait that ended by a timeout of 1 ms has lasted for `SLEPT` at least: only `end_rare_wait`
    // counts it as `short`.
    if time >= thresholds::SLEPT || !blocked.has_reached(time) {
        return end_rare_wait(block, call, frame, count, now);
    }
    block.counters.record_blocked_reached(call, time);
    end_any_wait(block, call, frame, count, now)
}

#[inline(always)]
fn end_any_wait(block: &'static Block, call: Call, frame: &mut Frame, count: isize, now: u64) -> isize {
    block.counters.last_wait_end.store(now, Ordering::Relaxed);
    note_wait(block, call, frame, frame.state, count, &block.counters.empty)
}

/// A wait that slept, or that took longer than any before. Or a handler has forked and this is the
/// child: the call returns here as others do, and is counted.
#[cold]
#[inline(never)]
fn end_rare_wait(block: &'static Block, call: Call, frame: &mut Frame, count: isize, now: u64) -> isize {
    if block.is_older(frame.state) {
        block.counters.calls(call).bump();
    }
    let (time, start) = (now.saturating_sub(frame.state), frame.state);
    if let Some(blocked) = block.counters.blocked(call) {
        blocked.record(time);
    }
    if count == 0 {
        block.counters.add_short(u64::from(frame.int(3) == 1));
    }
    let count = end_any_wait(block, call, frame, count, now);
    if time >= thresholds::SLEPT {
        frame.state = start;
        findings::stalled::slept(block, frame, count, now);
    }
    count
}

#[inline(always)]
pub(super) fn end_untimed_wait(call: Call, frame: &mut Frame, count: isize) -> isize {
    let Some(block) = thread::block_at_hand() else { return end_first_untimed_wait(call, frame, count) };
    block.counters.bump_wait(call);
    block.counters.last_wait_end.store(0, Ordering::Relaxed);
    note_wait(block, call, frame, 0, count, &block.counters.polled)
}

/// The thread has no block yet, and may get one. `state` is not read: nothing has written it.
#[cold]
#[inline(never)]
fn end_first_untimed_wait(call: Call, frame: &mut Frame, count: isize) -> isize {
    if thread::block().is_some() { end_untimed_wait(call, frame, count) } else { opaque(count) }
}

/// The thread had no block when the wait began, or has none now, or has another one.
#[cold]
#[inline(never)]
fn end_timed_wait_slow(call: Call, frame: &mut Frame, count: isize, now: u64) -> isize {
    match thread::block() {
        Some(_) if frame.state == 0 => end_untimed_wait(call, frame, count),
        Some(block) => {
            block.end_wait();
            end_rare_wait(block, call, frame, count, now)
        }
        None => opaque(count),
    }
}
