//! Writes lines to a file, which a helper opens for them (sigsafe/helper.rs).
//!
//! If several threads write lines at once, one of them, the leader, has its helper write all lines
//! that are ready: a helper costs several times what a line does. Each thread waits for its own
//! line. So the line is in the file before the call returns, however the process ends after it.
//!
//! ```text
//! READY ──claimed by a leader's helper──▶ CLAIMED ──▶ DONE
//!   └─the leader leaves before it saw this one──▶ LEAD ──▶ READY, and its thread leads
//! ```
//!
//! The thread that claims a line writes it, once. Nothing relies on there being only one leader: in
//! the child of a fork, or of a vfork, there may be two for a short time.

use core::ffi::CStr;
use core::fmt::Write;

use super::output::{Place, places, send_to};
use crate::config::LogTo;
use crate::sigsafe::{self, Files};
use crate::sync::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};
use crate::{output, place, process, sys};

/// A line that waits to be written. All-zero: there is none.
pub struct Queued {
    state: AtomicU32,
    /// The process that it belongs to. A child of vfork writes its own lines, in its parent's
    /// memory.
    process: AtomicI32,
    /// The address of the pattern that names its file.
    pattern: AtomicUsize,
    length: AtomicU32,
    /// The result: 0 or an errno.
    error: AtomicI32,
}

const READY: u32 = 1;
const CLAIMED: u32 = 2;
const LEAD: u32 = 3;
const DONE: u32 = 4;

