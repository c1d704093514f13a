//! Work aside from the program: on a stack of its own (a hook may run on a signal handler's few KiB), with all signals
//! blocked (who jumps out of a handler leaves things half done), and errno kept. For all that is longer than a hook: reports, lines of the log,
//! reading /proc, making files.

use core::ffi::c_void;

use crate::{sys, valgrind};

/// Runs `work` aside. None: the kernel has no memory for the stack.
pub fn undisturbed<T>(work: impl FnOnce() -> T) -> Option<T> {
    let errno = sys::errno();
    let quiet = Quiet::new();
    let result = on_its_own(work);
    quiet.end();
    sys::set_errno(errno);
    result
}

/// All signals blocked; those that our own writing raised are taken away at the end.
pub struct Quiet {
    /// What was blocked before. None: a filter of the program's forbids to block any, and nothing is to be done at the end.
    mask: Option<sys::SignalSet>,
    /// Signals that waited before. A filter may keep that: those that were blocked may have waited, and no other can have.
    pending: sys::SignalSet,
}

/// The bit of a signal in the kernel's set.
const fn bit(signal: i32) -> sys::SignalSet {
    1 << (signal - 1)
}

/// What writing may raise: no reader, RLIMIT_FSIZE, a terminal that wants background jobs to stop.
const RAISED: sys::SignalSet = bit(libc::SIGPIPE) | bit(libc::SIGXFSZ) | bit(libc::SIGTTOU);

impl Quiet {
    pub fn new() -> Self {
        let mask = sys::block_signals().ok();
        let pending = sys::pending_signals().unwrap_or(mask.unwrap_or(sys::SignalSet::MAX));
        Quiet { mask, pending }
    }

    pub fn end(self) {
        let Some(mask) = self.mask else { return };
        let raised = RAISED & sys::pending_signals().unwrap_or(RAISED) & !self.pending;
        if raised != 0 {
            sys::swallow_signals(raised);
        }
        sys::set_signal_mask(mask);
    }
}

/// Room for a report, of which some 30 KiB are used; only what is touched is backed by memory.
const BYTES: usize = 256 * 1024;

/// Runs `work` on a stack of its own, without a look at signals. None: no memory for it. Nothing may unwind out of `work`.
pub fn on_its_own<T>(work: impl FnOnce() -> T) -> Option<T> {
    let start = sys::map(BYTES).ok()?;
    let mut result = None;
    on_stack(start, BYTES, || result = Some(work()));
    // SAFETY: the mapping made above; the work is done.
    unsafe { sys::unmap(start, BYTES) };
    result
}

/// Runs `work` on a stack of `bytes` bytes from `start`. Its upper end must be aligned to 16, and nobody else may use it.
/// Nothing may unwind out of `work`.
pub fn on_stack<W: FnOnce()>(start: *mut u8, bytes: usize, work: W) {
    let mut work = Some(work);
    let stack = valgrind::Stack::register(start, bytes);
    // Below its upper end: valgrind knows a switch by the new stack pointer, which must lie within the stack.
    call_on(start.wrapping_add(bytes).wrapping_sub(16), (&raw mut work).cast(), run::<W>);
    stack.deregister();
}

/// Runs the work that a pointer to an `Option<W>` names.
extern "C-unwind" fn run<W: FnOnce()>(work: *mut c_void) {
    // SAFETY: `on_stack` passes just that, and leaves it alone meanwhile.
    let work = unsafe { &mut *work.cast::<Option<W>>() };
    if let Some(work) = work.take() {
        work();
    }
}

/// Calls `run(work)` with another stack, whose upper end (aligned to 16) is given. The frame is described by rbp, which the
/// callee keeps: an unwinder finds its way back to the old stack.
#[unsafe(naked)]
extern "C" fn call_on(top: *mut u8, work: *mut c_void, run: extern "C-unwind" fn(*mut c_void)) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rdi",
        "mov rdi, rsi",
        "call rdx",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}
