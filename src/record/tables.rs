//! The ledger's totals and tables, written again into the file by the holder of the lock as they change.
//!
//! Mirrors and not the ledger's own memory: the child of a fork would share that with its parent.

use crate::sync::{AtomicPtr, Ordering};

use epollshim_format::recording::{header, instance, interest, kind, totals};

use super::file::word;
use crate::ledger::core::Totals;
use crate::ledger::counters::{WaitCounters, WaitEnd};
use crate::ledger::records::{Instance, Interest, Origin};
use crate::{clock, process};

/// Parts of a table, as the file has them; null: none yet. `dropped()`: no space. (All of it begins as zero, so that it lies in
/// .bss.)
struct Table<const PARTS: usize, const KIND: u64, const SIZE: usize, const ENTRIES: usize> {
    parts: [AtomicPtr<u8>; PARTS],
}

const fn dropped() -> *mut u8 {
    core::ptr::without_provenance_mut(1)
}

static INSTANCES: Table<1024, { kind::INSTANCES }, { instance::SIZE }, { instance::ENTRIES }> = Table::new();
static INTERESTS: Table<2048, { kind::INTERESTS }, { interest::SIZE }, { interest::ENTRIES }> = Table::new();

impl<const PARTS: usize, const KIND: u64, const SIZE: usize, const ENTRIES: usize> Table<PARTS, KIND, SIZE, ENTRIES> {
    const fn new() -> Self {
        Table { parts: [const { AtomicPtr::new(core::ptr::null_mut()) }; PARTS] }
    }

    /// The entry of an index; None: there is no space for it. Makes the part that it is in.
    fn entry(&self, index: u32) -> Option<*mut u8> {
        let number = index as usize / ENTRIES;
        let part = self.parts.get(number)?;
        let mut start = part.load(Ordering::Relaxed);
        if start.is_null() {
            start = self.make(number);
            part.store(start, Ordering::Relaxed);
        }
        if start == dropped() {
            if let Some(state) = process::recording() {
                state.add(header::ENTRIES_DROPPED, 1);
            }
            return None;
        }
        Some(start.wrapping_add(index as usize % ENTRIES * SIZE))
    }

    /// The entry of an index whose part is there.
    fn known(&self, index: u32) -> Option<*mut u8> {
        let start = self.parts.get(index as usize / ENTRIES)?.load(Ordering::Relaxed);
        (!start.is_null() && start != dropped()).then(|| start.wrapping_add(index as usize % ENTRIES * SIZE))
    }

    #[cold]
    fn make(&self, number: usize) -> *mut u8 {
        process::recording()
            .and_then(|state| state.segment(KIND, ENTRIES * SIZE, (number * ENTRIES) as u64, None, |_| ()))
            .unwrap_or(dropped())
    }

    fn forget(&self) {
        self.parts.iter().for_each(|part| part.store(core::ptr::null_mut(), Ordering::Relaxed));
    }
}

fn set(start: *mut u8, place: usize, value: u64) {
    // SAFETY: a word of an entry of a part that is mapped for good.
    unsafe { word(start, place).store(value, Ordering::Relaxed) };
}

/// Whether this process's file is there, and its tables are not. Under the lock.
pub fn wants_tables() -> bool {
    process::recording().is_some_and(|state| state.is_on() && state.has_tables.load(Ordering::Relaxed) == 0)
}

/// Whether changes go into the tables.
#[inline(always)]
pub fn has_tables() -> bool {
    process::recording().is_some_and(|state| state.has_tables.load(Ordering::Relaxed) != 0)
}

/// Begins the tables of this process, empty. Under the lock. (In the child of a fork the parts are the parent's till now:
/// nothing is written there, since `has_tables` is wiped.)
pub fn begin_tables() {
    INSTANCES.forget();
    INTERESTS.forget();
    if let Some(state) = process::recording() {
        if let Some(start) = state.segment(kind::TOTALS, 4096, 0, None, |_| ()) {
            state.totals.store(start, Ordering::Release);
        }
        state.has_tables.store(1, Ordering::Relaxed);
    }
}

