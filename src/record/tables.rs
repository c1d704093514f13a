//! Mirrors the ledger's totals and tables in the file. The holder of the ledger's lock writes each
//! change.
//!
//! The ledger's own memory does not lie in the file, because the child of a fork would share it
//! with its parent.
//!
//! The file does not grow while the lock is held. A change that finds no part for an entry requests
//! one ([`Table::want`]) and continues. When the lock is free again, the part is created
//! ([`grow_tables`]), and the ledger fills it as a change of its own. A part is requested when the
//! one before it is half in use, so few entries are written before their part exists.

use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use epollshim_format::findings::near_limit;
use epollshim_format::recording::{header, instance, interest, kind, totals};

use super::file::{State, word};
use super::known;
use crate::counters::{CountWait, WaitCounters, WaitEnd};
use crate::ledger::Rows;
use crate::ledger::core::Totals;
use crate::ledger::records::{Instance, Interest, Origin};
use crate::{clock, ledger, sys};

/// The parts of a table in the file. Null: not created yet. `dropped()`: there was no space. (The
/// whole table begins as zero, so that it lies in .bss.)
struct Table<const PARTS: usize, const KIND: u64, const SIZE: usize, const ENTRIES: usize> {
    parts: [AtomicPtr<u8>; PARTS],
    /// How many parts are needed, from the first.
    wanted: AtomicU32,
}

/// Set when the tables must be begun, or a part of one must be created.
static WANTS_PARTS: AtomicBool = AtomicBool::new(false);

// Values of `State::tables`; 0: there are no tables.
/// The tables are empty.
const EMPTY: u32 = 1;
/// Changes go into them.
const KEPT: u32 = 2;

const fn dropped() -> *mut u8 {
    core::ptr::without_provenance_mut(1)
}

/// The work of [`Table::grow`], in one copy for both tables, for size.
#[inline(never)]
fn grow(
    parts: &[AtomicPtr<u8>],
    [number_of_kind, entries, bytes]: [usize; 3],
    state: &State,
    made: &mut dyn FnMut(Rows),
) {
    for (number, part) in parts.iter().enumerate() {
        if !part.load(Ordering::Relaxed).is_null() {
            continue;
        }
        let first = (number * entries) as u32;
        match state.part(number_of_kind as u64, bytes, u64::from(first), part, &|| ()) {
            Ok(true) => {
                made(Rows { of_instances: number_of_kind as u64 == kind::INSTANCES, first, count: entries as u32 });
            }
            // Another thread has created it.
            Ok(false) => {}
            Err(_) => part.store(dropped(), Ordering::Relaxed),
        }
    }
}

static INSTANCES: Table<1024, { kind::INSTANCES }, { instance::SIZE }, { instance::ENTRIES }> = Table::new();
static INTERESTS: Table<2048, { kind::INTERESTS }, { interest::SIZE }, { interest::ENTRIES }> = Table::new();

impl<const PARTS: usize, const KIND: u64, const SIZE: usize, const ENTRIES: usize> Table<PARTS, KIND, SIZE, ENTRIES> {
    const fn new() -> Self {
        Table { parts: [const { AtomicPtr::new(core::ptr::null_mut()) }; PARTS], wanted: AtomicU32::new(0) }
    }

    /// The entry of an index. None: there is no space for it, or it will be written when its part
    /// is created.
    #[inline(always)]
    fn entry(&self, index: u32) -> Option<*mut u8> {
        let number = index as usize / ENTRIES;
        // Acquire: pairs with the Release in `State::part`.
        let start = self.parts.get(number)?.load(Ordering::Acquire);
        if start.is_null() {
            self.want(number);
            return None;
        }
        if index as usize % ENTRIES == ENTRIES / 2 {
            self.want(number + 1);
        }
        if start == dropped() {
            if let Some(state) = State::of_this_process() {
                state.add(header::ENTRIES_DROPPED, 1);
            }
            return None;
        }
        Some(start.wrapping_add(index as usize % ENTRIES * SIZE))
    }

    /// The entry of an index, if its part exists.
    fn known(&self, index: u32) -> Option<*mut u8> {
        let start = self.parts.get(index as usize / ENTRIES)?.load(Ordering::Acquire);
        (!start.is_null() && start != dropped()).then(|| start.wrapping_add(index as usize % ENTRIES * SIZE))
    }

    /// Requests a part.
    #[cold]
    fn want(&self, number: usize) {
        self.wanted.fetch_max(number as u32 + 1, Ordering::Relaxed);
        // Release: pairs with the exchange in `grow_tables`.
        WANTS_PARTS.store(true, Ordering::Release);
    }

