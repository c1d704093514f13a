//! The layout of a recording: one file per process, which the process maps. It is readable at any
//! moment, even after SIGKILL.
//!
//! ```text
//! page 0        header: program, times, how the process ended, what was dropped
//! pages 1 to 8  directory: one entry per segment, in the order in which they were created
//! then          segments, each of whole pages: control, totals, threads, instances, interests,
//!               modules, records
//! ```
//!
//! All numbers are little-endian words of 64 bits at multiples of 8 unless said otherwise. Places
//! are byte offsets from the beginning of the header, segment or entry. Words that were never
//! written are zero.
//!
//! The writer reserves the blocks of a segment before it enters the segment into the directory, and
//! writes the entry's kind last. So a reader that finds a kind finds a whole segment in the file.
//! Numbers change while a reader looks, each independently: a reader of a running process copies
//! them, and does not expect two numbers to agree.
//!
//! Only x86-64 writes recordings: `MACHINE` says so. docs/recording.md ("The layout") has the same
//! in prose.

pub mod census;
pub mod policy;
pub mod thread;

/// The text `EPOLLREC`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"EPOLLREC");
/// Grows when something is moved or changes its meaning. Additions (words that were zero, kinds of
/// segments) do not change it.
pub const VERSION: u64 = 2;
/// ELF's number for x86-64 (EM_X86_64).
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
    /// CLOCK_MONOTONIC and CLOCK_REALTIME in nanoseconds when the library was loaded, or after the
    /// fork that created the process.
    pub const BEGAN: usize = 40;
    pub const BEGAN_UNIX: usize = 48;
    /// CLOCK_MONOTONIC when the process ended; 0: it runs, or was killed.
    pub const ENDED: usize = 56;
    /// How it ended: one of [`super::end`].
    pub const END: usize = 64;
    /// The seed of faults, and whether there is one (0 or 1).
    pub const SEED: usize = 72;
    pub const HAS_SEED: usize = 80;
    /// Threads without a segment, because space or places in the directory were missing. Their
    /// calls are not in this file.
    pub const THREADS_DROPPED: usize = 88;
    /// Calls of such threads.
    pub const CALLS_DROPPED: usize = 96;
    /// Entries of the tables for which there was no space.
    pub const ENTRIES_DROPPED: usize = 104;
    /// The number of records in a ring (the same for all threads); 0: there are no rings, because
    /// every record is kept ([`super::area`]).
    pub const RING: usize = 112;
    /// The errno of the first reservation that failed; 0: none failed.
    pub const TROUBLE: usize = 120;
    /// The beginning of `/proc/self/comm`: 16 bytes, filled with zeros.
    pub const COMM: usize = 128;
    /// The length of the program's path, and its bytes, at most [`EXE_BYTES`].
    pub const EXE_LENGTH: usize = 144;
    pub const EXE: usize = 152;
    pub const EXE_BYTES: usize = 1024;
    /// The length of the arguments, and their bytes as `/proc/self/cmdline` has them, at most
    /// [`ARGUMENTS_BYTES`].
    pub const ARGUMENTS_LENGTH: usize = 1176;
    pub const ARGUMENTS: usize = 1184;
    pub const ARGUMENTS_BYTES: usize = 2048;
    /// Forked processes (without an exec) that could create no file of their own, and whose nearest
    /// relative with a file is this process. They count themselves here. Then the errno of the
    /// first one.
    pub const CHILDREN_LOST: usize = ARGUMENTS + ARGUMENTS_BYTES;
    pub const CHILDREN_TROUBLE: usize = CHILDREN_LOST + 8;
    /// Programs whose calls the library does not see, and that this process or a forked one without
    /// a file of its own has started: how many, the path of the first (its length, and at most
    /// [`UNSEEN_BYTES`]), and the reasons ([`super::unseen`], the bits of all).
    pub const UNSEEN: usize = CHILDREN_TROUBLE + 8;
    pub const UNSEEN_LENGTH: usize = UNSEEN + 8;
    pub const UNSEEN_PATH: usize = UNSEEN_LENGTH + 8;
    pub const UNSEEN_BYTES: usize = 256;
    pub const UNSEEN_WHY: usize = UNSEEN_PATH + UNSEEN_BYTES;
    /// If every record is kept: the size in bytes up to which the file grows for records, and why
    /// records were dropped (the bits of [`super::stopped`]).
    pub const RECORDS_MOST: usize = 4000;
    pub const RECORDS_STOPPED: usize = 4008;
}

