//! Writes the header of the file, and the directory of its segments.

use crate::sync::{AtomicU64, Ordering, compiler_fence};

use epollshim_format::recording::{DIRECTORY, MACHINE, MAGIC, VERSION, entry, header};

use crate::{config, process, procfs, sys};

/// A word of a mapped file.
///
/// # Safety
/// `start + place` must be an aligned word of a mapping that lasts.
pub unsafe fn word<'a>(start: *mut u8, place: usize) -> &'a AtomicU64 {
    // SAFETY: by this function's contract, `start + place` is such a word.
    unsafe { &*start.wrapping_add(place).cast::<AtomicU64>() }
}

/// Enters a segment into the directory.
pub(super) fn enter(file: *mut u8, index: usize, at: u64, length: u64, extra: u64, kind: u64) {
    let place = DIRECTORY + index * entry::SIZE;
    // SAFETY: callers pass an index below SEGMENTS, so the entry lies within the directory, which
    // is never unmapped.
    let set = |field, value, order| unsafe { word(file, place + field).store(value, order) };
    set(entry::START, at, Ordering::Relaxed);
    set(entry::LENGTH, length, Ordering::Relaxed);
    set(entry::EXTRA, extra, Ordering::Relaxed);
    // Release: pairs with the Acquire of a reader, which finds the segment complete if it sees its
    // kind.
    set(entry::KIND, kind, Ordering::Release);
}

pub(super) fn write_header(start: *mut u8, ring_length: usize) {
    // SAFETY: the offsets of the header are aligned, and the header was just mapped, for good.
    let set = |place, value| unsafe { word(start, place).store(value, Ordering::Relaxed) };
    set(header::VERSION, VERSION);
    set(header::MACHINE, MACHINE);
    set(header::PID, process::pid() as u64);
    set(header::PPID, sys::getppid() as u64);
    set(header::BEGAN, process::began());
    set(header::BEGAN_UNIX, process::began_unix());
    if let Some(seed) = config::seed() {
        set(header::SEED, seed);
        set(header::HAS_SEED, 1);
    }
    set(header::RING, ring_length as u64);
    set(header::RECORDS_MOST, config::get().map_or(0, |config| config.record_max));
    let mut exe = [0u8; header::EXE_BYTES];
    if let Some(exe) = procfs::read_link(c"/proc/self/exe", &mut exe) {
        write_text(start, header::EXE, exe);
        set(header::EXE_LENGTH, exe.len() as u64);
    }
    write_names(start);
    // Last, because a file without it is not valid.
    // SAFETY: the offset is aligned, and the header was just mapped and stays mapped.
    unsafe { word(start, header::MAGIC).store(MAGIC, Ordering::Release) };
}

/// Writes the program's name and its arguments. Called at the beginning and at the end, because
/// many programs change them once they know their role ("nginx: worker process").
#[inline(never)] // for size
pub(super) fn write_names(start: *mut u8) {
    // SAFETY: the offset is aligned, and the header is never unmapped.
    let length_word = unsafe { word(start, header::ARGUMENTS_LENGTH) };
    let mut comm = [0u8; 17];
    if let Some(length) = procfs::read_short(c"/proc/self/comm", &mut comm) {
        // Written with its terminating zero, because the earlier name may be longer.
        if let Some(newline) = comm.get_mut(length.saturating_sub(1)..) {
            newline.fill(0);
        }
        write_text(start, header::COMM, comm.get(..16).unwrap_or_default());
    }
    let mut space = [0u8; header::ARGUMENTS_BYTES];
    if let Some(length) = procfs::read_short(c"/proc/self/cmdline", &mut space) {
        let arguments = only_arguments(space.get(..length).unwrap_or_default());
        // A concurrent reader, or one after a kill, must not find a mixture of two texts.
        length_word.store(0, Ordering::Relaxed);
        compiler_fence(Ordering::Release);
        write_text(start, header::ARGUMENTS, arguments);
        compiler_fence(Ordering::Release);
        length_word.store(arguments.len() as u64, Ordering::Relaxed);
    }
}

fn write_text(start: *mut u8, place: usize, text: &[u8]) {
    // SAFETY: callers pass a field of the header and at most as many bytes as it has. The header is
    // never unmapped, and only this process writes there.
    unsafe { start.wrapping_add(place).copy_from_nonoverlapping(text.as_ptr(), text.len()) };
}

/// The arguments that the program was called with. What follows them is left over from
/// setproctitle.
fn only_arguments(text: &[u8]) -> &[u8] {
    let count = config::arguments();
    let mut ends = text.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(place, _)| place + 1);
    let end = if count == 0 { None } else { ends.nth(count - 1) };
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}
