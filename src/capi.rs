//! The C interface: `include/epollshim.h` is generated from this file alone (cbindgen; `make header`).
//!
//! For a program or a test harness that wants to look at the shim from inside. The functions may be called by
//! any thread. A program finds them by weak symbols or `dlsym`: without the shim they are absent.

use crate::sync::{AtomicBool, Ordering};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int};
use core::fmt::{self, Write};

use epollshim_format::call::Call;

use crate::policy::{self, rules};
use crate::report::InstanceFacts;
use crate::report::Sums;
use crate::{findings, ledger, process, report, sigsafe, steer, sys, thread};

/// What this process has done with epoll, since it began or since `epollshim_reset`. Times are nanoseconds.
#[repr(C)]
pub struct epollshim_stats {
    /// Calls of each function, failed ones included.
    pub epoll_create_calls: u64,
    pub epoll_create1_calls: u64,
    pub epoll_ctl_calls: u64,
    pub epoll_wait_calls: u64,
    pub epoll_pwait_calls: u64,
    pub epoll_pwait2_calls: u64,
    /// Calls of all of them that failed.
    pub failures: u64,
    pub instances_created: u64,
    /// Epoll instances that this process has a descriptor of.
    pub instances_live: u64,
    pub instances_peak: u64,
    /// EPOLL_CTL_ADD, MOD and DEL that succeeded.
    pub watches_added: u64,
    pub watches_modified: u64,
    pub watches_deleted: u64,
    /// Interests that the kernel removed at a close.
    pub watches_vanished: u64,
    pub watches_live: u64,
    pub watches_peak: u64,
    /// Waits that returned no event, were interrupted by a signal handler, or returned `maxevents` events.
    pub waits_empty: u64,
    pub waits_interrupted: u64,
    pub waits_full: u64,
    /// Events delivered.
    pub events: u64,
    /// Time spent in waits that could block.
    pub blocked_ns: u64,
    /// Estimated kernel memory of instances and interests, in bytes.
    pub kernel_bytes: u64,
    pub kernel_bytes_peak: u64,
    /// What went past the shim: instances and interests found in the kernel only, and entries of the shim's
    /// ledger that were no longer true.
    pub unseen_instances: u64,
    pub unseen_watches: u64,
    pub healed: u64,
    /// Calls or changes that could not be noted, for want of memory.
    pub lost: u64,
    /// 1: this answer agrees with /proc/self/fdinfo, and with kcmp(2) about which descriptors are one instance; 0: they could
    /// not be compared, or not all (kcmp is refused), or threads were too busy.
    pub reconciled: u64,
}

/// What one epoll instance of this process has seen, by any of its descriptors.
#[repr(C)]
pub struct epollshim_instance_stats {
    /// 1 for the first instance of the process.
    pub id: u64,
    pub watches_live: u64,
    pub watches_peak: u64,
    pub waits: u64,
    pub waits_empty: u64,
    pub waits_interrupted: u64,
    pub waits_full: u64,
    pub events: u64,
    pub kernel_bytes: u64,
    /// The promise made to epoll_create; -1 where it was made otherwise.
    pub size: i64,
    /// The return address of the call that made it; 0 where that was not seen.
    pub site: u64,
}

/// The shim's version, such as "0.1.0". Valid for ever.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn epollshim_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Why the last call here failed, for people; "" if none did. Valid until the next failing call of any thread.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn epollshim_error() -> *const c_char {
    ERROR.0.get().cast::<c_char>()
}

