//! Findings: defects in how a program uses descriptors, with the id, severity and message of each.
//!
//! The shim finds them (src/findings), and a recording keeps them ([`crate::recording::finding`]).
//! The exit report and the command print them with the messages of this module. `docs/findings/`
//! has a page on the meaning and the fix of each, which `epollshim explain` prints.

mod cause;
pub mod churn;
mod exhausted;
pub mod herd;
pub mod leak;
pub mod loops;
mod message;
pub mod near_limit;
pub mod no_cloexec;
mod roles;
pub mod stalled;
pub mod thresholds;

pub use cause::Cause;
pub use exhausted::Held;
pub use message::Message;
pub use roles::Roles;

use core::fmt::{self, Display};

use crate::recording::finding;

/// Defines the ids. Recordings contain the numbers, so these never change.
macro_rules! ids {
    ($($(#[$doc:meta])* $id:ident = $number:literal $name:literal;)*) => {
        /// The kind of a finding.
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
    /// An instance open at the end, or instances whose number keeps growing.
    Leak = 1 "leak";
    /// The descriptor of an interest was closed while something else keeps its open file
    /// description alive.
    Ghost = 2 "ghost";
    /// A ghost's number refers to another file now.
    StaleData = 3 "stale-data";
    /// The same events are returned again and again, and nothing is done about them.
    Spin = 4 "spin";
    /// Waits that do not block and return nothing, for a long time.
    PollLoop = 5 "poll-loop";
    /// Waits keep returning `maxevents` events.
    FullBatch = 6 "full-batch";
    /// One event wakes several threads or processes.
    Herd = 7 "herd";
    /// An instance without close-on-exec that reached another program, or could have.
    NoCloexec = 8 "no-cloexec";
    /// Parent and child of a fork use the same instance.
    ForkShared = 9 "fork-shared";
    /// An instance, or a descriptor that it watches, was closed while another thread waits.
    CloseInWait = 10 "close-in-wait";
    /// `epoll_ctl` failed because of how it was called.
    CtlError = 11 "ctl-error";
    /// A call with -1 as a descriptor, or waits that fail in a row: an error that the program did
    /// not check.
    IgnoredError = 12 "ignored-error";
    /// More watches than `epoll_create(size)` promised, or a size that is not positive.
    SizeLie = 13 "size-lie";
    /// The work between two waits takes long.
    LateLoop = 14 "late-loop";
    /// Close to a limit of the system or of the user.
    NearLimit = 15 "near-limit";
    /// The number of open descriptors of one call site keeps growing (census).
    FdLeak = 16 "fd-leak";
    /// A descriptor was closed twice (census).
    DoubleClose = 17 "double-close";
    /// A descriptor leaked into another program (census).
    FdInherited = 18 "fd-inherited";
    /// A closed descriptor was used (census).
    UseAfterClose = 19 "use-after-close";
    /// No descriptor was free.
    Exhausted = 20 "exhausted";
    /// Data waits, and no event will come for it.
    Stalled = 21 "stalled";
    /// Instances are created and closed too often.
    Churn = 22 "churn";
}

impl Id {
    #[must_use]
    pub fn named(name: &str) -> Option<Id> {
        Id::ALL.iter().copied().find(|id| id.name() == name)
    }
}

/// How severe a finding is.
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

/// Variants of `double-close`; 0: a hooked call closed the number before.
pub mod double_close {
    pub const BY_ANOTHER_THREAD: u8 = 1;
    /// By close_range, closefrom or a loop of closes.
    pub const SWEPT: u8 = 2;
    /// No hook saw the close.
    pub const OUT_OF_SIGHT: u8 = 3;
}

/// Variants of `ignored-error`; 0: a call with -1 as a descriptor. The others are of waits that
/// fail in a row.
pub mod ignored_error {
    /// EBADF: the epoll descriptor is not open.
    pub const CLOSED: u8 = 1;
    /// EINVAL: it is not an epoll descriptor.
    pub const NO_INSTANCE: u8 = 2;
    /// EINVAL: `maxevents` is not positive.
    pub const NO_ROOM: u8 = 3;
}

/// Variants of `stale-data`; 0: a ghost's number was registered for another file.
pub mod stale_data {
    /// A descriptor was closed before its event of the same batch was handled.
    pub const IN_A_BATCH: u8 = 1;
}

/// What was seen when a watched descriptor was closed while a thread waits: the second number of a
/// `close-in-wait`.
pub mod close_in_wait {
    pub const OTHERS_ARE_LEFT: u64 = 0;
    /// The instance watches nothing else.
    pub const LAST: u64 = 1;
    /// The wait returned an event for the number.
    pub const EVENT_CAME: u64 = 2;
}

/// Variants of `use-after-close`: the call.
pub mod use_after_close {
    pub const WAIT: u8 = 0;
    pub const CTL: u8 = 1;
    /// EPOLL_CTL_DEL: the descriptor that it removes.
    pub const DEL: u8 = 2;
    pub const DUP: u8 = 3;
    pub const FCNTL: u8 = 4;
    /// fcntl with a command that only asks.
    pub const PROBE: u8 = 5;
    /// close, which succeeded: the thread had closed the number before, and another thread had
    /// opened it since.
    pub const STRAY: u8 = 6;
}

/// Details of a `spin`: the last of its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spin {
    /// It is a listening socket, and no descriptor is free to accept with.
    pub is_refused: bool,
    /// How often epoll_ctl re-armed it; 0: the events do not repeat because of re-arming.
    pub rearmed: u64,
    /// How many instances the thread created meanwhile.
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

/// Variants of `fd-inherited`; 0: a child became the other program.
pub mod fd_inherited {
    /// The process itself became the other program.
    pub const BY_ITSELF: u8 = 1;
    /// The number is in the other program's arguments or environment.
    pub const NAMED: u8 = 2;
}

/// Everything found with the same id, variant, site and other site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finding {
    pub id: Id,
    pub severity: Severity,
    /// Distinguishes what one id covers (`ctl-error`: a [`Cause`]); 0 if it covers one thing.
    pub variant: u8,
    /// How often it was found.
    pub count: u64,
    /// The epoll descriptor when it was last found, and the descriptor that it watches; None: the
    /// finding has none.
    pub epfd: Option<i32>,
    pub fd: Option<i32>,
    /// The return address of the call to fix; 0: not known.
    pub site: u64,
    /// A second place, whose meaning depends on the id (`ghost`: where the interest was added); 0:
    /// none.
    pub other: u64,
    /// Numbers for the message. Their meaning depends on the id.
    pub detail: [u64; 4],
    /// CLOCK_MONOTONIC when it was first found, in nanoseconds; 0: it is evaluated at the end.
    pub first: u64,
    /// Its place in the table. The description of its descriptor has the same place in
    /// [`crate::recording::described`].
    pub place: u16,
}

impl Finding {
    /// The place of a finding that is in no table.
    pub const NO_PLACE: u16 = u16::MAX;

    /// The finding at a place of the table. `word` returns the word at a place of
    /// [`crate::recording::finding`]. None: the entry is not in use, is being written, was not
    /// found since the table was reset, or has an id of a later version.
    #[must_use]
    pub fn read(place: usize, word: impl Fn(usize) -> u64) -> Option<Finding> {
        // Read first, because the writer stores it last.
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

/// Counts by severity: `1 error, 2 warnings`; empty if there are none.
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
        let counts = [
            (self.errors, Severity::Error, "s"),
            (self.warnings, Severity::Warning, "s"),
            (self.infos, Severity::Info, ""),
        ];
        let mut comma = "";
        for (count, severity, plural) in counts.into_iter().filter(|(count, ..)| *count != 0) {
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
        // From a recording of an earlier version.
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
