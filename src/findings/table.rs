//! The table of findings, in the recording if there is one. [`super::note`] and others write it,
//! reports read it.
//!
//! An entry is found by its key, with open addressing. Entries are never freed.

use crate::sync::{AtomicPtr, AtomicU64, Ordering};

use epollshim_format::findings::{Finding, Id, Severity};
use epollshim_format::recording::{finding, findings, kind};

use super::described;
use crate::above::Library;
use crate::{process, stacks, sys};

/// What a detector has found.
#[derive(Clone, Copy)]
pub struct Note {
    pub id: Id,
    pub severity: Severity,
    /// Distinguishes the cases of one id.
    pub variant: u8,
    /// -1: none.
    pub epfd: i32,
    pub fd: i32,
    /// The return address of the call to fix; 0: not known.
    pub site: usize,
    /// A second place, whose meaning depends on the id; 0: none.
    pub other: usize,
    pub detail: [u64; 4],
}

impl Note {
    /// A note without descriptors, sites or numbers.
    pub const fn of(id: Id, severity: Severity) -> Note {
        Note { id, severity, variant: 0, epfd: -1, fd: -1, site: 0, other: 0, detail: [0; 4] }
    }

    #[inline(always)]
    pub(super) fn descriptors(&self) -> u64 {
        descriptors(self.epfd, self.fd)
    }

    #[inline(always)]
    fn what(&self) -> u64 {
        self.id as u64 | u64::from(self.variant) << 8
    }

    /// The key of its entry in the table: never 0.
    #[inline(always)]
    pub(super) fn key(&self) -> u64 {
        key(self.what(), self.site, self.other)
    }
}

#[inline(always)]
pub(super) fn key(what: u64, site: usize, other: usize) -> u64 {
    // Addresses have 48 bits, and differ mostly in the lowest. The rotations keep those of the two
    // apart.
    let places = (site as u64 ^ (other as u64).rotate_left(24)).rotate_left(16);
    (places ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// Two descriptors as a finding keeps them; -1: none.
#[inline(always)]
pub fn descriptors(epfd: i32, fd: i32) -> u64 {
    u64::from((epfd as u32).wrapping_add(1)) | u64::from((fd as u32).wrapping_add(1)) << 32
}

/// The inverse of [`descriptors`].
pub fn numbers(descriptors: u64) -> (i32, i32) {
    let number = |word: u64| (word as u32).wrapping_sub(1) as i32;
    (number(descriptors), number(descriptors >> 32))
}

/// What this module needs from the layers above.
pub trait Above {
    /// Zeroed memory for a table, in the recording, where it outlives the process; `kind` is that
    /// of its segment. None: there is no recording.
    fn recorded_table(kind: u64, bytes: usize) -> Option<*mut u8>;
    /// A finding has this site.
    fn new_site(site: usize);
}

/// The addresses of this process's table of findings and of the table of its descriptions, in the
/// page that the kernel wipes at fork; null: nothing was found.
pub struct Place {
    table: AtomicPtr<u8>,
    pub(super) described: AtomicPtr<u8>,
}

fn place() -> Option<&'static AtomicPtr<u8>> {
    process::part::<Place>().map(|place| &place.table)
}

#[derive(Clone, Copy)]
pub(super) struct Table(*mut u8);

/// This process's table, if there is one.
#[inline(always)]
pub(super) fn table() -> Option<Table> {
    // Acquire: pairs with the Release in `make`, after the table was mapped.
    let start = place()?.load(Ordering::Acquire);
    (!start.is_null()).then_some(Table(start))
}

/// This process's table. It is mapped if there is none.
pub(super) fn made() -> Option<Table> {
    match table() {
        Some(table) => Some(table),
        None => make(place()?, kind::FINDINGS, findings::SIZE).map(Table),
    }
}

/// Maps a table: in the recording, or in anonymous memory.
#[cold]
#[inline(never)]
pub(super) fn make(place: &AtomicPtr<u8>, kind: u64, bytes: usize) -> Option<*mut u8> {
    let start = match Library::recorded_table(kind, bytes) {
        Some(start) => start,
        None => sys::map(bytes).ok()?,
    };
    // If two threads race, the first wins. The other's memory stays unused, which can happen once
    // per process. Release: pairs with the Acquire in `table`.
    let stored = place.compare_exchange(core::ptr::null_mut(), start, Ordering::Release, Ordering::Acquire);
    Some(stored.map_or_else(|there| there, |_| start))
}

impl Table {
    #[inline(always)]
    pub(super) fn entry(self, index: usize) -> Entry {
        Entry(self.0.wrapping_add(findings::FIRST + index % findings::ENTRIES * finding::SIZE))
    }

    pub(super) fn dropped(self) -> &'static AtomicU64 {
        // SAFETY: an aligned word of the table's first page. `make` mapped the table, and nothing
        // unmaps it.
        unsafe { &*self.0.wrapping_add(findings::DROPPED).cast::<AtomicU64>() }
    }
}

