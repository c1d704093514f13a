//! The objects that are mapped: their addresses, build ids and files. With them a reader turns
//! addresses into functions after the program has ended.

use super::file::State;
use super::known;
use crate::elf::number;
use crate::sync::{AtomicU64, Ordering};
use core::fmt::Write;

use epollshim_format::recording::{PAGE, kind};

use crate::buffer::Buffer;
use crate::{clock, process, procfs};

/// A hash of what was written last (FNV-1a). A child of a fork compares with its parent's. Its
/// first list is written in any case.
static WRITTEN: AtomicU64 = AtomicU64::new(0);
/// Of which process.
static WRITTEN_BY: AtomicU64 = AtomicU64::new(0);

/// Writes the list anew if there was a site that it lacks. That takes a small part of the program's
/// time at most: addresses of code that the program has made itself are in no list.
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

/// Writes the list, unless it is in the file already.
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
    // Not the pid: parent and child may both be pid 1.
    let own = process::identity();
    if WRITTEN.swap(number, Ordering::Relaxed) == number && WRITTEN_BY.load(Ordering::Relaxed) == own {
        return;
    }
    WRITTEN_BY.store(own, Ordering::Relaxed);
    if let Some(state) = State::of_this_process() {
        state.segment(kind::MODULES, (bytes.len() + 1).max(PAGE), 0, None, |start| {
            // SAFETY: the segment was mapped just now, as long as the text at least.
            unsafe { start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
            known::has_list(start);
        });
    }
}

/// Turns start-end perms offset dev inode path (proc_pid_maps(5)), a line for each mapping, into a
/// line for each object.
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

/// The GNU build id of an object that is mapped, from its notes in memory.
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
        // Its offset in the file, which is its distance from the object's first mapping. In a
        // program of fixed addresses its address in memory is not.
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

/// Bytes of an object, if they are within it and the kernel can read them.
fn readable(at: usize, length: usize, end: usize) -> Option<&'static [u8]> {
    let last = at.checked_add(length)?;
    if length < 12 || last > end || !crate::sys::is_readable(at) || !crate::sys::is_readable(last - 12) {
        return None;
    }
    // SAFETY: its first and last bytes can be read, and it is at most some pages within one object:
    // notes and headers lie in the object's first segment. It stays mapped while it is read: only
    // dlclose unmaps objects, and no exit or first call is inside it.
    Some(unsafe { core::slice::from_raw_parts(at as *const u8, length) })
}
