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
    // There is room for the longest addresses.
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
fn unknown_fields_are_not_guessed() {
    assert!(Descriptor(b"").to_string().starts_with("not known"));
    assert_eq!(Descriptor(b"x1\0").to_string(), "closed");
    assert_eq!(Descriptor(b"ksocket\0x1\0").to_string(), "socket closed");
    // A field of a later version, and one that was cut off.
    assert_eq!(Descriptor(b"z9\0\0f/a").to_string(), "/a");
    let json = |of| Json { fd: 3, of: Descriptor(of) }.to_string();
    assert_eq!(json(b""), r#"{"fd":3,"kind":null}"#);
    assert_eq!(
        json(b"kfile\0d1\0f/\"a\0q7\0ix\0"),
        r#"{"fd":3,"kind":"file","deleted":true,"path":"/\"a","peer_pid":7}"#
    );
}
