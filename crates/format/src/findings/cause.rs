//! Why an `epoll_ctl` fails: the variants of `ctl-error`, each with its severity and its sentence.

use super::Severity;

/// What is likely behind a failed `epoll_ctl`. The numbers stand in recordings and never change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Cause {
    /// ADD, EEXIST. The kernel did not say which events are in force.
    WatchedAlready = 1,
    /// The same, and the thread's next call was one for the pair that succeeded: ADD first, MOD if it is there.
    WatchedAlreadyMended = 2,
    /// MOD, ENOENT.
    NotWatched = 3,
    /// The same, mended by the next call: MOD first, ADD if it is not there.
    NotWatchedMended = 4,
    /// DEL of what is gone: ENOENT, or EPERM where the number has a regular file now.
    GoneBeforeDel = 5,
    /// DEL, EBADF: the descriptor was closed before.
    ClosedBeforeDel = 6,
    /// ADD or MOD, EBADF: the descriptor is not open.
    Closed = 7,
    /// EBADF: the instance's descriptor is not open.
    InstanceClosed = 8,
    /// ADD or MOD, EPERM: a file that is always ready.
    NotPollable = 9,
    /// ELOOP.
    NestedTooDeep = 10,
    /// EINVAL: epfd is fd.
    InItself = 11,
    /// EINVAL otherwise.
    Invalid = 12,
    /// ADD, EEXIST: it is watched for other events than were asked for.
    OtherEvents = 13,
    /// ADD, EEXIST: it is watched for these events, with other data.
    OtherData = 14,
    /// ADD, EEXIST: it is watched for these events, with this data.
    Redundant = 15,
}

impl Cause {
    pub const ALL: &[Cause] = &[
        Cause::WatchedAlready,
        Cause::WatchedAlreadyMended,
        Cause::NotWatched,
        Cause::NotWatchedMended,
        Cause::GoneBeforeDel,
        Cause::ClosedBeforeDel,
        Cause::Closed,
        Cause::InstanceClosed,
        Cause::NotPollable,
        Cause::NestedTooDeep,
        Cause::InItself,
        Cause::Invalid,
        Cause::OtherEvents,
        Cause::OtherData,
        Cause::Redundant,
    ];
    /// ADD of what is watched already.
    pub const OF_ADD: [Cause; 4] = [Cause::Redundant, Cause::OtherEvents, Cause::OtherData, Cause::WatchedAlready];

    #[must_use]
    pub const fn is_of_add(self) -> bool {
        matches!(self, Cause::Redundant | Cause::OtherEvents | Cause::OtherData | Cause::WatchedAlready)
    }

    #[must_use]
    pub fn from_number(number: u8) -> Option<Cause> {
        Cause::ALL.iter().copied().find(|cause| *cause as u8 == number)
    }

    /// What programs do on purpose (libuv: ADD, then MOD; libevent: MOD, then ADD; both: DEL of what may be gone) is no fault.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Cause::WatchedAlreadyMended
            | Cause::NotWatchedMended
            | Cause::GoneBeforeDel
            | Cause::ClosedBeforeDel
            | Cause::Redundant => Severity::Info,
            _ => Severity::Warning,
        }
    }

    /// What it becomes when the next call for the pair succeeds; None: it stays what it is.
    #[must_use]
    pub const fn mended(self) -> Option<Cause> {
        match self {
            _ if self.is_of_add() => Some(Cause::WatchedAlreadyMended),
            Cause::NotWatched => Some(Cause::NotWatchedMended),
            _ => None,
        }
    }

    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Cause::WatchedAlready => {
                "it is watched already, and the call has changed nothing: use EPOLL_CTL_MOD where the events are to \
                 be others"
            }
            Cause::OtherEvents => {
                "it is watched already, for other events: those that were asked for are not in force, use EPOLL_CTL_MOD"
            }
            Cause::OtherData => {
                "it is watched already, with other data: its events come with the old data, use EPOLL_CTL_MOD"
            }
            Cause::Redundant => "it is watched already, for the same events: the call is not needed",
            Cause::WatchedAlreadyMended => "it was watched already, and the next call changed it",
            Cause::NotWatched => {
                "it is not watched: it was never added, or it was closed, which removes it, and the number has another \
                 file now; use EPOLL_CTL_ADD"
            }
            Cause::NotWatchedMended => "it was not watched, and the next call added it",
            Cause::GoneBeforeDel => {
                "it was not watched any more: it was closed, which removes it, and the number has another file now, or \
                 it was never added"
            }
            Cause::ClosedBeforeDel => "it was closed before; EPOLL_CTL_DEL belongs in front of the close",
            Cause::Closed => "the descriptor is not open: it was closed before, and the program does not know",
            Cause::InstanceClosed => {
                "the epoll descriptor itself is not open: it was closed before, and the program does not know"
            }
            Cause::NotPollable => {
                "a regular file or a directory cannot be watched: it is always ready, and is to be read or written \
                 without waiting"
            }
            Cause::NestedTooDeep => {
                "epoll instances would watch each other in a loop, or be nested more than 5 deep, or one would be \
                 watched by too many"
            }
            Cause::InItself => "an epoll instance cannot watch itself",
            Cause::Invalid => {
                "epfd is no epoll descriptor, or EPOLLEXCLUSIVE is used with EPOLL_CTL_MOD, with an epoll descriptor, or \
                 with flags that it excludes, or there is no such operation"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cause;

    #[test]
    fn every_cause_has_a_number_of_its_own() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_number(*cause as u8), Some(*cause));
        }
        assert_eq!(Cause::from_number(0), None);
    }
}
