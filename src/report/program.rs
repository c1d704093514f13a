//! A program that the process starts or executes: whether the call is expected to succeed, and
//! whether the library will be loaded into it.

use core::ffi::CStr;

use epollshim_format::recording::unseen;

use super::unseen::is_go_note;
use crate::buffer::Buffer;
use crate::path::Path;
use crate::sigsafe::on_own_stack;
use crate::{environment, procfs, record, seccomp, sys};

/// How an exec call names the program.
#[derive(Clone, Copy)]
pub enum Program {
    At(i32, *const libc::c_char),
    /// A name that is searched for in PATH.
    Searched(*const libc::c_char),
    Descriptor(i32),
}

/// Whether an exec of the program is expected to succeed.
pub fn is_executable(program: Program) -> bool {
    match program {
        Program::Descriptor(fd) => sys::is_open(fd),
        _ => with_file(program, &|_, _| ()).is_some(),
    }
}

/// Calls `work` with the file that is executed: a directory's descriptor, and the path. None: no
/// such file may be executed.
fn with_file<R>(program: Program, work: &dyn Fn(i32, *const libc::c_char) -> R) -> Option<R> {
    match program {
        Program::Descriptor(_) => None,
        // SAFETY: the program's own path, zero-terminated as execve(2) requires.
        Program::At(directory, path) => unsafe { sys::may_execute(directory, path) }.then(|| work(directory, path)),
        Program::Searched(name) if name.is_null() => None,
        Program::Searched(name) => {
            // SAFETY: the program's own string, zero-terminated as execvp(3) requires.
            let text = unsafe { CStr::from_ptr(name) }.to_bytes();
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

/// Called when the process starts or executes a program. Notes the program in the recording if its
/// calls will not be seen: the loader will not load the library (AT_SECURE, ld.so(8)), there is no
/// loader, or it is a Go program. May be called in any process's memory.
pub fn note_start(program: Program) {
    if !record::is_near() || seccomp::hinders() {
        return;
    }
    let errno = sys::errno();
    on_own_stack(|| {
        let Some(users) = Users::of_this_process() else { return };
        let note = |directory, path: *const libc::c_char| {
            // SAFETY: as in `with_file`.
            let (owner, path) = unsafe { (sys::set_id_owner(directory, path), CStr::from_ptr(path)) };
            let why = if users.gain_rights(owner) { unseen::SECURE } else { why_unseen(directory, path) };
            if why != 0 {
                record::started_unseen(path.to_bytes(), why);
            }
        };
        with_file(program, &note);
    });
    sys::set_errno(errno);
}

/// The reasons why the library would not see the calls of a program. 0: it would, or the file is
/// not readable. A helper opens the file, so a path relative to a directory's descriptor is not
/// examined.
fn why_unseen(directory: i32, path: &CStr) -> u64 {
    let mut start = [0u8; 4096];
    if directory != libc::AT_FDCWD && !path.to_bytes().starts_with(b"/") {
        return 0;
    }
    let Some(length) = procfs::read_short(path, &mut start) else { return 0 };
    let is_loader = path.to_bytes().rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(b"ld-"));
    if is_loader { 0 } else { why_unseen_by(start.get(..length).unwrap_or_default()) }
}

/// The reasons from the first bytes of a file, which contain the program headers and notes.
fn why_unseen_by(start: &[u8]) -> u64 {
    const MAGIC: &[u8] = b"\x7fELF\x02\x01";
    // Offsets in Elf64_Ehdr and Elf64_Phdr of <elf.h>.
    const PHOFF: usize = 32;
    const PHNUM: usize = 56;
    const OFFSET: usize = 8;
    const FILESZ: usize = 32;
    let size = size_of::<libc::Elf64_Phdr>();
    let first = word(start, PHOFF);
    let end = first.saturating_add((word(start, PHNUM) & 0xffff) * size);
    if !start.starts_with(MAGIC) || end > start.len() || end == first {
        return 0;
    }
    let (mut has_loader, mut is_go) = (false, false);
    for at in (first..end).step_by(size) {
        let kind = word(start, at) as u32;
        let notes = start.get(word(start, at + OFFSET)..).unwrap_or_default();
        has_loader |= kind == libc::PT_INTERP;
        is_go |= kind == libc::PT_NOTE && notes.get(..word(start, at + FILESZ)).is_some_and(is_go_note);
    }
    match (has_loader, is_go) {
        (false, _) => unseen::STATIC,
        (true, true) => unseen::GO,
        (true, false) => 0,
    }
}

/// The eight bytes at `at`. 0: the file ends before.
#[inline(never)] // for size
fn word(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word) as usize)
}

