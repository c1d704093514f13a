//! What the known filters say of a system call. Makes no system call, except to ask for the
//! thread's own mode.

use libc::c_long;

use super::bpf::{self, Instruction};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize};
use crate::{registers, system_call};

/// The errno of a system call that was not made because a filter forbids it.
pub const FORBIDDEN: i32 = libc::EPERM;

/// A copy of a filter. Never unmapped: other threads may be reading it.
#[repr(C)]
pub struct Filter {
    /// The one that was installed before it.
    pub next: AtomicPtr<Filter>,
    /// The kernel has refused it.
    pub is_void: AtomicBool,
    pub length: u32,
}

impl Filter {
    pub fn program(&self) -> &[Instruction] {
        let start = core::ptr::from_ref(self).wrapping_add(1).cast::<Instruction>();
        // SAFETY: `copy` maps that many instructions after the record, and writes them before it
        // publishes it. Nothing changes them afterwards.
        unsafe { core::slice::from_raw_parts(start, self.length as usize) }
    }
}
const _: () = assert!(align_of::<Filter>() >= align_of::<Instruction>());

/// Whether anything below may forbid a call. Relaxed: the thread that installs a filter stores it
/// first, and the kernel's own ordering makes it visible to the threads that get the filter.
pub static IS_RESTRICTED: AtomicBool = AtomicBool::new(false);
/// All filters, newest first. Release by [`publish`], Acquire by readers: a copy is complete before
/// it is found.
static FILTERS: AtomicPtr<Filter> = AtomicPtr::new(core::ptr::null_mut());
/// The threads in strict mode, by their tokens: none of them can create a thread or a process. If
/// there are more, all threads count as strict.
static STRICT: [AtomicUsize; 16] = [const { AtomicUsize::new(0) }; 16];
static IS_STRICT: AtomicBool = AtomicBool::new(false);
static ARE_ALL_STRICT: AtomicBool = AtomicBool::new(false);
/// A filter was installed of which there is no copy: it must be assumed to forbid everything.
pub static IS_OPAQUE: AtomicBool = AtomicBool::new(false);
/// The calls that the library has left out, or that got a filter's errno.
static LEFT_OUT: Calls = [const { AtomicU64::new(0) }; 8];
/// The calls that a filter from before exec forbids.
static FORBIDDEN_FROM_BEFORE: Calls = [const { AtomicU64::new(0) }; 8];

/// What filters say of a system call. In ascending order of severity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Answer {
    Allowed,
    /// The kernel answers with an errno.
    Refused,
    /// It kills, traps, or asks another process; or the answer is not known.
    Forbidden,
}

/// Whether a system call may be made. If not, the caller gets [`FORBIDDEN`] in its place.
#[inline(always)]
pub fn allows(number: c_long, words: &[usize; 6]) -> bool {
    !IS_RESTRICTED.load(Relaxed) || look(number, words)
}

#[cold]
#[inline(never)]
fn look(number: c_long, words: &[usize; 6]) -> bool {
    let answer = judge(number, words);
    if answer == Answer::Allowed || answer == Answer::Refused && is_left_out(number) || is_thread_free() {
        return true;
    }
    if let Some((word, bit)) = place(&LEFT_OUT, number) {
        word.fetch_or(bit, Relaxed);
    }
    answer != Answer::Forbidden
}

pub fn judge(number: c_long, words: &[usize; 6]) -> Answer {
    // The calls that strict mode allows (seccomp(2)).
    const LEFT: [c_long; 4] = [libc::SYS_read, libc::SYS_write, libc::SYS_exit, libc::SYS_rt_sigreturn];
    if IS_OPAQUE.load(Relaxed) || !LEFT.contains(&number) && is_thread_strict() || is_forbidden_from_before(number) {
        return Answer::Forbidden;
    }
    let data = bpf::data(number as u32, words);
    filters().map(|filter| answer(bpf::evaluate(filter.program(), &data))).max().unwrap_or(Answer::Allowed)
}