/// An instance was noted, or its watches changed.
pub fn noted_instance(index: u32, of: &Instance, epfd: i32) {
    let Some(entry) = INSTANCES.entry(index) else { return };
    let origin = u64::from(of.argument.get() as u32) | u64::from(of.origin.load(Ordering::Relaxed)) << 32;
    let inherited = of.inherited.load(Ordering::Relaxed) != 0 && !matches!(of.origin(), Origin::Unseen);
    set(entry, instance::SITE, of.site.load(Ordering::Relaxed) as u64);
    set(entry, instance::ORIGIN, origin | if inherited { instance::INHERITED } else { 0 });
    set(entry, instance::EPFD, epfd as u64);
    set(entry, instance::WATCHES, of.watches.get());
    set(entry, instance::WATCHES_PEAK, of.watches.get());
    set(entry, instance::BEGAN, clock::monotonic());
    for word in 0..10 {
        set(entry, instance::WAITS + word * 8, 0);
    }
    set(entry, instance::ID, of.id.get());
}

pub fn gone_instance(index: u32) {
    if let Some(entry) = INSTANCES.known(index) {
        set(entry, instance::ID, 0);
    }
}

pub fn noted_interest(index: u32, of: &Interest, watches: u64) {
    watched(of.instance(), watches);
    let Some(entry) = INTERESTS.entry(index) else { return };
    set(entry, interest::SITE, of.site());
    set(entry, interest::INSTANCE, u64::from(of.instance()) | u64::from(of.fd() as u32) << 32);
}

pub fn gone_interest(index: u32, instance: u32, watches: u64) {
    watched(instance, watches);
    if let Some(entry) = INTERESTS.known(index) {
        set(entry, interest::INSTANCE, 0);
    }
}

fn watched(index: u32, watches: u64) {
    if let Some(entry) = INSTANCES.known(index) {
        set(entry, instance::WATCHES, watches);
        // SAFETY: as in `set`.
        let peak = unsafe { word(entry, instance::WATCHES_PEAK) };
        if peak.load(Ordering::Relaxed) < watches {
            peak.store(watches, Ordering::Relaxed);
        }
    }
}

/// A wait on an instance ended; `is_alone`: the calling thread is the one that counts by itself.
#[inline(always)]
pub fn instance_waited(index: u32, end: WaitEnd, is_alone: bool) {
    if !has_tables() {
        return;
    }
    let Some(entry) = INSTANCES.known(index) else { return };
    const _: () = assert!(size_of::<WaitCounters>() == 40 && align_of::<WaitCounters>() == 8);
    // SAFETY: two sets of five words, as the layout has them.
    let [alone, shared] = unsafe { &*entry.wrapping_add(instance::WAITS).cast::<[WaitCounters; 2]>() };
    if is_alone {
        alone.count_alone(end);
    } else {
        shared.count_shared(end);
    }
}

/// The totals have changed.
pub fn changed_totals(of: &Totals, watches: u64, memory: u64) {
    let Some(start) = process::recording().map(|state| state.totals.load(Ordering::Acquire)) else { return };
    if start.is_null() {
        return;
    }
    let instances = of.instances.get();
    set(start, totals::INSTANCES, instances);
    set(start, totals::INSTANCES_PEAK, of.instances_peak.get().max(instances));
    set(start, totals::WATCHES, watches);
    set(start, totals::WATCHES_PEAK, of.watches_peak.get().max(watches));
    set(start, totals::VANISHED, of.vanished.get());
    set(start, totals::MEMORY_PEAK, of.memory_peak.get().max(memory));
    set(start, totals::UNSEEN_INSTANCES, of.unseen_instances.get());
    set(start, totals::UNSEEN_WATCHES, of.unseen_watches.get());
    set(start, totals::HEALED, of.healed.get());
    set(start, totals::LOST, of.lost.get());
}