/// The entry of a note, if there is one.
pub(super) fn known(note: &Note) -> Option<Entry> {
    let table = table()?;
    let key = note.key();
    let all = (0..findings::ENTRIES).map(|step| table.entry((key >> 32) as usize + step));
    // Entries are never freed, so no entry in use follows a free one.
    all.take_while(|entry| entry.key() != 0).find(|entry| entry.key() == key)
}

/// The entry of a note. It is created if there is none.
pub(super) fn entry(note: &Note) -> Option<Entry> {
    let table = made()?;
    let key = note.key();
    for step in 0..findings::ENTRIES {
        let entry = table.entry((key >> 32) as usize + step);
        let place = entry.word(finding::KEY);
        if place.load(Ordering::Relaxed) == key {
            return Some(entry);
        }
        match place.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {
                // The stack of the first occurrence represents all at this site.
                entry.word(finding::SITE).store(stacks::site_of(note.site) as u64, Ordering::Relaxed);
                entry.word(finding::OTHER).store(note.other as u64, Ordering::Relaxed);
                entry.update(note);
                // Release: pairs with the Acquire in `Entry::read`. A reader that sees the kind
                // sees the sites.
                entry.word(finding::WHAT).store(note.what(), Ordering::Release);
                Library::new_site(note.site);
                Library::new_site(note.other);
                described::note(entry.place(), note);
                return Some(entry);
            }
            Err(there) if there == key => return Some(entry),
            Err(_) => {}
        }
    }
    table.dropped().fetch_add(1, Ordering::Relaxed);
    None
}

/// An entry of the table. Its words change independently: a report may combine the count of one
/// moment with the numbers of the next.
#[derive(Clone, Copy)]
pub(super) struct Entry(pub(super) *mut u8);

impl Entry {
    /// Its place in the table.
    pub(super) fn place(self) -> usize {
        let start = table().map_or(self.0, |table| table.0.wrapping_add(findings::FIRST));
        (self.0 as usize).wrapping_sub(start as usize) / finding::SIZE
    }

    fn key(self) -> u64 {
        self.word(finding::KEY).load(Ordering::Relaxed)
    }

    pub(super) fn word(self, place: usize) -> &'static AtomicU64 {
        // SAFETY: an aligned word of an entry of the table. `make` mapped the table, and nothing
        // unmaps it.
        unsafe { &*self.0.wrapping_add(place).cast::<AtomicU64>() }
    }

    /// Stores the latest occurrence. The severity only rises.
    pub(super) fn update(self, note: &Note) {
        self.word(finding::DESCRIPTORS).store(note.descriptors(), Ordering::Relaxed);
        for (index, detail) in note.detail.iter().enumerate() {
            self.word(finding::DETAIL + index * 8).store(*detail, Ordering::Relaxed);
        }
        if self.word(finding::SEVERITY).load(Ordering::Relaxed) < note.severity as u64 {
            self.word(finding::SEVERITY).fetch_max(note.severity as u64, Ordering::Relaxed);
        }
    }

    /// None: not in use, or not found since `restart`.
    pub(super) fn read(self) -> Option<Finding> {
        // Acquire: pairs with the Release in `entry`, which stores the kind last.
        Finding::read(self.place(), |place| self.word(place).load(Ordering::Acquire))
    }
}
