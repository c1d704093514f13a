//! Opens files. Only work on a stack of its own may do so ([`unshared`](super::unshared)); a
//! [`Files`] shows that.

use core::ffi::CStr;

use crate::sync::{AtomicBool, Ordering};
use crate::sys::{self, Result};

/// The descriptor table that such work opens files in.
#[derive(Clone, Copy)]
pub struct Files {
    whose: Whose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Helper,
    /// The program's, though others may see it: no helper could be started.
    Program,
    /// The program's, which nobody else can see in the meantime.
    ProgramAlone,
}

/// A helper can make system calls. (A filter that hands them to a tracer, as strace --seccomp-bpf
/// and proot do, fails them with ENOSYS in a thread that has no tracer.) Relaxed: a thread that
/// does not see it asks once more.
static HELPERS_WORK: AtomicBool = AtomicBool::new(false);

/// In the program's table: the library's descriptors go here, away from the lowest numbers.
const AWAY: i32 = 200;

impl Files {
    pub(super) fn of_the_program() -> Files {
        Files { whose: Whose::Program }
    }

    pub(super) fn of_the_program_alone() -> Files {
        Files { whose: Whose::ProgramAlone }
    }

    /// Gives the calling thread, a helper, a table of its own. None: it still has the program's, or
    /// can open nothing.
    pub(super) fn unshare() -> Option<Files> {
        // Before Linux 5.9 the table is copied, and the copies are closed when the helper ends.
        sys::leave_descriptors().or_else(|_| sys::unshare_descriptors()).ok()?;
        if !HELPERS_WORK.load(Ordering::Relaxed) {
            if sys::open(c"/", libc::O_PATH, 0) == Err(libc::ENOSYS) {
                return None;
            }
            HELPERS_WORK.store(true, Ordering::Relaxed);
        }
        Some(Files { whose: Whose::Helper })
    }

    /// Whether the table has descriptors of the program's.
    pub fn are_the_program_s(self) -> bool {
        self.whose != Whose::Helper
    }

    pub fn open(self, path: &CStr, flags: i32, mode: u32) -> Result<i32> {
        self.open_at(libc::AT_FDCWD, path, flags, mode)
    }

    /// Opens a file, close-on-exec. If the table is full, makes room: by closing copies of
    /// descriptors in a table of its own, or by raising the soft limit for that time, if the hard
    /// one allows it. (Not if nobody else sees the table: a helper tries again.)
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

    /// Closes what `open` has opened. In a table of its own it does no harm to forget that: the
    /// table ends with the work.
    pub fn close(self, fd: i32) {
        let _ = sys::close(fd);
    }
}

/// Closes the lowest descriptors of a helper's full table, which are copies of the program's (Linux
/// before 5.9): as many as any work has open at a time, so that this is never done twice. False:
/// there is none.
fn make_room() -> bool {
    (0..1024).filter(|fd| sys::close(*fd).is_ok()).take(8).count() != 0
}

/// The beginning of a file, read in the program's table by calls that the loader has just made
/// itself. It is for the one look that comes before any other call may be made
/// (seccomp/inherited.rs): starting a helper would be such a call.
pub fn read_as_the_loader_does(path: &CStr, into: &mut [u8]) -> Result<usize> {
    let fd = sys::open(path, libc::O_RDONLY, 0)?;
    let length = sys::read(fd, into);
    let _ = sys::close(fd);
    length
}

/// Moves a descriptor to a high number, so that the lowest ones are the program's again. It stays
/// if there is no higher one.
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
