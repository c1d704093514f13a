//! The decisions of `EPOLLSHIM_INJECT_REPLAY`: where they are there, rules fire by them alone. What `when`, `prob`, `after` and `max`
//! say is not asked, and nothing random is drawn.
//!
//! Read at load, and never changed. They are those of one process: the child of a fork has none, so that no rule fires in it.

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

/// A decision, by what it is found by and what cannot be known from its rule.
#[derive(Clone, Copy)]
pub(super) struct Recorded {
    ordinal: u64,
    shuffle: u64,
    thread: u32,
    /// 0: none.
    error: u16,
    rule: u8,
    call: u8,
}

impl Recorded {
    fn key(&self) -> (u8, u8, u32, u64) {
        (self.rule, self.call, self.thread, self.ordinal)
    }

    /// What was drawn then is done again.
    pub(super) fn repeat(&self, fault: &mut Fault) {
        if let (Some(Outcome::Error(error)), 1..) = (&mut fault.outcome, self.error) {
            *error = self.error;
        }
        if let Some(random) = &mut fault.shuffle {
            *random = self.shuffle;
        }
    }
}

/// Sorted, in a mapping that is never given back; null: there is no replay. Release once they are there, Acquire by calls.
static DECISIONS: AtomicPtr<Recorded> = AtomicPtr::new(core::ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// The process that they are of (`process::identity`).
static PROCESS: AtomicU64 = AtomicU64::new(0);

/// Why a file cannot be repeated.
pub enum Refusal {
    Unreadable,
    NoMemory,
    Unfit(Unfit),
    OtherRules,
}

/// What is said of a file: behind its name.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unreadable => f.write_str("cannot be read"),
            Refusal::NoMemory => f.write_str(errno::name(libc::ENOMEM as u32).unwrap_or_default()),
            Refusal::Unfit(Unfit::Line(line)) => write!(f, "line {line} is none that EPOLLSHIM_INJECT_LOG writes"),
            Refusal::Unfit(Unfit::OtherProgram) => {
                let mut space = [0; 4096];
                let program = procfs::program_name(&mut space).escape_ascii();
                write!(
                    f,
                    "no decisions of '{program}' are in it (EPOLLSHIM_ONLY names the programs to act in; \
                     those of a forked child cannot be repeated)"
                )
            }
            Refusal::Unfit(Unfit::SeveralProcesses) => f.write_str(
                "decisions of several processes of this program are in it; record with %p in EPOLLSHIM_INJECT_LOG",
            ),
            Refusal::OtherRules => {
                f.write_str("made with other rules than those of EPOLLSHIM_INJECT; leave these out to have its own")
            }
        }
    }
}

/// Reads the file, and has its decisions made again. `rules`: what the options say, if anything. Before main, once.
pub fn read(path: &CStr, rules: &[u8]) -> Result<Header<'static>, Refusal> {
    let mut text = Buffer::new();
    if !procfs::read_file(path, &mut text) {
        text.end();
        return Err(Refusal::Unreadable);
    }
    // Not given back: the rules are borrowed from it.
    let (start, length) = text.keep();
    // SAFETY: `length` bytes were read to there; nothing writes them or unmaps them from now on.
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
    // A place for the one that is never found, so that there is a mapping.
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

/// Whether rules fire by recorded decisions alone.
pub(super) fn is_on() -> bool {
    !DECISIONS.load(Ordering::Relaxed).is_null()
}

/// The decision about a call.
#[cold]
#[inline(never)]
pub(super) fn find(rule: usize, function: Function, thread: u32, ordinal: u64) -> Option<&'static Recorded> {
    let start = DECISIONS.load(Ordering::Acquire);
    if start.is_null() || PROCESS.load(Ordering::Relaxed) != process::identity() {
        return None;
    }
    // SAFETY: `read` has left so many there, which nothing changes or unmaps.
    let decisions = unsafe { core::slice::from_raw_parts(start, COUNT.load(Ordering::Relaxed)) };
    let key = (u8::try_from(rule).unwrap_or(u8::MAX), function.counted_as() as u8, thread, ordinal);
    decisions.get(decisions.partition_point(|recorded| recorded.key() < key)).filter(|recorded| recorded.key() == key)
}