/// Fills `*out` with the figures of this process, compared with the kernel's lists first.
///
/// `size` is `sizeof(struct epollshim_stats)` of the header that the caller was compiled with: a shim that
/// knows less leaves the rest zero, one that knows more leaves it out. Returns 0; or -1 with errno `EINVAL` (`out`
/// is null, or `size` is smaller than the first field) or `ENOTSUP` (the shim only forwards in this process).
///
/// # Safety
/// `out` must be null or point to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epollshim_stats(size: usize, out: *mut epollshim_stats) -> c_int {
    if let Err(error) = usable(size, out.is_null()) {
        return error;
    }
    let here = ledger::place();
    let reconciled = sigsafe::on_own_stack(|| ledger::reconcile(here)).is_some_and(ledger::Compared::is_exact);
    let totals = &ledger::view().totals;
    let sums = Sums;
    let calls = |call| sums.calls(&[call]);
    let stats = epollshim_stats {
        epoll_create_calls: calls(Call::Create),
        epoll_create1_calls: calls(Call::Create1),
        epoll_ctl_calls: sums.calls(&[Call::CtlAdd, Call::CtlMod, Call::CtlDel, Call::CtlOther]),
        epoll_wait_calls: calls(Call::Wait),
        epoll_pwait_calls: calls(Call::Pwait),
        epoll_pwait2_calls: calls(Call::Pwait2),
        failures: sums.failures(&Call::ALL),
        instances_created: sums.successes(Call::Create) + sums.successes(Call::Create1),
        instances_live: totals.instances.get(),
        instances_peak: totals.instances_peak.get(),
        watches_added: sums.successes(Call::CtlAdd),
        watches_modified: sums.successes(Call::CtlMod),
        watches_deleted: sums.successes(Call::CtlDel),
        watches_vanished: totals.vanished.get(),
        watches_live: ledger::records().live_watches(),
        watches_peak: totals.watches_peak.get(),
        waits_empty: sums.empty(),
        waits_interrupted: sums.interrupted(),
        waits_full: sums.full(),
        events: sums.events(),
        blocked_ns: sums.blocked(None).sum,
        kernel_bytes: ledger::view().memory(),
        kernel_bytes_peak: totals.memory_peak.get(),
        unseen_instances: totals.unseen_instances.get(),
        unseen_watches: totals.unseen_watches.get(),
        healed: totals.healed.get(),
        lost: totals.lost.get() + thread::uncounted(),
        reconciled: u64::from(reconciled),
    };
    // SAFETY: `out` has room for `size` bytes, by this function's contract.
    unsafe { give(&stats, size, out) };
    0
}

/// Fills `*out` with the figures of the epoll instance that `epfd` refers to. Not compared with the kernel.
///
/// Returns 0; or -1 with errno `EINVAL` (as `epollshim_stats`), `EBADF` (the shim knows no epoll instance by that
/// descriptor) or `ENOTSUP`.
///
/// # Safety
/// `out` must be null or point to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epollshim_instance_stats(
    size: usize,
    epfd: c_int,
    out: *mut epollshim_instance_stats,
) -> c_int {
    if let Err(error) = usable(size, out.is_null()) {
        return error;
    }
    let index = ledger::view().descriptors.get(epfd).instance();
    let Some(instance) = ledger::view().instance_of(epfd) else {
        return fail(libc::EBADF, format_args!("epollshim knows no epoll instance with this descriptor"));
    };
    let facts = InstanceFacts::of(index, instance);
    let stats = epollshim_instance_stats {
        id: facts.id,
        watches_live: facts.watches,
        watches_peak: facts.peak,
        waits: facts.waits,
        waits_empty: facts.empty,
        waits_interrupted: facts.interrupted,
        waits_full: facts.full,
        events: facts.events,
        kernel_bytes: facts.kernel_bytes(),
        size: facts.size().map_or(-1, i64::from),
        site: crate::stacks::first(facts.site) as u64,
    };
    // SAFETY: `out` has room for `size` bytes, by this function's contract.
    unsafe { give(&stats, size, out) };
    0
}

/// Writes a report of the process as it stands to a descriptor, in the format of `EPOLLSHIM_REPORT_FORMAT`.
///
/// Returns 0; or -1 with errno `ENOTSUP`, the error of write(2), or `ETIMEDOUT` (nobody read for two seconds).
#[unsafe(no_mangle)]
pub extern "C-unwind" fn epollshim_report(fd: c_int) -> c_int {
    if let Err(error) = usable(usize::MAX, false) {
        return error;
    }
    match report::write_now(fd) {
        Ok(()) => 0,
        Err(error) => fail(error, format_args!("the report could not be written")),
    }
}

/// Arms faults: the rules of `EPOLLSHIM_INJECT`, such as "epoll_wait:error=EINTR:prob=0.1". They come behind those that are
/// armed already, and count their calls from now on. Rules that no kernel could have caused are refused unless
/// `EPOLLSHIM_INJECT_IMPOSSIBLE=1` was in the environment.
///
/// Returns 0; or -1 with errno `EINVAL` (`rules` is null, or the text is wrong: `epollshim_error` says where; or there
/// are more than 64), `EBUSY` (another thread is changing them) or `ENOTSUP`. Of a text with a mistake nothing is armed.
///
/// # Safety
/// `rules` must be null or zero-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epollshim_inject(rules: *const c_char) -> c_int {
    if let Err(error) = usable(usize::MAX, false) {
        return error;
    }
    // SAFETY: by this function's contract.
    let Some(text) = (unsafe { text(rules) }) else { return fail(libc::EINVAL, format_args!("rules is null")) };
    done(steer::inject(text))
}

