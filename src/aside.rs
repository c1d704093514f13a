//! Work aside from the program: on a stack of its own, with all signals blocked, and errno kept.
//!
//! For everything that takes longer than a hook: reports, lines of the log, reading /proc, making files. A hook may run on the few KiB of
//! a signal handler's stack, and a handler that jumps away would leave the work half done.
//!
//! [`undisturbed`] is for work that opens nothing. [`unshared`] is for work that does: it runs in a descriptor table of its own, so
//! that no other thread, and no child that another thread forks, sees a descriptor of the shim's. That table is empty: work on the
//! program's descriptors does not belong there.

mod alone;
mod files;
mod helper;

use core::ffi::c_void;

use crate::sys;

pub use alone::has_the_table;
pub use files::Files;

/// Runs `work` aside. None: the kernel has no memory for the stack.
pub fn undisturbed<T>(work: impl FnOnce() -> T) -> Option<T> {
    on_new_stack(BYTES, |top| {
        let mut result = None;
        on_stack(top, || result = Some(work()));
        result
    })
}

/// Runs `work` aside, in a descriptor table of its own wherever that can be had. None: the kernel has no memory for the stack, or
/// the program's seccomp filter ended the work.
pub fn unshared<T>(work: impl FnOnce(Files) -> T) -> Option<T> {
    once(work, |work| {
        on_new_stack(BYTES_TO_OPEN, |top| {
            run_unshared(top, work);
            Some(())
        });
    })
}

/// Runs `work` in the program's table, on a stack whose upper end is given. For work that is done often, where [`has_the_table`] is true:
/// it takes a fifth of the time of a helper. A full table is the work's to answer.
pub fn in_the_table<T>(top: *mut u8, work: impl FnOnce(Files) -> sys::Result<T>) -> sys::Result<T> {
    let mut done = Err(libc::EMFILE);
    on_stack(top, || done = work(Files::of_the_program_alone()));
    done
}

/// [`unshared`] on a stack whose upper end is given, as [`on_stack`] wants it. The caller has blocked all signals.
pub fn unshared_on<T>(top: *mut u8, work: impl FnOnce(Files) -> T) -> Option<T> {
    once(work, |work| run_unshared(top, work))
}

/// Has `run` run some work that can be run once, and gives its result. (What `run` calls is not generic, for size.)
fn once<T>(work: impl FnOnce(Files) -> T, run: impl FnOnce(&mut dyn FnMut(Files))) -> Option<T> {
    let (mut work, mut result) = (Some(work), None);
    run(&mut |files| result = work.take().map(|work| work(files)));
    result
}

struct Job<'a> {
    work: Option<&'a mut dyn FnMut(Files)>,
}

#[inline(never)]
fn run_unshared(top: *mut u8, work: &mut dyn FnMut(Files)) {
    let mut job = Job { work: Some(work) };
    helper::run(top, (&raw mut job).cast(), in_helper);
    // Still there: no helper could be had.
    if let Some(work) = job.work.take() {
        on_stack(top, || work(Files::of_the_program()));
    }
}

/// Does the job that a pointer to a [`Job`] names, unless the table is still the program's.
extern "C-unwind" fn in_helper(job: *mut c_void) {
    let Some(files) = Files::unshare() else { return };
    // SAFETY: `run_unshared` passes just that, and does not touch it before this thread has ended.
    let job = unsafe { &mut *job.cast::<Job>() };
    if let Some(work) = job.work.take() {
        work(files);
    }
}

/// Calls `work` with the upper end of a new stack, while all signals are blocked and errno is kept. None: no memory, or none by `work`.
fn on_new_stack<T>(bytes: usize, work: impl FnOnce(*mut u8) -> Option<T>) -> Option<T> {
    let errno = sys::errno();
    let quiet = Quiet::new();
    let result = sys::map(bytes).ok().and_then(|start| {
        let result = work(start.wrapping_add(bytes));
        // SAFETY: the mapping made above; the work is done.
        unsafe { sys::unmap(start, bytes) };
        result
    });
    quiet.end();
    sys::set_errno(errno);
    result
}

/// All signals blocked; those that our own writing raised are taken away at the end.
pub struct Quiet {
    mask: sys::SignalSet,
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
        let mask = sys::block_signals();
        Quiet { mask, pending: sys::pending_signals() }
    }

    pub fn end(self) {
        let raised = RAISED & sys::pending_signals() & !self.pending;
        if raised != 0 {
            sys::swallow_signals(raised);
        }
        sys::set_signal_mask(self.mask);
    }
}

/// Room for a report, of which some 30 KiB are used; only what is touched is backed by memory.
const BYTES: usize = 256 * 1024;
/// Room for work that opens files and reads them: some paths.
const BYTES_TO_OPEN: usize = 64 * 1024;

/// Runs `work` on a stack whose upper end, aligned to 16, is given: large enough, and unused. Nothing may unwind out of
/// `work`.
pub fn on_stack<W: FnOnce()>(top: *mut u8, work: W) {
    let mut work = Some(work);
    call_on(top, (&raw mut work).cast(), run::<W>);
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