fn is_thread_strict() -> bool {
    let own = registers::token();
    IS_STRICT.load(Relaxed) && (ARE_ALL_STRICT.load(Relaxed) || STRICT.iter().any(|token| token.load(Relaxed) == own))
}

/// The calling thread is about to be in strict mode.
pub fn note_strict() {
    let own = registers::token();
    let take = |place: &AtomicUsize| place.compare_exchange(0, own, Relaxed, Relaxed).is_ok();
    if !is_thread_strict() && !STRICT.iter().any(take) {
        ARE_ALL_STRICT.store(true, Relaxed);
    }
    IS_STRICT.store(true, Relaxed);
}

/// The calling thread is not in strict mode: the kernel has refused.
pub fn forget_strict() {
    let own = registers::token();
    for place in &STRICT {
        let _ = place.compare_exchange(own, 0, Relaxed, Relaxed);
    }
    let is_one = ARE_ALL_STRICT.load(Relaxed) || STRICT.iter().any(|token| token.load(Relaxed) != 0);
    IS_STRICT.store(is_one, Relaxed);
}

fn filters() -> impl Iterator<Item = &'static Filter> {
    let mut at = FILTERS.load(Acquire);
    core::iter::from_fn(move || {
        // SAFETY: null or a published filter, which is never unmapped.
        let filter = unsafe { at.as_ref() }?;
        at = filter.next.load(Relaxed);
        Some(filter)
    })
    .filter(|filter| !filter.is_void.load(Relaxed))
}

/// The meaning of a filter's return value (seccomp(2), "Filter return actions").
pub fn answer(returned: Option<u32>) -> Answer {
    match returned.map(|value| value & libc::SECCOMP_RET_ACTION_FULL) {
        Some(libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG) => Answer::Allowed,
        Some(libc::SECCOMP_RET_ERRNO) => Answer::Refused,
        _ => Answer::Forbidden,
    }
}

/// Whether the calling thread has no filter, according to the kernel, if it may be asked.
fn is_thread_free() -> bool {
    const ASK: [usize; 6] = [libc::PR_GET_SECCOMP as usize, 0, 0, 0, 0, 0];
    judge(libc::SYS_prctl, &ASK) == Answer::Allowed && mode() == Ok(0)
}

/// What filters the system calls of this thread: 0 for nothing (PR_GET_SECCOMP). The caller has
/// checked whether that is allowed.
pub fn mode() -> system_call::Result<usize> {
    // SAFETY: takes no pointer.
    unsafe { system_call::unasked(libc::SYS_prctl, system_call::words([libc::PR_GET_SECCOMP as usize])) }
}

/// A bit for each number of a system call.
type Calls = [AtomicU64; 8];

fn place(calls: &'static Calls, number: c_long) -> Option<(&'static AtomicU64, u64)> {
    Some((calls.get(usize::try_from(number).ok()? / 64)?, 1 << (number % 64)))
}

fn has(calls: &'static Calls, number: c_long) -> bool {
    place(calls, number).is_some_and(|(word, bit)| word.load(Relaxed) & bit != 0)
}

/// Whether the library has left a call out, or it got a filter's errno.
pub fn is_left_out(number: c_long) -> bool {
    has(&LEFT_OUT, number)
}

fn is_forbidden_from_before(number: c_long) -> bool {
    has(&FORBIDDEN_FROM_BEFORE, number)
}

/// A filter from before exec forbids this call (src/seccomp/inherited.rs).
pub fn forbid_from_before(number: c_long) {
    if let Some((word, bit)) = place(&FORBIDDEN_FROM_BEFORE, number) {
        word.fetch_or(bit, Relaxed);
    }
}

pub fn is_strict() -> bool {
    IS_STRICT.load(Relaxed)
}

pub fn publish(filter: *mut Filter) {
    let mut head = FILTERS.load(Relaxed);
    loop {
        // SAFETY: `copy` made it, and no other thread has seen it yet.
        unsafe { &*filter }.next.store(head, Relaxed);
        match FILTERS.compare_exchange_weak(head, filter, Release, Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}
