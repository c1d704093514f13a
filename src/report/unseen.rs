//! Epoll instances that were created by no call that the library saw, and programs whose runtime
//! makes system calls itself.
//!
//! Such a program (Go's runtime, Rust's rustix) may never enter a hook, and would have no report.
//! So the exit handler examines the lowest descriptors. It opens nothing: a program without an
//! instance pays for a few calls of fstat(2).

use libc::{Elf64_Phdr, PT_NOTE, PT_PHDR};

use crate::at_load::AtLoad;
use crate::process;
use crate::sync::{AtomicBool, Ordering};
use crate::{procfs, seccomp, sys};

/// The search ends after this many closed numbers in a row, because the kernel assigns the lowest
/// free number.
const GAP: u32 = 8;
/// A bound for programs with very many descriptors.
const MOST: i32 = 4096;

/// An instance existed when the program began.
static WAS_HANDED_ON: AtomicBool = AtomicBool::new(false);
/// The program is a Go program.
static IS_GO: AtomicBool = AtomicBool::new(false);

/// Whether the program's runtime is Go's, which makes its epoll calls itself.
pub fn is_go() -> bool {
    IS_GO.load(Ordering::Relaxed)
}

/// Notes what the program begins with.
pub fn note_load(_: &AtLoad) {
    WAS_HANDED_ON.store(has_epoll(3), Ordering::Relaxed);
    // SAFETY: the kernel passed the address and number of the program's headers, which stay mapped.
    let is_go = unsafe { is_noted_as_go(libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM)) };
    IS_GO.store(is_go, Ordering::Relaxed);
}

/// Whether this process has an epoll instance and was neither forked nor started with one. Only
/// descriptors that may refer to an instance are examined further.
pub fn is_there() -> bool {
    !WAS_HANDED_ON.load(Ordering::Relaxed) && process::is_as_loaded() && has_epoll(0)
}

fn has_epoll(first: i32) -> bool {
    let mut closed = 0;
    for fd in first..MOST {
        match sys::status(fd) {
            Err(_) if closed == GAP => return false,
            Err(_) => closed += 1,
            Ok(status) => {
                closed = 0;
                // An anonymous inode has no type (Linux v6.1 fs/anon_inodes.c).
                if status.st_mode & libc::S_IFMT == 0 {
                    seccomp::find_inherited();
                    if !seccomp::hinders() && procfs::is_epoll(fd) {
                        return true;
                    }
                }
            }
        }
    }
    false
}

/// Whether a program has the note that Go's linker writes.
///
/// # Safety
/// `table` must be 0 or the address of that many program headers of an object that is mapped.
unsafe fn is_noted_as_go(table: u64, count: u64) -> bool {
    if table == 0 {
        return false;
    }
    // SAFETY: by the caller's contract.
    let segments = unsafe { core::slice::from_raw_parts(table as *const Elf64_Phdr, count as usize) };
    let Some(own) = segments.iter().find(|segment| segment.p_type == PT_PHDR) else { return false };
    let slide = table.wrapping_sub(own.p_vaddr);
    segments.iter().filter(|segment| segment.p_type == PT_NOTE).any(|segment| {
        let start = slide.wrapping_add(segment.p_vaddr) as *const u8;
        // SAFETY: a segment of notes lies in one that is loaded, and is read-only.
        is_go_note(unsafe { core::slice::from_raw_parts(start, segment.p_memsz as usize) })
    })
}

/// Whether one of these notes is Go's (cmd/link/internal/ld/elf.go, ELF_NOTE_GO_NAME). The length
/// of the name, 4, is three words before the name. Notes begin at multiples of 4 bytes.
pub fn is_go_note(notes: &[u8]) -> bool {
    const NAME: &[u8] = b"Go\0\0";
    const BEFORE: usize = 3;
    let words = || notes.chunks_exact(NAME.len());
    words().zip(words().skip(BEFORE)).any(|(length, name)| length == [4, 0, 0, 0] && name == NAME)
}

#[cfg(test)]
mod tests {
    use super::is_go_note;

    #[test]
    fn a_note_is_known_by_its_name() {
        let note = |name: &[u8; 4]| [&[4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0][..], name, &[1, 2, 3, 4]].concat();
        assert!(is_go_note(&[note(b"GNU\0"), note(b"Go\0\0")].concat()));
        assert!(!is_go_note(&note(b"GNU\0")));
        assert!(!is_go_note(b"Go\0\0"));
    }
}
