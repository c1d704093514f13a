//! What processes that are related by fork tell each other about the epoll instances that they
//! share.
//!
//! A fork copies the ledger, but the instances themselves are shared: events of an interest that
//! one process adds are delivered to the other's waits too. Each process sees only its own calls.
//! So both write what matters to one shared page. The first process that creates an instance maps
//! the page, and its children inherit it. The page says who used an instance that existed before
//! the fork, and which instance an exec has passed on. Findings read it (findings/processes.rs).
//!
//! Each related process has a number from the page. Pids do not identify a process: parent and
//! child may both be pid 1, each in a namespace of its own. The pids are kept for findings to
//! print.
//!
//! The page is written when an instance is used for the first time after a fork, and before an
//! exec, never on a hot path. Every word is an atomic of its own, and processes may die between any
//! two writes. Readers need single facts, not consistent sets.

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use epollshim_ledger::records::Instance;

use crate::{process, sys};

/// A forked process has used the instance.
pub const USED: u32 = 1;
/// Other processes have used it too: siblings, or the parent.
pub const SHARED: u32 = 2;
/// An exec has passed it on.
pub const EXECUTED: u32 = 4;

/// What happened to one shared instance. If a child forks again, each forking process has an entry.
#[repr(C, align(128))]
pub struct Entry {
    /// The number of the process that created it, and the low half of its id there; 0: not in use.
    key: AtomicU64,
    /// Where it was created.
    pub made_at: AtomicU64,
    /// Where it was first used by a forked process.
    pub used_at: AtomicU64,
    /// How often the parent had waited on it at the fork.
    waits: AtomicU64,
    /// Where exec was called.
    pub executed_at: AtomicU64,
    flags: AtomicU32,
    /// The parent of the processes that used it.
    forker: AtomicU32,
    /// The process that used it last, and has not ended.
    user: AtomicU32,
    /// The process that used it first.
    first_user: AtomicU32,
    /// Its descriptor.
    pub epfd: AtomicU32,
    /// The pids of these, and of the process that made the exec.
    pub forker_pid: AtomicU32,
    user_pid: AtomicU32,
    pub first_user_pid: AtomicU32,
    pub executor_pid: AtomicU32,
}

const ENTRIES: usize = 62;
const FORKERS: usize = 15;

#[repr(C)]
struct Page {
    /// How often anything was written about an instance.
    written: AtomicU64,
    /// How many processes were given a number.
    members: AtomicU32,
    /// Processes that have forked: the number in the upper half, and in the lower half the id of
    /// the newest instance that the process had at the fork.
    forkers: [AtomicU64; FORKERS],
    entries: [Entry; ENTRIES],
}

const BYTES: usize = 2 * 4096;
const _: () = assert!(size_of::<Page>() <= BYTES);

/// Null until this process or an ancestor has created an instance. Acquire and Release: the page is
/// mapped before its address is visible.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(::core::ptr::null_mut());
/// This process's number, and that of its parent; 0: none. A fork copies them, and `forked` sets
/// them.
static NUMBER: AtomicU32 = AtomicU32::new(0);
static FORKER: AtomicU32 = AtomicU32::new(0);

fn page() -> Option<&'static Page> {
    // SAFETY: null, or the mapping that `prepare` made, which is never unmapped.
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

/// Maps the page if there is none. True: it did so now.
#[cold]
#[unsafe(link_section = ".text.hot.epollshim.more")]
pub fn prepare() -> bool {
    page().is_none() && map()
}

#[cold]
#[inline(never)]
fn map() -> bool {
    let Ok(start) = sys::map_shared(BYTES) else { return false };
    // SAFETY: page-aligned, large enough, and all-zero is a valid Page. No other thread has seen it
    // yet.
    let first = unsafe { &*start.cast::<Page>() }.next_number();
    // Before the page is visible to others. Another thread that maps one stores the same.
    NUMBER.store(first, Ordering::Relaxed);
    let null = ::core::ptr::null_mut();
    if PAGE.compare_exchange(null, start.cast(), Ordering::Release, Ordering::Relaxed).is_err() {
        // SAFETY: another thread stored a page first. No other thread has seen this one.
        unsafe { sys::unmap(start, BYTES) };
        return false;
    }
    true
}

impl Page {
    fn next_number(&self) -> u32 {
        self.members.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// This process's number; 0: it and its relatives create no instances.
pub fn number() -> u32 {
    NUMBER.load(Ordering::Relaxed)
}

/// This process is the child of a fork. `newest` is the highest id of its parent's instances.
pub fn forked(newest: u64) {
    let Some(page) = page() else { return };
    let forker = NUMBER.swap(page.next_number(), Ordering::Relaxed);
    FORKER.store(forker, Ordering::Relaxed);
    let word = u64::from(forker) << 32 | u64::from(newest as u32);
    for place in &page.forkers {
        let there = place.compare_exchange(0, word, Ordering::Relaxed, Ordering::Relaxed);
        match there {
            Ok(_) => return,
            Err(there) if there >> 32 == word >> 32 => {
                place.fetch_max(word, Ordering::Relaxed);
                return;
            }
            Err(_) => {}
        }
    }
}

/// Whether this process has forked since it created an instance.
pub fn has_forked_with(instance: &Instance) -> bool {
    let own = u64::from(number());
    let id = u64::from(instance.id.get() as u32);
    page().is_some_and(|page| {
        let mut words = page.forkers.iter().map(|place| place.load(Ordering::Relaxed));
        words.any(|word| word >> 32 == own && word & u64::from(u32::MAX) >= id)
    })
}

/// Whether this process or a relative creates instances.
pub fn exists() -> bool {
    page().is_some()
}

/// Whether anything was written.
pub fn has_entries() -> bool {
    page().is_some_and(|page| page.written.load(Ordering::Relaxed) != 0)
}

/// Everything that was written.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    page().into_iter().flat_map(|page| &page.entries).take_while(|entry| entry.key.load(Ordering::Relaxed) != 0)
}

/// An instance, as related processes identify it.
pub struct Shared {
    /// `Instance::id`, and the number of the process that created it.
    pub id: u64,
    pub maker: u32,
    pub made_at: usize,
    /// How often the parent of this process had waited on it at the fork.
    pub waits_before: u64,
}

impl Shared {
    pub fn of(instance: &Instance) -> Shared {
        Shared {
            id: instance.id.get(),
            maker: instance.maker.get(),
            made_at: instance.site.load(Ordering::Relaxed),
            waits_before: instance.waits_before.get(),
        }
    }

