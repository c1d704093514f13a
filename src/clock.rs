//! The clocks, read through the vDSO: no system call, no libc (whose clock another preload may have faked).
//!
//! `prepare` is called by the constructor or the first hook; `monotonic` may be called from anywhere, before
//! that too: then it asks the kernel.

use crate::sync::{AtomicPtr, Ordering};

use crate::elf::{Name, Symbols};
use crate::sys;

type ClockGettime = extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;

/// The vDSO's clock_gettime, or what stands in for it ([`ClockGettime`]). Relaxed: it is written once with one value, and the code that it
/// points to was mapped before this process began. Read by assembly (hooks/entry.rs, `read_clock!`).
#[unsafe(link_section = ".data.hot.epollshim")]
pub static CLOCK: AtomicPtr<()> = AtomicPtr::new(ask as ClockGettime as *mut ());

/// Nanoseconds of CLOCK_MONOTONIC. A moment in the far future, the same or nearly so each time, where even the kernel is forbidden to tell
/// (seccomp).
pub fn monotonic() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970 of CLOCK_REALTIME.
pub fn realtime() -> u64 {
    read(libc::CLOCK_REALTIME)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: what is stored there has this type.
    let function = unsafe { core::mem::transmute::<*mut (), ClockGettime>(CLOCK.load(Ordering::Relaxed)) };
    let result = function(clock, &raw mut time);
    let never = (i64::from(result) as u64) >> 1;
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64) | never
}

/// Asks the kernel.
extern "C" fn ask(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    // SAFETY: by its callers, as with clock_gettime(2).
    unsafe { sys::clock(clock, time) }
}

/// Finds the vDSO's clock. Without one (or in an unknown form) the kernel is asked at each reading.
pub fn prepare() {
    // SAFETY: getauxval only reads the auxiliary vector that the kernel laid out; the caller keeps errno.
    let base = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
    if base == 0 {
        return;
    }
    // SAFETY: AT_SYSINFO_EHDR is the address of a whole ELF image that stays mapped (vdso(7)).
    let symbols = unsafe { Symbols::of_image(base) };
    if let Some(address) = symbols.and_then(|symbols| symbols.find(&Name::new(c"__vdso_clock_gettime"))) {
        CLOCK.store(address as *mut (), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_clock_that_is_not_there_tells_a_moment_in_the_far_future() {
        let never = super::read(-1000);
        assert!(never > 1 << 62 && never < 1 << 63, "{never:#x}");
    }

    #[test]
    fn the_vdso_and_the_kernel_tell_the_same_time() {
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