/// Why a program's calls are not seen.
pub mod unseen {
    /// The loader ignores the library (AT_SECURE). Recordings of versions that knew only this
    /// reason have no bit set.
    pub const SECURE: u64 = 1;
    /// It has no loader.
    pub const STATIC: u64 = 2;
    /// Go's runtime makes its system calls itself.
    pub const GO: u64 = 4;
}

/// Why a record was dropped.
pub mod stopped {
    /// The file had its maximal size.
    pub const MOST: u64 = 1;
    /// The file could not grow: `header::TROUBLE` has the first errno.
    pub const SPACE: u64 = 2;
    /// The directory was full.
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
    /// By a signal that it sent to itself. It may have continued, as after a failed exec.
    pub const SIGNAL: u64 = 7;
}

/// Places in an entry of the directory.
pub mod entry {
    pub const SIZE: usize = 32;
    /// One of [`super::kind`]; 0: neither this entry nor any later one is used.
    pub const KIND: usize = 0;
    /// Bytes from the beginning of the file, a multiple of [`super::PAGE`].
    pub const START: usize = 8;
    /// Bytes, a multiple of [`super::PAGE`].
    pub const LENGTH: usize = 16;
    /// For a thread: its kernel thread id when it began. For a table: the index of its first entry.
    /// For records: the place of their thread in this directory, from 0.
    pub const EXTRA: usize = 24;
}

/// Kinds of segments.
pub mod kind {
    /// The counts of the process ([`super::totals`]).
    pub const TOTALS: u64 = 1;
    /// A thread's counters, followed by its ring or the first area of its records
    /// ([`super::thread`]).
    pub const THREAD: u64 = 2;
    /// A part of the table of instances ([`super::instance`]).
    pub const INSTANCES: u64 = 3;
    /// A part of the table of interests ([`super::interest`]).
    pub const INTERESTS: u64 = 4;
    /// Text: the objects that were mapped, one line each: start (hexadecimal), end, build id
    /// (hexadecimal, or -), path. The last such segment is the newest.
    pub const MODULES: u64 = 5;
    /// Findings ([`super::findings`], [`super::finding`]).
    pub const FINDINGS: u64 = 8;
    /// The control pages of a running program ([`crate::control`]). It is the first segment,
    /// created with the file.
    pub const CONTROL: u64 = 6;
    /// A further area of records, for a thread whose areas are full ([`super::area`]).
    pub const RECORDS: u64 = 7;
    /// A part of the arena of call stacks ([`super::stacks`]). EXTRA: its address in the process.
    pub const STACKS: u64 = 9;
    /// The totals of the census ([`super::census`]). (In an earlier layout 10 was the census at the
    /// end.)
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
    /// What the descriptors of findings referred to ([`super::described`]).
    pub const DESCRIBED: u64 = 20;
    /// Some of the descriptors that were open at the end, with what they referred to
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
    /// One more than the highest descriptor number of an instance or a watch, and RLIMIT_NOFILE
    /// when that number was reached (0: it was not read).
    pub const NUMBERS: usize = 88;
    pub const NUMBERS_LIMIT: usize = 96;
    /// How many instances each call site has created: [`SITES`] pairs of a site (0: free) and a
    /// count.
    pub const CREATIONS: usize = 1024;
    pub const SITES: usize = 64;
}

