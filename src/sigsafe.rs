//! Runs work on a separate stack, with all signals blocked, and preserves errno.
//!
//! Everything that takes longer than a hook runs here: reports, lines of the log, reading /proc,
//! creating files. A hook may run on the few KiB of a signal handler's stack, and a handler that
//! jumps away would leave the work half done.
//!
//! [`on_own_stack`] runs work that opens no file. [`unshared`] runs work that does, in a separate
//! descriptor table: no other thread, and no child that another thread forks, sees the library's
//! descriptors. That table is empty, so work on the program's descriptors does not belong there.

mod files;
mod helper;

use core::ffi::c_void;

use crate::arch::stack::call_on;
use crate::{sys, valgrind};

pub use files::{Files, read_as_the_loader_does};

/// Runs `work` on a separate stack. None: the kernel has no memory for the stack.
pub fn on_own_stack<T>(work: impl FnOnce() -> T) -> Option<T> {
    let (mut work, mut result) = (Some(work), None);
    run_on_own_stack(&mut || result = work.take().map(|work| work()));
    result
}

#[inline(never)] // once, for size
fn run_on_own_stack(work: &mut dyn FnMut()) {
    on_own_stack_in_new_room(BYTES, |room| {
        on_stack(room, work);
        Some(())
    });
}

/// Runs `work` on a separate stack, in a separate descriptor table if possible. None: the kernel
/// has no memory for the stack, or the program's seccomp filter ended the work.
pub fn unshared<T>(work: impl FnOnce(Files) -> T) -> Option<T> {
    once(work, |work| {
        on_own_stack_in_new_room(BYTES_TO_OPEN, |room| {
            run_unshared(room, work);
            Some(())
        });
    })
}

/// Runs `work` in the program's descriptor table, on a stack in that room. For frequent work, if
/// [`crate::process::has_the_table`] is true: this is much faster than a helper
/// (docs/performance.md, "Lines of the log"). The work must handle a full table.
pub fn in_the_table<T>(room: Room, work: impl FnOnce(Files) -> sys::Result<T>) -> sys::Result<T> {
    let mut done = Err(libc::EMFILE);
    on_stack(room, || done = work(Files::of_the_program_alone()));
    done
}

/// [`unshared`], on a stack in that room. The caller has blocked all signals.
pub fn unshared_on<T>(room: Room, work: impl FnOnce(Files) -> T) -> Option<T> {
    once(work, |work| run_unshared(room, work))
}

/// Makes `run` call work that can be called once, and returns the work's result. (What `run` calls
/// is not generic, to save space.)
fn once<T>(work: impl FnOnce(Files) -> T, run: impl FnOnce(&mut dyn FnMut(Files))) -> Option<T> {
    let (mut work, mut result) = (Some(work), None);
    run(&mut |files| result = work.take().map(|work| work(files)));
    result
}

struct Job<'a> {
    work: Option<&'a mut dyn FnMut(Files)>,
}

#[inline(never)]
fn run_unshared(room: Room, work: &mut dyn FnMut(Files)) {
    let mut job = Job { work: Some(work) };
    helper::run(room.top(), (&raw mut job).cast(), in_helper);
    // The work is still there, so no helper could be started.
    if let Some(work) = job.work.take() {
        on_stack(room, || work(Files::of_the_program()));
    }
}

/// Does the job that a pointer to a [`Job`] names, unless the table is still the program's.
extern "C-unwind" fn in_helper(job: *mut c_void) {
    let Some(files) = Files::unshare() else { return };
    // SAFETY: `run_unshared` passes a pointer to its own `Job`, and does not use it before this
    // thread has ended.
    let job = unsafe { &mut *job.cast::<Job>() };
    if let Some(work) = job.work.take() {
        work(files);
    }
}

/// Calls `work` with room for a stack. None: there is no memory, or `work` returned None.
fn in_new_room<T>(bytes: usize, work: impl FnOnce(Room) -> Option<T>) -> Option<T> {
    let room = Room::new(sys::map(bytes).ok()?, bytes);
    let result = work(room);
    // SAFETY: the mapping made at the top of this function. The work, which ran on it, has
    // returned.
    unsafe { sys::unmap(room.start, bytes) };
    result
}

/// [`in_new_room`] with all signals blocked and errno preserved.
fn on_own_stack_in_new_room<T>(bytes: usize, work: impl FnOnce(Room) -> Option<T>) -> Option<T> {
    let errno = sys::errno();
    let quiet = Quiet::new();
    let result = in_new_room(bytes, work);
    quiet.end();
    sys::set_errno(errno);
    result
}

/// While this exists, all signals are blocked. At the end it discards those that the library's own
/// writes raised.
pub struct Quiet {
    /// The signals that were blocked before. None: a filter of the program forbids blocking
    /// signals, so there is nothing to undo.
    mask: Option<sys::SignalSet>,
    /// The signals that were pending before. If a filter hides them: those that were blocked,
    /// because no other signal can have been pending.
    pending: sys::SignalSet,
}

/// The bit of a signal in the kernel's set.
const fn bit(signal: i32) -> sys::SignalSet {
    1 << (signal - 1)
}

/// What a write may raise: no reader (SIGPIPE), RLIMIT_FSIZE (SIGXFSZ), a terminal that stops
/// background jobs (SIGTTOU).
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

/// Enough for a report. Only pages that are touched use memory.
const BYTES: usize = 256 * 1024;

/// Runs `work` on a separate stack, without blocking signals. None: there is no memory for the
/// stack. Nothing may unwind out of `work`.
pub fn on_its_own<T>(work: impl FnOnce() -> T) -> Option<T> {
    in_new_room(BYTES, |room| {
        let mut result = None;
        on_stack(room, || result = Some(work()));
        result
    })
}

/// Enough for work that opens and reads files: some paths.
const BYTES_TO_OPEN: usize = 64 * 1024;

/// Memory for a stack. Its upper end must be aligned to 16 bytes, and nothing else may use it.
#[derive(Clone, Copy)]
pub struct Room {
    start: *mut u8,
    bytes: usize,
}

impl Room {
    pub fn new(start: *mut u8, bytes: usize) -> Room {
        Room { start, bytes }
    }

    fn top(self) -> *mut u8 {
        self.start.wrapping_add(self.bytes)
    }
}

/// Runs `work` on a stack in that room. Nothing may unwind out of `work`.
pub fn on_stack<W: FnOnce()>(room: Room, work: W) {
    let mut work = Some(work);
    let stack = valgrind::Stack::register(room.start, room.bytes);
    // Start below the upper end: valgrind recognises a switch by the new stack pointer, which must
    // lie within the stack.
    call_on(room.top().wrapping_sub(16), (&raw mut work).cast(), run::<W>);
    stack.deregister();
}

/// Runs the work that a pointer to an `Option<W>` names.
extern "C-unwind" fn run<W: FnOnce()>(work: *mut c_void) {
    // SAFETY: `on_stack` passes a pointer to its own `Option<W>`, and does not use it until this
    // returns.
    let work = unsafe { &mut *work.cast::<Option<W>>() };
    if let Some(work) = work.take() {
        work();
    }
}
