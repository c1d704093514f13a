//! The C interface. cbindgen generates `include/epollshim.h` from this file alone (`make header`).
//!
//! Programs and test harnesses use it to query and control the library from inside the process. Any
//! thread may call these functions. A program finds them by weak symbols or `dlsym`: they do not
//! exist if the library is not loaded.

use crate::sync::{AtomicBool, Ordering};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int};
use core::fmt::{self, Write};

use epollshim_format::call::Call;

use crate::policy::{self, rules};
use crate::report::InstanceFacts;
use crate::report::Sums;
use crate::{findings, ledger, process, report, sigsafe, steer, sys, thread};

/// What this process has done with epoll since it began, or since `epollshim_reset`. Times are in
/// nanoseconds.
#[repr(C)]
pub struct epollshim_stats {
    /// Calls of each function, including failed ones.
    pub epoll_create_calls: u64,
    pub epoll_create1_calls: u64,
    pub epoll_ctl_calls: u64,
    pub epoll_wait_calls: u64,
    pub epoll_pwait_calls: u64,
    pub epoll_pwait2_calls: u64,
    /// Failed calls of all these functions together.
    pub failures: u64,
    pub instances_created: u64,
    /// Epoll instances that this process has a descriptor for.
    pub instances_live: u64,
    pub instances_peak: u64,
    /// Successful EPOLL_CTL_ADD, EPOLL_CTL_MOD and EPOLL_CTL_DEL operations.
    pub watches_added: u64,
    pub watches_modified: u64,
    pub watches_deleted: u64,
    /// Watches that the kernel removed when a descriptor was closed.
    pub watches_vanished: u64,
    pub watches_live: u64,
    pub watches_peak: u64,
    /// Waits that returned no event, were interrupted by a signal handler, or returned `maxevents`
    /// events.
    pub waits_empty: u64,
    pub waits_interrupted: u64,
    pub waits_full: u64,
    /// Events that waits returned.
    pub events: u64,
    /// Time spent in waits that could block.
    pub blocked_ns: u64,
    /// Estimated kernel memory for instances and watches, in bytes.
    pub kernel_bytes: u64,
    pub kernel_bytes_peak: u64,
    /// What the library missed: instances and watches that only the kernel knew, and entries of the
    /// library's ledger that were no longer true and were corrected.
    pub unseen_instances: u64,
    pub unseen_watches: u64,
    pub healed: u64,
    /// Calls or changes that could not be recorded because the kernel refused memory.
    pub lost: u64,
    /// 1: these figures agree with /proc/self/fdinfo, and with kcmp(2) about which descriptors
    /// refer to the same instance. 0: the comparison was impossible or incomplete (kcmp is
    /// refused), or other threads were too busy.
    pub reconciled: u64,
}

/// What one epoll instance of this process has seen, through any of its descriptors.
#[repr(C)]
pub struct epollshim_instance_stats {
    /// The instances of a process are numbered from 1.
    pub id: u64,
    pub watches_live: u64,
    pub watches_peak: u64,
    pub waits: u64,
    pub waits_empty: u64,
    pub waits_interrupted: u64,
    pub waits_full: u64,
    pub events: u64,
    pub kernel_bytes: u64,
    /// The size that was passed to epoll_create; -1 if the instance was created another way.
    pub size: i64,
    /// The return address of the call that created the instance; 0 if the library did not see that
    /// call.
    pub site: u64,
}

/// The library's version, such as "0.1.0". The string is valid for as long as the process runs.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn epollshim_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Why the last failed call of this interface failed, as text for people; "" if none has failed.
/// Valid until the next failing call of any thread.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn epollshim_error() -> *const c_char {
    ERROR.0.get().cast::<c_char>()
}

/// Fills `*out` with the figures of this process, after comparing them with the kernel's lists.
///
/// `size` is `sizeof(struct epollshim_stats)` of the header that the caller was compiled with. An
/// older library, which knows fewer fields, sets the others to zero. A newer library omits the
/// fields that the caller does not know.
///
/// Returns 0, or -1 with errno set:
///
/// - `EINVAL`: `out` is null, or `size` is smaller than the first field;
/// - `ENOTSUP`: the library is inactive in this process.
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

/// Fills `*out` with the figures of the epoll instance that `epfd` refers to. They are not compared
/// with the kernel's.
///
/// Returns 0, or -1 with errno set:
///
/// - `EINVAL`: `out` is null, or `size` is smaller than the first field;
/// - `EBADF`: the library knows no epoll instance with this descriptor;
/// - `ENOTSUP`: the library is inactive in this process.
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

/// Writes a report about the process in its current state to the descriptor `fd`, in the format of
/// `EPOLLSHIM_REPORT_FORMAT`.
///
/// Returns 0, or -1 with errno set:
///
/// - `ETIMEDOUT`: the reader read nothing for two seconds;
/// - `ENOTSUP`: the library is inactive in this process;
/// - any error of write(2).
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