    /// Creates the parts that are requested and missing. Calls `made` with the indexes of each.
    fn grow(&self, state: &State, made: &mut dyn FnMut(Rows)) {
        let wanted = self.wanted.load(Ordering::Relaxed) as usize;
        let parts = self.parts.get(..wanted).unwrap_or(&self.parts);
        grow(parts, [KIND as usize, ENTRIES, ENTRIES * SIZE], state, made);
    }

    fn forget(&self) {
        self.parts.iter().for_each(|part| part.store(core::ptr::null_mut(), Ordering::Relaxed));
        self.wanted.store(0, Ordering::Relaxed);
    }
}

#[inline(always)]
fn set(start: *mut u8, place: usize, value: u64) {
    // SAFETY: callers pass an entry or the totals page, both in parts that are never unmapped, and
    // an aligned offset of its layout.
    unsafe { word(start, place).store(value, Ordering::Relaxed) };
}

/// The state, if changes go into the tables.
#[inline(always)]
fn kept() -> Option<&'static State> {
    State::of_this_process().filter(|state| state.tables.load(Ordering::Relaxed) == KEPT)
}

/// Requests the tables of a file that has none yet.
pub fn want_tables() {
    // Release: pairs with the exchange in `grow_tables`.
    WANTS_PARTS.store(true, Ordering::Release);
}

/// Whether [`grow_tables`] has something to do.
#[inline(always)]
pub fn wants_parts() -> bool {
    WANTS_PARTS.load(Ordering::Relaxed)
}

/// Creates the missing parts of the tables, and has `mirror` write their entries. Must not be
/// called under the lock. True: the tables have just been created, and are empty.
pub fn grow_tables(mirror: &mut dyn FnMut(Rows)) -> bool {
    let Some(state) = State::of_this_process().filter(|state| state.is_on()) else { return false };
    // Acquire: pairs with the Release in `want` and `want_tables`.
    if !WANTS_PARTS.swap(false, Ordering::Acquire) {
        return false;
    }
    if state.tables.load(Ordering::Relaxed) == 0 {
        return begin_tables(state);
    }
    INSTANCES.grow(state, mirror);
    INTERESTS.grow(state, mirror);
    false
}

/// Begins the tables of this process, empty. In the child of a fork, the parts are still the
/// parent's. Nothing is written there, because `State::tables` was wiped.
fn begin_tables(state: &State) -> bool {
    let forget = || {
        INSTANCES.forget();
        INTERESTS.forget();
    };
    // If there is no space for the totals, the tables are begun without them.
    let _ = state.part(kind::TOTALS, 4096, 0, &state.totals, &forget);
    // Release: pairs with the Acquire of the ledger's lock, whose holder switches them on.
    state.tables.compare_exchange(0, EMPTY, Ordering::Release, Ordering::Relaxed).is_ok()
}

/// Writes an instance that was created, or whose watches changed.
pub fn noted_instance(index: u32, of: &Instance, epfd: i32) {
    let Some(state) = kept() else { return };
    if epfd >= 0 {
        reach_number(state, epfd);
    }
    let Some(entry) = INSTANCES.entry(index) else { return };
    let origin = u64::from(of.argument.get() as u32) | u64::from(of.origin.load(Ordering::Relaxed)) << 32;
    let inherited = of.inherited.load(Ordering::Relaxed) != 0 && !matches!(of.origin(), Origin::Unseen);
    known::meet(of.site.load(Ordering::Relaxed));
    set(entry, instance::SITE, of.site.load(Ordering::Relaxed) as u64);
    set(entry, instance::ORIGIN, origin | if inherited { instance::INHERITED } else { 0 });
    set(entry, instance::EPFD, u64::from(epfd as u32) | of.waits_marked.get() << instance::MARK);
    set(entry, instance::WATCHES, of.watches.get());
    set(entry, instance::WATCHES_PEAK, of.watches.get());
    set(entry, instance::BEGAN, clock::monotonic());
    for (place, of) in [&of.alone, &of.shared].into_iter().enumerate() {
        for (word, counter) in [&of.waits, &of.events, &of.empty, &of.full, &of.interrupted].into_iter().enumerate() {
            set(entry, instance::WAITS + (place * 5 + word) * 8, counter.get());
        }
    }
    set(entry, instance::ID, of.id.get());
    noted_creation(of);
}

/// Writes that the waits of an instance were marked.
pub fn marked_instance(index: u32, of: &Instance) {
    if let Some(entry) = kept().and_then(|_| INSTANCES.known(index)) {
        // SAFETY: `entry` is in a part that is never unmapped, and the offset is aligned.
        let epfd = unsafe { word(entry, instance::EPFD) }.load(Ordering::Relaxed) as u32;
        set(entry, instance::EPFD, u64::from(epfd) | of.waits_marked.get() << instance::MARK);
        // Acquire: pairs with the Release in `State::part`.
        let start = State::of_this_process().map(|state| state.totals.load(Ordering::Acquire));
        if let Some(start) = start.filter(|start| !start.is_null()) {
            set(start, totals::MARKED, ledger::waits_marked_at());
        }
    }
}

