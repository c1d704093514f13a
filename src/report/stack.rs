//! A stack for reports: they may be due on a signal handler's stack of a few KiB, or on a thread's smallest.

use core::ffi::c_void;

use crate::sys;

/// Room for a report, of which some 30 KiB are used; only what is touched is backed by memory.
const BYTES: usize = 256 * 1024;

/// Runs `work` on a stack of its own. None: no memory for it. Nothing may unwind out of `work`.
pub fn on_its_own<T>(work: impl FnOnce() -> T) -> Option<T> {
    let start = sys::map(BYTES).ok()?;
    let mut result = None;
    on(start.wrapping_add(BYTES), || result = Some(work()));
    // SAFETY: the mapping made above; the work is done.
    unsafe { sys::unmap(start, BYTES) };
    result
}

/// Runs `work` on a stack whose upper end, aligned to 16, is given: large enough, and unused. Nothing may unwind out of
/// `work`.
pub fn on(top: *mut u8, work: impl FnOnce()) {
    let mut work = Some(work);
    let mut task = || {
        if let Some(work) = work.take() {
            work();
        }
    };
    let mut task: &mut dyn FnMut() = &mut task;
    call_on(top, (&raw mut task).cast());
}

/// Runs the task that a pointer to a `&mut dyn FnMut()` names.
extern "C" fn run(task: *mut c_void) {
    // SAFETY: `on_its_own` passes just that, and leaves it alone meanwhile.
    let task = unsafe { &mut *task.cast::<&mut dyn FnMut()>() };
    task();
}

/// Calls `run` with another stack, whose upper end (aligned to 16) is given. The frame is described by rbp, which the
/// callee keeps: an unwinder finds its way back to the old stack.
#[unsafe(naked)]
extern "C" fn call_on(top: *mut u8, task: *mut c_void) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rdi",
        "mov rdi, rsi",
        "call {run}",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
        run = sym run,
    )
}