/// Arms faults. `rules` has the syntax of `EPOLLSHIM_INJECT`, for example
/// "epoll_wait:error=EINTR:prob=0.1". The rules are appended to those that are already armed, and
/// count their calls from now on. Rules that cause something that no kernel does are refused unless
/// `EPOLLSHIM_INJECT_IMPOSSIBLE=1` was in the environment.
///
/// Arms all of the rules or, if it fails, none. Returns 0, or -1 with errno set:
///
/// - `EINVAL`: `rules` is null, the text has a mistake, or the rules cannot be armed, for example
///   because there would be more than 64 (`epollshim_error` gives the reason);
/// - `EBUSY`: another thread is changing the rules;
/// - `EACCES`: the session that the rules need cannot be used;
/// - `ENOTSUP`: the library is inactive in this process.
///
/// # Safety
/// `rules` must be null or zero-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epollshim_inject(rules: *const c_char) -> c_int {
    if let Err(error) = usable(usize::MAX, false) {
        return error;
    }
    // SAFETY: the caller promises null or a zero-terminated text.
    let Some(text) = (unsafe { text(rules) }) else { return fail(libc::EINVAL, format_args!("rules is null")) };
    done(steer::inject(text))
}

/// Disarms all faults, including those of the environment.
///
/// Returns 0, or -1 with errno set:
///
/// - `EBUSY`: another thread is changing the rules;
/// - `ENOTSUP`: the library is inactive in this process.
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

/// Sets limits, in the syntax of `EPOLLSHIM_LIMIT`, for example "instances=8,watches=1000". They
/// replace all limits that are set. Null or "" removes all limits. What exists already counts, and
/// nothing is closed if it already exceeds a limit.
///
/// Returns 0, or -1 with errno set:
///
/// - `EINVAL`: the text has a mistake (`epollshim_error` says where);
/// - `EBUSY`: another thread is changing the counts;
/// - `EACCES`: the session that `user-` limits need cannot be used;
/// - `ENOTSUP`: `descriptors=` needs a census and there is none, or the library is inactive in this
///   process.
///
/// # Safety
/// `limits` must be null or zero-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epollshim_limit(limits: *const c_char) -> c_int {
    if let Err(error) = usable(usize::MAX, false) {
        return error;
    }
    // SAFETY: the caller promises null or a zero-terminated text.
    done(steer::limit(unsafe { text(limits) }.unwrap_or_default()))
}

/// Resets all counts and peaks, including those of faults and limits. Instances and watches that
/// exist stay known, and what is armed stays armed. Calls that other threads make at the same time
/// are counted completely, in part, or not at all.
///
/// Returns 0, or -1 with errno `ENOTSUP` if the library is inactive in this process.
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
    // SAFETY: the caller promises null or a zero-terminated text.
    (!start.is_null()).then(|| unsafe { CStr::from_ptr(start).to_bytes() })
}

/// The size of the text of a failure.
const ERROR_BYTES: usize = 512;

/// The text of the last failure.
struct ErrorText(UnsafeCell<[u8; ERROR_BYTES]>, AtomicBool);
// SAFETY: the flag lets one thread at a time write. A reader may see the text change while it
// reads, but never reads past the end: the last byte is never written and stays zero.
unsafe impl Sync for ErrorText {}
static ERROR: ErrorText = ErrorText(UnsafeCell::new([0; ERROR_BYTES]), AtomicBool::new(false));

fn fail(error: c_int, reason: fmt::Arguments) -> c_int {
    /// Writes as much of a text as there is room for.
    struct Cut(*mut u8, usize);
    impl Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let length = text.len().min(ERROR_BYTES - 1 - self.1);
            // SAFETY: writes within the array and before its last byte, which stays zero. The flag
            // makes this thread the only writer.
            unsafe { self.0.add(self.1).copy_from_nonoverlapping(text.as_ptr(), length) };
            self.1 += length;
            Ok(())
        }
    }
    // Acquire and Release pair with each other: one writer's text is complete before the next
    // writer begins.
    if !ERROR.1.swap(true, Ordering::Acquire) {
        let mut text = Cut(ERROR.0.get().cast(), 0);
        let _ = text.write_fmt(reason);
        // SAFETY: writes within the array. The flag makes this thread the only writer. This
        // overwrites the rest of a longer text.
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
    // This may be the first call of the process.
    if thread::block().is_none() || !process::is_own() {
        return Err(fail(
            libc::ENOTSUP,
            format_args!("epollshim is inactive in this process (EPOLLSHIM_ONLY, a bad option, or Linux before 4.14)"),
        ));
    }
    Ok(())
}

/// Copies the fields that both sides know, and zeroes those that only the caller knows.
unsafe fn give<T>(stats: &T, size: usize, out: *mut T) {
    let known = size.min(size_of::<T>());
    // SAFETY: `known` bytes lie within both structures, and `size` bytes within `out`, as the
    // caller promises.
    unsafe {
        out.cast::<u8>().write_bytes(0, size);
        out.cast::<u8>().copy_from_nonoverlapping(core::ptr::from_ref(stats).cast(), known);
    }
}
