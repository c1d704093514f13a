//! What kinds of descriptors the census tells apart, and when descriptors that only grow in number are a leak. The library judges at
//! the end of a process, and the reader of a recording that of a process which had no such end: by the same functions.

use crate::findings::thresholds::{FD_LEAK_FEW, FD_LEAK_MANY, FD_LEAK_SLACK, FD_LEAK_STANDSTILL, FD_LEAK_STEP};
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

    /// Whether a program watches it for itself: it has no other end that could be gone.
    #[must_use]
    pub const fn is_silent(self) -> bool {
        matches!(self, Kind::Eventfd | Kind::Timerfd | Kind::Inotify | Kind::Signalfd | Kind::Pidfd)
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
    /// [`place::GONE`].
    pub gone: u64,
}

/// Who looks after a descriptor. Every open one of a place is in one of these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Care {
    /// No epoll instance watches it, or its other end has hung up.
    None = 0,
    /// It is watched, and its other end is gone: the program was told, and does nothing.
    Gone = 1,
    /// Only instances watch it that are left behind ([`crate::findings::leak`]).
    Left = 2,
    /// Only instances watch it that come from the same call as those, and may be left or in use.
    Doubtful = 3,
    /// It is watched, and nothing tells whether anybody needs it: an eventfd, a timer and the like.
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

/// The open descriptors of one place that this process has created, by who looks after them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cared {
    /// By the numbers of [`Care`].
    counts: [u64; 5],
    /// The highest number of each.
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

    /// Whether those that only left instances may watch are left with them. Of the instances of a leak those that are younger than
    /// the last look are not known to be left: up to half.
    const fn are_left(&self) -> bool {
        let [_, _, left, doubtful, _] = self.counts;
        left != 0 && left.saturating_mul(4) >= doubtful.saturating_mul(3)
    }

    /// So many that nobody looks after, and the highest of their numbers.
    fn unattended(&self, with_silent: bool) -> (u64, i32) {
        let are_left = self.are_left();
        let counted = [true, true, are_left, are_left, with_silent];
        let of_counted = self.counts.iter().zip(self.highest).zip(counted).filter(|(_, is_counted)| *is_counted);
        of_counted.fold((0, -1), |(sum, highest), ((count, fd), _)| (sum + count, fd.max(highest)))
    }
}

/// What decides besides, for all places of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Around {
    /// CLOCK_MONOTONIC.
    pub now: u64,
    /// A call that creates descriptors has failed for lack of room.
    pub has_met_the_limit: bool,
    pub is_running: bool,
    /// Instances, and watched sockets and pipes that have another end: each may have an eventfd and a timer of its own.
    pub companions: u64,
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
            gone: word(place::GONE),
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

    /// Whether descriptors whose other end is gone stay open, and become more.
    #[must_use]
    #[inline(never)] // for size
    pub fn lingers(&self) -> bool {
        // As many as were found at the last three looks, but no more than stayed open since the look before.
        let [_, third, second, first, _] = self.floors;
        let stayed = |floor: u64, shift: u32| floor.min(self.gone >> shift & 0xffff);
        let (first, second, third) = (stayed(first, 32), stayed(second, 16), stayed(third, 0));
        third >= FD_LEAK_FEW && rises(first, second) && rises(second, third)
    }

    /// Of so many that are watched now, those that have lost their other end, if as many others live as at the last look.
    #[must_use]
    pub fn gone_of(&self, watched: u64) -> u64 {
        let ([floor, ..], gone) = (self.floors, self.gone & 0xffff);
        if self.lingers() { watched.saturating_sub(floor.saturating_sub(gone)) } else { 0 }
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

    /// What there is to say of the open descriptors that this process has created here.
    #[must_use]
    pub fn judge(&self, cared: &Cared, around: &Around) -> Option<Finding> {
        let (mut alive, mut fd) = cared.unattended(false);
        // That the growth goes on is shown by the instances, where these are left.
        let now = if cared.are_left() { 0 } else { around.now };
        let mut leak = self.growth(alive, now).judge();
        let ([_, gone, .., silent], [_, highest_gone, ..]) = (cared.counts, cared.highest);
        if leak == Leak::No && gone >= FD_LEAK_FEW && self.lingers() {
            // What has lost its other end serves nobody, whether more come or not.
            (alive, fd) = (gone, highest_gone);
            leak = Leak::of(gone, self.born());
        }
        // One for each connection, loop or thread is common. Many more than these are not.
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
            // What is open at the end is worth a line. Before the end it is normal.
            Leak::No if !around.is_running && self.site() != 0 && alive != 0 => Severity::Info,
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
            detail: [self.kind() as u64, alive, self.born(), gone],
            first: 0,
            place: Finding::NO_PLACE,
        })
    }
}

