//! The last close of each watched descriptor that was closed without a DEL: where it was closed, and where it had been added.
//! What else keeps the file alive, nobody may know yet: should it turn up as a ghost, both places are wanted.
//!
//! One place for each instance and number, by a hash; another pair that comes there takes it. Written by the holder of the gate, read
//! by anybody: the instance's number is zero while an entry is being written.

use crate::sync::{AtomicU32, Ordering, fence};

use super::records::{Instance, Interest, Long, Number, Word};

/// What is known of a close.
#[derive(Clone, Copy)]
pub struct Closing {
    /// The instance's number (`Instance::id`).
    pub instance: u64,
    pub fd: i32,
    /// The interest's record, and its serial number.
    pub interest: u32,
    pub serial: u32,
    /// Another descriptor of the same file stays, as far as the ledger knows.
    pub leaves_a_dup: bool,
    pub added_at: u64,
    /// 0: not known.
    pub closed_at: u64,
    /// Waits on the instance until then.
    pub waits: u64,
    /// It was told as a finding.
    pub is_told: bool,
}

impl Closing {
    /// Of an interest whose descriptor is closed `at`.
    #[inline(always)]
    pub fn of(instance: &Instance, (index, interest): (u32, &Interest), at: usize, leaves_a_dup: bool) -> Closing {
        Closing {
            instance: instance.id.get(),
            fd: interest.fd(),
            interest: index,
            serial: interest.serial.get(),
            leaves_a_dup,
            added_at: interest.site(),
            closed_at: at as u64,
            waits: instance.waits(),
            is_told: false,
        }
    }

    /// Where it was closed, or else where it was added.
    pub fn place(&self) -> usize {
        if self.closed_at != 0 { self.closed_at as usize } else { self.added_at as usize }
    }
}

#[repr(C, align(64))]
struct Entry {
    instance: Long,
    fd: Number,
    interest: Word,
    serial: Word,
    leaves_a_dup: Word,
    added_at: Long,
    closed_at: Long,
    waits: Long,
    /// It was told as a finding.
    told: AtomicU32,
}

const ENTRIES: usize = 1024;

static TABLE: [Entry; ENTRIES] = [const { Entry::new() }; ENTRIES];

/// A close has left a dup.
static ANY_MARKED: AtomicU32 = AtomicU32::new(0);

pub fn mark() {
    ANY_MARKED.store(1, Ordering::Relaxed);
}

/// Whether a close has ever left a dup: if not, no ghost is known.
#[inline(always)]
pub fn any_marked() -> bool {
    ANY_MARKED.load(Ordering::Relaxed) != 0
}

impl Entry {
    const fn new() -> Entry {
        Entry {
            instance: Long::new(),
            fd: Number::new(),
            interest: Word::new(),
            serial: Word::new(),
            leaves_a_dup: Word::new(),
            added_at: Long::new(),
            closed_at: Long::new(),
            waits: Long::new(),
            told: AtomicU32::new(0),
        }
    }

    fn read(&self) -> Closing {
        Closing {
            instance: self.instance.get(),
            fd: self.fd.get(),
            interest: self.interest.get(),
            serial: self.serial.get(),
            leaves_a_dup: self.leaves_a_dup.get() != 0,
            added_at: self.added_at.get(),
            closed_at: self.closed_at.get(),
            waits: self.waits.get(),
            is_told: self.told.load(Ordering::Relaxed) != 0,
        }
    }
}

fn entry(instance: u64, fd: i32) -> Option<&'static Entry> {
    // Numbers of one instance lie side by side, and those of another elsewhere.
    TABLE.get((fd as usize).wrapping_add((instance as usize).wrapping_mul(389)) % ENTRIES)
}

/// By the holder of the gate.
pub fn note(closing: &Closing) {
    let Some(entry) = entry(closing.instance, closing.fd) else { return };
    entry.instance.set(0);
    // Release, here and below: who reads the number reads what belongs to it.
    fence(Ordering::Release);
    entry.fd.set(closing.fd);
    entry.interest.set(closing.interest);
    entry.serial.set(closing.serial);
    entry.leaves_a_dup.set(u32::from(closing.leaves_a_dup));
    entry.added_at.set(closing.added_at);
    entry.closed_at.set(closing.closed_at);
    entry.waits.set(closing.waits);
    entry.told.store(0, Ordering::Relaxed);
    fence(Ordering::Release);
    entry.instance.set(closing.instance);
}

/// The last close of a number that this instance watched. None: none is known.
pub fn last(instance: u64, fd: i32) -> Option<Closing> {
    let entry = entry(instance, fd)?;
    if entry.instance.get() != instance {
        return None;
    }
    fence(Ordering::Acquire);
    let closing = entry.read();
    fence(Ordering::Acquire);
    let is_whole = entry.instance.get() == instance && closing.instance == instance;
    (is_whole && closing.fd == fd).then_some(closing)
}

/// It is told now. False: another thread was first.
pub fn tell(closing: &Closing) -> bool {
    entry(closing.instance, closing.fd).is_some_and(|entry| entry.told.swap(1, Ordering::Relaxed) == 0)
}

/// It is not told any more.
pub fn take_back(closing: &Closing) {
    if let Some(entry) = entry(closing.instance, closing.fd) {
        entry.told.store(0, Ordering::Relaxed);
    }
}

/// All may be told anew (epollshim_reset).
pub fn restart() {
    TABLE.iter().for_each(|entry| entry.told.store(0, Ordering::Relaxed));
}
