//! What each thread remembers for the census: its last closes. It is in thread-local words of the
//! initial-exec model (see thread.rs).
//!
//! process.rs asks the kernel to which process this memory belongs, but a system call for each
//! creation would be too slow. So a thread asks only if it may be a child in another process's
//! memory, which process/sharing.rs knows.

use crate::sync::{AtomicI32, AtomicU32, AtomicUsize, Ordering};

use epollshim_format::findings::thresholds::{SWEEP, SWEEP_GAP, SWEEP_MISSES};

use crate::arch::thread_words;
use crate::findings::{self, Note};
use crate::process;

use super::table;

/// All-zero in a new thread. Written by the thread itself and its signal handlers. A vfork child
/// shares it with its parent.
#[repr(C)]
struct Local {
    /// How many closes in a row from one call site were of neighbouring numbers.
    run: AtomicU32,
    last_site: AtomicUsize,
    last_fd: AtomicI32,
    /// The direction of the run: 1, -1, or 0 at its first close.
    step: AtomicI32,
    /// The first number of the run, and how many numbers of the run were not open.
    start: AtomicI32,
    misses: AtomicU32,
    /// The double closes that were noted for the run's first two closes: one more than the number
    /// (0: none), the variant, and where the number was closed before.
    noted: [AtomicI32; 2],
    variants: [AtomicU32; 2],
    others: [AtomicUsize; 2],
}

const _: () = assert!(size_of::<Local>() <= 64);

#[inline(always)]
fn local() -> &'static Local {
    // SAFETY: atomics, for which zero is valid; used by this thread alone, while it lives.
    unsafe { &*(thread_words::census::address() as *const Local) }
}

/// Whether the caller runs in another process's memory, with a descriptor table of its own.
#[inline(always)]
pub fn is_borrowed() -> bool {
    process::may_be_child() && ask()
}

#[cold]
#[inline(never)]
fn ask() -> bool {
    !process::is_own()
}

/// Called before this thread closes a number.
#[inline(always)]
pub fn closes(fd: i32, site: usize) {
    let local = local();
    let step = fd.wrapping_sub(local.last_fd.swap_plain(fd));
    let is_next = step == 1 || step == -1;
    if site != local.last_site.swap_plain(site) || !is_next && !leaves_out(local, step) {
        local.run.store(1, Ordering::Relaxed);
        local.step.store(0, Ordering::Relaxed);
        local.start.store(fd, Ordering::Relaxed);
        local.misses.store(0, Ordering::Relaxed);
        local.noted.iter().for_each(|fd| fd.store(0, Ordering::Relaxed));
        return;
    }
    go_on(local, step, site);
}

/// Whether a sweep continues after numbers that it skips.
#[inline(always)]
fn leaves_out(local: &Local, step: i32) -> bool {
    is_sweeping() && step.unsigned_abs() <= SWEEP_GAP && step.signum() == local.step.load(Ordering::Relaxed)
}

/// Called after [`closes`]: whether the number was open.
#[inline(always)]
pub fn has_closed(fd: i32, was_open: bool) {
    let local = local();
    if !was_open {
        local.misses.store(local.misses.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
    }
    if is_sweeping() {
        sweeps(local, fd, was_open);
    }
}

#[cold]
#[inline(never)]
fn sweeps(local: &Local, fd: i32, was_open: bool) {
    let misses = local.misses.load(Ordering::Relaxed);
    let is_new = !was_open && misses == SWEEP_MISSES || local.run.load(Ordering::Relaxed) == SWEEP;
    if misses >= SWEEP_MISSES && (was_open || is_new) {
        let start = if is_new { local.start.load(Ordering::Relaxed) } else { fd };
        table::swept(start.min(fd), start.max(fd));
    }
}

#[cold]
#[inline(never)]
fn go_on(local: &Local, step: i32, site: usize) {
    let before = local.step.load(Ordering::Relaxed);
    let is_on = before == 0 || before == step.signum();
    let run = if is_on { local.run.load(Ordering::Relaxed).saturating_add(1) } else { 2 };
    if !is_on {
        local.start.store(local.last_fd.load(Ordering::Relaxed).wrapping_sub(step), Ordering::Relaxed);
        local.misses.store(0, Ordering::Relaxed);
    }
    local.step.store(step.signum(), Ordering::Relaxed);
    local.run.store(run, Ordering::Relaxed);
    if run == SWEEP {
        retract(local, site);
    }
}

/// Withdraws the double closes that were noted for the first closes of a sweep.
fn retract(local: &Local, site: usize) {
    let fds = local.noted.iter().zip(&local.variants).zip(&local.others);
    for ((fd, variant), other) in fds {
        if let Some(fd) = fd.swap(0, Ordering::Relaxed).checked_sub(1).filter(|fd| *fd >= 0) {
            let id = epollshim_format::findings::Id::DoubleClose;
            findings::retract(&Note {
                variant: variant.load(Ordering::Relaxed) as u8,
                fd,
                site,
                other: other.load(Ordering::Relaxed),
                ..Note::of(id, epollshim_format::findings::Severity::Info)
            });
        }
    }
}

/// Whether this thread's closes are a sweep.
pub fn is_sweeping() -> bool {
    local().run.load(Ordering::Relaxed) >= SWEEP
}

/// Remembers that a double close was noted for this thread's last close.
pub fn has_noted(note: &Note) {
    let local = local();
    let index = usize::from(local.run.load(Ordering::Relaxed) >= 2);
    if let (Some(fd), Some(variant), Some(other)) =
        (local.noted.get(index), local.variants.get(index), local.others.get(index))
    {
        fd.store(note.fd.saturating_add(1), Ordering::Relaxed);
        variant.store(u32::from(note.variant), Ordering::Relaxed);
        other.store(note.other, Ordering::Relaxed);
    }
}

/// A read and a write of a word that only this thread writes, without a locked instruction.
trait SwapPlain<T> {
    fn swap_plain(&self, value: T) -> T;
}

impl SwapPlain<i32> for AtomicI32 {
    #[inline(always)]
    fn swap_plain(&self, value: i32) -> i32 {
        let old = self.load(Ordering::Relaxed);
        self.store(value, Ordering::Relaxed);
        old
    }
}

impl SwapPlain<usize> for AtomicUsize {
    #[inline(always)]
    fn swap_plain(&self, value: usize) -> usize {
        let old = self.load(Ordering::Relaxed);
        self.store(value, Ordering::Relaxed);
        old
    }
}
