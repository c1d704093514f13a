//! A program that the process starts, or becomes: whether the call can be expected to succeed, and
//! whether the library will be in it.

use crate::buffer::Buffer;
use crate::path::Path;
use crate::sigsafe::on_own_stack;
use crate::{environment, procfs, record, seccomp, sys};

/// What an exec call names as the program.
#[derive(Clone, Copy)]
pub enum Program {
    At(i32, *const libc::c_char),
    /// Looked for in PATH.
    Searched(*const libc::c_char),
    Descriptor(i32),
}

/// Whether an exec of it can be expected to succeed.
pub fn is_executable(program: Program) -> bool {
    match program {
        Program::Descriptor(fd) => sys::is_open(fd),
        _ => with_file(program, &|_, _| ()).is_some(),
    }
}

/// Calls `work` with the file that is executed: a directory's descriptor, and the path. None: there is
/// none that may be executed.
fn with_file<R>(program: Program, work: &dyn Fn(i32, *const libc::c_char) -> R) -> Option<R> {
    match program {
        Program::Descriptor(_) => None,
        // SAFETY: the program's own path, zero-terminated as execve(2) requires.
        Program::At(directory, path) => unsafe { sys::may_execute(directory, path) }.then(|| work(directory, path)),
        Program::Searched(name) if name.is_null() => None,
        Program::Searched(name) => {
            // SAFETY: the program's own string, zero-terminated as execvp(3) requires.
            let text = unsafe { core::ffi::CStr::from_ptr(name) }.to_bytes();
            if text.contains(&b'/') {
                return with_file(Program::At(libc::AT_FDCWD, name), work);
            }
            let path = environment::variable(crate::real::environment(), b"PATH").unwrap_or(b"/bin:/usr/bin");
            path.split(|byte| *byte == b':').find_map(|directory| {
                let mut file = Path::new();
                file.push(directory);
                if !directory.is_empty() {
                    file.push(b"/");
                }
                file.push(text);
                with_file(Program::At(libc::AT_FDCWD, file.as_c()?.as_ptr()), work)
            })
        }
    }
}

/// The process starts a program, or becomes it. Notes it in the recording if the loader will leave the
/// library out (AT_SECURE, ld.so(8)): then what it does is in no report. In any process's memory.
pub fn note_start(program: Program) {
    if !record::is_near() || seccomp::hinders() {
        return;
    }
    let errno = sys::errno();
    on_own_stack(|| {
        let Some(users) = Users::of_this_process() else { return };
        let note = |directory, path: *const libc::c_char| {
            // SAFETY: as in `with_file`.
            let owner = unsafe { sys::set_id_owner(directory, path) };
            if users.gain_rights(owner) {
                // SAFETY: as in `with_file`.
                record::started_unseen(unsafe { core::ffi::CStr::from_ptr(path) }.to_bytes());
            }
        };
        with_file(program, &note);
    });
    sys::set_errno(errno);
}

/// Who the process is: real and effective.
struct Users {
    user: [u32; 2],
    group: [u32; 2],
    /// Of prctl(2), PR_SET_NO_NEW_PRIVS: set-ID bits have no effect.
    gains_nothing: bool,
}

impl Users {
    /// From `/proc/self/status` (proc_pid_status(5)): getuid(2) may be a call that the program never makes, and its filter
    /// forbids.
    fn of_this_process() -> Option<Users> {
        Buffer::lend(|text: &mut Buffer<u8>| {
            if !procfs::read_file(c"/proc/self/status", text) {
                return None;
            }
            let line =
                |name: &[u8]| text.as_slice().split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name));
            let two = |name: &[u8]| {
                let mut numbers = line(name)?.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
                let mut next = || core::str::from_utf8(numbers.next()?).ok()?.parse::<u32>().ok();
                Some([next()?, next()?])
            };
            Some(Users {
                user: two(b"Uid:")?,
                group: two(b"Gid:")?,
                gains_nothing: line(b"NoNewPrivs:").is_some_and(|set| set.trim_ascii() == b"1"),
            })
        })
    }

    /// Whether a program whose file gives it this user and group (None: the caller's) is started with AT_SECURE: its
    /// effective user or group is then not its real one (Linux 6.1 security/commoncap.c, cap_bprm_creds_from_file).
    fn gain_rights(&self, [user, group]: [Option<u32>; 2]) -> bool {
        let is_other = |[real, effective]: [u32; 2], given: Option<u32>| {
            real != given.filter(|_| !self.gains_nothing).unwrap_or(effective)
        };
        is_other(self.user, user) || is_other(self.group, group)
    }
}

#[cfg(test)]
mod tests {
    use super::Users;

    #[test]
    fn rights_are_gained_where_the_effective_user_or_group_will_not_be_the_real_one() {
        let plain = Users { user: [1000; 2], group: [1000; 2], gains_nothing: false };
        assert!(!plain.gain_rights([None, None]));
        assert!(plain.gain_rights([Some(0), None]) && plain.gain_rights([None, Some(8)]));
        assert!(!plain.gain_rights([Some(1000), None]));
        // Squid's first process: root for good, and proxy for now.
        let half = Users { user: [0, 13], ..plain };
        assert!(half.gain_rights([None, None]));
        assert!(
            !Users { gains_nothing: true, ..Users { user: [5; 2], group: [5; 2], ..half } }
                .gain_rights([Some(0), None])
        );
    }
}
