//! The mapped objects: their addresses, build ids and files. A reader needs them to find the
//! functions of addresses after the program has ended.

use super::file::State;
use super::known;
use crate::elf::number;
use crate::sync::{AtomicU64, Ordering};
use core::fmt::Write;

use epollshim_format::recording::{PAGE, kind};

use crate::buffer::Buffer;
use crate::{clock, process, procfs};

/// A hash of the list that was written last (FNV-1a). The child of a fork still has its parent's,
/// but writes its first list in any case.
static WRITTEN: AtomicU64 = AtomicU64::new(0);
/// The process that wrote it.
static WRITTEN_BY: AtomicU64 = AtomicU64::new(0);

/// Writes a new list after a site was found that the last one lacks. `clock::Turn` bounds the time
/// that this takes: addresses of code that the program has generated itself are in no list.
#[cold]
#[inline(never)]
pub fn write_if_new() {
    static TURN: clock::Turn = clock::Turn::new();
    if let Some(began) = TURN.begin() {
        known::forget();
        write();
        TURN.end(began);
    }
}

/// Writes the list, unless the file already has the same.
pub fn write() {
    crate::sigsafe::on_own_stack(|| {
        Buffer::lend(|maps| {
            Buffer::lend(|list| {
                if procfs::read_file(c"/proc/thread-self/maps", maps) && list_objects(maps.as_slice(), list).is_ok() {
                    write_list(list.as_slice());
                }
            });
        });
    });
}

fn write_list(bytes: &[u8]) {
    let number = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    // Not the pid, because parent and child may both be pid 1.
    let own = process::identity();
    if WRITTEN.swap(number, Ordering::Relaxed) == number && WRITTEN_BY.load(Ordering::Relaxed) == own {
        return;
    }
    WRITTEN_BY.store(own, Ordering::Relaxed);
    if let Some(state) = State::of_this_process() {
        state.segment(kind::MODULES, (bytes.len() + 1).max(PAGE), 0, None, |start| {
            // SAFETY: the segment was just mapped, and is at least one byte longer than the text.
            unsafe { start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
            known::has_list(start);
        });
    }
}

/// Turns the lines of proc_pid_maps(5) (start-end perms offset dev inode path), one for each
/// mapping, into one line for each object.
fn list_objects(maps: &[u8], list: &mut Buffer<u8>) -> core::fmt::Result {
    let mut last: Option<(u64, u64, &[u8])> = None;
    let mut flush = |object: Option<(u64, u64, &[u8])>| match object {
        Some((start, end, path)) => line(start, end, path, list),
        None => Ok(()),
    };
    for text in maps.split(|byte| *byte == b'\n') {
        let mut words = text.splitn(6, |byte| *byte == b' ');
        let Some(range) = words.next() else { continue };
        let mut ends = range.split(|byte| *byte == b'-').filter_map(procfs::hexadecimal);
        let (Some(start), Some(end)) = (ends.next(), ends.next()) else { continue };
        let path = words.nth(4).unwrap_or_default().trim_ascii_start();
        if !path.starts_with(b"/") && path != b"[vdso]" {
            continue;
        }
        match &mut last {
            Some((_, known_end, known)) if *known == path => *known_end = end,
            _ => {
                flush(last)?;
                last = Some((start, end, path));
            }
        }
    }
    flush(last)
}

fn line(start: u64, end: u64, path: &[u8], list: &mut Buffer<u8>) -> core::fmt::Result {
    write!(list, "{start:x} {end:x} ")?;
    match build_id(start as usize, end as usize) {
        Some(id) => id.iter().try_for_each(|byte| write!(list, "{byte:02x}"))?,
        None => list.write_char('-')?,
    }
    list.write_char(' ')?;
    for chunk in path.utf8_chunks() {
        list.write_str(chunk.valid())?;
        if !chunk.invalid().is_empty() {
            list.write_char('\u{fffd}')?;
        }
    }
    list.write_char('\n')
}

/// The GNU build id of a mapped object, from its notes in memory.
fn build_id(start: usize, end: usize) -> Option<&'static [u8]> {
    const PT_NOTE: u32 = 4;
    const NT_GNU_BUILD_ID: u32 = 3;
    let head = readable(start, 64, end)?;
    if head.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let (offset, count) = (number(head, 32, 8)?, number(head, 56, 2)?);
    for index in 0..count.min(64) {
        let program = readable(start.checked_add(offset)?.checked_add(index * 56)?, 56, end)?;
        if number(program, 0, 4)? as u32 != PT_NOTE {
            continue;
        }
        // The offset in the file is also the distance from the first mapping of the object. The
        // address in memory is not, in a program with fixed addresses.
        let (at, length) = (number(program, 8, 8)?, number(program, 32, 8)?);
        let mut notes = readable(start.checked_add(at)?, length.min(4096), end)?;
        while notes.len() > 12 {
            let (name, size, kind) = (number(notes, 0, 4)?, number(notes, 4, 4)?, number(notes, 8, 4)?);
            let content = 12 + name.next_multiple_of(4);
            if kind as u32 == NT_GNU_BUILD_ID && notes.get(12..16) == Some(b"GNU\0") {
                return notes.get(content..content.checked_add(size)?).filter(|id| id.len() <= 64);
            }
            notes = notes.get(content.checked_add(size.next_multiple_of(4))?..)?;
        }
    }
    None
}

/// Bytes of an object. None: they are not within it, or cannot be read.
fn readable(at: usize, length: usize, end: usize) -> Option<&'static [u8]> {
    let last = at.checked_add(length)?;
    if length < 12 || last > end || !crate::sys::is_readable(at) || !crate::sys::is_readable(last - 12) {
        return None;
    }
    // SAFETY: the first and the last bytes can be read, and the range is at most a few pages within
    // one object: notes and headers lie in the object's first segment. It stays mapped while it is
    // read: only dlclose unmaps objects, and no exit or first call is inside it.
    Some(unsafe { core::slice::from_raw_parts(at as *const u8, length) })
}