/// Places in an area of records, for recordings that keep every record. A thread's first area lies
/// in the thread's segment. Each further one is a segment ([`kind::RECORDS`]). A head of 64 bytes
/// is followed by records, in the order in which they were begun.
pub mod area {
    /// How many places are taken. It may exceed the number of places: a thread that finds the area
    /// full has counted too.
    pub const TAKEN: usize = 0;
    /// The number of the first record, from 0. Only records that have a place are numbered.
    pub const FIRST: usize = 8;
    pub const RECORDS: usize = 64;
    /// The size of a thread's first area.
    pub const IN_THREAD: usize = 64 << 10;
}

/// Places in a record of a call.
pub mod record {
    pub const SIZE: usize = 64;
    /// One more than the record's number, written last. Any other value: the record is being
    /// written, or was never written.
    pub const NUMBER: usize = 0;
    /// CLOCK_MONOTONIC when the call began, in nanoseconds.
    pub const BEGAN: usize = 8;
    pub const DURATION: usize = 16;
    /// From the lowest byte: `Function` (8 bits), flags ([`INJECTED`], [`LIMITED`]; 8 bits),
    /// operation of epoll_ctl (16 bits), errno (32 bits).
    pub const CALL: usize = 24;
    pub const INJECTED: u64 = 1;
    pub const LIMITED: u64 = 2;
    /// The result, signed.
    pub const RESULT: usize = 32;
    /// The first argument (epfd, size or flags) in the lower 32 bits. The fd of epoll_ctl or the
    /// maxevents of a wait in the upper 32 bits.
    pub const ARGUMENTS: usize = 40;
    /// For a wait: the timeout in nanoseconds, or [`NO_TIMEOUT`], or [`UNKNOWN_TIMEOUT`]. For
    /// epoll_ctl: the requested event mask.
    pub const EXTRA: usize = 48;
    pub const NO_TIMEOUT: u64 = u64::MAX;
    /// The timeout of an epoll_pwait2 that the kernel did not read.
    pub const UNKNOWN_TIMEOUT: u64 = u64::MAX - 1;
    /// The return address.
    pub const CALLER: usize = 56;
}

/// Places in an entry of the table of instances; the table's entry 0 is unused.
pub mod instance {
    pub const SIZE: usize = 136;
    /// The instance's number, 1 for the first of the process; 0: not in use.
    pub const ID: usize = 0;
    pub const SITE: usize = 8;
    /// The `size` of epoll_create or the `flags` of epoll_create1 in the lower 32 bits. Above them
    /// 1 (epoll_create), 2 (epoll_create1) or 3 (created where no hook saw it). Bit 63: it existed
    /// before the fork or exec.
    pub const ORIGIN: usize = 16;
    pub const INHERITED: u64 = 1 << 63;
    /// The descriptor as which it was created in the lower 32 bits. The upper 32 bits: see
    /// [`MARK`].
    pub const EPFD: usize = 24;
    /// The bit of [`EPFD`] at which the number of its waits at the last mark begins, modulo 2^32
    /// ([`super::totals::MARKED`]).
    pub const MARK: u32 = 32;
    pub const WATCHES: usize = 32;
    pub const WATCHES_PEAK: usize = 40;
    /// CLOCK_MONOTONIC when it was noted.
    pub const BEGAN: usize = 48;
    /// Two sets of five words: waits, events, empty, full, interrupted. Readers add the sets.
    pub const WAITS: usize = 56;
    /// The number of entries of a segment.
    pub const ENTRIES: usize = 512;
}

