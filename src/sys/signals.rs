//! Signals: masks, dispositions, and which are pending.

use super::{Result, getpid, gettid, permitted, words};

/// Sends a signal to the calling thread.
pub fn raise(signal: i32) {
    let (pid, tid) = (getpid(), gettid());
    // SAFETY: takes no pointer. The user's option requests the effect of the signal.
    let _ = unsafe { syscall!(SYS_tgkill, pid, tid, signal) };
}

/// Blocks a signal for this thread, and returns which signals were blocked before.
pub fn block_signal(signal: i32) -> Result<SignalSet> {
    let set: SignalSet = 1u64 << (signal - 1).clamp(0, 63);
    let mut old: SignalSet = 0;
    // SAFETY: both sets have the size that the call states.
    unsafe { syscall!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const set, &raw mut old, size_of::<SignalSet>()) }
        .map(|_| old)
}

/// Whether the calling thread runs on its alternate signal stack (sigaltstack(2)).
pub fn is_on_alternate_stack() -> bool {
    let mut stack = libc::stack_t { ss_sp: core::ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: the call sets nothing, and writes a stack_t, which has the kernel's layout on x86-64.
    let asked = unsafe { syscall!(SYS_sigaltstack, core::ptr::null::<u8>(), &raw mut stack) };
    asked.is_ok() && stack.ss_flags & libc::SS_ONSTACK != 0
}

/// The kernel's signal set: 64 signals in a word.
pub type SignalSet = u64;

/// The size of the kernel's signal set, which glibc passes to `epoll_pwait`'s system call as its
/// sixth argument. A program that calls `syscall()` may pass another size (`EINVAL`, Linux v6.1
/// kernel/signal.c, set_user_sigmask).
pub const SIGSET_SIZE: usize = size_of::<SignalSet>();

/// Blocks all signals for this thread, and returns which signals were blocked before.
///
/// Two signals are exceptions. The kernel forces them on a thread, and they kill it if they are
/// blocked (Linux v6.1 kernel/signal.c, force_sig_info_to_task): SIGTRAP for a program that steps
/// itself by the processor's trap flag, and SIGSYS for a program whose filter makes a handler
/// answer a system call.
pub fn block_signals() -> Result<SignalSet> {
    let forced: SignalSet = 1 << (libc::SIGTRAP - 1) | 1 << (libc::SIGSYS - 1);
    let mut old: SignalSet = 0;
    let (all, size) = (!forced, size_of::<SignalSet>());
    // SAFETY: both sets have the size that the call states.
    unsafe { syscall!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const all, &raw mut old, size) }.map(|_| old)
}

/// The handler of a signal (SIG_DFL, SIG_IGN, or an address) and its flags (SA_NODEFER and others).
fn action(signal: i32) -> Result<[usize; 2]> {
    // struct kernel_sigaction (Linux v6.1 include/linux/signal_types.h): handler, flags, restorer,
    // mask.
    let mut action = [usize::MAX; 4];
    let null = core::ptr::null::<u8>();
    // SAFETY: the call changes nothing, and writes four words, for which there is room.
    unsafe { syscall!(SYS_rt_sigaction, signal, null, action.as_mut_ptr(), SIGSET_SIZE) }?;
    let [handler, flags, ..] = action;
    // A filter that returns 0 leaves the words unchanged.
    if handler == usize::MAX { Err(libc::ENOSYS) } else { Ok([handler, flags]) }
}

/// The disposition of a signal: SIG_DFL, SIG_IGN, or the address of a handler.
pub fn disposition(signal: i32) -> Result<usize> {
    action(signal).map(|[handler, _]| handler)
}

/// Whether a signal has a handler that the same signal may interrupt (sigaction(2), SA_NODEFER).
/// Also true if a filter withholds the answer.
pub fn may_interrupt_itself(signal: i32) -> bool {
    action(signal).map_or(true, |[handler, flags]| handler > libc::SIG_IGN && flags & libc::SA_NODEFER as usize != 0)
}

pub fn set_signal_mask(set: SignalSet) {
    let null = core::ptr::null::<u8>();
    // SAFETY: the set has the size that the call states.
    let _ = unsafe { syscall!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const set, null, size_of::<SignalSet>()) };
}

/// The signals that this thread blocks. All of them if a filter answers in the kernel's place.
pub fn blocked_signals() -> Result<SignalSet> {
    let mut old = SignalSet::MAX;
    let null = core::ptr::null::<u8>();
    // SAFETY: the call changes nothing, and writes a set of the size that it states.
    unsafe { syscall!(SYS_rt_sigprocmask, libc::SIG_BLOCK, null, &raw mut old, size_of::<SignalSet>()) }.map(|_| old)
}

/// The signals that are pending for this thread.
pub fn pending_signals() -> Result<SignalSet> {
    let mut set: SignalSet = 0;
    // SAFETY: the set has the size that the call states.
    unsafe { syscall!(SYS_rt_sigpending, &raw mut set, size_of::<SignalSet>()) }.map(|_| set)
}

/// Discards the pending signals of `set`.
pub fn swallow_signals(set: SignalSet) {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // A standard signal is pending at most once for the thread and once for the process. The loop
    // is bounded because a filter may return 0 forever.
    for _ in 0..2 * set.count_ones() {
        // SAFETY: the set has the size that the call states, and the kernel writes no siginfo.
        let signal = unsafe {
            let size = size_of::<SignalSet>();
            syscall!(SYS_rt_sigtimedwait, &raw const set, core::ptr::null::<u8>(), &raw const now, size)
        };
        if signal.is_err() {
            return;
        }
    }
}
