//! Watches the program's seccomp filters, so that none of them kills it for a system call of the
//! library's own.
//!
//! - hooks/filters.rs and raw.rs see that a filter is installed. `installing` copies it,
//!   `installed` keeps the copy or drops it.
//! - inherited.rs finds out what filters from before exec forbid. They cannot be read, so a child
//!   tries the calls.
//! - early.rs keeps what a report reads in /proc, before a filter forbids opening it.
//! - calls.rs lists the calls that the library makes.
//!
//! What is known from that is in src/filters/. sys.rs asks there.
//!
//! Filters belong to threads: a thread inherits those of the thread that created it. Here they
//! belong to the process: what any filter forbids is forbidden for all threads, unless the kernel
//! says that the calling thread has none. So a call may be left out that would have been harmless,
//! and none is made that kills.
//!
//! A filter forbids a call unless its answer is ALLOW, LOG or ERRNO. A call that gets ERRNO is made
//! nevertheless, and fails with that errno.
//!
//! May be called from anywhere, as sys.rs. Not covered: another thread installs a filter for all
//! threads (SECCOMP_FILTER_FLAG_TSYNC) between `allows` and the call itself; and filters that a
//! program installs by a system call instruction of its own.

mod calls;
mod early;
mod inherited;

use libc::{c_int, c_long};

use crate::filters::bpf::{self, Instruction};
use crate::filters::reserve;
use crate::filters::verdict::{
    self, Answer, Filter, IS_OPAQUE, IS_RESTRICTED, answer, forget_strict, judge, note_strict, publish,
};
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32};
use crate::{clock, sys};

pub use crate::filters::verdict::is_strict;
pub use inherited::{find as find_inherited, is_there as is_inherited};

/// How many filters were installed.
static INSTALLED: AtomicU32 = AtomicU32::new(0);
/// Some call of calls.rs gets another answer than without filters.
static IS_HINDERED: AtomicBool = AtomicBool::new(false);

/// Whether a filter may hide an answer of the kernel from the library. Questions whose answer would
/// be half known are not worth asking then. Costs a system call if no filter is known.
pub fn hinders() -> bool {
    IS_HINDERED.load(Relaxed) || !IS_RESTRICTED.load(Relaxed) && !is_inherited() && verdict::mode() != Ok(0)
}

/// The names of the calls that were left out, or got an errno.
pub fn left_out() -> impl Iterator<Item = &'static str> + Clone {
    calls::ALL.iter().filter(|call| verdict::is_left_out(call.number)).map(|call| call.name)
}

/// How many filters the program has installed; None: no filter is known, of its own or inherited.
pub fn installed_filters() -> Option<u32> {
    (IS_RESTRICTED.load(Relaxed) || is_inherited()).then(|| INSTALLED.load(Relaxed))
}

/// What [`installing`] has noted of a call, for [`installed`]: one of these, or the address of a
/// [`Filter`].
mod note {
    pub const NOTHING: u64 = 0;
    pub const STRICT: u64 = 1;
    /// A filter that could not be copied.
    pub const OPAQUE: u64 = 2;
    /// A filter at a bad address: the kernel will say so.
    pub const UNREADABLE: u64 = 3;
    /// The processor's time stamp counter is about to be forbidden, or allowed again.
    pub const NO_COUNTER: u64 = 4;
    pub const COUNTER: u64 = 5;
}

const PR_SET_TSC: c_int = 26;

/// Whether a prctl must be passed to `installing`.
#[inline(always)]
pub fn may_concern(option: c_int) -> bool {
    option == libc::PR_SET_SECCOMP || option == PR_SET_TSC
}

/// Before a `prctl` or `seccomp` of the program: what it installs applies to the library from here
/// on. `has_reports`: this process may report, so that what a report reads is kept if the filter
/// would forbid reading it later.
#[cold]
#[inline(never)]
pub fn installing(number: c_long, words: [usize; 3], has_reports: bool) -> u64 {
    const PR_TSC_SIGSEGV: usize = 2;
    let [operation, second, third] = words;
    let noted = match (number, operation as c_int) {
        (libc::SYS_prctl, libc::PR_SET_SECCOMP) => match second as u32 {
            libc::SECCOMP_MODE_STRICT => note::STRICT,
            libc::SECCOMP_MODE_FILTER => copy(third, has_reports),
            _ => note::NOTHING,
        },
        // The vDSO reads the counter.
        (libc::SYS_prctl, PR_SET_TSC) if second == PR_TSC_SIGSEGV => note::NO_COUNTER,
        (libc::SYS_prctl, PR_SET_TSC) => note::COUNTER,
        (libc::SYS_seccomp, operation) => match operation as u32 {
            libc::SECCOMP_SET_MODE_STRICT => note::STRICT,
            libc::SECCOMP_SET_MODE_FILTER => copy(third, has_reports),
            _ => note::NOTHING,
        },
        _ => note::NOTHING,
    };
    match noted {
        note::NOTHING | note::UNREADABLE | note::COUNTER => return noted,
        note::NO_COUNTER => {
            clock::leave_the_vdso();
            return noted;
        }
        // Strict mode forbids the counter as well (Linux v6.1 kernel/seccomp.c,
        // seccomp_set_mode_strict).
        note::STRICT => {
            prepare_reserve();
            clock::leave_the_vdso();
            note_strict();
        }
        note::OPAQUE => {
            prepare_reserve();
            IS_OPAQUE.store(true, Relaxed);
        }
        filter => publish(filter as *mut Filter),
    }
    restrict();
    noted
}