/// The table of findings: a page, followed by the entries in no order.
pub mod findings {
    /// How many findings were dropped because the table was full.
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
    /// A key that differs from those of all others; 0: not in use.
    pub const KEY: usize = 0;
    /// [`crate::findings::Id`] in the lowest byte, the variant above it. Written last; 0: the entry
    /// is being written.
    pub const WHAT: usize = 8;
    /// [`crate::findings::Severity`].
    pub const SEVERITY: usize = 16;
    pub const COUNT: usize = 24;
    /// One more than the epfd in the lower 32 bits, one more than the fd in the upper; 0: none.
    pub const DESCRIPTORS: usize = 32;
    pub const SITE: usize = 40;
    pub const OTHER: usize = 48;
    /// Four words.
    pub const DETAIL: usize = 56;
    pub const FIRST: usize = 88;
}

/// What the descriptors of findings referred to when the findings were made. Entry N belongs to
/// entry N of the table of findings.
pub mod described {
    pub const SIZE: usize = 8 + crate::descriptor::BYTES;
    /// One more than the descriptor's number in the lower 32 bits, the length of the list in the
    /// upper. Written last; 0: none.
    pub const WHAT: usize = 0;
    /// The list ([`crate::descriptor`]).
    pub const FIELDS: usize = 8;
    pub const ALL: usize = super::findings::ENTRIES * SIZE;
}

/// Descriptors that were open when the process ended: the first few of each call site that created
/// some. A page, followed by an entry for each.
pub mod open_at_end {
    /// How many entries follow.
    pub const COUNT: usize = 0;
    pub const FIRST: usize = super::PAGE;
    /// The most entries of one call site, and of all. Of one site, entries that an epoll instance
    /// looks after come last.
    pub const OF_A_CALL: usize = 8;
    pub const MOST: usize = 512;
    pub const SIZE: usize = 16 + super::described::SIZE;
    /// The call site and the kind, as in the census.
    pub const SITE: usize = 0;
    pub const KIND: usize = 8;
    /// An entry as in [`super::described`].
    pub const DESCRIBED: usize = 16;
}

/// The arena of call stacks. A site whose address lies in a part of it stands for a stack. At that
/// address are the number of return addresses, and then these, the innermost first, each a word.
pub mod stacks {
    /// The size of a part, which is a segment. A stack lies in one part.
    pub const PART: usize = 64 * 1024;
    /// The most return addresses of a stack.
    pub const DEEPEST: usize = 64;
}

/// A coarse series of the whole run, in the order of time: a head of [`FIRST`](series::FIRST)
/// bytes, followed by rows. When all rows are taken, every second one is discarded, and from then
/// on rows are written half as often.
pub mod series {
    /// How many rows are taken.
    pub const COUNT: usize = 0;
    /// The least number of nanoseconds between rows; 0: [`FIRST_STEP`].
    pub const STEP: usize = 8;
    pub const FIRST_STEP: u64 = 1_000_000_000;
    pub const FIRST: usize = 64;
    pub const ROWS: usize = 256;
    pub const ROW: usize = 160;
    pub const SIZE: usize = FIRST + ROWS * ROW;
    // Words of a row, by number.
    /// CLOCK_MONOTONIC; 0: the row is not used. A process that was killed may have left a row
    /// twice.
    pub const AT: usize = 0;
    /// The number of epoll calls and of waits until then.
    pub const CALLS: usize = 1;
    pub const WAITS: usize = 2;
    /// The number of live instances and interests.
    pub const INSTANCES: usize = 3;
    pub const WATCHES: usize = 4;
    /// If the census is on: open descriptors, by the numbers of [`crate::census::Kind`].
    pub const KINDS: usize = 5;
}

const _: () = assert!((series::KINDS + crate::census::Kind::ALL.len()) * 8 <= series::ROW);

/// Places in an entry of the table of interests; the table's entry 0 is unused.
pub mod interest {
    pub const SIZE: usize = 24;
    /// The index of its instance in the table in the lower 32 bits, the descriptor in the upper; 0:
    /// not in use.
    pub const INSTANCE: usize = 0;
    pub const SITE: usize = 8;
    pub const RESERVED: usize = 16;
    /// The number of entries of a segment.
    pub const ENTRIES: usize = 4096;
}
