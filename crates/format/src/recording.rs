//! The layout of a recording: one file a process, mapped by it, readable at any moment, also after
//! SIGKILL.
//!
//! ```text
//! page 0        header: who, since when, how it ended, what was dropped
//! pages 1 to 8  directory: one entry a segment, in the order in which they were made
//! then          segments, each of whole pages: control, totals, threads, instances, interests, modules, records
//! ```
//!
//! All numbers are little-endian words of 64 bits at multiples of 8 unless said otherwise; places
//! are bytes from the beginning of what they are in. Words that were never written are zero. The
//! writer reserves the blocks of a segment before it enters it into the directory, and writes an
//! entry's kind last: so a reader that finds a kind finds a whole segment in the file. Numbers
//! change while a reader looks, each by itself: a reader of a running process copies, and does not
//! expect two numbers to agree.
//!
//! Written on x86-64 only: `MACHINE` says so.

pub mod census;
pub mod policy;
pub mod thread;

/// `EPOLLREC`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"EPOLLREC");
/// Grows when something is moved or means something else. What is only added (words that were zero,
/// kinds of segments) does not change it.
pub const VERSION: u64 = 2;
/// ELF's number of x86-64 (EM_X86_64).
pub const MACHINE: u64 = 62;

pub const PAGE: usize = 4096;
/// Where the directory begins.
pub const DIRECTORY: usize = PAGE;
/// The most segments of a file.
pub const SEGMENTS: usize = 8 * PAGE / entry::SIZE;
/// Where the first segment begins.
pub const FIRST_SEGMENT: usize = 9 * PAGE;

/// Places in the header.
pub mod header {
    pub const MAGIC: usize = 0;
    pub const VERSION: usize = 8;
    pub const MACHINE: usize = 16;
    pub const PID: usize = 24;
    pub const PPID: usize = 32;
    /// CLOCK_MONOTONIC and CLOCK_REALTIME when the process was first seen (load, or after a fork),
    /// nanoseconds.
    pub const BEGAN: usize = 40;
    pub const BEGAN_UNIX: usize = 48;
    /// CLOCK_MONOTONIC when it ended; 0: it runs, or was killed.
    pub const ENDED: usize = 56;
    /// How: one of [`super::end`].
    pub const END: usize = 64;
    /// Seed of faults, and whether there is one (0 or 1).
    pub const SEED: usize = 72;
    pub const HAS_SEED: usize = 80;
    /// Threads that have no segment, for want of space or of places in the directory: their calls
    /// are not in this file.
    pub const THREADS_DROPPED: usize = 88;
    /// Calls of such threads.
    pub const CALLS_DROPPED: usize = 96;
    /// Entries of the tables that found no space.
    pub const ENTRIES_DROPPED: usize = 104;
    /// Records that a ring holds (the same for all threads); 0: there are no rings, each record is
    /// kept ([`super::area`]).
    pub const RING: usize = 112;
    /// An errno of the first reservation that failed; 0: none did.
    pub const TROUBLE: usize = 120;
    /// The beginning of `/proc/self/comm`: 16 bytes, filled with zeros.
    pub const COMM: usize = 128;
    /// Length of the program's path, and its bytes, at most [`EXE_BYTES`].
    pub const EXE_LENGTH: usize = 144;
    pub const EXE: usize = 152;
    pub const EXE_BYTES: usize = 1024;
    /// Length of the arguments, and their bytes as `/proc/self/cmdline` has them, at most
    /// [`ARGUMENTS_BYTES`].
    pub const ARGUMENTS_LENGTH: usize = 1176;
    pub const ARGUMENTS: usize = 1184;
    pub const ARGUMENTS_BYTES: usize = 2048;
    /// Processes of this one's family (forked, without an exec) that could make no file of their
    /// own and found no nearer relative's: they count themselves here. And the errno of the first
    /// one.
    pub const CHILDREN_LOST: usize = ARGUMENTS + ARGUMENTS_BYTES;
    pub const CHILDREN_TROUBLE: usize = CHILDREN_LOST + 8;
    /// Programs that this process, or a forked one without a file of its own, has started, and
    /// whose calls the library does not see: how many, the path of the first (its length, and at
    /// most [`UNSEEN_BYTES`]), and why ([`super::unseen`], bits of all).
    pub const UNSEEN: usize = CHILDREN_TROUBLE + 8;
    pub const UNSEEN_LENGTH: usize = UNSEEN + 8;
    pub const UNSEEN_PATH: usize = UNSEEN_LENGTH + 8;
    pub const UNSEEN_BYTES: usize = 256;
    pub const UNSEEN_WHY: usize = UNSEEN_PATH + UNSEEN_BYTES;
    /// Where each record is kept: the bytes up to which the file grows for them, and what they have
    /// found in their way ([`super::stopped`]; bits).
    pub const RECORDS_MOST: usize = 4000;
    pub const RECORDS_STOPPED: usize = 4008;
}

