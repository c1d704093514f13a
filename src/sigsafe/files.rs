//! Opens files. Only work on a separate stack may do so ([`unshared`](super::unshared)). A
//! [`Files`] is the proof.

use core::ffi::CStr;

use crate::sync::{AtomicBool, Ordering};
use crate::sys::{self, Result};

/// The descriptor table in which such work opens files.
#[derive(Clone, Copy)]
pub struct Files {
    whose: Whose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Helper,
    /// The program's table, although others may see it: no helper could be started.
    Program,
    /// The program's table, which no other thread or process can see meanwhile.
    ProgramAlone,
}

/// A helper can make system calls. (A filter that hands them to a tracer, as strace --seccomp-bpf
/// and proot do, makes them fail with ENOSYS in a thread that has no tracer.) Relaxed: a thread
/// that does not see it set checks once more.
static HELPERS_WORK: AtomicBool = AtomicBool::new(false);

/// The library's descriptors in the program's table get numbers from here on, so that the lowest
/// numbers stay the program's.
const AWAY: i32 = 200;

impl Files {
    pub(super) fn of_the_program() -> Files {
        Files { whose: Whose::Program }
    }

    pub(super) fn of_the_program_alone() -> Files {
        Files { whose: Whose::ProgramAlone }
    }

    /// Gives the calling thread, a helper, a descriptor table of its own. None: it still has the
    /// program's table, or cannot open anything.
    pub(super) fn unshare() -> Option<Files> {
        // Before Linux 5.9 this copies the table. The kernel closes the copies when the helper
        // ends.
        sys::leave_descriptors().or_else(|_| sys::unshare_descriptors()).ok()?;
        if !HELPERS_WORK.load(Ordering::Relaxed) {
            if sys::open(c"/", libc::O_PATH, 0) == Err(libc::ENOSYS) {
                return None;
            }
            HELPERS_WORK.store(true, Ordering::Relaxed);
        }
        Some(Files { whose: Whose::Helper })
    }

    /// Whether the program's descriptors are in the table.
    pub fn are_the_program_s(self) -> bool {
        self.whose != Whose::Helper
    }

    pub fn open(self, path: &CStr, flags: i32, mode: u32) -> Result<i32> {
        self.open_at(libc::AT_FDCWD, path, flags, mode)
    }

    /// Opens a file with close-on-exec. If the table is full, makes room: a helper closes copies of
    /// descriptors in its own table; otherwise this raises the soft limit for the time of the call,
    /// if the hard limit allows it. (Not if no other thread sees the table: the caller then tries
    /// again in a helper.)
    pub fn open_at(self, directory: i32, path: &CStr, flags: i32, mode: u32) -> Result<i32> {
        let open = || sys::open_at(directory, path, flags, mode);
        if self.whose == Whose::ProgramAlone {
            return open();
        }
        let opened = match open() {
            Err(libc::EMFILE) if self.whose == Whose::Helper && make_room() => open(),
            opened => opened,
        };
        let opened = match opened {
            Err(libc::EMFILE) => with_raised_limit(open),
            opened => opened,
        };
        if self.whose == Whose::Program { opened.map(move_away) } else { opened }
    }

    /// Closes what `open` has opened. It is harmless to omit this in a helper's table, which ends
    /// with the work.
    pub fn close(self, fd: i32) {
        let _ = sys::close(fd);
    }
}

/// Closes the lowest descriptors of a helper's full table, which are copies of the program's (Linux
/// before 5.9). It closes as many as any work has open at once, so this is never needed twice.
/// False: none was open.
fn make_room() -> bool {
    (0..1024).filter(|fd| sys::close(*fd).is_ok()).take(8).count() != 0
}

/// Reads the beginning of a file in the program's table, by calls that the loader has just made
/// itself. This is for the single look that must come before any other system call
/// (seccomp/inherited.rs): starting a helper would be such a call.
pub fn read_as_the_loader_does(path: &CStr, into: &mut [u8]) -> Result<usize> {
    let fd = sys::open(path, libc::O_RDONLY, 0)?;
    let length = sys::read(fd, into);
    let _ = sys::close(fd);
    length
}

/// Moves a descriptor to a high number, which frees the lowest ones for the program. It stays where
/// it is if no higher number is free.
fn move_away(fd: i32) -> i32 {
    match sys::duplicate_from(fd, AWAY) {
        Ok(moved) => {
            let _ = sys::close(fd);
            moved
        }
        Err(_) => fd,
    }
}

fn with_raised_limit(open: impl Fn() -> Result<i32>) -> Result<i32> {
    let limit = sys::descriptor_limit()?;
    let raised = libc::rlimit { rlim_cur: limit.rlim_cur.saturating_add(8).min(limit.rlim_max), ..limit };
    if raised.rlim_cur <= limit.rlim_cur || sys::set_descriptor_limit(raised).is_err() {
        return Err(libc::EMFILE);
    }
    let opened = open();
    let _ = sys::set_descriptor_limit(limit);
    opened
}
