//! Reads the socket tables of a process's network, `/proc/PID/net/*`. They replace copies of
//! descriptors if those are not permitted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use epollshim_format::descriptor::{Kept, Socket};

const INET: u16 = 2;
const INET6: u16 = 10;
const UNIX: u16 = 1;

/// What the tables contain about a socket.
pub struct Row {
    pub what: Kept,
    /// A number of include/net/tcp_states.h. 0: not a TCP socket.
    pub tcp: u8,
    pub unread: u64,
    pub unsent: u64,
}

/// The sockets with these inodes. Each table is read once.
pub fn rows(pid: u32, wanted: &BTreeSet<u64>) -> BTreeMap<u64, Row> {
    let read = |table: &str| fs::read(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
    let mut rows = BTreeMap::new();
    if wanted.is_empty() {
        return rows;
    }
    for (table, family, protocol) in [("tcp", INET, 6), ("tcp6", INET6, 6), ("udp", INET, 17), ("udp6", INET6, 17)] {
        let text = read(table);
        let text = String::from_utf8_lossy(&text);
        rows.extend(text.lines().skip(1).filter_map(|line| inet(line, family, protocol, wanted)));
    }
    let text = read("unix");
    rows.extend(String::from_utf8_lossy(&text).lines().skip(1).filter_map(|line| unix(line, wanted)));
    rows
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode`
/// (Linux v6.1 net/ipv4/tcp_ipv4.c, get_tcp4_sock).
fn inet(line: &str, family: u16, protocol: i32, wanted: &BTreeSet<u64>) -> Option<(u64, Row)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let inode = fields.get(9)?.parse().ok()?;
    if !wanted.contains(&inode) {
        return None;
    }
    let local = address(fields.get(1)?, family)?;
    let peer = address(fields.get(2)?, family)?;
    let has_peer = peer.get(2..4) != Some(&[0, 0]);
    let state = u8::from_str_radix(fields.get(3)?, 16).ok()?;
    let (unsent, unread) = fields.get(4)?.split_once(':')?;
    let tcp = if protocol == 6 { state } else { 0 };
    let mut what = Kept::new();
    what.socket(&Socket {
        kind: if protocol == 6 { 1 } else { 2 },
        protocol,
        state: tcp,
        local: Some(&local),
        peer: has_peer.then_some(peer.as_slice()),
        ..Socket::default()
    });
    let hex = |word: &str| u64::from_str_radix(word, 16).unwrap_or(0);
    Some((inode, Row { what, tcp, unread: hex(unread), unsent: hex(unsent) }))
}

/// `0100007F:1F90` as a sockaddr. The words of the address are in the byte order of this machine.
fn address(text: &str, family: u16) -> Option<Vec<u8>> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = family.to_ne_bytes().to_vec();
    bytes.extend(u16::from_str_radix(port, 16).ok()?.to_be_bytes());
    if family == INET6 {
        // The flow information.
        bytes.extend([0; 4]);
    }
    let mut rest = address;
    while !rest.is_empty() {
        let (word, more) = rest.split_at_checked(8)?;
        bytes.extend(u32::from_str_radix(word, 16).ok()?.to_ne_bytes());
        rest = more;
    }
    Some(bytes)
}

/// `Num RefCount Protocol Flags Type St Inode Path` (Linux v6.1 net/unix/af_unix.c, unix_seq_show).
/// Flag 0x10000: it listens.
fn unix(line: &str, wanted: &BTreeSet<u64>) -> Option<(u64, Row)> {
    let mut rest = line;
    let mut fields = Vec::new();
    for _ in 0..7 {
        let (field, more) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
        fields.push(field);
        rest = more;
    }
    let inode = fields.get(6)?.parse().ok()?;
    if !wanted.contains(&inode) {
        return None;
    }
    let mut local = UNIX.to_ne_bytes().to_vec();
    match rest.strip_prefix('@') {
        Some(name) => local.extend([&[0], name.as_bytes()].concat()),
        None => local.extend(rest.as_bytes()),
    }
    let mut what = Kept::new();
    what.socket(&Socket {
        kind: i32::from_str_radix(fields.get(4)?, 16).ok()?,
        listens: u32::from_str_radix(fields.get(3)?, 16).is_ok_and(|flags| flags & 0x1_0000 != 0),
        local: Some(&local),
        inode: fields.get(6)?.as_bytes(),
        ..Socket::default()
    });
    Some((inode, Row { what, tcp: 0, unread: 0, unsent: 0 }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use epollshim_format::descriptor::{Descriptor, Kept};

    use super::{INET, INET6, inet, unix};

    fn shown(what: &Kept) -> String {
        Descriptor(what.as_bytes()).to_string()
    }

    #[test]
    fn a_line_of_tcp_is_a_socket() {
        let wanted = BTreeSet::from([77]);
        let line = "   0: 0100007F:1F90 0100007F:C350 08 00000005:00000A00 00:00000000 00000000     0        0 77 1 0";
        let found = inet(line, INET, 6, &wanted).map(|(inode, row)| (inode, shown(&row.what), row.unread, row.unsent));
        assert_eq!(found, Some((77, "tcp 127.0.0.1:8080 -> 127.0.0.1:50000 CLOSE_WAIT".into(), 2560, 5)));
        assert!(inet(line, INET, 6, &BTreeSet::new()).is_none());
        let line = "   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A \
                    00000000:00000000 00:00000000 00000000     0        0 77 1 0";
        let found = inet(line, INET6, 6, &wanted).map(|(_, row)| shown(&row.what));
        assert_eq!(found.as_deref(), Some("tcp [::1]:22 LISTEN"));
    }

    #[test]
    fn a_line_of_unix_is_a_socket() {
        let wanted = BTreeSet::from([4711]);
        let line = "0000000000000000: 00000002 00000000 00010000 0001 01  4711 /run/a b";
        let found = unix(line, &wanted).map(|(_, row)| shown(&row.what));
        assert_eq!(found.as_deref(), Some("unix stream inode 4711 /run/a b LISTEN"));
        let line = "0000000000000000: 00000002 00000000 00010000 0001 01  4711 @x";
        assert!(unix(line, &wanted).is_some_and(|(_, row)| shown(&row.what).contains("@x")));
    }
}
