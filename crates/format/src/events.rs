//! Names of the bits of `epoll_event.events`, as `<sys/epoll.h>` spells them.

use core::fmt;

/// The beginning of the names. A user may leave it out.
pub const PREFIX: &str = "EPOLL";

/// In the order in which they are printed (Linux 6.x, include/uapi/linux/eventpoll.h). EPOLLNVAL is
/// not in `<sys/epoll.h>`, but the kernel has the name, and strace writes it.
pub const NAMES: [&str; 16] = [
    "EPOLLIN",
    "EPOLLPRI",
    "EPOLLOUT",
    "EPOLLERR",
    "EPOLLHUP",
    "EPOLLNVAL",
    "EPOLLRDNORM",
    "EPOLLRDBAND",
    "EPOLLWRNORM",
    "EPOLLWRBAND",
    "EPOLLMSG",
    "EPOLLRDHUP",
    "EPOLLEXCLUSIVE",
    "EPOLLWAKEUP",
    "EPOLLONESHOT",
    "EPOLLET",
];

/// The bit of each name, in the same order.
const BITS: [u32; NAMES.len()] = [
    0x001,
    0x002,
    0x004,
    0x008,
    0x010,
    0x020,
    0x040,
    0x080,
    0x100,
    0x200,
    0x400,
    0x2000,
    1 << 28,
    1 << 29,
    1 << 30,
    1 << 31,
];

pub const EPOLLERR: u32 = 0x008;
pub const EPOLLHUP: u32 = 0x010;

/// The name of one bit.
#[must_use]
pub fn name(bit: u32) -> Option<&'static str> {
    pairs().find(|(known, _)| *known == bit).map(|(_, name)| name)
}

/// The bit that a name stands for: `EPOLLIN` or `IN`.
#[must_use]
pub fn bit(name: &[u8]) -> Option<u32> {
    let short = name.strip_prefix(PREFIX.as_bytes()).unwrap_or(name);
    let is = |known: &str| known.strip_prefix(PREFIX).is_some_and(|known| known.as_bytes() == short);
    pairs().find(|(_, known)| is(known)).map(|(bit, _)| bit)
}

fn pairs() -> impl Iterator<Item = (u32, &'static str)> {
    BITS.into_iter().zip(NAMES)
}

/// The bits of names joined by `|`. A number in hex may stand for bits without a name. On failure,
/// the unknown word (it may be empty).
pub fn mask(text: &[u8]) -> Result<u32, &[u8]> {
    text.split(|byte| *byte == b'|').try_fold(0, |mask, word| Ok(mask | bit(word).or_else(|| hex(word)).ok_or(word)?))
}

fn hex(word: &[u8]) -> Option<u32> {
    let digits = core::str::from_utf8(word.strip_prefix(b"0x")?).ok()?;
    // from_str_radix would accept a sign.
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, 16).ok() }
}

/// Prints a mask as a C program would write it: `EPOLLIN|EPOLLET`, unknown bits in hex, no bit as
/// `0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mask(pub u32);

impl Mask {
    /// Whether the mask has bits, and none of them has a name.
    #[must_use]
    pub fn is_nameless(self) -> bool {
        self.0 != 0 && pairs().all(|(bit, _)| self.0 & bit == 0)
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return f.write_str("0");
        }
        for (bit, name) in pairs() {
            if rest & bit != 0 {
                rest &= !bit;
                write!(f, "{name}{}", if rest == 0 { "" } else { "|" })?;
            }
        }
        if rest == 0 { Ok(()) } else { write!(f, "{rest:#x}") }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Mask, bit, mask, name, pairs};
    use std::string::ToString;

    #[test]
    fn every_name_leads_back_to_its_bit_with_and_without_its_prefix() {
        for (known, spelled) in pairs() {
            assert_eq!(name(known), Some(spelled));
            assert_eq!(bit(spelled.as_bytes()), Some(known));
            assert_eq!(bit(&spelled.as_bytes()[5..]), Some(known));
        }
        assert_eq!(name(0x3), None);
        assert_eq!(bit(b"EPOLL"), None);
        assert_eq!(bit(b""), None);
        assert_eq!(bit(b"EPOLLEPOLLIN"), None);
    }

    #[test]
    fn a_mask_reads_as_a_c_program_writes_it() {
        for (bits, text) in [
            (0, "0"),
            (0x8000_0001, "EPOLLIN|EPOLLET"),
            (0x20, "EPOLLNVAL"),
            (0x800, "0x800"),
            (0x805, "EPOLLIN|EPOLLOUT|0x800"),
            (
                u32::MAX,
                "EPOLLIN|EPOLLPRI|EPOLLOUT|EPOLLERR|EPOLLHUP|EPOLLNVAL|EPOLLRDNORM|EPOLLRDBAND|EPOLLWRNORM|EPOLLWRBAND|\
             EPOLLMSG|EPOLLRDHUP|EPOLLEXCLUSIVE|EPOLLWAKEUP|EPOLLONESHOT|EPOLLET|0xfffd800",
            ),
        ] {
            assert_eq!(Mask(bits).to_string(), text);
            if bits != 0 {
                assert_eq!(mask(text.as_bytes()), Ok(bits));
            }
        }
        assert_eq!(mask(b"IN|EPOLLET"), Ok(0x8000_0001));
        assert_eq!(mask(b"IN||ET"), Err(&b""[..]));
        assert_eq!(mask(b"IN|epollet"), Err(&b"epollet"[..]));
        assert_eq!(mask(b"0x+1"), Err(&b"0x+1"[..]));
    }

    #[test]
    fn the_bits_are_those_of_the_c_library() {
        for (bits, spelled) in [
            (libc::EPOLLIN, "IN"),
            (libc::EPOLLPRI, "PRI"),
            (libc::EPOLLOUT, "OUT"),
            (libc::EPOLLERR, "ERR"),
            (libc::EPOLLHUP, "HUP"),
            (libc::EPOLLRDNORM, "RDNORM"),
            (libc::EPOLLRDBAND, "RDBAND"),
            (libc::EPOLLWRNORM, "WRNORM"),
            (libc::EPOLLWRBAND, "WRBAND"),
            (libc::EPOLLMSG, "MSG"),
            (libc::EPOLLRDHUP, "RDHUP"),
            (libc::EPOLLEXCLUSIVE, "EXCLUSIVE"),
            (libc::EPOLLWAKEUP, "WAKEUP"),
            (libc::EPOLLONESHOT, "ONESHOT"),
            (libc::EPOLLET, "ET"),
        ] {
            assert_eq!(bit(spelled.as_bytes()), Some(bits as u32), "{spelled}");
        }
        assert_eq!(super::EPOLLERR, libc::EPOLLERR as u32);
        assert_eq!(super::EPOLLHUP, libc::EPOLLHUP as u32);
    }
}
