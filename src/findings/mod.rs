//! Problems in how the program uses descriptors.
//!
//! A detector is placed where its facts appear. [`note`] is for events (a call fails, a descriptor
//! is closed), [`evaluate`](evaluation::evaluate) for what only the totals of a report show. Both
//! write into one table, which is in the recording if there is one, and which every report prints.
//! `epollshim_format::findings` has names, severities and messages.
//!
//! Hooks call `note`, from any state and from signal handlers. It is too slow for a call that
//! succeeds as expected (docs/performance.md, "Descriptors and the census"). The first finding of a
//! process maps memory (a system call, or several for a segment of the recording).

pub mod batch;
mod churn;
mod described;
pub mod doubles;
pub mod errors;
pub mod evaluation;
pub mod ghosts;
pub mod herd;
pub mod leak;
pub mod limits;
pub mod listeners;
pub mod loops;
mod processes;
pub mod sizes;
mod spin;
pub mod stalled;
pub mod suppressions;
mod table;
pub mod waiters;
pub mod watch;

use crate::sync::Ordering;

use epollshim_format::findings::{Finding, Id, Severity};
use epollshim_format::recording::{finding, findings};

use crate::{clock, ledger, thread};

use self::table::{Entry, entry, key, known, made, table};

pub use described::described;
pub use table::{Above, Note, Place, descriptors, numbers};

/// Counts a finding that was found before at `site` and has no second place, without building a
/// `Note`. False: it was not found before, and nothing is counted.
#[inline(always)]
pub fn again(id: Id, variant: u8, site: usize, descriptors: u64) -> bool {
    count_again(id, variant, site, descriptors) != 0
}

