//! The state of each descriptor number: two words, found by two loads. The first describes the
//! descriptor, the second the call that closed the number last.
//!
//! Relaxed throughout: each word is complete in itself, and the kernel gives a number to a thread
//! only after another one has closed it.

use crate::sync::{AtomicI32, AtomicU64, Ordering};

use epollshim_format::census::Kind;
use epollshim_format::recording::census::number as layout;

use crate::mapped::Mapped;
use epollshim_ledger::numbers::{self, Numbers};

/// The most places (places.rs): a power of two.
pub const PLACES: usize = 8192;

/// The first word (`epollshim_format::recording::census::number`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry(u64);

impl Entry {
    pub const UNKNOWN: Entry = Entry(0);

    const ALIVE: u64 = layout::ALIVE;
    const CLOSED: u64 = layout::CLOSED;
    pub const CLOEXEC: u64 = layout::CLOEXEC;
    pub const PLACED: u64 = layout::PLACED;
    pub const HANDED_ON: u64 = layout::HANDED_ON;
    pub const AT_START: u64 = layout::AT_START;
    pub const SWEPT: u64 = layout::SWEPT;
    pub const POPENS: u64 = layout::POPENS;
    const BY_ITS_OWN: u64 = layout::BY_ITS_OWN;
    pub const STRAY: u64 = layout::STRAY;

    #[inline(always)]
    pub fn alive(place: u16, kind: Kind, generation: u8, token: usize) -> Entry {
        Entry(
            u64::from(place)
                | Self::ALIVE
                | (kind as u64) << layout::KIND
                | u64::from(generation) << layout::GENERATION
                | Self::thread(token),
        )
    }

    #[inline(always)]
    pub fn set(&mut self, flag: u64, is_set: bool) {
        self.0 = self.0 & !flag | if is_set { flag } else { 0 };
    }

    #[inline(always)]
    pub fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    #[inline(always)]
    pub fn is_alive(self) -> bool {
        self.has(Self::ALIVE)
    }

    #[inline(always)]
    pub fn was_closed(self) -> bool {
        self.has(Self::CLOSED)
    }

    #[inline(always)]
    pub fn place(self) -> u16 {
        layout::place(self.0)
    }

    #[inline(always)]
    pub fn kind(self) -> Kind {
        layout::kind(self.0)
    }

    #[inline(always)]
    pub fn generation(self) -> u8 {
        layout::generation(self.0)
    }

    /// Whether a thread created it.
    #[inline(always)]
    pub fn is_by(self, token: usize) -> bool {
        self.0 >> layout::THREAD == Self::thread(token) >> layout::THREAD
    }

    #[inline(always)]
    fn thread(token: usize) -> u64 {
        (token as u64 >> 6) << layout::THREAD
    }
}

/// The second word.
pub struct LastClose {
    /// The return address; 0: not known.
    pub site: usize,
    /// The thread, by its [`mark`].
    pub thread: u16,
}

/// A value that distinguishes a thread from most others.
pub fn mark(token: usize) -> u16 {
    (token >> 6) as u16 ^ (token >> 22) as u16
}

#[repr(C)]
struct Number {
    entry: AtomicU64,
    closed: AtomicU64,
}

// SAFETY: two atomics; zero stands for a number that was never seen.
unsafe impl numbers::Entry for Number {}

static TABLE: Numbers<Number, Mapped> = Numbers::new();
/// One more than the highest number that was ever open.
static END: AtomicI32 = AtomicI32::new(0);

/// The first word of a number; None: it was never seen.
pub fn word(fd: i32) -> Option<&'static AtomicU64> {
    TABLE.get(fd).map(|number| &number.entry)
}

pub fn get(fd: i32) -> Entry {
    TABLE.get(fd).map_or(Entry::UNKNOWN, |number| Entry(number.entry.load(Ordering::Relaxed)))
}

/// Writes the word of a new descriptor, and returns the previous one. None: no memory for it.
#[inline(always)]
pub fn put(fd: i32, entry: Entry) -> Option<Entry> {
    let number = TABLE.get_or_make(fd)?;
    if fd >= END.load(Ordering::Relaxed) {
        END.fetch_max(fd + 1, Ordering::Relaxed);
    }
    // No other thread writes it: the kernel has just given the number to this thread.
    let before = Entry(number.entry.load(Ordering::Relaxed));
    let mut entry = entry;
    entry.set(Entry::BY_ITS_OWN, before.has(Entry::BY_ITS_OWN) && !before.is_alive());
    Some(Entry(number.entry.swap(entry.0, Ordering::Relaxed)))
}

/// What [`end`] has closed.
#[derive(Clone, Copy)]
pub struct Ended {
    /// The entry before. If two threads close a number, only one finds it open.
    pub old: Entry,
    /// The thread that created it has closed it.
    pub by_its_own: bool,
    /// Some: the close is a stray one ([`Entry::STRAY`]), and the same thread had closed the number
    /// before, at this site.
    pub stray: Option<usize>,
}

