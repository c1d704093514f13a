//! Why an `epoll_ctl` fails: the variants of `ctl-error`, with severity and message.

use super::Severity;

/// The likely cause of a failed `epoll_ctl`. Recordings contain the numbers, so these never change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Cause {
    /// ADD, EEXIST. The mask in force is not known.
    WatchedAlready = 1,
    /// ADD, EEXIST, and the thread's next call was for the same pair and succeeded: ADD first, MOD
    /// if it exists.
    WatchedAlreadyFixed = 2,
    /// MOD, ENOENT.
    NotWatched = 3,
    /// MOD, ENOENT, and the next call fixed it: MOD first, ADD if it does not exist.
    NotWatchedFixed = 4,
    /// DEL of a descriptor that is no longer registered: ENOENT, or EPERM if the number refers to a
    /// regular file now.
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
    /// EINVAL: epfd and fd are the same.
    InItself = 11,
    /// EINVAL for any other reason.
    Invalid = 12,
    /// ADD, EEXIST: registered with another event mask.
    OtherEvents = 13,
    /// ADD, EEXIST: registered with this event mask and other data.
    OtherData = 14,
    /// ADD, EEXIST: registered with this event mask and this data.
    Redundant = 15,
}

impl Cause {
    pub const ALL: &[Cause] = &[
        Cause::WatchedAlready,
        Cause::WatchedAlreadyFixed,
        Cause::NotWatched,
        Cause::NotWatchedFixed,
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
    /// ADD of a descriptor that is already registered.
    pub const OF_ADD: [Cause; 4] = [Cause::Redundant, Cause::OtherEvents, Cause::OtherData, Cause::WatchedAlready];

    #[must_use]
    pub const fn is_of_add(self) -> bool {
        matches!(self, Cause::Redundant | Cause::OtherEvents | Cause::OtherData | Cause::WatchedAlready)
    }

    #[must_use]
    pub fn from_number(number: u8) -> Option<Cause> {
        Cause::ALL.iter().copied().find(|cause| *cause as u8 == number)
    }

    /// Failures that programs provoke on purpose are `Info`. (libuv: ADD, then MOD; libevent: MOD,
    /// then ADD; both: DEL of a descriptor that may be gone.)
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Cause::WatchedAlreadyFixed
            | Cause::NotWatchedFixed
            | Cause::GoneBeforeDel
            | Cause::ClosedBeforeDel
            | Cause::Redundant => Severity::Info,
            _ => Severity::Warning,
        }
    }

    /// What it becomes when the next call for the pair succeeds; None: it stays the same.
    #[must_use]
    pub const fn fixed(self) -> Option<Cause> {
        match self {
            _ if self.is_of_add() => Some(Cause::WatchedAlreadyFixed),
            Cause::NotWatched => Some(Cause::NotWatchedFixed),
            _ => None,
        }
    }

    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Cause::WatchedAlready => {
                "already registered, and the call changed nothing; use EPOLL_CTL_MOD to change the events"
            }
            Cause::OtherEvents => "already registered: the new event mask was NOT applied; use EPOLL_CTL_MOD",
            Cause::OtherData => "already registered: the new event data was NOT applied; use EPOLL_CTL_MOD",
            Cause::Redundant => "already registered with the same events and data: the call is not needed",
            Cause::WatchedAlreadyFixed => "already registered; the next call changed it",
            Cause::NotWatched => {
                "not registered: it was never added, or closing it removed it and the number was reused; use \
                 EPOLL_CTL_ADD"
            }
            Cause::NotWatchedFixed => "not registered; the next call added it",
            Cause::GoneBeforeDel => {
                "not registered: closing it removed it and the number was reused, or it was never added"
            }
            Cause::ClosedBeforeDel => "the descriptor was already closed; use EPOLL_CTL_DEL before close",
            Cause::Closed => "the descriptor is not open: it was closed, and the program still uses the number",
            Cause::InstanceClosed => {
                "the epoll descriptor is not open: it was closed, and the program still uses the number"
            }
            Cause::NotPollable => {
                "a regular file or directory cannot be watched: it is always ready; read or write it without waiting"
            }
            Cause::NestedTooDeep => {
                "epoll instances would watch each other in a loop, or be nested more than 5 deep, or one would be \
                 watched by too many"
            }
            Cause::InItself => "an epoll instance cannot watch itself",
            Cause::Invalid => {
                "epfd is not an epoll descriptor, or EPOLLEXCLUSIVE is used with EPOLL_CTL_MOD, an epoll descriptor or \
                 flags that it excludes, or the operation does not exist"
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
