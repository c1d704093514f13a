//! What a descriptor refers to, as `strace -yy` and `lsof` show it: a path, addresses, a state.
//!
//! It is kept as a list of fields: a letter, a value, a zero byte. No path and no name of a file has
//! a zero byte, so a value is never taken for more than it is. The library makes the list from what
//! the kernel says ([`Kept::name`], [`Kept::socket`]); reports print it ([`Descriptor`]).

use core::fmt::{self, Display, Write};

use crate::census::Kind;
use crate::quoted::Quoted;

/// The most bytes of a list.
pub const BYTES: usize = 184;

/// The letters of the fields, in the order in which they are kept.
pub mod field {
    /// What kind it is: `socket`, `file`, `directory`, `device`, or a name of [`Kind`](crate::census::Kind).
    pub const KIND: u8 = b'k';
    /// The path of a file.
    pub const PATH: u8 = b'f';
    /// The kernel's name for what has no path: `pipe:[123]`, `anon_inode:[eventfd]`.
    pub const NAME: u8 = b'n';
    pub const FAMILY: u8 = b'a';
    pub const TYPE: u8 = b't';
    pub const PROTOCOL: u8 = b'o';
    /// The address of this end, and of the other.
    pub const LOCAL: u8 = b'l';
    pub const PEER: u8 = b'p';
    /// The process that made the other end of a Unix connection.
    pub const PEER_PID: u8 = b'q';
    pub const STATE: u8 = b's';
    pub const INODE: u8 = b'i';
    /// The file has no name any more.
    pub const DELETED: u8 = b'd';
    /// A value was too long: its end is kept, behind three dots.
    pub const CUT: u8 = b'c';
    /// The number was not open when it was looked at.
    pub const CLOSED: u8 = b'x';
}

/// What a field's value is in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    Text,
    Number,
    /// `true`, where the field is there.
    Flag,
}

/// The key of a field in JSON, and what its value is. None: it is of a later version.
#[must_use]
pub fn key(letter: u8) -> Option<(&'static str, Value)> {
    // One text, and not one for each: each would be a relocation of the library's.
    // (By bytes: no way to panic.)
    const KEYS: &[u8] =
        b"kkind fpath nname afamily ttype oprotocol llocal ppeer qpeer_pid sstate iinode ddeleted ccut xclosed";
    let (_, key) =
        KEYS.split(|byte| *byte == b' ').filter_map(<[u8]>::split_first).find(|(first, _)| **first == letter)?;
    let key = core::str::from_utf8(key).ok()?;
    Some(match letter {
        field::PEER_PID | field::INODE => (key, Value::Number),
        field::DELETED | field::CUT | field::CLOSED => (key, Value::Flag),
        _ => (key, Value::Text),
    })
}

/// A list of fields being made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    bytes: [u8; BYTES],
    length: usize,
}

/// What the kernel says of a socket.
#[derive(Clone, Copy, Default)]
pub struct Socket<'a> {
    /// `SO_TYPE` and `SO_PROTOCOL`; -1: not known.
    pub kind: i32,
    pub protocol: i32,
    /// `tcpi_state` of `TCP_INFO`; 0: not known.
    pub state: u8,
    /// `SO_ACCEPTCONN`.
    pub listens: bool,
    /// What `getsockname` and `getpeername` wrote; None: they failed.
    pub local: Option<&'a [u8]>,
    pub peer: Option<&'a [u8]>,
    /// The pid of `SO_PEERCRED`; 0: not known.
    pub peer_pid: i32,
    /// From `/proc`; empty: not known.
    pub inode: &'a [u8],
}

const INET: u16 = 2;
const INET6: u16 = 10;
const UNIX: u16 = 1;
const NETLINK: u16 = 16;