/// Writes how many instances the site of this one has created.
fn noted_creation(of: &Instance) {
    let site = of.site.load(Ordering::Relaxed);
    let totals = kept().map_or(core::ptr::null_mut(), |state| state.totals.load(Ordering::Acquire));
    if !totals.is_null()
        && let Some((place, made)) = ledger::made_at(site).filter(|(place, _)| *place < totals::SITES)
    {
        set(totals, totals::CREATIONS + place * 16, site as u64);
        set(totals, totals::CREATIONS + place * 16 + 8, made);
    }
}

pub fn gone_instance(index: u32) {
    if let Some(entry) = kept().and_then(|_| INSTANCES.known(index)) {
        set(entry, instance::ID, 0);
    }
}

pub fn noted_interest(index: u32, of: &Interest, watches: u64) {
    let Some(state) = kept() else { return };
    reach_number(state, of.fd());
    watched(of.instance(), watches);
    let Some(entry) = INTERESTS.entry(index) else { return };
    known::meet(of.site() as usize);
    set(entry, interest::SITE, of.site());
    set(entry, interest::INSTANCE, u64::from(of.instance()) | u64::from(of.fd() as u32) << 32);
}

pub fn gone_interest(index: u32, instance: u32, watches: u64) {
    if kept().is_none() {
        return;
    }
    watched(instance, watches);
    if let Some(entry) = INTERESTS.known(index) {
        set(entry, interest::INSTANCE, 0);
    }
}

#[inline(always)]
fn watched(index: u32, watches: u64) {
    if let Some(entry) = INSTANCES.known(index) {
        set(entry, instance::WATCHES, watches);
        // SAFETY: `entry` is in a part that is never unmapped, and the offset is aligned.
        let peak = unsafe { word(entry, instance::WATCHES_PEAK) };
        if peak.load(Ordering::Relaxed) < watches {
            peak.store(watches, Ordering::Relaxed);
        }
    }
}

/// Counts the end of a wait on an instance. `is_alone`: the calling thread has a set of counters of
/// its own there.
#[inline(always)]
pub fn instance_waited(index: u32, end: WaitEnd, is_alone: bool) {
    let Some(entry) = kept().and_then(|_| INSTANCES.known(index)) else { return };
    const _: () = assert!(size_of::<WaitCounters>() == 40 && align_of::<WaitCounters>() == 8);
    // SAFETY: `entry` is in a part that is never unmapped. By the layout, two sets of five aligned
    // words are at this offset, which the assertion checks.
    let [alone, shared] = unsafe { &*entry.wrapping_add(instance::WAITS).cast::<[WaitCounters; 2]>() };
    if is_alone {
        alone.count_alone(end);
    } else {
        shared.count_shared(end);
    }
}

/// Keeps the highest descriptor number of an instance or a watched file.
#[inline(always)]
fn reach_number(state: &State, number: i32) {
    // Acquire: pairs with the Release in `State::part`.
    let start = state.totals.load(Ordering::Acquire);
    // SAFETY: `start` is the totals page, which is never unmapped, and the offset is aligned.
    if !start.is_null() && number as u64 >= unsafe { word(start, totals::NUMBERS) }.load(Ordering::Relaxed) {
        reach_further(start, number as u64 + 1);
    }
}

/// Stores a higher number. It queries the limit of descriptors near that limit, and when the number
/// is a power of two.
#[cold]
#[inline(never)]
fn reach_further(start: *mut u8, numbers: u64) {
    set(start, totals::NUMBERS, numbers);
    set(start, totals::MARKED, ledger::waits_marked_at());
    // SAFETY: `start` is the totals page, which is never unmapped, and the offset is aligned.
    let known = unsafe { word(start, totals::NUMBERS_LIMIT) }.load(Ordering::Relaxed);
    if (known == 0 || near_limit::is_near(numbers, known) || numbers.is_power_of_two())
        && let Ok(limit) = sys::descriptor_limit()
    {
        set(start, totals::NUMBERS_LIMIT, limit.rlim_cur);
    }
}

/// Writes the totals. True: the tables were empty until now. From now on changes are written into
/// them.
pub fn changed_totals(of: &Totals, watches: u64, memory: u64) -> bool {
    let Some(state) = State::of_this_process() else { return false };
    let is_new = match state.tables.load(Ordering::Relaxed) {
        KEPT => false,
        EMPTY => state.tables.compare_exchange(EMPTY, KEPT, Ordering::Relaxed, Ordering::Relaxed).is_ok(),
        _ => return false,
    };
    // Acquire: pairs with the Release in `State::part`.
    let start = state.totals.load(Ordering::Acquire);
    if start.is_null() {
        return is_new;
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
    is_new
}
