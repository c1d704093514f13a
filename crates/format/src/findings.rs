//! What is wrong with how a program uses descriptors: the defects, by name, and how each is told in one sentence.
//!
//! The shim notes them (src/findings), the recording keeps them ([`crate::recording::finding`]), and both exit report and command tell
//! them in the words of this file. What each means and how it is mended stands in `docs/findings/`, which
//! `epollshim explain` shows.

mod cause;
pub mod churn;
pub mod herd;
pub mod leak;
pub mod loops;
mod message;
pub mod near_limit;
pub mod no_cloexec;
pub mod stalled;
pub mod thresholds;

pub use cause::Cause;
pub use message::{Message, Roles};

use core::fmt::{self, Display};

use crate::recording::finding;

/// Defines the defects: the number that a recording has for each never changes.
macro_rules! ids {
    ($($(#[$doc:meta])* $id:ident = $number:literal $name:literal;)*) => {
        /// A kind of defect.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Id {
            $($(#[$doc])* $id = $number,)*
        }

        impl Id {
            pub const ALL: &[Id] = &[$(Id::$id),*];
            pub const NAMES: &[&str] = &[$($name),*];

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Id::$id => $name,)*
                }
            }

            #[must_use]
            pub const fn from_number(number: u8) -> Option<Id> {
                match number {
                    $($number => Some(Id::$id),)*
                    _ => None,
                }
            }
        }
    };
}

ids! {
    /// An instance alive at the end, or instances whose number only grows.
    Leak = 1 "leak";
    /// An interest whose descriptor was closed while something else keeps its description alive.
    Ghost = 2 "ghost";
    /// A ghost's number belongs to another file by now.
    StaleData = 3 "stale-data";
    /// The same events again and again, with nothing done about them.
    Spin = 4 "spin";
    /// Waits that do not block and return nothing, for a long time.
    PollLoop = 5 "poll-loop";
    /// `maxevents` keeps being filled.
    FullBatch = 6 "full-batch";
    /// Several threads or processes wake for one event.
    Herd = 7 "herd";
    /// An instance without close-on-exec that reached another program, or could have.
    NoCloexec = 8 "no-cloexec";
    /// An instance used on both sides of a fork.
    ForkShared = 9 "fork-shared";
    /// An instance, or what it watches, was closed while another thread waits.
    CloseInWait = 10 "close-in-wait";
    /// `epoll_ctl` failed as no correct program makes it fail.
    CtlError = 11 "ctl-error";
    /// A call with -1 for a descriptor, or waits that fail in a row: an error that nobody looked at.
    IgnoredError = 12 "ignored-error";
    /// More watches than `epoll_create(size)` promised, or a size that is not positive.
    SizeLie = 13 "size-lie";
    /// The work between two waits takes long.
    LateLoop = 14 "late-loop";
    /// Close to a limit of the system's or the user's.
    NearLimit = 15 "near-limit";
    /// Descriptors of one site only grow in number (census).
    FdLeak = 16 "fd-leak";
    /// A number was closed that was closed before (census).
    DoubleClose = 17 "double-close";
    /// A descriptor reached another program by accident (census).
    FdInherited = 18 "fd-inherited";
    /// A number was used that was closed (census).
    UseAfterClose = 19 "use-after-close";
    /// No descriptor was left.
    Exhausted = 20 "exhausted";
    /// Data waits, and no event will come for it.
    Stalled = 21 "stalled";
    /// Instances are made and ended at a rate that a loop does not need.
    Churn = 22 "churn";
}

