//! Closes that hit what another thread opened: a thread closes a number twice, and in between
//! another thread opens something that gets the number. The second close succeeds.
//!
//! At that moment it looks like a descriptor that was handed over, as an acceptor hands connections
//! to its workers. So it is only a suspicion (`Info`), and not shown if the descriptors of that
//! place are handed over at other times, too. It is certain, and an `Error`, when the thread that
//! opened the descriptor calls something on it and gets EBADF.

use crate::sync::{AtomicU64, Ordering};

use epollshim_format::findings::{Id, Severity, use_after_close};

use super::local;
use super::table::{self, Ended, Entry, PLACES};
use crate::findings::{self, Note};
use crate::registers;

/// A bit for each place, by number: its descriptors are handed over to other threads, which close
/// them.
static HANDED_OVER: [AtomicU64; PLACES / 64] = [const { AtomicU64::new(0) }; PLACES / 64];

/// Called when this thread closes what another thread of this process has created, at `created`.
#[cold]
#[inline(never)]
pub fn closed_by_another(fd: i32, site: usize, Ended { old, stray, .. }: Ended, created: usize) {
    let Some(word) = HANDED_OVER.get(usize::from(old.place()) / 64) else { return };
    if local::is_sweeping() {
        return;
    }
    let bit = 1 << (old.place() % 64);
    let is_handed_over = word.load(Ordering::Relaxed) & bit != 0;
    let Some(before) = stray else {
        if !is_handed_over && word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            findings::withdraw_suspicions(Id::UseAfterClose, use_after_close::STRAY, created as u64);
        }
        return;
    };
    let note = Note {
        variant: use_after_close::STRAY,
        fd,
        site,
        other: before,
        detail: [old.kind() as u64, created as u64, 0, 0],
        ..Note::of(Id::UseAfterClose, Severity::Info)
    };
    findings::suspect(&note, !is_handed_over);
}

/// Called after a call on a closed number has failed. True: the calling thread created the
/// descriptor, and a stray close at `site` closed it.
pub fn confirmed(fd: i32, site: usize) -> bool {
    let entry = table::get(fd);
    entry.has(Entry::STRAY)
        && entry.is_by(registers::token())
        && findings::confirm(Id::UseAfterClose, use_after_close::STRAY, site as u64)
}