/// Runs after the call.
pub fn installed(number: c_long, words: [usize; 3], noted: u64, result: isize) {
    let [_, flags, _] = words;
    // With TSYNC a positive result is a thread that could not take the filter; with NEW_LISTENER it
    // is a descriptor (seccomp(2)).
    let gives_a_listener = number == libc::SYS_seccomp && flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as usize != 0;
    let is_installed = result == 0 || result > 0 && gives_a_listener;
    match (noted, is_installed) {
        (note::NOTHING, _) | (note::UNREADABLE, false) => return,
        (note::NO_COUNTER, true) | (note::COUNTER, false) => return,
        (note::NO_COUNTER, false) | (note::COUNTER, true) => return clock::prepare(),
        (note::STRICT, false) => {
            forget_strict();
            clock::prepare();
        }
        (note::OPAQUE, false) => IS_OPAQUE.store(false, Relaxed),
        (note::UNREADABLE, true) => {
            IS_OPAQUE.store(true, Relaxed);
            restrict();
        }
        (note::STRICT | note::OPAQUE, true) => {}
        // SAFETY: the address of a filter that `installing` has published.
        (filter, false) => unsafe { &*(filter as *const Filter) }.is_void.store(true, Relaxed),
        (_, true) => {}
    }
    if is_installed {
        INSTALLED.fetch_add(1, Relaxed);
    }
    look_for_hindrance();
}

/// Maps the reserve, unless there is one.
fn prepare_reserve() {
    if !reserve::is_there()
        && let Ok(start) = sys::map_from_kernel(reserve::BYTES)
        && !reserve::begin(start, reserve::BYTES)
    {
        // SAFETY: another thread made the reserve first. No other thread has seen this mapping.
        unsafe { sys::unmap_from_kernel(start, reserve::BYTES) };
    }
}

/// From now on each system call of the library is checked.
fn restrict() {
    IS_RESTRICTED.store(true, Relaxed);
    clock::heed_filters();
}

fn look_for_hindrance() {
    let is_hindered = calls::ALL.iter().any(|call| judge(call.number, &call.words) != Answer::Allowed);
    IS_HINDERED.store(is_hindered || inherited::hinders(), Relaxed);
}

/// Copies the program that a `struct sock_fprog` names. Returns what [`installing`] notes.
fn copy(address: usize, has_reports: bool) -> u64 {
    /// `BPF_MAXINSNS`: the kernel takes no more.
    const MOST: usize = 4096;
    if !is_readable(address, size_of::<libc::sock_fprog>()) {
        return note::UNREADABLE;
    }
    // SAFETY: the kernel has just read these bytes, and is about to read the program's struct
    // itself.
    let given = unsafe { (address as *const libc::sock_fprog).read_unaligned() };
    let length = usize::from(given.len);
    let bytes = length * size_of::<Instruction>();
    if length == 0 || length > MOST || !is_readable(given.filter as usize, bytes) {
        return note::UNREADABLE;
    }
    let Ok(start) = sys::map(size_of::<Filter>() + bytes) else { return note::OPAQUE };
    let filter = start.cast::<Filter>();
    // SAFETY: a fresh mapping with room for the record and, after it, the instructions, which the
    // kernel has just read.
    unsafe {
        let next = AtomicPtr::new(core::ptr::null_mut());
        filter.write(Filter { next, is_void: AtomicBool::new(false), length: length as u32 });
        filter.add(1).cast::<u8>().copy_from_nonoverlapping(given.filter.cast(), bytes);
    }
    // SAFETY: the record that was just written, which is never unmapped.
    let program = unsafe { &*filter }.program();
    if [libc::SYS_mmap, libc::SYS_munmap].into_iter().any(|number| !is_plainly_allowed(program, number)) {
        prepare_reserve();
    }
    let readers = [libc::SYS_openat, libc::SYS_read, libc::SYS_readlinkat];
    if has_reports && readers.into_iter().any(|number| !is_plainly_allowed(program, number)) {
        early::keep();
    }
    filter as u64
}

/// Whether a program allows a call of calls.rs.
fn is_plainly_allowed(program: &[Instruction], number: c_long) -> bool {
    calls::ALL
        .iter()
        .filter(|call| call.number == number)
        .all(|call| answer(bpf::evaluate(program, &bpf::data(number as u32, &call.words))) == Answer::Allowed)
}

/// Whether the kernel can read these bytes. True if it must not be asked.
fn is_readable(address: usize, bytes: usize) -> bool {
    const PAGE: usize = 4096;
    const WORD: usize = size_of::<u64>();
    if address == 0 {
        return false;
    }
    let Some(last) = address.checked_add(bytes - WORD) else { return false };
    let mut pages = (address..last).step_by(PAGE).chain([last]);
    !sys::can_ask_whether_readable() || pages.all(sys::is_word_readable)
}
