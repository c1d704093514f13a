//! The decisions of `EPOLLSHIM_INJECT_REPLAY`. If there are any, rules fire only as recorded:
//! `when`, `prob`, `after` and `max` are ignored, and no random number is drawn.
//!
//! They are read at load, and never changed. They belong to one process. The child of a fork has
//! none, so no rule fires in it.

use core::ffi::CStr;
use core::fmt;

use epollshim_format::errno;
use epollshim_format::faults::Outcome;
use epollshim_format::faults::decisions::{self, Header, Unfit};
use epollshim_format::function::Function;

use super::fault::Fault;
use crate::buffer::{Buffer, sort_by_key};
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use crate::{process, procfs};

/// A decision: the key by which it is found, and what the rule alone does not determine.
#[derive(Clone, Copy)]
pub(super) struct Recorded {
    ordinal: u64,
    shuffle: u64,
    thread: u32,
    /// The errno. 0: none.
    error: u16,
    rule: u8,
    call: u8,
}

impl Recorded {
    fn key(&self) -> (u8, u8, u32, u64) {
        (self.rule, self.call, self.thread, self.ordinal)
    }

    /// Gives a fault the random choices of the recorded run.
    pub(super) fn repeat(&self, fault: &mut Fault) {
        if let (Some(Outcome::Error(error)), 1..) = (&mut fault.outcome, self.error) {
            *error = self.error;
        }
        if let Some(random) = &mut fault.shuffle {
            *random = self.shuffle;
        }
    }
}

/// The decisions, sorted, in a mapping that is never unmapped. Null: there is no replay. `read`
/// stores it with Release after them, and calls load it with Acquire.
static DECISIONS: AtomicPtr<Recorded> = AtomicPtr::new(core::ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// The process that they belong to (`process::identity`).
static PROCESS: AtomicU64 = AtomicU64::new(0);

/// Why a file cannot be replayed.
pub enum Refusal {
    Unreadable,
    NoMemory,
    Unfit(Unfit),
    OtherRules,
}

/// The message, without the name of the file, which precedes it.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unreadable => f.write_str("cannot be read"),
            Refusal::NoMemory => f.write_str(errno::name(libc::ENOMEM as u32).unwrap_or_default()),
            Refusal::Unfit(Unfit::Line(line)) => write!(f, "line {line} is not one that EPOLLSHIM_INJECT_LOG writes"),
            Refusal::Unfit(Unfit::OtherProgram) => {
                let mut space = [0; 4096];
                let program = procfs::program_name(&mut space).escape_ascii();
                write!(
                    f,
                    "it has no decisions of '{program}' (EPOLLSHIM_ONLY names the programs to act in; \
                     those of a forked child cannot be repeated)"
                )
            }
            Refusal::Unfit(Unfit::SeveralProcesses) => f.write_str(
                "it has decisions of several processes of this program; record with %p in EPOLLSHIM_INJECT_LOG",
            ),
            Refusal::OtherRules => {
                f.write_str("made with other rules than EPOLLSHIM_INJECT has; unset that to use those of the file")
            }
        }
    }
}

/// Reads the file, and makes rules fire by its decisions. `rules`: the rules of the options, or
/// nothing. Called once, before main.
pub fn read(path: &CStr, rules: &[u8]) -> Result<Header<'static>, Refusal> {
    let mut text = Buffer::new();
    if !procfs::read_file(path, &mut text) {
        text.end();
        return Err(Refusal::Unreadable);
    }
    // Never freed: the rules are borrowed from it.
    let (start, length) = text.keep();
    // SAFETY: `keep` returned a mapping of `length` bytes that were read, which is never unmapped.
    // Nothing writes to it from now on.
    let text: &'static [u8] = if length == 0 { b"" } else { unsafe { core::slice::from_raw_parts(start, length) } };
    let mut space = [0; 4096];
    let mut decisions = Buffer::new();
    let mut is_whole = true;
    let header = decisions::read(text, procfs::program_name(&mut space), &mut |decision| {
        is_whole = decisions.push(Recorded {
            ordinal: decision.ordinal,
            shuffle: decision.shuffle.unwrap_or(0),
            thread: decision.thread,
            error: if let Some(Outcome::Error(error)) = decision.outcome { error } else { 0 },
            rule: u8::try_from(decision.rule).unwrap_or(u8::MAX),
            call: decision.function.counted_as() as u8,
        });
        is_whole
    })
    .map_err(Refusal::Unfit)?;
    if !rules.is_empty() && !decisions::is_written_as(rules, header.rules) {
        return Err(Refusal::OtherRules);
    }
    sort_by_key(decisions.as_mut_slice(), Recorded::key);
    // A last entry that no call finds, so that there is a mapping even without decisions.
    let none = Recorded { ordinal: 0, shuffle: 0, thread: u32::MAX, error: 0, rule: u8::MAX, call: u8::MAX };
    if !is_whole || !decisions.push(none) {
        return Err(Refusal::NoMemory);
    }
    let (start, count) = decisions.keep();
    COUNT.store(count, Ordering::Relaxed);
    PROCESS.store(process::identity(), Ordering::Relaxed);
    DECISIONS.store(start, Ordering::Release);
    Ok(header)
}

/// Whether rules fire only by recorded decisions.
pub(super) fn is_on() -> bool {
    !DECISIONS.load(Ordering::Relaxed).is_null()
}

/// The recorded decision about a call.
#[cold]
#[inline(never)]
pub(super) fn find(rule: usize, function: Function, thread: u32, ordinal: u64) -> Option<&'static Recorded> {
    let start = DECISIONS.load(Ordering::Acquire);
    if start.is_null() || PROCESS.load(Ordering::Relaxed) != process::identity() {
        return None;
    }
    // SAFETY: the Acquire load pairs with the Release store in `read`, which stored COUNT before:
    // there are that many decisions. Nothing changes or unmaps them.
    let decisions = unsafe { core::slice::from_raw_parts(start, COUNT.load(Ordering::Relaxed)) };
    let key = (u8::try_from(rule).unwrap_or(u8::MAX), function.counted_as() as u8, thread, ordinal);
    decisions.get(decisions.partition_point(|recorded| recorded.key() < key)).filter(|recorded| recorded.key() == key)
}
