//! A description of a finding's descriptor when it was found. By the time of a report the
//! descriptor may be closed, and its number reused.
//!
//! It is read when a finding is first noted, and again by each report that finds the same.

use crate::sync::Ordering;

use epollshim_format::census::Kind;
use epollshim_format::descriptor::{Kept, field};
use epollshim_format::findings::{Finding, Id, stale_data};
use epollshim_format::recording::{described, findings, kind};

use super::table::{self, Entry, Note, Place};
use crate::describe::describe;
use crate::sigsafe::on_own_stack;
use crate::{process, sys};

fn entry(start: *mut u8, place: usize) -> Entry {
    Entry(start.wrapping_add(place % findings::ENTRIES * described::SIZE))
}

/// Stores the description of a note's descriptor, at its finding's place in the table.
#[cold]
#[inline(never)]
pub fn note(place: usize, note: &Note) {
    if note.fd < 0 {
        return;
    }
    let Some(of) = process::part::<Place>().map(|place| &place.described) else { return };
    // Acquire: pairs with the Release in `make`, after the table was mapped.
    let there = Some(of.load(Ordering::Acquire)).filter(|start| !start.is_null());
    let Some(start) = there.or_else(|| table::make(of, kind::DESCRIBED, described::ALL)) else { return };
    on_own_stack(|| {
        let mut kept = Kept::new();
        look(note, &mut kept);
        let entry = entry(start, place);
        // 0 while the fields are written: a reader of the recording skips an incomplete list.
        entry.word(described::WHAT).store(0, Ordering::Relaxed);
        for (index, word) in kept.words().enumerate() {
            entry.word(described::FIELDS + index * 8).store(word, Ordering::Relaxed);
        }
        let what = u64::from(note.fd as u32 + 1) | (kept.as_bytes().len() as u64) << 32;
        entry.word(described::WHAT).store(what, Ordering::Release);
    });
}

fn look(note: &Note, kept: &mut Kept) {
    match note.id {
        // It is closed, or the number was reused.
        Id::StaleData if note.variant == stale_data::IN_A_BATCH => kept.add(field::CLOSED, b"1"),
        // The number does not refer to the watched file. There is no description if the kernel does
        // not say which descriptor does.
        Id::Ghost | Id::StaleData => {
            if let Some(fd) = open_elsewhere(note.epfd, note.fd) {
                describe(fd, kept);
            }
        }
        // It is closed. The census knows its kind.
        Id::DoubleClose | Id::UseAfterClose => {
            let [kind, ..] = note.detail;
            kept.add(field::KIND, Kind::from_number(kind).name().as_bytes());
            kept.add(field::CLOSED, b"1");
        }
        _ => describe(note.fd, kept),
    }
}

/// A descriptor of the file that an instance watches under a number that does not refer to it.
/// None: there is none. It asks the kernel about each descriptor.
fn open_elsewhere(epfd: i32, fd: i32) -> Option<i32> {
    const LOOKED_AT: i32 = 1024;
    let thread = process::pid_for_kcmp();
    let is = |other, place| sys::watches_file_of(thread, other, epfd, fd, place);
    // The first file watched under the number may be the one that the number refers to.
    let place = u32::from(is(fd, 0) == Ok(true));
    (0..LOOKED_AT).filter(|other| *other != fd).find(|other| is(*other, place) == Ok(true))
}

/// A finding's descriptor and its description. None: it has no descriptor.
pub fn described(finding: &Finding) -> Option<(i32, Kept)> {
    let start = process::part::<Place>()?.described.load(Ordering::Acquire);
    if start.is_null() {
        return None;
    }
    let entry = entry(start, usize::from(finding.place));
    let what = entry.word(described::WHAT).load(Ordering::Acquire);
    let fd = (what as u32).checked_sub(1)? as i32;
    let word = |index| entry.word(described::FIELDS + index * 8).load(Ordering::Relaxed);
    Some((fd, Kept::read((what >> 32) as usize, word)))
}
