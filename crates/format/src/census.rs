//! The kinds of descriptors that the census distinguishes, and the judgement whether descriptors
//! whose number keeps growing are a leak. The library judges at the end of a process. The reader of
//! a recording judges a process that had no such end, by the same functions.

mod growth;

use self::growth::rises;
use crate::findings::thresholds::{FD_LEAK_FEW, FD_LEAK_MANY};
use crate::findings::{Finding, Id, Severity};
use crate::recording::census::place;

pub use growth::{Growth, Leak};

/// Defines the kinds. The number that a recording has for each never changes.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $number:literal $name:literal $plural:literal;)*) => {
        /// What a descriptor refers to, as far as the call that created it shows.
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
    /// Anything that `open` opens, including devices, FIFOs and terminals.
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
    /// It was received in a message (SCM_RIGHTS). Its kind was not examined.
    Received = 12 "received" "received descriptors";
}

impl Kind {
    /// The noun for one descriptor of this kind.
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

    /// Whether the program watches it for its own events: it has no other end that could hang up.
    #[must_use]
    pub const fn is_silent(self) -> bool {
        matches!(self, Kind::Eventfd | Kind::Timerfd | Kind::Inotify | Kind::Signalfd | Kind::Pidfd)
    }

    /// The kind of what `/proc/PID/fd/N` points to (Linux v6.1: `d_path` of sockfs, pipefs and
    /// anon_inodefs).
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
    /// The newest one first.
    pub floors: [u64; 5],
    pub turned: u64,
    pub turned_before: u64,
    /// [`place::GONE`].
    pub gone: u64,
}

/// Whether a descriptor is still taken care of. Each open descriptor of a call site is in one of
/// these classes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Care {
    /// No epoll instance watches it, or its other end has hung up.
    None = 0,
    /// It is watched, and its other end has hung up: the program got the event, and does not close
    /// it.
    Gone = 1,
    /// Only leaked instances watch it ([`crate::findings::leak`]).
    Left = 2,
    /// Only instances watch it that were created by the same call as leaked ones. They may be
    /// leaked or in use.
    Doubtful = 3,
    /// It is watched, and nothing shows whether it is still needed: an eventfd, a timer or another
    /// kind without another end ([`Kind::is_silent`]).
    Silent = 4,
}

impl Care {
    #[must_use]
    pub const fn from_number(number: u64) -> Care {
        match number {
            1 => Care::Gone,
            2 => Care::Left,
            3 => Care::Doubtful,
            4 => Care::Silent,
            _ => Care::None,
        }
    }
}

/// The open descriptors that this process has created at one call site, by [`Care`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cared {
    /// How many are in each class, by the numbers of [`Care`].
    counts: [u64; 5],
    /// The highest descriptor number of each class.
    highest: [i32; 5],
}

impl Cared {
    pub fn add(&mut self, care: Care, count: u64, fd: i32) {
        let at = care as usize;
        if let (Some(sum), Some(highest)) = (self.counts.get_mut(at), self.highest.get_mut(at)) {
            *sum = sum.saturating_add(count);
            *highest = fd.max(*highest);
        }
    }

    /// Whether the descriptors that only leaked instances may watch count as leaked as well. Of the
    /// instances of a leak up to half are younger than the last look, and are not known to be
    /// leaked.
    const fn are_left(&self) -> bool {
        let [_, _, left, doubtful, _] = self.counts;
        left != 0 && left.saturating_mul(4) >= doubtful.saturating_mul(3)
    }

    /// How many descriptors nothing takes care of, and the highest of their numbers.
    fn unattended(&self, with_silent: bool) -> (u64, i32) {
        let are_left = self.are_left();
        let counted = [true, true, are_left, are_left, with_silent];
        let of_counted = self.counts.iter().zip(self.highest).zip(counted).filter(|(_, is_counted)| *is_counted);
        of_counted.fold((0, -1), |(sum, highest), ((count, fd), _)| (sum + count, fd.max(highest)))
    }
}

