//! What kinds of descriptors the census tells apart, and when descriptors that only grow in number are a leak. The library judges at
//! the end of a process, and the reader of a recording that of a process which had no such end: by the same functions.

use crate::findings::{Finding, Id, Severity};
use crate::recording::census::place;

/// Defines the kinds: the number that a recording has for each never changes.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $number:literal $name:literal $plural:literal;)*) => {
        /// What a descriptor refers to, as far as the call that made it tells.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $kind = $number,)*
        }

        impl Kind {
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }

            #[must_use]
            pub const fn plural(self) -> &'static str {
                match self {
                    $(Kind::$kind => $plural,)*
                }
            }

            #[must_use]
            pub const fn from_number(number: u64) -> Kind {
                match number {
                    $($number => Kind::$kind,)*
                    _ => Kind::Other,
                }
            }
        }
    };
}

kinds! {
    Other = 0 "other" "other descriptors";
    /// Whatever `open` opens: also devices, FIFOs and terminals.
    File = 1 "file" "files";
    Directory = 2 "directory" "directories";
    Socket = 3 "socket" "sockets";
    Pipe = 4 "pipe" "ends of pipes";
    Eventfd = 5 "eventfd" "eventfds";
    Timerfd = 6 "timerfd" "timerfds";
    Signalfd = 7 "signalfd" "signalfds";
    Inotify = 8 "inotify" "inotify instances";
    Memfd = 9 "memfd" "memfds";
    Epoll = 10 "epoll" "epoll instances";
    Pidfd = 11 "pidfd" "pidfds";
    /// It came with a message (SCM_RIGHTS): what it is was not asked.
    Received = 12 "received" "received descriptors";
}

impl Kind {
    /// The noun for one of it.
    #[must_use]
    pub const fn singular(self) -> &'static str {
        match self {
            Kind::Pipe => "end of a pipe",
            Kind::Inotify => "inotify instance",
            Kind::Epoll => "epoll instance",
            Kind::Other => "other descriptor",
            Kind::Received => "received descriptor",
            _ => self.name(),
        }
    }

    /// Of what `/proc/PID/fd/N` points to (Linux v6.1: `d_path` of sockfs, pipefs and anon_inodefs).
    #[must_use]
    pub fn of_target(target: &[u8]) -> Kind {
        let named: [(&[u8], Kind); 9] = [
            (b"socket:[", Kind::Socket),
            (b"pipe:[", Kind::Pipe),
            (b"anon_inode:[eventfd", Kind::Eventfd),
            (b"anon_inode:[timerfd]", Kind::Timerfd),
            (b"anon_inode:[signalfd]", Kind::Signalfd),
            (b"anon_inode:inotify", Kind::Inotify),
            (b"anon_inode:[eventpoll]", Kind::Epoll),
            (b"anon_inode:[pidfd]", Kind::Pidfd),
            (b"/memfd:", Kind::Memfd),
        ];
        match named.into_iter().find(|(beginning, _)| target.starts_with(beginning)) {
            Some((_, kind)) => kind,
            None if target.starts_with(b"/") => Kind::File,
            None => Kind::Other,
        }
    }
}

/// A row of the census, as plain numbers ([`crate::recording::census::place`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Row {
    pub key: u64,
    pub counts: u64,
    pub more: u64,
    pub base: u64,
    pub peak: u64,
    /// The newest first.
    pub floors: [u64; 5],
    pub turned: u64,
    pub turned_before: u64,
}

impl Row {
    /// `word` gives the word at a place of the row.
    #[must_use]
    pub fn read(word: impl Fn(usize) -> u64) -> Row {
        Row {
            key: word(place::KEY),
            counts: word(place::COUNTS),
            more: word(place::MORE),
            base: word(place::BASE),
            peak: word(place::PEAK),
            floors: [0, 8, 16, 24, 32].map(|at| word(place::FLOOR + at)),
            turned: word(place::TURNED),
            turned_before: word(place::TURNED_BEFORE),
        }
    }

    /// The return address, or a stack's; 0: no hook saw it.
    #[must_use]
    pub const fn site(&self) -> u64 {
        place::site(self.key)
    }

    #[must_use]
    pub const fn kind(&self) -> Kind {
        place::kind(self.key)
    }

    #[must_use]
    pub const fn live(&self) -> u64 {
        place::live(self.counts)
    }

    #[must_use]
    pub const fn closed(&self) -> u64 {
        self.more.saturating_add(self.counts >> place::CLOSED)
    }

    /// Created by this process.
    #[must_use]
    pub const fn born(&self) -> u64 {
        self.live().saturating_add(self.closed()).saturating_sub(self.base)
    }