/// Why a program's calls are not seen.
pub mod unseen {
    /// The loader leaves the library out (AT_SECURE). Recordings of before there were others have
    /// no bit.
    pub const SECURE: u64 = 1;
    /// It has no loader.
    pub const STATIC: u64 = 2;
    /// Go's runtime makes its system calls itself.
    pub const GO: u64 = 4;
}

/// Why a record found no place.
pub mod stopped {
    /// The file had the size that it may have.
    pub const MOST: u64 = 1;
    /// The file could not grow: `header::TROUBLE` tells why the first time.
    pub const SPACE: u64 = 2;
    /// The directory had no place for another segment.
    pub const PLACES: u64 = 4;
}

/// How a process ended.
pub mod end {
    pub const NOT_YET: u64 = 0;
    pub const EXIT: u64 = 1;
    pub const UNDERSCORE_EXIT: u64 = 2;
    pub const EXEC: u64 = 3;
    /// A limit aborted it.
    pub const ABORT: u64 = 4;
    /// By `abort()`.
    pub const ABORTED: u64 = 5;
    /// By `syscall(SYS_exit_group)`.
    pub const EXIT_GROUP: u64 = 6;
    /// By a signal that it sent to itself. It may have gone on, as after a failed exec.
    pub const SIGNAL: u64 = 7;
}

/// Places in an entry of the directory.
pub mod entry {
    pub const SIZE: usize = 32;
    /// One of [`super::kind`]; 0: none, and none after it.
    pub const KIND: usize = 0;
    /// Bytes from the beginning of the file, a multiple of [`super::PAGE`].
    pub const START: usize = 8;
    /// Bytes, a multiple of [`super::PAGE`].
    pub const LENGTH: usize = 16;
    /// Of a thread: its kernel thread id when it began. Of a table: the index of its first entry.
    /// Of records: the place in this directory, from 0, of their thread.
    pub const EXTRA: usize = 24;
}

/// Kinds of segments.
pub mod kind {
    /// What is counted once a process ([`super::totals`]).
    pub const TOTALS: u64 = 1;
    /// A thread's counters, and behind them its ring or the first area of its records
    /// ([`super::thread`]).
    pub const THREAD: u64 = 2;
    /// A part of the table of instances ([`super::instance`]).
    pub const INSTANCES: u64 = 3;
    /// A part of the table of interests ([`super::interest`]).
    pub const INTERESTS: u64 = 4;
    /// Text: the objects that were mapped, one line each: start (hexadecimal), end, build id
    /// (hexadecimal, or -), path. The last such segment is the newest.
    pub const MODULES: u64 = 5;
    /// What was found wrong ([`super::findings`], [`super::finding`]).
    pub const FINDINGS: u64 = 8;
    /// How the program is steered while it runs ([`crate::control`]). The first segment, made with
    /// the file.
    pub const CONTROL: u64 = 6;
    /// Records of a thread that has filled those it has ([`super::area`]).
    pub const RECORDS: u64 = 7;
    /// A part of the arena of call stacks ([`super::stacks`]), whose address was the entry's EXTRA.
    pub const STACKS: u64 = 9;
    /// The totals of the census ([`super::census`]). (10 was the census at the end, in an earlier
    /// layout.)
    pub const CENSUS: u64 = 11;
    /// A part of the census's rows ([`super::census::place`]); EXTRA: the first one's number.
    pub const PLACES: u64 = 12;
    /// A part of the words of the descriptor numbers ([`super::census::number`]); EXTRA: the first
    /// number.
    pub const NUMBERS: u64 = 13;
    /// What is armed: limits and rules of faults ([`super::policy`]).
    pub const POLICY: u64 = 14;
    /// A coarse series of the whole run ([`super::series`]).
    pub const SERIES: u64 = 15;
    /// What the descriptors of findings were ([`super::described`]).
    pub const DESCRIBED: u64 = 20;
    /// Some of the descriptors that were open at the end, with what they were
    /// ([`super::open_at_end`]).
    pub const OPEN_AT_END: u64 = 21;
}

