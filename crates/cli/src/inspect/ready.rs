//! Copies descriptors, and queries whether each is ready, how much it holds, and what it is.

use std::io::Error;

use epollshim_format::census::Kind;
use epollshim_format::descriptor::{Kept, Socket};

use super::model::{Descriptor, OUT, State};
use crate::sys;
use crate::sys::foreign::{Copy, Process, readiness};

/// How many copies are held at a time, for some 100 microseconds. While a copy exists, a close of
/// the descriptor does not close the file.
const BATCH: usize = 256;

/// What a copy reported.
pub struct Answer {
    pub fd: i32,
    pub state: State,
}

/// Whether a descriptor may be copied. `is_watched`: whether an instance watches it.
///
/// Closing a copy calls `flush` of the file's operations. For files that epoll can watch it does
/// nothing, except for io_uring, where it cancels requests. Regular files, for which network file
/// systems write dirty pages, cannot be watched.
pub fn may_be_copied(descriptor: &Descriptor, target: &[u8], is_watched: bool) -> bool {
    match descriptor.kind {
        Kind::Other => is_watched && target != b"anon_inode:[io_uring]",
        Kind::File | Kind::Memfd => is_watched,
        Kind::Pipe => is_watched || !target.starts_with(b"/"),
        _ => true,
    }
}

/// Copies descriptors, queries the copies, and closes them. Descriptors that are closed or refer to
/// another file by now are left out (if `inode` is 0, the latter is not checked). With `is_first`,
/// values that an idle socket cannot have are not queried. Fails if copies are not permitted.
pub fn ask(process: &Process, wanted: &[(i32, Kind, u64)], is_first: bool) -> Result<Vec<Answer>, Error> {
    let mut answers = Vec::with_capacity(wanted.len());
    for batch in wanted.chunks(BATCH) {
        let mut copies: Vec<(i32, Kind, Copy)> = Vec::with_capacity(batch.len());
        for (fd, kind, inode) in batch {
            match process.copy(*fd) {
                Ok(copy) if *inode != 0 && copy.inode() != Some(*inode) => {}
                Ok(copy) => copies.push((*fd, *kind, copy)),
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => {}
                Err(error) => return Err(error),
            }
        }
        let at = sys::monotonic();
        let ready = readiness(&copies.iter().map(|(.., copy)| copy).collect::<Vec<_>>());
        for ((fd, kind, copy), ready) in copies.iter().zip(ready) {
            // Data, connections to accept, and a close of the other end all make it readable.
            let is_idle = is_first && ready & !OUT == 0;
            let tcp = if *kind == Kind::Socket && !is_idle { copy.tcp_info() } else { None }.unwrap_or_default();
            let is_asked = matches!(kind, Kind::Socket | Kind::Pipe | Kind::Inotify | Kind::File | Kind::Other);
            let state = State {
                at,
                ready,
                unread: match is_asked {
                    true if is_idle && *kind == Kind::Socket => Some(0),
                    true => copy.unread(),
                    false => None,
                },
                unsent: if *kind == Kind::Socket && !(is_first && ready & OUT != 0) { copy.unsent() } else { None },
                backlog: tcp.backlog,
                tcp: tcp.state,
                received: tcp.received,
                acked: tcp.acked,
                last_ack: tcp.last_ack,
            };
            answers.push(Answer { fd: *fd, state });
        }
    }
    Ok(answers)
}

/// Describes a socket, with its number of unacknowledged bytes. None: the descriptor is closed or
/// refers to another file by now.
pub fn describe(process: &Process, fd: i32, inode: u64) -> Option<(Kept, Option<u64>)> {
    let copy = process.copy(fd).ok().filter(|copy| copy.inode() == Some(inode))?;
    let tcp = copy.tcp_info().unwrap_or_default();
    Some((socket(&copy, tcp.state), copy.unsent()))
}

fn socket(copy: &Copy, state: u8) -> Kept {
    let (local, peer) = (copy.local(), copy.peer());
    let is_unix = local.as_ref().and_then(|local| local.first()) == Some(&(libc::AF_UNIX as u8));
    let inode = if is_unix { copy.inode().map(|inode| inode.to_string()) } else { None }.unwrap_or_default();
    let mut what = Kept::new();
    what.socket(&Socket {
        kind: copy.option(libc::SO_TYPE).unwrap_or(-1),
        protocol: copy.option(libc::SO_PROTOCOL).unwrap_or(-1),
        state,
        listens: copy.option(libc::SO_ACCEPTCONN) == Some(1),
        local: local.as_deref(),
        peer: peer.as_deref(),
        peer_pid: if is_unix && peer.is_some() { copy.peer_pid().unwrap_or(0) } else { 0 },
        inode: inode.as_bytes(),
    });
    what
}
