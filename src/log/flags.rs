//! The names of numbers in arguments, as strace writes them.

use core::fmt::{self, Display, Write};

use libc::c_int;

use super::text::Number;

/// Names of bits or values, in strace's order. They are in one text, because a reference to each
/// would cost 40 bytes of the library.
#[derive(Clone, Copy)]
pub struct Names {
    /// The prefix with which strace marks a number without a name: `0x1 /* O_??? */`. Empty: it
    /// writes no mark.
    pub(super) family: &'static str,
    pub(super) values: &'static [c_int],
    /// A space follows each name.
    pub(super) names: &'static str,
}

impl Names {
    pub fn of(self, value: c_int) -> Option<&'static str> {
        self.pairs().find(|(known, _)| *known == value).map(|(_, name)| name)
    }

    fn pairs(self) -> impl Iterator<Item = (c_int, &'static str)> {
        self.values.iter().copied().zip(self.names.split_ascii_whitespace())
    }

    /// The name of a value, or its number.
    fn one(self, value: c_int, out: &mut impl Write) -> fmt::Result {
        match self.of(value) {
            Some(name) => out.write_str(name),
            None => write!(out, "{} /* {}_??? */", Number(value), self.family),
        }
    }
}

macro_rules! names {
    ($family:literal: $($name:ident)*) => {
        $crate::log::flags::Names {
            family: $family,
            values: &[$($crate::log::flags::values::$name as libc::c_int),*],
            names: concat!($(stringify!($name), " "),*),
        }
    };
}
pub(super) use names;

/// The values of the names: those of libc, and those that it lacks.
pub(super) mod values {
    pub use libc::*;

    /// The bit of O_SYNC that O_DSYNC lacks, and so on (Linux v6.1
    /// include/uapi/asm-generic/fcntl.h).
    pub const __O_SYNC: c_int = O_SYNC & !O_DSYNC;
    pub const __O_TMPFILE: c_int = O_TMPFILE & !O_DIRECTORY;
    /// The kernel sets it on every file of a 64-bit process. In glibc it is 0 there.
    pub const O_LARGEFILE: c_int = 0o100_000;
    pub const FASYNC: c_int = O_ASYNC;
    /// Linux v6.1 include/uapi/linux/fcntl.h and include/uapi/asm-generic/fcntl.h.
    pub const F_GETOWNER_UIDS: c_int = 17;
    pub const F_SETOWN_EX: c_int = 15;
    pub const F_GETOWN_EX: c_int = 16;
    pub const F_GETSIG: c_int = 11;
    pub const F_SETSIG: c_int = 10;
}

const OPEN: Names = names!("O":
    O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_SYNC O_DSYNC __O_SYNC O_DIRECT O_LARGEFILE O_NOFOLLOW O_NOATIME O_CLOEXEC
    O_PATH O_TMPFILE __O_TMPFILE O_DIRECTORY FASYNC);

/// Writes an access mode and the flags after it.
pub fn open_flags(flags: c_int, out: &mut impl Write) -> fmt::Result {
    out.write_str(match flags & libc::O_ACCMODE {
        libc::O_RDONLY => "O_RDONLY",
        libc::O_WRONLY => "O_WRONLY",
        libc::O_RDWR => "O_RDWR",
        _ => "O_ACCMODE",
    })?;
    match flags & !libc::O_ACCMODE {
        0 => Ok(()),
        rest => write!(out, "|{}", Flags(rest, Names { family: "", ..OPEN })),
    }
}

/// Writes a value of a form in which each value has one name.
pub fn named(form: &str, value: c_int, out: &mut impl Write) -> fmt::Result {
    let names = match form {
        "domain" => names!("AF": AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_VSOCK),
        "lock" => names!("F": F_RDLCK F_WRLCK F_UNLCK),
        _ => names!("CLOCK": CLOCK_REALTIME CLOCK_MONOTONIC CLOCK_BOOTTIME CLOCK_REALTIME_ALARM CLOCK_BOOTTIME_ALARM),
    };
    names.one(value, out)
}

const SOCKET: Names = names!("SOCK": SOCK_CLOEXEC SOCK_NONBLOCK);

/// Writes a type of socket and the flags after it.
pub fn socket_type(value: c_int, out: &mut impl Write) -> fmt::Result {
    const FLAGS: c_int = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    names!("SOCK": SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_SEQPACKET).one(value & !FLAGS, out)?;
    match value & FLAGS {
        0 => Ok(()),
        flags => write!(out, "|{}", Flags(flags, SOCKET)),
    }
}

/// The names of the flags of a form.
pub fn flags_of(form: &str) -> Option<Names> {
    Some(match form {
        "epollflags" => names!("EPOLL": EPOLL_CLOEXEC),
        "fdflags" => names!("FD": FD_CLOEXEC),
        "rangeflags" => names!("CLOSE_RANGE": CLOSE_RANGE_UNSHARE CLOSE_RANGE_CLOEXEC),
        "seals" => names!("F_SEAL": F_SEAL_SEAL F_SEAL_SHRINK F_SEAL_GROW F_SEAL_WRITE),
        "sockflags" => SOCKET,
        "pipeflags" => OPEN,
        "efdflags" => names!("EFD": EFD_CLOEXEC EFD_NONBLOCK EFD_SEMAPHORE),
        "tfdflags" => names!("TFD": TFD_CLOEXEC TFD_NONBLOCK),
        "sfdflags" => names!("SFD": SFD_CLOEXEC SFD_NONBLOCK),
        "inflags" => names!("IN": IN_CLOEXEC IN_NONBLOCK),
        "mfdflags" => names!("MFD": MFD_CLOEXEC MFD_ALLOW_SEALING MFD_HUGETLB),
        _ => return None,
    })
}

/// Flags by their names. Bits without a name are written as strace does: `O_CLOEXEC|0x1`, or `0x1
/// /* O_??? */` if they are alone.
pub struct Flags(pub c_int, pub Names);

impl Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flags(flags, names) = *self;
        let mut rest = flags;
        for (bit, name) in names.pairs() {
            if rest & bit != bit {
                continue;
            }
            write!(f, "{}{name}", if rest == flags { "" } else { "|" })?;
            rest &= !bit;
        }
        match rest {
            0 if flags != 0 => Ok(()),
            0 => f.write_char('0'),
            _ if rest == flags && names.family.is_empty() => write!(f, "{rest:#x}"),
            _ if rest == flags => write!(f, "{rest:#x} /* {}_??? */", names.family),
            _ => write!(f, "|{rest:#x}"),
        }
    }
}