/// Places in the totals.
pub mod totals {
    pub const INSTANCES: usize = 0;
    pub const INSTANCES_PEAK: usize = 8;
    pub const WATCHES: usize = 16;
    pub const WATCHES_PEAK: usize = 24;
    pub const VANISHED: usize = 32;
    pub const MEMORY_PEAK: usize = 40;
    pub const UNSEEN_INSTANCES: usize = 48;
    pub const UNSEEN_WATCHES: usize = 56;
    pub const HEALED: usize = 64;
    pub const LOST: usize = 72;
    /// CLOCK_MONOTONIC when the waits of all instances were last marked
    /// ([`super::instance::MARK`]); 0: they never were.
    pub const MARKED: usize = 80;
    /// The highest descriptor number of an instance or a watch, and one; and RLIMIT_NOFILE when it
    /// became so (0: not asked).
    pub const NUMBERS: usize = 88;
    pub const NUMBERS_LIMIT: usize = 96;
    /// How many instances each site has created: [`SITES`] pairs of a site (0: free) and a number.
    pub const CREATIONS: usize = 1024;
    pub const SITES: usize = 64;
}

/// Places in an area of records, where each record is kept: the first lies in the thread's segment,
/// each other is a segment ([`kind::RECORDS`]). Behind a head of 64 bytes lie records, in the order
/// in which they were begun.
pub mod area {
    /// How many places are taken. More than there are: who asked further found it full.
    pub const TAKEN: usize = 0;
    /// The number of the first record (from 0, of this thread's records that have a place).
    pub const FIRST: usize = 8;
    pub const RECORDS: usize = 64;
    /// The size of a thread's first area.
    pub const IN_THREAD: usize = 64 << 10;
}

/// Places in a record of a call.
pub mod record {
    pub const SIZE: usize = 64;
    /// The record's number and one, written last; another: it is being written, or was never.
    pub const NUMBER: usize = 0;
    /// CLOCK_MONOTONIC when the call began, nanoseconds.
    pub const BEGAN: usize = 8;
    pub const DURATION: usize = 16;
    /// From the lowest byte: `Function`, flags ([`INJECTED`], [`LIMITED`]), operation of epoll_ctl
    /// (16 bits); errno in the upper 32.
    pub const CALL: usize = 24;
    pub const INJECTED: u64 = 1;
    pub const LIMITED: u64 = 2;
    /// The result, signed.
    pub const RESULT: usize = 32;
    /// The first argument (epfd, size, flags) in the lower 32 bits; fd of epoll_ctl, or maxevents
    /// of a wait, above.
    pub const ARGUMENTS: usize = 40;
    /// Of a wait: the timeout in nanoseconds, or [`NO_TIMEOUT`], or [`UNKNOWN_TIMEOUT`]. Of
    /// epoll_ctl: the event mask asked for.
    pub const EXTRA: usize = 48;
    pub const NO_TIMEOUT: u64 = u64::MAX;
    /// Of an epoll_pwait2 whose timeout the kernel did not read.
    pub const UNKNOWN_TIMEOUT: u64 = u64::MAX - 1;
    /// The return address.
    pub const CALLER: usize = 56;
}

/// Places in an entry of the table of instances; the table's entry 0 is unused.
pub mod instance {
    pub const SIZE: usize = 136;
    /// 1 for the process's first; 0: not in use.
    pub const ID: usize = 0;
    pub const SITE: usize = 8;
    /// `size` of epoll_create or `flags` of epoll_create1 in the lower 32 bits; above: 1 create, 2
    /// create1, 3 out of sight; bit 63: it was there before the fork or exec.
    pub const ORIGIN: usize = 16;
    pub const INHERITED: u64 = 1 << 63;
    /// The descriptor that it was made under, in the lower 32 bits. Above: [`MARK`].
    pub const EPFD: usize = 24;
    /// Where the lower half of its waits begins as they were at the last mark
    /// ([`super::totals::MARKED`]).
    pub const MARK: u32 = 32;
    pub const WATCHES: usize = 32;
    pub const WATCHES_PEAK: usize = 40;
    /// CLOCK_MONOTONIC when it was noted.
    pub const BEGAN: usize = 48;
    /// Waits, events, empty, full, interrupted: two sets of five words, to be added up.
    pub const WAITS: usize = 56;
    /// Entries of a segment.
    pub const ENTRIES: usize = 512;
}