/// Like [`again`], but returns how often it was found so far; 0: it was not found before.
#[inline(always)]
pub fn count_again(id: Id, variant: u8, site: usize, descriptors: u64) -> u64 {
    let Some(table) = table() else { return 0 };
    let key = key(id as u64 | u64::from(variant) << 8, site, 0);
    let entry = table.entry((key >> 32) as usize);
    if entry.word(finding::KEY).load(Ordering::Relaxed) != key {
        return 0;
    }
    entry.word(finding::DESCRIPTORS).store(descriptors, Ordering::Relaxed);
    entry.word(finding::COUNT).fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

/// Whether the kernel lists an instance's interests in a few milliseconds. It holds the instance's
/// lock while it does.
pub fn has_short_list(epfd: i32) -> bool {
    const MOST: u64 = 8_192;
    ledger::crowd_of(epfd).is_some_and(|crowd| crowd.watches <= MOST)
}

/// Notes one occurrence of a finding. If it was found before, only the count and the descriptors
/// are updated.
///
/// The inlined part handles a finding that was found before and is in its first place in the table,
/// so that no `Note` is built for it.
#[inline(always)]
pub fn note(note: &Note) {
    if let Some(table) = table() {
        let key = note.key();
        let entry = table.entry((key >> 32) as usize);
        if entry.word(finding::KEY).load(Ordering::Relaxed) == key {
            entry.word(finding::DESCRIPTORS).store(note.descriptors(), Ordering::Relaxed);
            entry.word(finding::COUNT).fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
    note_slowly(note);
}

#[cold]
#[inline(never)]
fn note_slowly(note: &Note) {
    let Some(entry) = entry(note) else { return };
    entry.word(finding::DESCRIPTORS).store(note.descriptors(), Ordering::Relaxed);
    entry.word(finding::COUNT).fetch_add(1, Ordering::Relaxed);
    // Read the clock only once: that takes longer than everything else here.
    let first = entry.word(finding::FIRST);
    if first.load(Ordering::Relaxed) == 0 {
        first.store(clock::monotonic(), Ordering::Relaxed);
    }
}

/// Takes back one occurrence, which turned out to be none, or something else. Nothing happens if it
/// was never noted.
#[cold]
#[inline(never)]
pub fn retract(note: &Note) {
    if let Some(entry) = known(note) {
        let count = entry.word(finding::COUNT);
        // `restart` may have set it to 0 in the meantime.
        let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
    }
}

/// Adds to the cost of a finding, which is in its last two numbers, if it was noted.
pub fn add_cost(note: &Note, waits: u64, time: u64) {
    if let Some(entry) = known(note) {
        for (place, amount) in [(16, waits), (24, time)] {
            entry.word(finding::DETAIL + place).fetch_add(amount, Ordering::Relaxed);
        }
    }
}

/// Whether the same was found before.
pub fn is_known(note: &Note) -> bool {
    known(note).is_some_and(|entry| entry.word(finding::COUNT).load(Ordering::Relaxed) != 0)
}

/// Stores the state for a report. It replaces the state that an earlier report found.
pub fn put(note: &Note, count: u64) {
    let Some(entry) = entry(note) else { return };
    entry.update(note);
    described::note(entry.place(), note);
    entry.word(finding::COUNT).store(count, Ordering::Relaxed);
}

/// Updates the numbers of a finding that was noted before, and its severity if it rises.
pub fn refresh(note: &Note) {
    if let Some(entry) = known(note) {
        entry.update(note);
    }
}

/// Like [`refresh`], but only if the severity rises.
pub fn raise(note: &Note) {
    if known(note).is_some_and(|entry| entry.word(finding::SEVERITY).load(Ordering::Relaxed) < note.severity as u64) {
        refresh(note);
    }
}

/// The numbers of a finding that was noted before.
pub fn detail_of(note: &Note) -> Option<[u64; 4]> {
    let entry = known(note)?;
    Some([0, 8, 16, 24].map(|place| entry.word(finding::DETAIL + place).load(Ordering::Relaxed)))
}

/// A finding that was noted before turned out to be no defect, and becomes `Info`. `flag` is the
/// reason, and is set in the last of its numbers.
pub fn ease(note: &Note, flag: u64) {
    if let Some(entry) = known(note) {
        entry.word(finding::DETAIL + 24).fetch_or(flag, Ordering::Relaxed);
        entry.word(finding::SEVERITY).store(Severity::Info as u64, Ordering::Relaxed);
    }
}

/// Removes the findings of an id that an earlier report made, before it is evaluated again.
pub fn withdraw(id: Id) {
    take_back(id, |_| true);
}

/// Like [`withdraw`], but keeps findings that were noted when they happened.
#[inline(never)] // for size
pub fn withdraw_evaluated(id: Id) {
    take_back(id, |entry| entry.word(finding::FIRST).load(Ordering::Relaxed) == 0);
}

/// Notes a suspicion, which [`confirm`] may make an error. Unless `is_shown`, it is not reported
/// until then.
#[cold]
#[inline(never)]
pub fn suspect(note: &Note, is_shown: bool) {
    if is_shown {
        note_slowly(note);
    } else {
        let _ = entry(note);
    }
}

/// The suspicion at a site is now known to be an error. False: there was no suspicion.
#[cold]
#[inline(never)]
pub fn confirm(id: Id, variant: u8, site: u64) -> bool {
    let mut is_known = false;
    let what = id as u64 | u64::from(variant) << 8;
    for entry in entries().filter(|entry| entry.word(finding::WHAT).load(Ordering::Acquire) == what) {
        // With stacks, the site of a close is a stack's.
        if entry.word(finding::SITE).load(Ordering::Relaxed) == site {
            entry.word(finding::SEVERITY).store(Severity::Error as u64, Ordering::Relaxed);
            entry.word(finding::COUNT).fetch_max(1, Ordering::Relaxed);
            is_known = true;
        }
    }
    is_known
}

/// Withdraws the suspicions about descriptors that were created at a site.
#[cold]
#[inline(never)]
pub fn withdraw_suspicions(id: Id, variant: u8, created: u64) {
    take_back(id, |entry| {
        entry.word(finding::WHAT).load(Ordering::Relaxed) >> 8 == u64::from(variant)
            && entry.word(finding::DETAIL + 8).load(Ordering::Relaxed) == created
            && entry.word(finding::SEVERITY).load(Ordering::Relaxed) == Severity::Info as u64
    });
}

/// All entries of the table, in use or not; none if there is no table.
fn entries() -> impl Iterator<Item = Entry> {
    let table = table();
    (0..findings::ENTRIES).filter_map(move |index| Some(table?.entry(index)))
}

fn take_back(id: Id, which: impl Fn(Entry) -> bool) {
    for entry in entries() {
        if entry.word(finding::WHAT).load(Ordering::Acquire) as u8 == id as u8 && which(entry) {
            entry.word(finding::COUNT).store(0, Ordering::Relaxed);
            entry.word(finding::SEVERITY).store(0, Ordering::Relaxed);
        }
    }
}

/// Everything that was found in this process, in no particular order.
pub fn all() -> impl Iterator<Item = Finding> {
    entries().filter_map(Entry::read)
}

/// How many findings were dropped because the table is full.
pub fn dropped() -> u64 {
    table().map_or(0, |table| table.dropped().load(Ordering::Relaxed))
}

/// Counts findings that were dropped elsewhere.
pub fn missed(count: u32) {
    if let Some(table) = made() {
        table.dropped().fetch_add(u64::from(count), Ordering::Relaxed);
    }
}

/// Resets all counts.
pub fn restart() {
    ledger::recent_closes().restart();
    entries().for_each(|entry| entry.word(finding::COUNT).store(0, Ordering::Relaxed));
    thread::all().for_each(|block| block.part::<watch::Watch>().restart());
}
