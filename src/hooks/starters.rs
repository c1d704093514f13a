//! `posix_spawn`, `posix_spawnp`, `system` and `popen` while there is a census: which descriptors
//! the new program will have.
//!
//! glibc starts it by a child in the caller's memory, which no hook sees. So this is evaluated in
//! the parent, before the real call, from the census and from the actions on descriptors that the
//! call asks for.

use libc::c_char;

use super::arguments::{Numbers, Strings};
use super::entry::Frame;
use super::spawn_actions::Actions;
use crate::census::{self, evaluation};
use crate::report::{self, Program};

/// What runs before the real function, by its name.
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

/// The shell does not get the streams of earlier calls of popen (POSIX; glibc 2.36
/// libio/iopopen.c).
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