/// The table of findings: a page, and behind it the entries, in no order.
pub mod findings {
    /// Findings that found no place.
    pub const DROPPED: usize = 0;
    /// Where the entries begin.
    pub const FIRST: usize = super::PAGE;
    /// A power of two.
    pub const ENTRIES: usize = 512;
    pub const SIZE: usize = FIRST + ENTRIES * super::finding::SIZE;
}

/// Places in an entry of the table of findings.
pub mod finding {
    pub const SIZE: usize = 128;
    /// What tells it from the others; 0: not in use.
    pub const KEY: usize = 0;
    /// [`crate::findings::Id`] in the lowest byte, above it the variant; written last: 0: it is
    /// being filled in.
    pub const WHAT: usize = 8;
    /// [`crate::findings::Severity`].
    pub const SEVERITY: usize = 16;
    pub const COUNT: usize = 24;
    /// epfd and one in the lower 32 bits, fd and one above; 0: none.
    pub const DESCRIPTORS: usize = 32;
    pub const SITE: usize = 40;
    pub const OTHER: usize = 48;
    /// Four words.
    pub const DETAIL: usize = 56;
    pub const FIRST: usize = 88;
}

/// What the descriptors of findings were when these were made. Entry N belongs to entry N of the
/// table of findings.
pub mod described {
    pub const SIZE: usize = 8 + crate::descriptor::BYTES;
    /// The number of the descriptor and one in the lower 32 bits, the length of the list in the
    /// upper; written last; 0: none.
    pub const WHAT: usize = 0;
    /// The list ([`crate::descriptor`]).
    pub const FIELDS: usize = 8;
    pub const ALL: usize = super::findings::ENTRIES * SIZE;
}

/// Descriptors that were open when the process ended: of each call that made some, the first few. A
/// page, and behind it an entry for each.
pub mod open_at_end {
    /// How many entries follow.
    pub const COUNT: usize = 0;
    pub const FIRST: usize = super::PAGE;
    /// The most of one call, and of all.
    pub const OF_A_CALL: usize = 8;
    pub const MOST: usize = 512;
    pub const SIZE: usize = 16 + super::described::SIZE;
    /// The call, and what kind it made, as in the census.
    pub const SITE: usize = 0;
    pub const KIND: usize = 8;
    /// An entry as in [`super::described`].
    pub const DESCRIBED: usize = 16;
}

/// The arena of call stacks. A site that lies in a part of it stands for a stack: there lie the
/// number of its return addresses, and these, the innermost first, each a word.
pub mod stacks {
    /// Bytes of a part, which is a segment; a stack lies in one part.
    pub const PART: usize = 64 * 1024;
    /// The most return addresses of a stack.
    pub const DEEPEST: usize = 64;
}

/// A coarse series of the whole run, in the order of time: a head of [`FIRST`](series::FIRST)
/// bytes, and the rows behind it. When all are taken, each second one is given up, and from then on
/// they come half as often.
pub mod series {
    /// How many rows are taken.
    pub const COUNT: usize = 0;
    /// Nanoseconds between rows, at least; 0: [`FIRST_STEP`].
    pub const STEP: usize = 8;
    pub const FIRST_STEP: u64 = 1_000_000_000;
    pub const FIRST: usize = 64;
    pub const ROWS: usize = 256;
    pub const ROW: usize = 160;
    pub const SIZE: usize = FIRST + ROWS * ROW;
    // Words of a row, by number.
    /// CLOCK_MONOTONIC; 0: the row is none. A process that was killed may have left a row twice.
    pub const AT: usize = 0;
    /// Calls of the epoll family and waits by then.
    pub const CALLS: usize = 1;
    pub const WAITS: usize = 2;
    /// Live ones.
    pub const INSTANCES: usize = 3;
    pub const WATCHES: usize = 4;
    /// Open descriptors by the numbers of [`crate::census::Kind`], with a census.
    pub const KINDS: usize = 5;
}

const _: () = assert!((series::KINDS + crate::census::Kind::ALL.len()) * 8 <= series::ROW);

/// Places in an entry of the table of interests; the table's entry 0 is unused.
pub mod interest {
    pub const SIZE: usize = 24;
    /// The index of its instance in the table (lower 32 bits), the descriptor above; 0: not in use.
    pub const INSTANCE: usize = 0;
    pub const SITE: usize = 8;
    pub const RESERVED: usize = 16;
    /// Entries of a segment.
    pub const ENTRIES: usize = 4096;
}