impl Kept {
    /// An empty list: nothing is known.
    #[must_use]
    pub const fn new() -> Kept {
        Kept { bytes: [0; BYTES], length: 0 }
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Adds a field. What has no room is left out, or its end is kept.
    #[inline(never)]
    pub fn add(&mut self, letter: u8, value: &[u8]) {
        // A letter, a zero byte, and the field that says that it was cut.
        const AROUND: usize = 2 + 3;
        const DOTS: &[u8] = b"...";
        let room = BYTES.saturating_sub(self.length + AROUND);
        if value.len() <= room {
            [&[letter][..], value, b"\0"].into_iter().for_each(|part| self.push(part));
        } else if room > DOTS.len() {
            let end = value.get(value.len() - (room - DOTS.len())..).unwrap_or_default();
            [&[letter][..], DOTS, end, b"\0", &[field::CUT], b"1\0"].into_iter().for_each(|part| self.push(part));
        }
    }

    fn push(&mut self, part: &[u8]) {
        for byte in part {
            if let Some(room) = self.bytes.get_mut(self.length) {
                *room = *byte;
                self.length += 1;
            }
        }
    }

    /// A list that lies in words, as a recording has it.
    #[must_use]
    pub fn read(length: usize, word: impl Fn(usize) -> u64) -> Kept {
        let mut kept = Kept::new();
        for (index, room) in kept.bytes.chunks_exact_mut(8).enumerate() {
            room.iter_mut().zip(word(index).to_le_bytes()).for_each(|(room, byte)| *room = byte);
        }
        kept.length = length.min(BYTES);
        kept
    }

    /// The list in words, the last of which ends in zeros.
    pub fn words(&self) -> impl Iterator<Item = u64> {
        self.as_bytes().chunks(8).map(|bytes| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
    }

    /// Adds what `/proc/PID/fd/N` points to. `kind`: what `fstat` says, where it says more. `is_gone`: the file has no link
    /// any more. (Without that, ` (deleted)` may be a part of the name.)
    #[inline(never)] // for size, as the others
    pub fn name(&mut self, target: &[u8], kind: Option<&str>, is_gone: bool) {
        let by_name = Kind::of_target(target);
        let kind = match (by_name, kind) {
            (Kind::File | Kind::Other, Some(kind)) => kind,
            _ => by_name.name(),
        };
        self.add(field::KIND, kind.as_bytes());
        if !target.starts_with(b"/") {
            return self.add(field::NAME, target);
        }
        match target.strip_suffix(b" (deleted)") {
            Some(path) if is_gone => {
                self.add(field::DELETED, b"1");
                self.add(field::PATH, path);
            }
            _ => self.add(field::PATH, target),
        }
    }

    /// Adds what is known of a socket.
    #[inline(never)]
    pub fn socket(&mut self, of: &Socket<'_>) {
        let family = of.local.and_then(family_of);
        self.add(field::KIND, b"socket");
        match family {
            Some(UNIX) => self.add(field::FAMILY, b"unix"),
            Some(INET) => self.add(field::FAMILY, b"inet"),
            Some(INET6) => self.add(field::FAMILY, b"inet6"),
            Some(NETLINK) => self.add(field::FAMILY, b"netlink"),
            Some(other) => self.add_number(field::FAMILY, u32::from(other)),
            None => {}
        }
        // Linux v6.1 include/linux/net.h, enum sock_type.
        self.add_word(field::TYPE, b"stream dgram raw rdm seqpacket", of.kind);
        let is_inet = matches!(family, Some(INET | INET6));
        match of.protocol {
            6 if is_inet => self.add(field::PROTOCOL, b"tcp"),
            17 if is_inet => self.add(field::PROTOCOL, b"udp"),
            // Its state is that of the connection below it.
            262 if is_inet => self.add(field::PROTOCOL, b"mptcp"),
            other if is_inet && other > 0 => self.add_number(field::PROTOCOL, other as u32),
            _ => {}
        }
        if family == Some(UNIX) && !of.inode.is_empty() {
            self.add(field::INODE, of.inode);
        }
        for (letter, address) in [(field::LOCAL, of.local), (field::PEER, of.peer)] {
            if let Some(address) = address {
                self.address(letter, address);
            }
        }
        // A process that is connected to itself needs no number.
        if family == Some(UNIX) && of.peer.is_some() && of.peer_pid > 0 {
            self.add_number(field::PEER_PID, of.peer_pid as u32);
        }
        // Linux v6.1 include/net/tcp_states.h.
        const STATES: &[u8] = b"ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK \
                                LISTEN CLOSING SYN_RECV";
        if of.state != 0 {
            self.add_word(field::STATE, STATES, i32::from(of.state));
        } else if of.listens {
            self.add(field::STATE, b"LISTEN");
        }
    }

    /// Adds a word of a list, counted from 1, if there is one.
    #[inline(never)]
    fn add_word(&mut self, letter: u8, words: &[u8], number: i32) {
        let mut words = words.split(|byte| *byte == b' ');
        if let Some(word) = usize::try_from(number.wrapping_sub(1)).ok().and_then(|index| words.nth(index)) {
            self.add(letter, word);
        }
    }

    #[inline(never)]
    fn add_number(&mut self, letter: u8, number: u32) {
        let mut text = Text::default();
        let _ = write!(text, "{number}");
        self.add(letter, text.as_bytes());
    }

    #[inline(never)]
    fn address(&mut self, letter: u8, address: &[u8]) {
        match family_of(address) {
            Some(UNIX) => match address.get(2..).unwrap_or_default() {
                [] => self.add(letter, b"unnamed"),
                // An abstract name may have zero bytes; `ss` shows them as this one does.
                [0, name @ ..] => {
                    let mut shown = [b'@'; 108];
                    let length = name.len().min(shown.len() - 1);
                    for (place, byte) in shown.iter_mut().skip(1).zip(name).filter(|(_, byte)| **byte != 0) {
                        *place = *byte;
                    }
                    self.add(letter, shown.get(..=length).unwrap_or_default());
                }
                path => self.add(letter, path.split(|byte| *byte == 0).next().unwrap_or_default()),
            },
            Some(family @ (INET | INET6)) => {
                let mut text = Text::default();
                let port = address.get(2..4).and_then(<[u8]>::first_chunk).map_or(0, |port| u16::from_be_bytes(*port));
                let is_written = match (family, address.get(4..8), address.get(8..24).and_then(<[u8]>::first_chunk)) {
                    (INET, Some(bytes), _) => dotted(&mut text, bytes),
                    (INET6, _, Some(bytes)) => bracketed(&mut text, bytes),
                    _ => Err(fmt::Error),
                };
                if is_written.and_then(|()| write!(text, ":{port}")).is_ok() {
                    self.add(letter, text.as_bytes());
                }
            }
            _ => {}
        }
    }
}

impl Default for Kept {
    fn default() -> Kept {
        Kept::new()
    }
}

fn family_of(address: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(*address.first_chunk()?))
}

#[inline(never)]
fn dotted(text: &mut Text, bytes: &[u8]) -> fmt::Result {
    let mut dot = "";
    bytes.iter().try_for_each(|byte| {
        write!(text, "{dot}{byte}")?;
        dot = ".";
        Ok(())
    })
}

/// RFC 5952: the longest run of two or more zeros, the first of several, is left out.
#[inline(never)]
fn bracketed(text: &mut Text, bytes: &[u8; 16]) -> fmt::Result {
    let mut groups = [0u16; 8];
    for (group, pair) in groups.iter_mut().zip(bytes.chunks_exact(2)) {
        *group = pair.iter().fold(0, |group, byte| group << 8 | u16::from(*byte));
    }
    let (mut start, mut length) = (8, 1);
    for first in 0..8 {
        let run = groups.iter().skip(first).take_while(|group| **group == 0).count();
        if run > length {
            (start, length) = (first, run);
        }
    }
    text.write_str("[")?;
    // ::ffff:192.0.2.1
    if let ([0, 0, 0, 0, 0, 0xffff, ..], Some(bytes)) = (groups, bytes.get(12..)) {
        text.write_str("::ffff:")?;
        dotted(text, bytes)?;
        return text.write_str("]");
    }
    let mut colon = "";
    for (index, group) in groups.iter().enumerate() {
        if index == start {
            text.write_str("::")?;
            colon = "";
        } else if !(start..start.saturating_add(length)).contains(&index) {
            write!(text, "{colon}{group:x}")?;
            colon = ":";
        }
    }
    text.write_str("]")
}

/// Room for an address.
struct Text {
    bytes: [u8; 56],
    length: usize,
}

impl Default for Text {
    fn default() -> Text {
        Text { bytes: [0; 56], length: 0 }
    }
}

impl Text {
    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.iter_mut().zip(text.bytes()).for_each(|(room, byte)| *room = byte);
        self.length = end;
        Ok(())
    }
}

