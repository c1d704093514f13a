//! The census, which follows the process from change to change: a page of totals, a row for each
//! place and kind, and a word for each descriptor number. All other sums follow from the rows.

use crate::census::Kind;

/// The most descriptors that were open at once.
pub const PEAK: usize = 0;
/// Found open at load; 0 in the child of a fork.
pub const AT_START: usize = 8;
/// Creations and ends that were found only by comparing with `/proc`, or by a later creation.
pub const CORRECTED: usize = 16;
/// How many forks lie between the load and this process, in 8 bits.
pub const GENERATION: usize = 24;
/// 1: a call that creates descriptors has failed for lack of room (EMFILE, ENFILE).
pub const HAS_MET_THE_LIMIT: usize = 32;

/// Places in a row: what one call of the program has created of one kind. Row 0 is for all that
/// found no row.
pub mod place {
    use super::Kind;

    pub const SIZE: usize = 128;
    /// Rows of a segment.
    pub const ENTRIES: usize = 256;
    /// The site in the lower 48 bits (0: out of sight), the kind in 4 above them, and the highest
    /// bit; 0: not in use.
    pub const KEY: usize = 0;
    /// Open ones in the lower 28 bits, closed ones above.
    pub const COUNTS: usize = 8;
    /// Closed ones besides.
    pub const MORE: usize = 16;
    /// Open when this process was forked.
    pub const BASE: usize = 24;
    pub const PEAK: usize = 32;
    /// The fewest that were open since creations reached a power of two; and in the four spans
    /// before, the newest first.
    pub const FLOOR: usize = 40;
    pub const FLOORS: usize = 48;
    /// CLOCK_MONOTONIC when creations reached the last power of two, and the one before.
    pub const TURNED: usize = 80;
    pub const TURNED_BEFORE: usize = 88;
    /// Sockets and pipes that had lost their other end and stayed open: how many there were when
    /// creations reached the last power of two, in the lowest 16 bits, and the times before, above.
    pub const GONE: usize = 96;
    pub const WORDS: usize = 13;

    pub const USED: u64 = 1 << 63;
    const SITE: u64 = (1 << 48) - 1;
    const KIND: u32 = 48;
    /// Where the closed ones begin in [`COUNTS`].
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

/// What is known of a descriptor number, in a word: from the lowest bit its row (16 bits), the
/// flags (8), the kind (4), the generation of the process that created it (8), and a mark of the
/// thread.
pub mod number {
    use super::Kind;

    pub const ALIVE: u64 = 1 << 16;
    pub const CLOSED: u64 = 1 << 17;
    /// It closes at exec.
    pub const CLOEXEC: u64 = 1 << 18;
    /// Its number was chosen by the program (dup2).
    pub const PLACED: u64 = 1 << 19;
    /// Close-on-exec was removed from it.
    pub const HANDED_ON: u64 = 1 << 20;
    /// It was open at load.
    pub const AT_START: u64 = 1 << 21;
    /// Closed by close_range or closefrom.
    pub const SWEPT: u64 = 1 << 22;
    /// `popen` created it: later calls of `popen` do not hand it on.
    pub const POPENS: u64 = 1 << 23;
    pub const KIND: u32 = 24;
    pub const GENERATION: u32 = 28;
    /// Closed by the thread that created it. While open: what had the number before was.
    pub const BY_ITS_OWN: u64 = 1 << 36;
    /// Closed by the thread that had closed what had the number before, and that another thread
    /// had opened: it may have meant the one before.
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

    /// Numbers of the first segment; each further one ends at twice the number where it begins.
    pub const NEAR: u32 = 4096;
    /// Numbers from here on are not in the file.
    pub const END: u32 = NEAR << (SEGMENTS - 1);
    pub const SEGMENTS: usize = 11;

    /// The segment of a number below [`END`].
    #[must_use]
    pub const fn segment(fd: u32) -> usize {
        if fd < NEAR { 0 } else { (fd.ilog2() - NEAR.ilog2() + 1) as usize }
    }

    /// The first number of a segment, and how many it has.
    #[must_use]
    pub const fn range(segment: usize) -> (u32, u32) {
        match segment {
            0 => (0, NEAR),
            _ => (NEAR << (segment - 1), NEAR << (segment - 1)),
        }
    }
}