/// Notes that what is open under a number is closed.
#[inline(always)]
pub fn end(fd: i32, site: usize, is_swept: bool) -> Ended {
    let nothing = |old| Ended { old, by_its_own: true, stray: None };
    let Some(number) = TABLE.get(fd) else { return nothing(Entry::UNKNOWN) };
    let token = crate::registers::token();
    let mut now = number.entry.load(Ordering::Relaxed);
    while Entry(now).is_alive() {
        let mut closed = Entry(now & !Entry::ALIVE | Entry::CLOSED);
        closed.set(Entry::SWEPT, is_swept);
        let by_its_own = closed.is_by(token);
        let mut stray = None;
        if !by_its_own {
            let before = last_close_of(number);
            if closed.has(Entry::BY_ITS_OWN) && before.thread == mark(token) && !is_swept {
                closed.set(Entry::STRAY, true);
                stray = Some(before.site);
            }
        }
        closed.set(Entry::BY_ITS_OWN, by_its_own);
        match number.entry.compare_exchange_weak(now, closed.0, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(old) => {
                let thread = mark(token);
                // A call that closes a range would walk the stack for each descriptor.
                let site = if is_swept { site } else { crate::stacks::site(site) };
                number.closed.store(site as u64 & SITE | u64::from(thread) << 48, Ordering::Relaxed);
                return Ended { old: Entry(old), by_its_own, stray };
            }
            Err(other) => now = other,
        }
    }
    nothing(Entry(now))
}

const SITE: u64 = (1 << 48) - 1;

pub fn last_close(fd: i32) -> LastClose {
    TABLE.get(fd).map_or(LastClose { site: 0, thread: 0 }, last_close_of)
}

#[inline(always)]
fn last_close_of(number: &Number) -> LastClose {
    let word = number.closed.load(Ordering::Relaxed);
    LastClose { site: (word & SITE) as usize, thread: (word >> 48) as u16 }
}

/// Marks the numbers from `first` to `last` that the calling thread has closed as swept.
#[cold]
pub fn swept(first: i32, last: i32) {
    let own = mark(crate::registers::token());
    for fd in first..=last.min(highest()) {
        let Some(number) = TABLE.get(fd) else { continue };
        let now = Entry(number.entry.load(Ordering::Relaxed));
        if now.was_closed() && !now.is_alive() && last_close_of(number).thread == own {
            let swept = Entry(now.0 & !Entry::STRAY | Entry::SWEPT);
            // Lost if the number is reused at this moment, which does no harm.
            let _ = number.entry.compare_exchange(now.0, swept.0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Changes the flags of a number that is open.
pub fn change(fd: i32, change: impl Fn(&mut Entry)) {
    let Some(number) = TABLE.get(fd) else { return };
    let now = number.entry.load(Ordering::Relaxed);
    if Entry(now).is_alive() {
        let mut changed = Entry(now);
        change(&mut changed);
        // Lost if the number is reused at this moment: the flags were those of the old descriptor.
        let _ = number.entry.compare_exchange(now, changed.0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Replaces a word that was read before, unless it has changed. True: written.
pub fn exchange(fd: i32, from: Entry, to: Entry) -> bool {
    let Some(number) = TABLE.get_or_make(fd) else { return false };
    END.fetch_max(fd.saturating_add(1), Ordering::Relaxed);
    number.entry.compare_exchange(from.0, to.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// The highest number that was ever open; -1: none was.
pub fn highest() -> i32 {
    END.load(Ordering::Relaxed) - 1
}

/// All numbers that are open, in ascending order.
pub fn each_alive() -> impl Iterator<Item = (i32, Entry)> {
    (0..=highest()).map(|fd| (fd, get(fd))).filter(|(_, entry)| entry.is_alive())
}

// ---- a child of vfork ----

/// Numbers that a child of vfork has created or closed in its own descriptor table: a bit for each
/// of the lowest 1024.
static TOUCHED: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

#[cold]
#[inline(never)]
pub fn touch(fd: i32) {
    if let Some(word) = TOUCHED.get(fd as u32 as usize / 64) {
        word.fetch_or(1 << (fd as u32 % 64), Ordering::Relaxed);
    }
}

/// Whether a child of vfork has touched a number. Higher numbers than those are not noted, and
/// count as touched.
pub fn was_touched_by_a_borrower(fd: i32) -> bool {
    TOUCHED.get(fd as u32 as usize / 64).is_none_or(|word| word.load(Ordering::Relaxed) >> (fd as u32 % 64) & 1 != 0)
}

pub fn forget_touched() {
    TOUCHED.iter().for_each(|word| word.store(0, Ordering::Relaxed));
}
