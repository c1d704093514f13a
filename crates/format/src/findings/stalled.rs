//! Data for which no event will come: what is read about a descriptor, and how it is judged.
//!
//! The library examines its own process, `epollshim inspect` another one.

use core::fmt::{self, Display};

use super::Severity;
use crate::scale::Grouped;

/// Variants of `stalled`: the interest is edge-triggered, or one-shot and disarmed.
pub const EDGE: u8 = 0;
pub const ONE_SHOT: u8 = 1;

const IN: u32 = 0x001;
const ONESHOT: u32 = 1 << 30;
const ET: u32 = 1 << 31;
/// The bits that are not events. Only these are left in the mask of a one-shot interest that was
/// delivered (Linux v6.1 fs/eventpoll.c, EP_PRIVATE_BITS).
const PRIVATE: u32 = ET | ONESHOT | 1 << 29 | 1 << 28;

/// Whether a one-shot interest was delivered and not re-armed, by its mask in fdinfo.
#[must_use]
pub const fn is_disarmed(events: u32) -> bool {
    events & ONESHOT != 0 && events & !PRIVATE == 0
}

/// The variant of an interest that can stall, by its mask in fdinfo. None: its events repeat by
/// themselves, or it does not wait for data.
#[must_use]
pub const fn variant(events: u32) -> Option<u8> {
    if is_disarmed(events) {
        Some(ONE_SHOT)
    } else if events & ET != 0 && events & IN != 0 {
        Some(EDGE)
    } else {
        None
    }
}

/// What was read about a descriptor at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// Bytes to read, or connections to accept.
    pub waiting: u64,
    /// Bytes that the program has read so far; None: the kernel does not count them.
    pub read: Option<u64>,
}

/// Whether the program read nothing between two looks. New data is an edge, and thus a new event,
/// for an edge-triggered interest. It is no event for a disarmed one.
#[must_use]
pub fn is_untouched(variant: u8, first: Look, now: Look) -> bool {
    let is_there = if variant == ONE_SHOT { now.waiting >= first.waiting } else { now.waiting == first.waiting };
    first.waiting > 0 && is_there && now.read == first.read
}

/// Further observations: the fourth number of a `stalled`, a set of bits.
pub mod seen {
    /// Connections wait, not bytes.
    pub const LISTENS: u64 = 1;
    /// Another socket cannot send, since its peer does not read.
    pub const HELD_BACK: u64 = 2;
    /// A thread that does not wait on the instance runs.
    pub const AT_WORK: u64 = 4;
    /// The program came back for it without an event.
    pub const RESUMED: u64 = 8;
}

/// The severity. A reader that pauses on purpose is no defect.
///
/// A program also pauses a one-shot interest by not re-arming it. So that alone excuses nothing;
/// only evidence that the program will come back for the data does.
#[must_use]
pub const fn severity(variant: u8, seen: u64) -> Severity {
    let excuse = if variant == ONE_SHOT { seen::AT_WORK | seen::RESUMED } else { !seen::LISTENS };
    if seen & excuse != 0 { Severity::Info } else { Severity::Warning }
}

/// How much waits: `72 unread bytes`.
pub struct Waiting {
    pub count: u64,
    pub are_connections: bool,
}

impl Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.count == 1 { "" } else { "s" };
        match self.are_connections {
            true => write!(f, "{} connection{s} to accept", Grouped(self.count)),
            false => write!(f, "{} unread byte{s}", Grouped(self.count)),
        }
    }
}

/// Why no event comes, and how to fix it.
#[must_use]
pub const fn reason(variant: u8) -> &'static str {
    match variant {
        ONE_SHOT => {
            "no event will come, because the one-shot interest was delivered and not re-armed; use EPOLL_CTL_MOD after each event"
        }
        _ => {
            "no event will come until more arrives, because the edge-triggered descriptor was not read (or accepted from) \
             until EAGAIN; do so after each event"
        }
    }
}

/// The reason why a finding may be no defect, in brackets; empty if there is none.
#[must_use]
pub const fn excuse(seen: u64) -> &'static str {
    match () {
        () if seen & seen::RESUMED != 0 => " (it was read later without an event: the reader pauses on purpose)",
        () if seen & seen::AT_WORK != 0 => " (another thread runs, and may be working on it)",
        () if seen & seen::HELD_BACK != 0 => " (another socket cannot send: the reader may pause on purpose)",
        () => "",
    }
}

#[cfg(test)]
mod tests {
    use super::{EDGE, Look, ONE_SHOT, is_untouched, seen, severity, variant};
    use crate::findings::Severity;

    const fn look(waiting: u64, read: u64) -> Look {
        Look { waiting, read: Some(read) }
    }

    #[test]
    fn what_comes_is_an_edge_and_to_a_disarmed_interest_nothing() {
        assert!(is_untouched(EDGE, look(72, 8), look(72, 8)));
        assert!(!is_untouched(EDGE, look(72, 8), look(75, 8)));
        assert!(is_untouched(ONE_SHOT, look(72, 8), look(75, 8)));
        assert!(!is_untouched(ONE_SHOT, look(72, 8), look(75, 16)));
        assert!(!is_untouched(ONE_SHOT, look(72, 8), look(64, 16)));
        assert!(!is_untouched(EDGE, look(0, 8), look(0, 8)));
    }

    #[test]
    fn interests_that_come_again_by_themselves_do_not_stall() {
        assert_eq!(variant(1 << 31 | 0x2019), Some(EDGE));
        assert_eq!(variant(1 << 30), Some(ONE_SHOT));
        assert_eq!(variant(1 << 31 | 1 << 30), Some(ONE_SHOT));
        // Level-triggered; for EPOLLOUT alone; one-shot and armed; armed for errors only.
        assert_eq!([0x19, 1 << 31 | 0x1c, 1 << 30 | 0x19, 1 << 30 | 0x18].map(variant), [None; 4]);
    }

    #[test]
    fn a_reader_that_pauses_is_no_defect() {
        assert_eq!(severity(EDGE, 0), Severity::Warning);
        assert_eq!(severity(EDGE, seen::LISTENS), Severity::Warning);
        assert_eq!(severity(EDGE, seen::HELD_BACK), Severity::Info);
        assert_eq!(severity(ONE_SHOT, seen::HELD_BACK), Severity::Warning);
        assert_eq!(severity(ONE_SHOT, seen::RESUMED), Severity::Info);
    }
}