/// The real and effective ids of the process.
struct Users {
    user: [u32; 2],
    group: [u32; 2],
    /// PR_SET_NO_NEW_PRIVS (prctl(2)) is set, so set-ID bits have no effect.
    gains_nothing: bool,
}

impl Users {
    /// Reads them from `/proc/self/status` (proc_pid_status(5)). The program's filter may forbid
    /// getuid(2) if the program itself never calls it.
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

    /// Whether a program is started with AT_SECURE, if its file gives it this user and group (None:
    /// the caller's). It is, if its effective user or group then differs from the real one (Linux
    /// 6.1 security/commoncap.c, cap_bprm_creds_from_file).
    fn gain_rights(&self, [user, group]: [Option<u32>; 2]) -> bool {
        let is_other = |[real, effective]: [u32; 2], given: Option<u32>| {
            real != given.filter(|_| !self.gains_nothing).unwrap_or(effective)
        };
        is_other(self.user, user) || is_other(self.group, group)
    }
}

#[cfg(test)]
mod tests {
    use super::{Users, unseen, why_unseen_by};

    /// A header of a file with these program headers: type, offset, bytes.
    fn file(segments: &[(u32, u64, u64)], behind: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[56..58].copy_from_slice(&(segments.len() as u16).to_le_bytes());
        for (kind, offset, size) in segments {
            let mut segment = [0; 56];
            segment[..4].copy_from_slice(&kind.to_le_bytes());
            segment[8..16].copy_from_slice(&offset.to_le_bytes());
            segment[32..40].copy_from_slice(&size.to_le_bytes());
            bytes.extend(segment);
        }
        bytes.extend(behind);
        bytes
    }

    #[test]
    fn a_program_without_an_interpreter_is_static_and_go_has_a_note() {
        let note = b"\x04\0\0\0\x04\0\0\0\x04\0\0\0Go\0\0abcd";
        let with_note = |kind| file(&[(kind, 0, 0), (libc::PT_NOTE, 64 + 2 * 56, 20)], note);
        assert_eq!(why_unseen_by(&file(&[(libc::PT_LOAD, 0, 0)], b"")), unseen::STATIC);
        assert_eq!(why_unseen_by(&with_note(libc::PT_LOAD)), unseen::STATIC);
        assert_eq!(why_unseen_by(&with_note(libc::PT_INTERP)), unseen::GO);
        assert_eq!(why_unseen_by(&file(&[(libc::PT_INTERP, 0, 0)], note)), 0);
        // Nothing is known of a file that is truncated, damaged, or not an ELF file.
        let damaged = file(&[(libc::PT_NOTE, u64::MAX, u64::MAX), (libc::PT_INTERP, 0, 0)], b"");
        assert_eq!(why_unseen_by(&damaged), 0);
        for length in 0..64 + 56 {
            assert_eq!(why_unseen_by(&file(&[(libc::PT_LOAD, 0, 0)], b"")[..length]), 0);
        }
        assert_eq!(why_unseen_by(b"#!/bin/sh\n"), 0);
    }

    #[test]
    fn rights_are_gained_where_the_effective_user_or_group_will_not_be_the_real_one() {
        let plain = Users { user: [1000; 2], group: [1000; 2], gains_nothing: false };
        assert!(!plain.gain_rights([None, None]));
        assert!(plain.gain_rights([Some(0), None]) && plain.gain_rights([None, Some(8)]));
        assert!(!plain.gain_rights([Some(1000), None]));
        // Squid's first process: its real user is root, and its effective user is proxy.
        let half = Users { user: [0, 13], ..plain };
        assert!(half.gain_rights([None, None]));
        assert!(
            !Users { gains_nothing: true, ..Users { user: [5; 2], group: [5; 2], ..half } }
                .gain_rights([Some(0), None])
        );
    }
}