/// A list of fields, to be printed: `tcp 127.0.0.1:80 -> 127.0.0.1:50000 CLOSE_WAIT`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Descriptor<'a>(pub &'a [u8]);

impl<'a> Descriptor<'a> {
    /// Letters and values. What is damaged is left out.
    pub fn fields(self) -> impl Iterator<Item = (u8, &'a [u8])> + Clone {
        self.0.split(|byte| *byte == 0).filter_map(|field| field.split_first().map(|(letter, value)| (*letter, value)))
    }

    #[must_use]
    pub fn field(self, letter: u8) -> Option<&'a [u8]> {
        self.fields().find(|(known, _)| *known == letter).map(|(_, value)| value)
    }
}

/// Without anything that a terminal would interpret.
impl Display for Descriptor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |letter| self.field(letter).is_some();
        let mut space = "";
        let is_bare = !has(field::PATH) && !has(field::NAME) && !has(field::FAMILY);
        for (letter, value) in self.fields() {
            let before = match letter {
                field::KIND if is_bare || value == b"directory" => "",
                field::FAMILY | field::TYPE if has(field::PROTOCOL) => continue,
                field::PATH | field::NAME | field::FAMILY | field::TYPE | field::PROTOCOL => "",
                field::LOCAL | field::STATE => "",
                field::PEER => "-> ",
                field::PEER_PID => "of process ",
                field::INODE => "inode ",
                field::CLOSED => {
                    write!(f, "{space}closed")?;
                    space = " ";
                    continue;
                }
                _ => continue,
            };
            write!(f, "{space}{before}")?;
            plain(value, f)?;
            space = " ";
        }
        if has(field::DELETED) {
            f.write_str(" (deleted)")?;
        }
        if space.is_empty() { f.write_str("not known: neither the kernel nor /proc said") } else { Ok(()) }
    }
}

