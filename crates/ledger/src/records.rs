//! The ledger's three kinds of records. Every field is an atomic, or half of one (see pool.rs). The
//! lock orders the writers, so Relaxed suffices everywhere: readers without the lock need single
//! fields, not consistent sets of them.

mod fields;
mod instance;
mod last_used;

use crate::sync::{AtomicU32, AtomicU64, Ordering};

use crate::pool::Record;

pub use fields::{Counter, Long, Number, Pair, Word};
pub use instance::{Doubles, Instance, Origin, Owner, WaitCounters};
pub use last_used::LastUsed;

/// Names for the halves of a record's pairs. The setter's name is left out where both are only set
/// together.
macro_rules! halves {
    ($($(#[$attribute:meta])* $get:ident $(, $set:ident)?: $type:ty = $pair:ident.$read:ident $(, $write:ident)?;)*) => {$(
        $(#[$attribute])*
        #[inline(always)]
        pub fn $get(&self) -> $type {
            self.$pair.$read() as $type
        }
        $(
            #[inline(always)]
            pub fn $set(&self, value: $type) {
                self.$pair.$write(value as u32);
            }
        )?
    )*};
}

/// An open file description that the ledger follows: usually an epoll instance, or a file that one
/// watches.
#[repr(C)]
pub struct Description {
    /// `descriptors` and `interests`.
    pub uses: Pair,
    /// `instance` and `epoch`.
    pub being: Pair,
}

impl Description {
    halves! {
        /// Descriptors of this process that refer to it. 0: all are closed, and it is kept for
        /// interests that may outlive them.
        descriptors, set_descriptors: u32 = uses.low, set_low;
        /// The first of the interests in it; 0: none.
        interests, set_interests: u32 = uses.high, set_high;
        /// The epoll instance that it is; 0: none.
        instance, set_instance: u32 = being.low, set_low;
        /// When it was noted: in this process, or before the fork. Bit 0 is set if it may have
        /// descriptors that are not counted here. 0: not in use.
        epoch, set_epoch: u32 = being.high, set_high;
    }
}

/// One file in the interest list of one instance (the kernel's struct epitem).
#[repr(C)]
pub struct Interest {
    /// `instance` and `fd`.
    pub key: Pair,
    /// `description` and `sibling`.
    pub file: Pair,
    pub next: Word,
    pub previous: Word,
    /// Differs with every use of this record; 0: never used.
    pub serial: Word,
    /// While the record is free: the next free one (pool.rs). While this half is in use: the
    /// interest before it in its description's list, unless it is the first there. So the first
    /// interest in a description needs no store. Most interests are the only one.
    link: AtomicU32,
    /// The return address of the ADD in the upper 48 bits; the flags below it.
    site: AtomicU64,
}

impl Interest {
    halves! {
        instance: u32 = key.low;
        /// The descriptor number it was added under. The kernel's key is this number and the open
        /// file description.
        fd: i32 = key.high;
        description: u32 = file.low;
        /// The next interest in the same description.
        sibling, set_sibling: u32 = file.high, set_high;
    }

    /// The interest before it in its description's list. The value is meaningless for the first
    /// one.
    #[inline(always)]
    pub fn previous_sibling(&self) -> u32 {
        self.link.load(Ordering::Relaxed)
    }
    #[inline(always)]
    pub fn set_previous_sibling(&self, index: u32) {
        self.link.store(index, Ordering::Relaxed);
    }
    #[inline(always)]
    pub fn is_live(&self) -> bool {
        self.has(Self::LIVE)
    }
}

/// An interest and a description, each of which may be in use without the other. In the plain case
/// both are: a watched file and its only interest lie together.
#[repr(C)]
pub struct Watch {
    pub interest: Interest,
    pub description: Description,
}

impl Watch {
    /// Whether neither half is in use.
    #[inline(always)]
    pub fn is_free(&self) -> bool {
        !self.interest.has(Interest::LIVE) && self.description.epoch() == 0
    }

    /// For an interest in the description of another record, whose own description half is not in
    /// use: the next record in its bucket (core/pairs.rs).
    pub fn next_pair(&self) -> u32 {
        self.description.uses.low()
    }
    /// Sets the link. Readers without the lock find no interests in the description half.
    pub fn set_next_pair(&self, index: u32) {
        self.description.uses.set(index, 0);
    }
}

impl Interest {
    /// Its last known descriptor is closed, but something else may keep the description open. The
    /// kernel knows.
    pub const DOUBTFUL: u64 = 1 << 1;
    /// Found in the kernel by the comparison in progress.
    pub const SEEN: u64 = 1 << 2;
    /// In use.
    pub const LIVE: u64 = 1;
    /// It counts against the user's limit in the session.
    pub const PAID: u64 = 1 << 3;

    #[inline(always)]
    pub fn has(&self, flag: u64) -> bool {
        self.site.load(Ordering::Relaxed) & flag != 0
    }
    /// The return address of the ADD.
    pub fn site(&self) -> u64 {
        self.site.load(Ordering::Relaxed) >> 16
    }
    #[inline(always)]
    pub fn set_site(&self, site: usize, flags: u64) {
        self.site.store((site as u64) << 16 | flags, Ordering::Relaxed);
    }
    #[inline(always)]
    pub fn raise(&self, flag: u64) {
        self.site.store(self.site.load(Ordering::Relaxed) | flag, Ordering::Relaxed);
    }
    #[inline(always)]
    pub fn lower(&self, flag: u64) {
        self.site.store(self.site.load(Ordering::Relaxed) & !flag, Ordering::Relaxed);
    }
}

/// The bound on a watch's memory (docs/performance.md, "Bounds"), with its descriptor's word: 64
/// bytes.
const _: () = assert!(size_of::<Watch>() + size_of::<u64>() <= 64);

// SAFETY: a `Watch` consists of atomics only, for which zero is valid.
unsafe impl Record for Watch {
    fn link(&self) -> &AtomicU32 {
        &self.interest.link
    }
}
