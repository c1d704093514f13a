//! What the descriptor of a finding was when it was found: by the time of a report it may be closed,
//! and its number another's. It is looked at once, as a finding is first met, and again by each
//! report that finds the same.

use crate::sync::Ordering;

use epollshim_format::census::Kind;
use epollshim_format::descriptor::{Kept, field};
use epollshim_format::findings::{Finding, Id, stale_data};
use epollshim_format::recording::{described, findings, kind};

use super::{Entry, Note, Place, ghosts};
use crate::describe::describe;
use crate::process;
use crate::sigsafe::on_own_stack;

fn entry(start: *mut u8, place: usize) -> Entry {
    Entry(start.wrapping_add(place % findings::ENTRIES * described::SIZE))
}

/// Keeps what the descriptor of a note is, at a finding's place in the table.
#[cold]
#[inline(never)]
pub fn note(place: usize, note: &Note) {
    if note.fd < 0 {
        return;
    }
    let Some(of) = process::part::<Place>().map(|place| &place.described) else { return };
    // Acquire: it was mapped before it was stored.
    let there = Some(of.load(Ordering::Acquire)).filter(|start| !start.is_null());
    let Some(start) = there.or_else(|| super::make(of, kind::DESCRIBED, described::ALL)) else { return };
    on_own_stack(|| {
        let mut kept = Kept::new();
        look(note, &mut kept);
        let entry = entry(start, place);
        // A reader of a recording finds no list, or a whole one, unless it looks in between.
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
        // It is closed, or the number is another's by now.
        Id::StaleData if note.variant == stale_data::IN_A_BATCH => kept.add(field::CLOSED, b"1"),
        // The number's own file is not what is watched. Nothing is said where the kernel will not
        // say which descriptor has the other.
        Id::Ghost | Id::StaleData => {
            if let Some(fd) = ghosts::open_elsewhere(note.epfd, note.fd) {
                describe(fd, kept);
            }
        }
        // It is closed. The census knows what kind it was.
        Id::DoubleClose | Id::UseAfterClose => {
            let [kind, ..] = note.detail;
            kept.add(field::KIND, Kind::from_number(kind).name().as_bytes());
            kept.add(field::CLOSED, b"1");
        }
        _ => describe(note.fd, kept),
    }
}

/// What the descriptor of a finding was, and its number. None: it has no descriptor.
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