/// What else the judgement depends on. It is the same for all call sites of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Around {
    /// CLOCK_MONOTONIC.
    pub now: u64,
    /// A call that creates descriptors has failed with EMFILE or ENFILE.
    pub has_met_the_limit: bool,
    pub is_running: bool,
    /// The number of instances, and of watched sockets and pipes that have another end. Each may
    /// have an eventfd and a timer of its own.
    pub companions: u64,
}

impl Row {
    /// Reads a row. `word` returns the word at a place of the row.
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
            gone: word(place::GONE),
        }
    }

    /// The return address of the creating call, or the address of its stack; 0: no hook saw the
    /// call.
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

    /// How many were created by this process.
    #[must_use]
    pub const fn born(&self) -> u64 {
        self.live().saturating_add(self.closed()).saturating_sub(self.base)
    }

    /// Whether anything was ever counted here.
    #[must_use]
    pub const fn is_used(&self) -> bool {
        self.counts | self.more != 0
    }

    /// Whether descriptors whose other end is gone stay open, and their number grows.
    #[must_use]
    #[inline(never)] // for size
    pub fn lingers(&self) -> bool {
        // The numbers that were found at the last three looks, each at most the number that stayed
        // open since the look before.
        let [_, third, second, first, _] = self.floors;
        let stayed = |floor: u64, shift: u32| floor.min(self.gone >> shift & 0xffff);
        let (first, second, third) = (stayed(first, 32), stayed(second, 16), stayed(third, 0));
        third >= FD_LEAK_FEW && rises(first, second) && rises(second, third)
    }

    /// Estimates how many of the descriptors that are watched now have lost their other end:
    /// assumes that as many others are open as at the last look.
    #[must_use]
    pub fn gone_of(&self, watched: u64) -> u64 {
        let ([floor, ..], gone) = (self.floors, self.gone & 0xffff);
        if self.lingers() { watched.saturating_sub(floor.saturating_sub(gone)) } else { 0 }
    }

    /// How the number of open descriptors has grown. `alive`: how many of those created by this
    /// process nothing takes care of. `now`: CLOCK_MONOTONIC.
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

    /// The finding about the open descriptors that this process has created here, if there is one.
    #[must_use]
    pub fn judge(&self, cared: &Cared, around: &Around) -> Option<Finding> {
        let (mut alive, mut fd) = cared.unattended(false);
        // If instances are leaked, they show that the growth continues.
        let now = if cared.are_left() { 0 } else { around.now };
        let mut leak = self.growth(alive, now).judge();
        let ([_, gone, .., silent], [_, highest_gone, ..]) = (cared.counts, cared.highest);
        if leak == Leak::No && gone >= FD_LEAK_FEW && self.lingers() {
            // A descriptor that has lost its other end is useless, whether more are created or not.
            (alive, fd) = (gone, highest_gone);
            leak = Leak::of(gone, self.born());
        }
        // One for each connection, loop or thread is common. Many more than that is not.
        if leak == Leak::No && silent >= FD_LEAK_MANY && silent > around.companions.saturating_mul(2) {
            let (all, highest) = cared.unattended(true);
            leak = self.growth(all, around.now).judge().min(Leak::Likely);
            if leak != Leak::No {
                (alive, fd) = (all, highest);
            }
        }
        let severity = match leak {
            Leak::Certain => Severity::Error,
            Leak::Likely if around.has_met_the_limit => Severity::Error,
            Leak::Likely => Severity::Warning,
            // Descriptors that are open at the end are worth a line. Before the end they are
            // normal.
            Leak::No if !around.is_running && self.site() != 0 && alive != 0 => Severity::Info,
            Leak::No => return None,
        };
        Some(Finding {
            id: Id::FdLeak,
            severity,
            // Two kinds from one call site are two findings.
            variant: self.kind() as u8,
            count: 1,
            epfd: None,
            fd: Some(fd),
            site: self.site(),
            other: 0,
            detail: [self.kind() as u64, alive, self.born(), gone],
            first: 0,
            place: Finding::NO_PLACE,
        })
    }
}

#[cfg(test)]
mod tests;