impl Id {
    #[must_use]
    pub fn named(name: &str) -> Option<Id> {
        Id::ALL.iter().copied().find(|id| id.name() == name)
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Severity {
    /// Worth knowing; correct programs do it too.
    Info = 1,
    /// Costs something, or becomes an error in other circumstances.
    Warning = 2,
    /// Wrong in every circumstance.
    Error = 3,
}

impl Severity {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }

    #[must_use]
    pub const fn from_number(number: u64) -> Option<Severity> {
        match number {
            1 => Some(Severity::Info),
            2 => Some(Severity::Warning),
            3 => Some(Severity::Error),
            _ => None,
        }
    }
}

/// Variants of `double-close`; 0: the number was closed before, by a hook's own call.
pub mod double_close {
    pub const BY_ANOTHER_THREAD: u8 = 1;
    /// By close_range or closefrom, or by a loop of closes.
    pub const SWEPT: u8 = 2;
    /// By nobody that was seen.
    pub const OUT_OF_SIGHT: u8 = 3;
}

/// Variants of `ignored-error`; 0: a call with -1 for a descriptor. The others are of waits that fail in a row.
pub mod ignored_error {
    /// EBADF: the epoll descriptor is not open.
    pub const CLOSED: u8 = 1;
    /// EINVAL: it is no epoll descriptor.
    pub const NO_INSTANCE: u8 = 2;
    /// EINVAL: `maxevents` is not positive.
    pub const NO_ROOM: u8 = 3;
}

/// Variants of `stale-data`; 0: a ghost's number was registered for another file.
pub mod stale_data {
    /// A descriptor was closed whose event of the same batch was not handled yet.
    pub const IN_A_BATCH: u8 = 1;
}

/// How a descriptor that an instance watches was closed while a thread waits: the second number of a `close-in-wait`.
pub mod close_in_wait {
    pub const OTHERS_ARE_LEFT: u64 = 0;
    /// The instance watches nothing any more.
    pub const LAST: u64 = 1;
    /// The wait brought an event for the number.
    pub const EVENT_CAME: u64 = 2;
}

/// Variants of `use-after-close`: the call.
pub mod use_after_close {
    pub const WAIT: u8 = 0;
    pub const CTL: u8 = 1;
    /// EPOLL_CTL_DEL, of the descriptor that it takes out.
    pub const DEL: u8 = 2;
    pub const DUP: u8 = 3;
    pub const FCNTL: u8 = 4;
    /// fcntl with a command that only asks.
    pub const PROBE: u8 = 5;
    /// close, which succeeded: the thread had closed the number before, and another one had opened it
    /// since.
    pub const STRAY: u8 = 6;
}

/// Who held the descriptors when none was left: the numbers of an `exhausted`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    pub error: u8,
    /// The soft limit (RLIMIT_NOFILE).
    pub limit: u64,
    /// How many were open; 0: it is not known.
    pub open: u64,
    /// How many of them one call had created, and their kind's number; 0: it is not known.
    pub of_one: u64,
    pub kind: u8,
    /// The kinds with the most, by number, and how many of each.
    pub kinds: [(u8, u64); 4],
}

impl Held {
    const COUNT: u64 = (1 << 24) - 1;

    #[must_use]
    pub fn to_detail(&self) -> [u64; 4] {
        let pair = |(kind, count): (u8, u64)| u64::from(kind) | count.min(Self::COUNT) << 8;
        let [first, second, third, fourth] = self.kinds;
        [
            u64::from(self.error) | self.limit.min(u64::MAX >> 8) << 8,
            self.open.min(Self::COUNT) | pair((self.kind, self.of_one)) << 32,
            pair(first) | pair(second) << 32,
            pair(third) | pair(fourth) << 32,
        ]
    }

    #[must_use]
    pub const fn of_detail(&[first, second, third, fourth]: &[u64; 4]) -> Held {
        const fn pair(word: u64) -> (u8, u64) {
            (word as u8, word >> 8 & Held::COUNT)
        }
        let (kind, of_one) = pair(second >> 32);
        Held {
            error: first as u8,
            limit: first >> 8,
            open: second & Self::COUNT,
            of_one,
            kind,
            kinds: [pair(third), pair(third >> 32), pair(fourth), pair(fourth >> 32)],
        }
    }
}

/// How a `spin` goes on: the last of its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spin {
    /// It is a listening socket, and no descriptor is left to accept with.
    pub is_refused: bool,
    /// How often epoll_ctl was called to arm it again; 0: that is not why it comes again.
    pub rearmed: u64,
    /// How many instances the thread has created meanwhile.
    pub rebuilt: u64,
}

impl Spin {
    #[must_use]
    pub fn to_word(self) -> u64 {
        u64::from(self.is_refused) | self.rearmed.min(u64::from(u32::MAX)) << 8 | self.rebuilt.min((1 << 24) - 1) << 40
    }

    #[must_use]
    pub const fn of_word(word: u64) -> Spin {
        Spin { is_refused: word & 1 != 0, rearmed: word >> 8 & u32::MAX as u64, rebuilt: word >> 40 }
    }
}