/// Half as many again, and more.
fn rises(before: u64, after: u64) -> bool {
    after >= before.saturating_mul(3) / 2 && after > before
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

impl Leak {
    /// A leak of so many, of those that were made.
    const fn of(alive: u64, born: u64) -> Leak {
        // Nine of ten.
        let nearly_all = alive.saturating_mul(10) >= born.saturating_mul(9);
        if alive >= FD_LEAK_MANY && nearly_all { Leak::Certain } else { Leak::Likely }
    }
}

impl Growth {
    /// A leak's floor rises with every doubling of the births; that of a program that closes what it opens comes to rest, at the
    /// number that it works with.
    #[must_use]
    pub fn judge(&self) -> Leak {
        let [first, second, third, fourth] = self.floors;
        let doubles = rises(first, second) && rises(second, third) && rises(third, fourth);
        let goes_on = self.since <= self.span.saturating_mul(FD_LEAK_STANDSTILL).saturating_add(FD_LEAK_SLACK);
        let grows = goes_on && (doubles || self.grows_beneath());
        if self.alive < FD_LEAK_FEW || !grows { Leak::No } else { Leak::of(self.alive, self.born) }
    }

    /// A quiet leak beneath a number that the program works with: what is added doubles, though the sum does not. What nobody looks
    /// after must be mostly what was added: a number that is as high at any time is no leak.
    fn grows_beneath(&self) -> bool {
        let [first, second, third, fourth] = self.floors;
        let steps = [second.saturating_sub(first), third.saturating_sub(second), fourth.saturating_sub(third)];
        let [one, two, three] = steps;
        one >= FD_LEAK_STEP
            && two.saturating_mul(4) >= one.saturating_mul(5)
            && three.saturating_mul(4) >= two.saturating_mul(5)
            && three >= one.saturating_mul(3)
            && self.alive <= fourth.saturating_sub(first).saturating_mul(2)
    }
}

#[cfg(test)]
mod tests {
    use super::{Around, Care, Cared, Growth, Kind, Leak, Row};
    use crate::findings::Severity;
    use crate::recording::census::place;

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

    #[test]
    fn a_quiet_leak_is_told_from_a_busy_server() {
        // One of a hundred stays, under thirty that are in use.
        let quiet = Growth { born: 9_000, alive: 90, floors: [40, 50, 70, 110], span: 1000, since: 500 };
        assert_eq!(quiet.judge(), Leak::Likely);
        // A thousand that nobody watches, whose number drifts.
        assert_eq!(Growth { alive: 1_190, floors: [1_000, 1_020, 1_060, 1_140], ..quiet }.judge(), Leak::No);
        assert_eq!(Growth { floors: [40, 50, 60, 70], ..quiet }.judge(), Leak::No);
        assert_eq!(Growth { floors: [40, 44, 52, 68], ..quiet }.judge(), Leak::No);
    }

    /// A row whose creations have reached a power of two, and of which all are open.
    fn row(kind: Kind, live: u64, gone: u64) -> Row {
        Row {
            key: place::key(0x1000, kind),
            counts: live,
            floors: [live, live / 2, live / 4, live / 8, live / 16],
            gone,
            ..Row::default()
        }
    }

    #[test]
    fn what_has_lost_its_other_end_is_a_leak_though_it_is_watched() {
        let row = row(Kind::Socket, 256, 63 << 32 | 127 << 16 | 255);
        let around = Around { now: 1 << 40, is_running: true, ..Around::default() };
        assert_eq!(row.gone_of(256), 255);
        let mut cared = Cared::default();
        cared.add(Care::Gone, 250, 300);
        let found = row.judge(&cared, &around).map(|found| (found.severity, found.fd, found.detail[3]));
        assert_eq!(found, Some((Severity::Error, Some(300), 250)));
        // Once looked at, they were few; or they did not become more.
        assert!(!Row { gone: 63 << 32 | 64 << 16 | 70, ..row }.lingers());
        assert!(!Row { gone: 3 << 32 | 6 << 16 | 12, ..row }.lingers());
    }

    #[test]
    fn timers_are_a_leak_where_nobody_is_there_to_need_them() {
        let row = row(Kind::Timerfd, 256, 0);
        let severity = |care, now, companions| {
            let mut cared = Cared::default();
            cared.add(care, 256, 300);
            row.judge(&cared, &Around { companions, now, is_running: true, ..Around::default() })
                .map(|found| found.severity)
        };
        assert_eq!(severity(Care::Left, 1 << 40, 300), Some(Severity::Error));
        assert_eq!(severity(Care::Doubtful, 0, 300), None);
        assert_eq!(severity(Care::Silent, 0, 2), Some(Severity::Warning));
        assert_eq!(severity(Care::Silent, 1 << 40, 2), None);
        assert_eq!(severity(Care::Silent, 0, 256), None);
    }
}
