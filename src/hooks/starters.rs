//! `posix_spawn`, `posix_spawnp`, `system` and `popen` while there is a census: which descriptors the other program will have.
//!
//! glibc starts it by a child in the caller's memory, out of sight of all hooks. So it is judged here, in the parent and before the real
//! call, from the census and from what the call says is done to descriptors.

use libc::{c_char, c_int};

use super::arguments::{Numbers, Strings};
use super::entry::Frame;
use crate::census::{self, evaluation};
use crate::report::{self, Program};

/// By the functions' names.
pub mod before {
    pub use super::before_posix_spawn as posix_spawn;
    pub use super::before_posix_spawnp as posix_spawnp;
    pub use super::before_system as system;
}

pub extern "C-unwind" fn before_posix_spawn(frame: &mut Frame) -> usize {
    spawn(frame, Program::At(libc::AT_FDCWD, frame.word(1) as *const c_char))
}

pub extern "C-unwind" fn before_posix_spawnp(frame: &mut Frame) -> usize {
    spawn(frame, Program::Searched(frame.word(1) as *const c_char))
}

/// `system(NULL)` asks whether there is a shell.
pub extern "C-unwind" fn before_system(frame: &mut Frame) -> usize {
    if frame.word(0) != 0 {
        let numbers = Numbers::with_own_environment(Strings::One(frame.word(0)));
        evaluation::at_spawn(frame.caller, false, &|_| false, &|fd| numbers.have(fd));
    }
    0
}

/// The shell does not get the streams of earlier calls of popen (POSIX; glibc 2.36 libio/iopopen.c).
pub extern "C-unwind" fn before_popen(frame: &mut Frame) -> usize {
    let numbers = Numbers::with_own_environment(Strings::One(frame.word(0)));
    evaluation::at_spawn(frame.caller, true, &|_| false, &|fd| numbers.have(fd));
    0
}

fn spawn(frame: &Frame, program: Program) -> usize {
    if frame.word(1) == 0 || !report::is_executable(program) {
        return 0;
    }
    report::note_start(program);
    match Actions::at(frame.word(2)) {
        Some(actions) => {
            let numbers = Numbers::of(Strings::Array(frame.word(4)), frame.word(5));
            evaluation::at_spawn(frame.caller, false, &|fd| actions.replace(fd), &|fd| numbers.have(fd));
        }
        None => census::could_not_judge(),
    }
    0
}

/// `posix_spawn_file_actions_t` of <spawn.h>.
#[repr(C)]
struct FileActions {
    allocated: c_int,
    used: c_int,
    actions: *const Action,
}

/// `struct __spawn_action` (glibc 2.36 posix/spawn_int.h): the same since 2.2, but that kinds were added behind the others.
#[repr(C)]
struct Action {
    kind: c_int,
    /// The union begins at a multiple of a pointer.
    _padding: c_int,
    /// The number that it closes, copies, opens or begins with; of a chdir half of a pointer.
    fd: c_int,
    /// Of a copy, the number that it gets; of an open, padding.
    second: c_int,
    _path: *const c_char,
    _flags: [c_int; 2],
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Action>() == 32 && core::mem::offset_of!(Action, fd) == 8);

const CLOSE: c_int = 0;
const DUP2: c_int = 1;
const OPEN: c_int = 2;
const CLOSE_FROM: c_int = 5;
const LAST: c_int = 6;

/// Most calls have a handful.
const MOST: usize = 4096;

struct Actions(&'static [Action]);

impl Actions {
    /// None: they are not as they are known here.
    fn at(address: usize) -> Option<Actions> {
        if address == 0 {
            return Some(Actions(&[]));
        }
        // SAFETY: the program's own argument of posix_spawn, which will read it: it was initialised.
        let all = unsafe { &*(address as *const FileActions) };
        let count = usize::try_from(all.used).ok().filter(|count| *count <= MOST && all.used <= all.allocated)?;
        if count == 0 {
            return Some(Actions(&[]));
        }
        if all.actions.is_null() || !all.actions.is_aligned() {
            return None;
        }
        // SAFETY: as above; `used` of them were written. They are not changed while the call lasts, which is longer than this.
        let actions = Actions(unsafe { core::slice::from_raw_parts(all.actions, count) });
        let is_known = |action: &Action| (CLOSE..=LAST).contains(&action.kind);
        actions.0.iter().all(is_known).then_some(actions)
    }

    /// Whether a number is closed on the way, or becomes something that is meant for the program.
    fn replace(&self, fd: c_int) -> bool {
        self.0.iter().any(|action| match action.kind {
            CLOSE | OPEN => action.fd == fd,
            // Onto itself it takes close-on-exec away.
            DUP2 => action.second == fd,
            CLOSE_FROM => action.fd <= fd,
            _ => false,
        })
    }
}