/// Variants of `fd-inherited`; 0: by a child.
pub mod fd_inherited {
    /// The process itself became the other program.
    pub const BY_ITSELF: u8 = 1;
    /// The number stands in the other program's arguments or environment.
    pub const NAMED: u8 = 2;
}

/// What was found: all that has the same id, variant, site and other site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finding {
    pub id: Id,
    pub severity: Severity,
    /// Tells apart what one id covers (`ctl-error`: a [`Cause`]); 0 where it covers one thing.
    pub variant: u8,
    /// How often it was met.
    pub count: u64,
    /// The epoll descriptor, and the descriptor watched by it, when it was met last; None: of none.
    pub epfd: Option<i32>,
    pub fd: Option<i32>,
    /// The return address of the call to mend; 0: not known.
    pub site: u64,
    /// A second place, which the id's page names (`ghost`: where the interest was added); 0: none.
    pub other: u64,
    /// Numbers that the message tells; what they are is the id's own affair.
    pub detail: [u64; 4],
    /// CLOCK_MONOTONIC when it was met first, nanoseconds; 0: it is judged at the end, not met.
    pub first: u64,
    /// Its place in the table: what its descriptor was lies at the same place of [`crate::recording::described`].
    pub place: u16,
}

impl Finding {
    /// The place of one that is in no table.
    pub const NO_PLACE: u16 = u16::MAX;

    /// What the entry at a place of the table holds; `word` gives the word at a place of [`crate::recording::finding`]. None: it is not in use, is
    /// being filled in, was not met since the table began anew, or is of a later version.
    #[must_use]
    pub fn read(place: usize, word: impl Fn(usize) -> u64) -> Option<Finding> {
        // First: what it is stands there when all else does.
        let what = word(finding::WHAT);
        let descriptors = word(finding::DESCRIPTORS);
        let descriptor = |word: u32| word.checked_sub(1).map(|fd| fd as i32);
        let found = Finding {
            id: Id::from_number(what as u8)?,
            severity: Severity::from_number(word(finding::SEVERITY))?,
            variant: (what >> 8) as u8,
            count: word(finding::COUNT),
            epfd: descriptor(descriptors as u32),
            fd: descriptor((descriptors >> 32) as u32),
            site: word(finding::SITE),
            other: word(finding::OTHER),
            detail: [0, 8, 16, 24].map(|place| word(finding::DETAIL + place)),
            first: word(finding::FIRST),
            place: place as u16,
        };
        (found.count != 0).then_some(found)
    }
}

/// How many there are of each severity: `1 error, 2 warnings`; nothing where there are none.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    errors: usize,
    warnings: usize,
    infos: usize,
}

impl<'a> FromIterator<&'a Finding> for Tally {
    fn from_iter<I: IntoIterator<Item = &'a Finding>>(findings: I) -> Tally {
        findings.into_iter().fold(Tally::default(), |mut tally, finding| {
            match finding.severity {
                Severity::Error => tally.errors += 1,
                Severity::Warning => tally.warnings += 1,
                Severity::Info => tally.infos += 1,
            }
            tally
        })
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = [
            (self.errors, Severity::Error, "s"),
            (self.warnings, Severity::Warning, "s"),
            (self.infos, Severity::Info, ""),
        ];
        let mut comma = "";
        for (count, severity, plural) in told.into_iter().filter(|(count, ..)| *count != 0) {
            write!(f, "{comma}{count} {}{}", severity.name(), if count == 1 { "" } else { plural })?;
            comma = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Id, Spin};

    #[test]
    fn how_a_spin_goes_on_fits_into_one_word() {
        let spins = [
            Spin::default(),
            Spin { is_refused: true, rearmed: 52_201, rebuilt: 157 },
            Spin { is_refused: false, rearmed: u64::from(u32::MAX), rebuilt: (1 << 24) - 1 },
        ];
        for spin in spins {
            assert_eq!(Spin::of_word(spin.to_word()), spin);
        }
        // Of a recording of an earlier version.
        assert!(Spin::of_word(1).is_refused);
    }

    #[test]
    fn every_defect_has_a_name_and_a_number_of_its_own() {
        for id in Id::ALL {
            assert_eq!(Id::named(id.name()), Some(*id));
            assert_eq!(Id::from_number(*id as u8), Some(*id));
        }
        assert_eq!(Id::named("leek"), None);
        assert_eq!(Id::from_number(0), None);
    }
}
