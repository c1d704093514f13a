//! The clocks, read through the vDSO: without a system call and without libc, whose clock another
//! preloaded library may have replaced.
//!
//! The constructor or the first hook calls `prepare`. `monotonic` may be called from anywhere, also
//! earlier: then it asks the kernel.

use crate::sync::{AtomicPtr, AtomicU64, Ordering};

use crate::elf::{Name, Symbols};
use crate::sys;

type ClockGettime = extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;

/// The vDSO's clock_gettime, or a replacement ([`ClockGettime`]). Relaxed: each of its values is
/// valid, and the code that they point to was mapped before this process began. Assembly reads it
/// (hooks/entry.rs, `read_clock!`).
#[unsafe(link_section = ".data.hot.epollshim")]
pub static CLOCK: AtomicPtr<()> = AtomicPtr::new(ask as ClockGettime as *mut ());

/// Nanoseconds of CLOCK_MONOTONIC. If a filter forbids asking even the kernel, a moment in the far
/// future, nearly the same each time.
pub fn monotonic() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970 of CLOCK_REALTIME.
pub fn realtime() -> u64 {
    read(libc::CLOCK_REALTIME)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `prepare` and the other writers in this file store only functions of this type.
    let function = unsafe { core::mem::transmute::<*mut (), ClockGettime>(CLOCK.load(Ordering::Relaxed)) };
    let result = function(clock, &raw mut time);
    let never = (i64::from(result) as u64) >> 1;
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64) | never
}

/// Work that one thread at a time does, and that takes at most 1/17 of the time.
pub struct Turn(AtomicU64);

impl Turn {
    const PART: u64 = 16;
    const LONG: u64 = 1_000_000_000;

    pub const fn new() -> Turn {
        Turn(AtomicU64::new(0))
    }

    /// Starts the work and returns the time. None: the work must not be done now.
    pub fn begin(&self) -> Option<u64> {
        let began = monotonic();
        let next = self.0.load(Ordering::Relaxed);
        // With a bound: the thread that does the work may belong to another process than this copy
        // of the word.
        let until = began.saturating_add(Turn::LONG);
        let is_due = began >= next;
        // Relaxed: the exchange publishes nothing.
        (is_due && self.0.compare_exchange(next, until, Ordering::Relaxed, Ordering::Relaxed).is_ok()).then_some(began)
    }

    pub fn end(&self, began: u64) {
        let end = monotonic();
        self.0.store(end.saturating_add(Turn::PART * end.saturating_sub(began)), Ordering::Relaxed);
    }
}

/// Asks the kernel: in place of the vDSO, as long as no filter is known.
extern "C" fn ask(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    let arguments = [clock as usize, time as usize, 0, 0, 0, 0];
    // SAFETY: the caller passes a clock and a place to write, as for clock_gettime(2).
    unsafe { sys::unasked(libc::SYS_clock_gettime, arguments) }.map_or_else(|error| -error, |_| 0)
}

/// Asks the kernel if the program's filters allow it.
extern "C" fn ask_if_allowed(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    // SAFETY: the caller passes a clock and a place to write, as for clock_gettime(2).
    unsafe { sys::clock(clock, time) }
}

/// Finds the vDSO's clock. Without a vDSO, or with one of unknown form, each reading asks the
/// kernel.
pub fn prepare() {
    // SAFETY: getauxval only reads the auxiliary vector that the kernel laid out. The caller
    // preserves errno.
    let base = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
    if base == 0 {
        return;
    }
    // SAFETY: AT_SYSINFO_EHDR is the address of a complete ELF image that stays mapped (vdso(7)).
    let symbols = unsafe { Symbols::of_image(base) };
    if let Some(address) = symbols.and_then(|symbols| symbols.find(&Name::new(c"__vdso_clock_gettime"))) {
        CLOCK.store(address as *mut (), Ordering::Relaxed);
    }
}

/// From now on this asks the kernel: the vDSO reads the processor's counter, which the program is
/// about to forbid itself.
pub fn leave_the_vdso() {
    CLOCK.store(ask_if_allowed as ClockGettime as *mut (), Ordering::Relaxed);
}

/// From now on there are filters, which do not apply to the vDSO.
pub fn heed_filters() {
    if CLOCK.load(Ordering::Relaxed) == ask as ClockGettime as *mut () {
        leave_the_vdso();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_missing_clock_returns_a_moment_in_the_far_future() {
        let never = super::read(-1000);
        assert!(never > 1 << 62 && never < 1 << 63, "{never:#x}");
    }

    #[test]
    fn the_vdso_and_the_kernel_return_the_same_time() {
        let asked = || {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            super::ask(libc::CLOCK_MONOTONIC, &raw mut time);
            time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
        };
        super::prepare();
        let found = super::CLOCK.load(crate::sync::Ordering::Relaxed);
        assert_ne!(found, super::ask as super::ClockGettime as *mut (), "no vDSO clock found");
        let (before, between, after) = (asked(), super::monotonic(), asked());
        assert!(before <= between && between <= after, "{before} {between} {after}");
    }
}