/// Takes all faults back, those of the environment too.
///
/// Returns 0; or -1 with errno `EBUSY` (another thread is changing them) or `ENOTSUP`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn epollshim_inject_clear() -> c_int {
    if let Err(error) = usable(usize::MAX, false) {
        return error;
    }
    done(steer::clear_rules())
}

fn done(steered: Result<(), steer::Refusal>) -> c_int {
    match steered {
        Ok(()) => 0,
        Err(refusal) => fail(refusal.errno(), format_args!("{refusal}")),
    }
}

/// Sets limits as `EPOLLSHIM_LIMIT` does, such as "instances=8,watches=1000", in place of all that are set. Null or "":
/// none. What lives already counts; what is beyond a limit already stays.
///
/// Returns 0; or -1 with errno `EINVAL` (the text is wrong: `epollshim_error` says where), `EBUSY` (another thread has the
/// ledger), `EACCES` (the session of `user-` limits cannot be used) or `ENOTSUP` (`descriptors=` without a census, or the shim only
/// forwards in this process).
///
/// # Safety
/// `limits` must be null or zero-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epollshim_limit(limits: *const c_char) -> c_int {
    if let Err(error) = usable(usize::MAX, false) {
        return error;
    }
    // SAFETY: by this function's contract.
    done(steer::limit(unsafe { text(limits) }.unwrap_or_default()))
}

/// Begins all counts and peaks anew, those of faults and limits too; what lives goes on to be known, and what is armed
/// to be armed. Calls that other threads make meanwhile are counted in full, in part or not at all.
///
/// Returns 0; or -1 with errno `ENOTSUP`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn epollshim_reset() -> c_int {
    if let Err(error) = usable(usize::MAX, false) {
        return error;
    }
    thread::all().for_each(|block| block.counters.clear());
    ledger::restart();
    findings::restart();
    rules::restart();
    policy::limits::restart();
    0
}

/// # Safety
/// `start` must be null or zero-terminated.
unsafe fn text<'a>(start: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: by this function's contract.
    (!start.is_null()).then(|| unsafe { CStr::from_ptr(start).to_bytes() })
}

/// Room for the text of a failure.
const ERROR_BYTES: usize = 512;

/// The text of the last failure.
struct ErrorText(UnsafeCell<[u8; ERROR_BYTES]>, AtomicBool);
// SAFETY: written by one thread at a time, by the flag; a reader may see a text change under it, never past its
// end: the last byte is never written and stays zero.
unsafe impl Sync for ErrorText {}
static ERROR: ErrorText = ErrorText(UnsafeCell::new([0; ERROR_BYTES]), AtomicBool::new(false));

fn fail(error: c_int, reason: fmt::Arguments) -> c_int {
    /// Writes text as far as there is room.
    struct Cut(*mut u8, usize);
    impl Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let length = text.len().min(ERROR_BYTES - 1 - self.1);
            // SAFETY: within the array, whose last byte stays zero; the flag makes this thread the only writer.
            unsafe { self.0.add(self.1).copy_from_nonoverlapping(text.as_ptr(), length) };
            self.1 += length;
            Ok(())
        }
    }
    // Acquire and Release: one writer's text is whole before the next begins.
    if !ERROR.1.swap(true, Ordering::Acquire) {
        let mut text = Cut(ERROR.0.get().cast(), 0);
        let _ = text.write_fmt(reason);
        // SAFETY: as above; what is left of a longer text goes.
        unsafe { text.0.add(text.1).write_bytes(0, ERROR_BYTES - text.1) };
        ERROR.1.store(false, Ordering::Release);
    }
    sys::set_errno(error);
    -1
}

fn usable(size: usize, is_null: bool) -> Result<(), c_int> {
    if is_null || size < size_of::<u64>() {
        return Err(fail(libc::EINVAL, format_args!("out is null, or size is smaller than the first field")));
    }
    // The first call of the process may be this one.
    if thread::block().is_none() || !process::is_own() {
        return Err(fail(
            libc::ENOTSUP,
            format_args!("epollshim is inactive in this process (EPOLLSHIM_ONLY, a bad option, or Linux before 4.14)"),
        ));
    }
    Ok(())
}

/// Copies what both sides know, and zeroes what only the caller knows.
///
/// # Safety
/// `out` must have room for `size` bytes.
unsafe fn give<T>(stats: &T, size: usize, out: *mut T) {
    let known = size.min(size_of::<T>());
    // SAFETY: `known` bytes are within both, the rest within `out`.
    unsafe {
        out.cast::<u8>().write_bytes(0, size);
        out.cast::<u8>().copy_from_nonoverlapping(core::ptr::from_ref(stats).cast(), known);
    }
}