/// A descriptor as a JSON object: its number, and its fields.
pub struct Json<'a> {
    pub fd: i32,
    pub of: Descriptor<'a>,
}

impl Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"fd\":{}", self.fd)?;
        if self.of.field(field::KIND).is_none() {
            f.write_str(",\"kind\":null")?;
        }
        for (letter, value) in self.of.fields() {
            let Some((key, of)) = key(letter) else { continue };
            let number = core::str::from_utf8(value).ok().and_then(|digits| digits.parse::<u64>().ok());
            match (of, number) {
                (Value::Text, _) => write!(f, ",\"{key}\":{}", Quoted(value))?,
                (Value::Number, Some(number)) => write!(f, ",\"{key}\":{number}")?,
                (Value::Number, None) => {}
                (Value::Flag, _) => write!(f, ",\"{key}\":true")?,
            }
        }
        f.write_str("}")
    }
}

fn plain(value: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in value.utf8_chunks() {
        for letter in chunk.valid().chars() {
            f.write_char(if letter.is_control() { '?' } else { letter })?;
        }
        if !chunk.invalid().is_empty() {
            f.write_char('?')?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::{BYTES, Descriptor, Json, Kept, Socket, field};
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn named(target: &[u8], kind: Option<&str>) -> String {
        let mut kept = Kept::new();
        kept.name(target, kind, true);
        Descriptor(kept.as_bytes()).to_string()
    }

    fn v6(groups: [u16; 8], port: u16) -> Vec<u8> {
        let mut address = [&10u16.to_ne_bytes()[..], &port.to_be_bytes(), &[0; 4]].concat();
        groups.iter().for_each(|group| address.extend(group.to_be_bytes()));
        address.extend([0; 4]);
        address
    }

    #[test]
    fn a_file_is_shown_by_its_path_and_what_has_none_by_its_name() {
        for (target, kind, shown) in [
            (&b"/tmp/a b"[..], None, "/tmp/a b"),
            (b"/tmp/a (deleted)", None, "/tmp/a (deleted)"),
            (b"/tmp", Some("directory"), "directory /tmp"),
            (b"/dev/null", Some("device"), "/dev/null"),
            (b"pipe:[77]", Some("pipe"), "pipe:[77]"),
            (b"anon_inode:[eventfd]", None, "anon_inode:[eventfd]"),
            (b"/memfd:name (deleted)", None, "/memfd:name (deleted)"),
            (b"/tmp/\x1b[31m\xff", None, "/tmp/?[31m?"),
        ] {
            assert_eq!(named(target, kind), shown);
        }
        let mut kept = Kept::new();
        kept.name(b"/x (deleted)", Some("file"), true);
        assert_eq!(Descriptor(kept.as_bytes()).field(field::PATH), Some(&b"/x"[..]));
        assert!(Descriptor(kept.as_bytes()).field(field::DELETED).is_some());
        let mut linked = Kept::new();
        linked.name(b"/x (deleted)", Some("file"), false);
        assert_eq!(Descriptor(linked.as_bytes()).field(field::PATH), Some(&b"/x (deleted)"[..]));
    }

    #[test]
    fn a_long_path_keeps_its_end_and_says_so() {
        let path = [b"/a".repeat(200), b"/end".to_vec()].concat();
        let mut kept = Kept::new();
        kept.name(&path, None, false);
        let text = Descriptor(kept.as_bytes()).to_string();
        assert!(text.starts_with(".../a") && text.ends_with("/end"), "{text}");
        assert!(kept.as_bytes().len() <= BYTES && Descriptor(kept.as_bytes()).field(field::CUT).is_some());
    }

    #[test]
    fn sockets_are_shown_by_their_addresses_and_state() {
        let local = [&2u16.to_ne_bytes()[..], &80u16.to_be_bytes(), &[127, 0, 0, 1]].concat();
        let peer = [&2u16.to_ne_bytes()[..], &50_000u16.to_be_bytes(), &[10, 1, 2, 3]].concat();
        let tcp = Socket { kind: 1, protocol: 6, local: Some(&local), ..Socket::default() };
        let shown = |of: &Socket<'_>| {
            let mut kept = Kept::new();
            kept.socket(of);
            Descriptor(kept.as_bytes()).to_string()
        };
        assert_eq!(shown(&Socket { state: 10, ..tcp }), "tcp 127.0.0.1:80 LISTEN");
        let connected = Socket { state: 8, peer: Some(&peer), ..tcp };
        assert_eq!(shown(&connected), "tcp 127.0.0.1:80 -> 10.1.2.3:50000 CLOSE_WAIT");
        for (groups, text) in [
            ([0; 8], "[::]"),
            ([0, 0, 0, 0, 0, 0, 0, 1], "[::1]"),
            ([0xfe80, 0, 0, 0, 1, 0, 0, 2], "[fe80::1:0:0:2]"),
            ([0x2001, 0xdb8, 0, 1, 0, 0, 0, 1], "[2001:db8:0:1::1]"),
            ([1, 2, 3, 4, 5, 6, 7, 0], "[1:2:3:4:5:6:7:0]"),
            ([1, 0, 3, 0, 5, 0, 7, 0], "[1:0:3:0:5:0:7:0]"),
            ([1, 2, 3, 4, 5, 6, 0, 0], "[1:2:3:4:5:6::]"),
            ([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1], "[::ffff:127.0.0.1]"),
        ] {
            let address = v6(groups, 443);
            assert_eq!(shown(&Socket { local: Some(&address), ..tcp }), std::format!("tcp {text}:443"));
        }
        // The longest of all has room.
        let long = v6([0x1111; 8], 65535);
        let both = Socket { local: Some(&long), peer: Some(&long), state: 1, ..tcp };
        assert!(shown(&both).ends_with("65535 ESTABLISHED"), "{}", shown(&both));
        let unix = |path: &[u8]| [&1u16.to_ne_bytes()[..], path].concat();
        let (named, unnamed, hidden) = (unix(b"/run/x.sock\0"), unix(b""), unix(b"\0a\0b"));
        let stream = Socket { kind: 1, inode: b"12", ..Socket::default() };
        assert_eq!(
            shown(&Socket { local: Some(&named), listens: true, ..stream }),
            "unix stream inode 12 /run/x.sock LISTEN"
        );
        assert_eq!(
            shown(&Socket { local: Some(&unnamed), peer: Some(&hidden), peer_pid: 7, ..stream }),
            "unix stream inode 12 unnamed -> @a@b of process 7"
        );
        let netlink = [16, 0, 0, 0];
        assert_eq!(shown(&Socket { kind: 3, local: Some(&netlink), ..Socket::default() }), "netlink raw");
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        assert!(Descriptor(b"").to_string().starts_with("not known"));
        assert_eq!(Descriptor(b"x1\0").to_string(), "closed");
        assert_eq!(Descriptor(b"ksocket\0x1\0").to_string(), "socket closed");
        // A later version's field, and one that was cut off.
        assert_eq!(Descriptor(b"z9\0\0f/a").to_string(), "/a");
        let json = |of| Json { fd: 3, of: Descriptor(of) }.to_string();
        assert_eq!(json(b""), r#"{"fd":3,"kind":null}"#);
        assert_eq!(
            json(b"kfile\0d1\0f/\"a\0q7\0ix\0"),
            r#"{"fd":3,"kind":"file","deleted":true,"path":"/\"a","peer_pid":7}"#
        );
    }
}