    /// Whether anything was ever counted here.
    #[must_use]
    pub const fn is_used(&self) -> bool {
        self.counts | self.more != 0
    }

    /// How its number has grown. `alive`: those created by this process that nobody looks after. `now`: CLOCK_MONOTONIC.
    #[must_use]
    pub fn growth(&self, alive: u64, now: u64) -> Growth {
        let [fourth, third, second, first, _] = self.floors;
        Growth {
            born: self.born(),
            alive,
            floors: [first, second, third, fourth],
            span: self.turned.saturating_sub(self.turned_before),
            since: now.saturating_sub(self.turned),
        }
    }

    /// What there is to say of `alive` descriptors, of which `fd` is one, that this process has created here, and that nobody looks
    /// after. `has_met_the_limit`: it was refused one for lack of room. `is_running`: it has not ended.
    #[must_use]
    pub fn judge(&self, alive: u64, fd: i32, now: u64, has_met_the_limit: bool, is_running: bool) -> Option<Finding> {
        let severity = match self.growth(alive, now).judge() {
            Leak::Certain => Severity::Error,
            Leak::Likely if has_met_the_limit => Severity::Error,
            Leak::Likely => Severity::Warning,
            // What is open at the end is worth a line. Before the end it is normal.
            Leak::No if !is_running && self.site() != 0 => Severity::Info,
            Leak::No => return None,
        };
        Some(Finding {
            id: Id::FdLeak,
            severity,
            // Two kinds from one place are two findings.
            variant: self.kind() as u8,
            count: 1,
            epfd: None,
            fd: Some(fd),
            site: self.site(),
            other: 0,
            detail: [self.kind() as u64, alive, self.born(), 0],
            first: 0,
            place: Finding::NO_PLACE,
        })
    }
}

/// What is known of the descriptors of one place when it is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Growth {
    /// Made there.
    pub born: u64,
    /// Of these, alive and not looked after by anybody.
    pub alive: u64,
    /// The lowest number alive in each of the last four spans from one power of two of births to the next, the oldest first.
    pub floors: [u64; 4],
    /// Nanoseconds of the last whole span, and since.
    pub span: u64,
    pub since: u64,
}

/// How sure it is that they leak.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Leak {
    No,
    Likely,
    Certain,
}

/// Fewer than these are no evidence: programs have a handful of each kind for life.
pub const FEW: u64 = 16;
/// From here on a warning becomes an error, if nearly none of them was ever closed.
pub const MANY: u64 = 64;
/// Growth that stands still this much longer than the last doubling took has ended: tables that are filled once do that.
const STANDSTILL: u64 = 4;
/// What the end of a program takes is no standstill: 20 ms.
const SLACK: u64 = 20_000_000;

impl Growth {
    /// A leak's floor rises with every doubling of the births; that of a program that closes what it opens comes to rest, at the
    /// number that it works with.
    #[must_use]
    pub fn judge(&self) -> Leak {
        let rises =
            |pair: &[u64]| matches!(pair, [before, after] if *after >= before.saturating_mul(3) / 2 && after > before);
        let goes_on = self.since <= self.span.saturating_mul(STANDSTILL).saturating_add(SLACK);
        if self.alive < FEW || !goes_on || !self.floors.windows(2).all(rises) {
            return Leak::No;
        }
        // Nine of ten.
        let nearly_all = self.alive.saturating_mul(10) >= self.born.saturating_mul(9);
        if self.alive >= MANY && nearly_all { Leak::Certain } else { Leak::Likely }
    }
}

#[cfg(test)]
mod tests {
    use super::{Growth, Kind, Leak};

    #[test]
    fn a_kind_has_its_number_and_is_known_by_what_proc_says() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(*kind as u64), *kind);
        }
        assert_eq!(Kind::of_target(b"socket:[123]"), Kind::Socket);
        assert_eq!(Kind::of_target(b"/dev/null"), Kind::File);
        assert_eq!(Kind::of_target(b"anon_inode:[io_uring]"), Kind::Other);
    }

    #[test]
    fn only_what_goes_on_growing_is_a_leak() {
        let leak = Growth { born: 100, alive: 100, floors: [8, 16, 32, 64], span: 1000, since: 500 };
        assert_eq!(leak.judge(), Leak::Certain);
        assert_eq!(Growth { alive: 50, ..leak }.judge(), Leak::Likely);
        assert_eq!(Growth { alive: 15, ..leak }.judge(), Leak::No);
        // Filled at the start, and kept.
        assert_eq!(Growth { since: 1_000_000_000, ..leak }.judge(), Leak::No);
        // A server under a steady load, at its end.
        assert_eq!(Growth { born: 100_000, floors: [60, 64, 62, 61], ..leak }.judge(), Leak::No);
    }
}
