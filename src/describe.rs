//! What a descriptor of this process refers to, asked from the kernel by its number. This opens no
//! descriptor. It omits what a filter of the program forbids asking.

use epollshim_format::descriptor::{Kept, Socket, field};

use crate::{procfs, sys};

/// Adds what a descriptor refers to. This needs some kilobytes of stack, so it is not for hooks but
/// for work on a separate stack (sigsafe.rs).
#[inline(never)]
pub fn describe(fd: i32, kept: &mut Kept) {
    let status = sys::status(fd);
    if matches!(status, Err(libc::EBADF)) {
        return kept.add(field::CLOSED, b"1");
    }
    let (mode, links) = status.map_or((0, 1), |status| (status.st_mode, status.st_nlink));
    let kind = match mode & libc::S_IFMT {
        libc::S_IFSOCK => "socket",
        libc::S_IFDIR => "directory",
        libc::S_IFCHR | libc::S_IFBLK => "device",
        libc::S_IFIFO => "pipe",
        libc::S_IFREG => "file",
        _ => "",
    };
    let mut space = [0; 4096];
    let target = procfs::target_of(fd, &mut space).unwrap_or_default();
    let inode = target.strip_prefix(b"socket:[").and_then(|rest| rest.strip_suffix(b"]"));
    if kind == "socket" || inode.is_some() {
        describe_socket(fd, inode.unwrap_or_default(), kept);
    } else if !target.is_empty() {
        kept.name(target, Some(kind).filter(|kind| !kind.is_empty()), links == 0);
    } else if !kind.is_empty() {
        kept.add(field::KIND, kind.as_bytes());
    }
}

fn describe_socket(fd: i32, inode: &[u8], kept: &mut Kept) {
    let (mut local, mut peer) = ([0; 128], [0; 128]);
    let option = |option| sys::socket_option(fd, option).unwrap_or(-1);
    let protocol = option(libc::SO_PROTOCOL);
    // The state is the first byte of TCP_INFO.
    let has_state = matches!(protocol, libc::IPPROTO_TCP | libc::IPPROTO_MPTCP);
    let [info, ..] = if has_state { sys::tcp_info(fd).unwrap_or([0; 17]) } else { [0; 17] };
    kept.socket(&Socket {
        kind: option(libc::SO_TYPE),
        protocol,
        state: info as u8,
        listens: option(libc::SO_ACCEPTCONN) > 0,
        local: sys::socket_address(fd, false, &mut local).ok(),
        peer: sys::socket_address(fd, true, &mut peer).ok(),
        // The first word of a struct ucred.
        peer_pid: option(libc::SO_PEERCRED),
        inode,
    });
}
