//! The census, which is updated at every change: a page of totals, a row for each call site and
//! kind, and a word for each descriptor number. All other sums follow from the rows.

use crate::census::Kind;

/// The most descriptors that were open at a time.
pub const PEAK: usize = 0;
/// How many descriptors were open at load; 0 in the child of a fork.
pub const AT_START: usize = 8;
/// How many creations and closes were found only by a comparison with `/proc`, or by a later
/// creation.
pub const CORRECTED: usize = 16;
/// How many forks lie between the load and this process, modulo 256.
pub const GENERATION: usize = 24;
/// 1: a call that creates descriptors has failed with EMFILE or ENFILE.
pub const HAS_MET_THE_LIMIT: usize = 32;

/// Places in a row: the descriptors of one kind that one call site has created. Row 0 is for all
/// for which there was no row.
pub mod place {
    use super::Kind;

    pub const SIZE: usize = 128;
    /// The number of rows of a segment.
    pub const ENTRIES: usize = 256;
    /// The site in the lower 48 bits (0: no hook saw the creation), the kind in the next 4, and
    /// [`USED`]. 0: not in use.
    pub const KEY: usize = 0;
    /// How many are open in the lower 28 bits, how many were closed above them.
    pub const COUNTS: usize = 8;
    /// How many more were closed: added to the count in [`COUNTS`].
    pub const MORE: usize = 16;
    /// How many were open when this process was forked.
    pub const BASE: usize = 24;
    pub const PEAK: usize = 32;
    /// The fewest that were open at a time since the number of creations last reached a power of
    /// two. Then the same for the four spans before, the newest first.
    pub const FLOOR: usize = 40;
    pub const FLOORS: usize = 48;
    /// CLOCK_MONOTONIC when the number of creations reached the last power of two, and the one
    /// before.
    pub const TURNED: usize = 80;
    pub const TURNED_BEFORE: usize = 88;
    /// How many sockets and pipes were open whose other end is gone, when the number of creations
    /// reached the last power of two (lowest 16 bits) and the powers before (the bits above).
    pub const GONE: usize = 96;
    pub const WORDS: usize = 13;

    pub const USED: u64 = 1 << 63;
    const SITE: u64 = (1 << 48) - 1;
    const KIND: u32 = 48;
    /// The bit at which the number of closed ones begins in [`COUNTS`].
    pub const CLOSED: u32 = 28;

    #[must_use]
    pub const fn key(site: u64, kind: Kind) -> u64 {
        site & SITE | (kind as u64) << KIND | USED
    }

    #[must_use]
    pub const fn site(key: u64) -> u64 {
        key & SITE
    }

    #[must_use]
    pub const fn kind(key: u64) -> Kind {
        Kind::from_number(key >> KIND & 15)
    }

    #[must_use]
    pub const fn live(counts: u64) -> u64 {
        counts & ((1 << CLOSED) - 1)
    }
}

/// The word of a descriptor number. From the lowest bit: its row (16 bits), flags (8), kind (4),
/// the generation of the process that created it (8), two more flags, and the thread that created
/// it (26).
pub mod number {
    use super::Kind;

    pub const ALIVE: u64 = 1 << 16;
    pub const CLOSED: u64 = 1 << 17;
    /// It is closed at exec.
    pub const CLOEXEC: u64 = 1 << 18;
    /// The program chose its number (dup2).
    pub const PLACED: u64 = 1 << 19;
    /// Its close-on-exec flag was removed.
    pub const HANDED_ON: u64 = 1 << 20;
    /// It was open at load.
    pub const AT_START: u64 = 1 << 21;
    /// It was closed by close_range or closefrom.
    pub const SWEPT: u64 = 1 << 22;
    /// `popen` created it: later calls of `popen` do not pass it to their children.
    pub const POPENS: u64 = 1 << 23;
    pub const KIND: u32 = 24;
    pub const GENERATION: u32 = 28;
    /// It was closed by the thread that created it. While the number is open: that is true of its
    /// former descriptor.
    pub const BY_ITS_OWN: u64 = 1 << 36;
    /// Another thread had opened it, and it was closed by the thread that had closed the number's
    /// former descriptor: that thread may have meant the former one.
    pub const STRAY: u64 = 1 << 37;
    /// The thread that created it: 26 bits of its identity.
    pub const THREAD: u32 = 38;

    #[must_use]
    pub const fn place(word: u64) -> u16 {
        word as u16
    }

    #[must_use]
    pub const fn kind(word: u64) -> Kind {
        Kind::from_number(word >> KIND & 15)
    }

    #[must_use]
    pub const fn generation(word: u64) -> u8 {
        (word >> GENERATION) as u8
    }

    /// The first segment has this many numbers. Each further one ends at twice the number at which
    /// it begins.
    pub const NEAR: u32 = 4096;
    /// Numbers from this one on are not in the file.
    pub const END: u32 = NEAR << (SEGMENTS - 1);
    pub const SEGMENTS: usize = 11;

    /// The segment of a number below [`END`].
    #[must_use]
    pub const fn segment(fd: u32) -> usize {
        if fd < NEAR { 0 } else { (fd.ilog2() - NEAR.ilog2() + 1) as usize }
    }

    /// The first number of a segment, and how many numbers it has.
    #[must_use]
    pub const fn range(segment: usize) -> (u32, u32) {
        match segment {
            0 => (0, NEAR),
            _ => (NEAR << (segment - 1), NEAR << (segment - 1)),
        }
    }
}