    fn key(&self) -> u64 {
        key(self.maker, self.id)
    }
}

/// The key of an instance; 0: neither this process nor a relative created it.
fn key(maker: u32, id: u64) -> u64 {
    if maker == 0 { 0 } else { u64::from(maker) << 32 | u64::from(id as u32) }
}

impl Entry {
    pub fn has(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    fn raise(&self, flag: u32) {
        self.flags.fetch_or(flag, Ordering::Relaxed);
    }

    /// The number of the process that created the instance.
    pub fn maker(&self) -> u32 {
        (self.key.load(Ordering::Relaxed) >> 32) as u32
    }

    pub fn is_of(&self, instance: &Instance) -> bool {
        let key = key(instance.maker.get(), instance.id.get());
        key != 0 && self.key.load(Ordering::Relaxed) == key
    }
}

/// The entry of an instance that `fits`, or a free one, which is taken.
fn entry(shared: &Shared, fits: impl Fn(&Entry) -> bool) -> Option<&'static Entry> {
    let (page, key) = (page()?, shared.key());
    if key == 0 {
        return None;
    }
    page.written.fetch_add(1, Ordering::Relaxed);
    for entry in &page.entries {
        let taken = entry.key.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed);
        if taken.is_ok() {
            entry.made_at.store(shared.made_at as u64, Ordering::Relaxed);
        }
        if (taken.is_ok() || taken == Err(key)) && fits(entry) {
            return Some(entry);
        }
    }
    // The page is full. 62 shared instances are enough for a finding.
    None
}

/// This process, which was forked, uses an instance that existed before, for the first time.
pub fn note_use(shared: &Shared, epfd: i32, site: usize) {
    let (own, forker) = (number(), FORKER.load(Ordering::Relaxed));
    let own_pid = process::pid() as u32;
    let of_forker = |entry: &Entry| {
        let there = entry.forker.compare_exchange(0, forker, Ordering::Relaxed, Ordering::Relaxed);
        if there.is_ok() {
            entry.forker_pid.store(process::forker(), Ordering::Relaxed);
            entry.waits.store(shared.waits_before, Ordering::Relaxed);
        }
        there.is_ok() || there == Err(forker)
    };
    let Some(entry) = entry(shared, of_forker) else { return };
    if entry.first_user.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        entry.first_user_pid.store(own_pid, Ordering::Relaxed);
        entry.used_at.store(site as u64, Ordering::Relaxed);
        entry.epfd.store(epfd as u32, Ordering::Relaxed);
    }
    let before = entry.user.swap(own, Ordering::Relaxed);
    let pid_before = entry.user_pid.swap(own_pid, Ordering::Relaxed) as i32;
    // Release: a reader that sees the flag sees who used it.
    entry.flags.fetch_or(USED, Ordering::Release);
    if before != 0 && before != own && sys::thread_exists(pid_before, pid_before) {
        entry.raise(SHARED);
    }
}

/// Whether children of this process have used an instance that it has waited on since the fork.
/// Called when the instance has ended, and by reports.
#[cold]
pub fn compare(id: u64, maker: u32, waits: u64) {
    let (own, key) = (number(), key(maker, id));
    for entry in entries() {
        if key == 0 || entry.key.load(Ordering::Relaxed) != key {
            continue;
        }
        let is_forker = entry.flags.load(Ordering::Acquire) & USED != 0 && entry.forker.load(Ordering::Relaxed) == own;
        if is_forker && waits > entry.waits.load(Ordering::Relaxed) {
            entry.raise(SHARED);
        }
    }
}

/// Whether this process is one of those that share the instance.
pub fn concerns_this_process(entry: &Entry, is_used_here: bool) -> bool {
    let own = number();
    let is_child = is_used_here && entry.forker.load(Ordering::Relaxed) == FORKER.load(Ordering::Relaxed);
    is_child || [&entry.forker, &entry.user, &entry.first_user].iter().any(|user| user.load(Ordering::Relaxed) == own)
}

/// This process ends: it no longer uses anything.
pub fn leave() {
    let own = number();
    for entry in entries() {
        let _ = entry.user.compare_exchange(own, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The calling process, which may have borrowed this memory, is about to exec and pass on a
/// descriptor of an instance.
pub fn note_exec(instance: &Instance, epfd: i32, site: usize) {
    let Some(entry) = entry(&Shared::of(instance), |_| true) else { return };
    entry.executed_at.store(site as u64, Ordering::Relaxed);
    entry.executor_pid.store(sys::getpid() as u32, Ordering::Relaxed);
    entry.epfd.store(epfd as u32, Ordering::Relaxed);
    entry.raise(EXECUTED);
}
