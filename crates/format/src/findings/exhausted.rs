//! `exhausted`: no descriptor was free.

use core::fmt::{self, Display};

use crate::census::Kind;
use crate::scale::Grouped;

/// What the open descriptors were when none was free: the numbers of an `exhausted`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    pub error: u8,
    /// The soft limit (RLIMIT_NOFILE).
    pub limit: u64,
    /// How many were open; 0: not known.
    pub open: u64,
    /// How many of them one call had created, and the number of their kind; 0: not known.
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

/// The message.
pub(super) fn message(f: &mut fmt::Formatter<'_>, held: &Held) -> fmt::Result {
    if i32::from(held.error) == 23 {
        f.write_str("ENFILE: the system has too many open files (fs.file-max)")?;
    } else {
        f.write_str("EMFILE: the process has no descriptor left")?;
        if held.limit != 0 {
            write!(f, ", of {} (RLIMIT_NOFILE)", Grouped(held.limit))?;
        }
    }
    if held.open != 0 {
        write!(f, "; {} were open", Grouped(held.open))?;
        let mut before = ": ";
        for (kind, count) in held.kinds.into_iter().filter(|(_, count)| *count != 0) {
            write!(f, "{before}{}", Counted(kind, count))?;
            before = ", ";
        }
    }
    if held.of_one != 0 {
        write!(f, "; {} came from one call", Counted(held.kind, held.of_one))?;
    }
    f.write_str("; close each after its last use, or raise the limit if all are needed")
}

/// A count of descriptors of one kind: `1 socket`, `60 sockets`.
struct Counted(u8, u64);

impl Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = Kind::from_number(u64::from(self.0));
        write!(f, "{} {}", Grouped(self.1), if self.1 == 1 { kind.singular() } else { kind.plural() })
    }
}
