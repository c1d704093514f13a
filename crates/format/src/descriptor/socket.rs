//! The fields of a socket: its family, type, addresses and state.

use core::fmt::{self, Write};

use super::{Kept, field};

/// The kernel's answers about a socket.
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
    /// Adds the fields of a socket.
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
            // Its state is that of the TCP connection beneath it.
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

    /// Adds the word with this number (from 1) of a list, if there is one.
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
                // An abstract name may contain zero bytes. They are shown as `@`, as `ss` does.
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

/// An IPv6 address in brackets. RFC 5952: the longest run of two or more zero groups is left out,
/// the first one if several are equally long.
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

/// A buffer for an address.
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