impl Queued {
    /// Changes the state from READY to another. False: another thread was faster, or the line
    /// belongs to another process, or to another file than `pattern`.
    fn claim(&self, process: i32, pattern: Option<&CStr>, state: u32) -> bool {
        // The state is read first: the other words are valid only while it is READY. SeqCst: see
        // `send_together`.
        self.state.load(Ordering::SeqCst) == READY
            && self.process.load(Ordering::Relaxed) == process
            && pattern.is_none_or(|pattern| self.pattern.load(Ordering::Relaxed) == pattern.as_ptr() as usize)
            && self.state.compare_exchange(READY, state, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    fn is_claimed(&self, process: i32) -> bool {
        self.state.load(Ordering::Acquire) == CLAIMED && self.process.load(Ordering::Relaxed) == process
    }

    fn done(&self, error: i32) {
        self.error.store(error, Ordering::Relaxed);
        // Release: pairs with the Acquire loads of the thread that waits. It finds the error, and
        // may use the place again.
        self.state.store(DONE, Ordering::Release);
        sys::futex_wake(&self.state);
    }

    fn result(&self) -> sys::Result<()> {
        match self.error.load(Ordering::Relaxed) {
            0 => Ok(()),
            error => Err(error),
        }
    }
}

/// The process whose thread leads. 0: none.
static LEADER: AtomicI32 = AtomicI32::new(0);

/// How many lines a leader writes at most, because its own call must return.
const MOST: usize = 64;
/// How long a thread sleeps before it checks again whether there is a leader. This should not be
/// needed, because a leader that leaves wakes the next.
const NAP: i64 = 100_000_000;

/// Writes the line in a place to the file of that name.
pub fn send(pattern: &'static CStr, of: &Place, length: usize) -> sys::Result<()> {
    // If another thread leads, it has a helper.
    if LEADER.load(Ordering::Relaxed) == 0 && process::has_the_table() {
        let alone = sigsafe::in_the_table(of.room(), |files| {
            with_file(files, pattern, |fd| {
                // SAFETY: this thread owns the place.
                send_to(fd, unsafe { of.line(length) }, true)
            })
        });
        // The program's table is full. A helper has a table of its own.
        if alone == Err(libc::EMFILE) { send_together(pattern, of, length) } else { alone }
    } else {
        send_together(pattern, of, length)
    }
}

fn send_together(pattern: &CStr, of: &Place, length: usize) -> sys::Result<()> {
    let queued = &of.queued;
    // Never 0, which means no process: a seccomp filter may hide the pid.
    let own = sys::getpid().max(1);
    queued.length.store(length as u32, Ordering::Relaxed);
    queued.process.store(own, Ordering::Relaxed);
    queued.pattern.store(pattern.as_ptr() as usize, Ordering::Relaxed);
    // SeqCst, together with the accesses of LEADER: either this thread finds that there is no
    // leader any more, or the leader that leaves finds this line.
    queued.state.store(READY, Ordering::SeqCst);
    let mut has_slept_long = false;
    loop {
        let leader = LEADER.load(Ordering::SeqCst);
        // A value that a fork has copied may equal this process's pid by chance.
        let is_led = leader == own && !has_slept_long;
        if !is_led && LEADER.compare_exchange(leader, own, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            let led = lead(pattern, of, own);
            LEADER.store(0, Ordering::SeqCst);
            if let Some(next) = places().find(|next| next.queued.claim(own, None, LEAD)) {
                sys::futex_wake(&next.queued.state);
            }
            if let Some(result) = led {
                return result;
            }
        } else {
            has_slept_long = sys::futex_wait(&queued.state, READY, NAP) == Err(libc::ETIMEDOUT);
        }
        // The helper of another thread has claimed it, and needs no longer than one write takes.
        while queued.state.load(Ordering::Acquire) == CLAIMED {
            let _ = sys::futex_wait(&queued.state, CLAIMED, NAP);
        }
        match queued.state.load(Ordering::Acquire) {
            DONE => return queued.result(),
            LEAD => queued.state.store(READY, Ordering::SeqCst),
            _ => {}
        }
    }
}

/// Writes the leader's line, and those of others that are ready. None: another leader has claimed
/// this thread's line.
fn lead(pattern: &CStr, of: &Place, own: i32) -> Option<sys::Result<()>> {
    if !of.queued.claim(own, None, CLAIMED) {
        return None;
    }
    let written = sigsafe::unshared_on(of.room(), |files| {
        with_file(files, pattern, |fd| {
            let mut claimed = Some(of);
            for _ in 0..MOST {
                let Some(next) = claimed else { break };
                // SAFETY: this thread has claimed the line.
                let sent = send_to(fd, unsafe { next.line(next.queued.length.load(Ordering::Relaxed) as usize) }, true);
                next.queued.done(sent.err().unwrap_or(0));
                claimed = places().find(|next| next.queued.claim(own, Some(pattern), CLAIMED));
            }
            if let Some(left) = claimed {
                left.queued.state.store(READY, Ordering::SeqCst);
            }
            Ok(())
        })
    });
    match written {
        Some(Ok(())) => Some(of.queued.result()),
        Some(Err(error)) => Some(Err(error)),
        None => {
            // A seccomp filter ended the helper. No other thread will write the lines that it had
            // claimed.
            for left in places().filter(|left| left.queued.is_claimed(own)) {
                left.queued.done(libc::EINTR);
            }
            Some(Err(libc::EINTR))
        }
    }
}

/// Runs `work` with the file that a pattern names.
fn with_file(files: Files, pattern: &CStr, work: impl FnOnce(i32) -> sys::Result<()>) -> sys::Result<()> {
    let open = |name: &CStr| place::open_output(files, name, libc::O_WRONLY | libc::O_CREAT);
    let fd = if pattern.to_bytes().contains(&b'%') {
        output::expand(pattern).as_c().map_or(Err(libc::ENAMETOOLONG), open)?
    } else {
        open(pattern)?
    };
    let done = work(fd);
    files.close(fd);
    done
}

/// Prints that lines of this option are dropped, unless `is_said` shows that it was printed before.
pub fn complain_once(is_said: &AtomicBool, option: &str, to: &LogTo, error: i32) {
    let LogTo::File(pattern) = to else { return };
    if is_said.swap(true, Ordering::Relaxed) {
        return;
    }
    output::tell(|line| {
        let _ = writeln!(
            line,
            "epollshim: {option}: cannot write '{}': {}{}; the lines of process {} are dropped",
            pattern.to_bytes().escape_ascii(),
            epollshim_format::errno::name(error as u32).unwrap_or("?"),
            place::hint(error),
            sys::getpid()
        );
    });
}
