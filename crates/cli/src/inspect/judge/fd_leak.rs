//! Finds connections that the other end has closed and the process has not.

use std::cmp::Reverse;

use epollshim_format::findings::Severity;
use epollshim_format::scale::Scaled;

use super::super::model::{Process, State};
use super::{Finding, shown};
use crate::text::count;

/// A socket may be in CLOSE_WAIT for a moment while its answer is sent. This many for a second, or
/// one for a minute, are a leak.
const LEFT: usize = 8;
const LEFT_MS: u32 = 1_000;
const LEFT_LONG_MS: u32 = 60_000;

/// Finds sockets in CLOSE_WAIT.
pub fn close_wait(process: &Process) -> Option<Finding> {
    let is_left = |look: &State| look.tcp == State::CLOSE_WAIT;
    let asked = process.descriptors.iter().filter(|(_, one)| one.looks.len() > 1 && one.looks.iter().all(is_left));
    let mut fds: Vec<(i32, u32)> = asked
        .filter_map(|(fd, one)| Some((*fd, one.looks.last()?.last_ack)))
        .filter(|(_, ms)| *ms >= LEFT_MS)
        .collect();
    let is_known = !fds.is_empty();
    // Without copies, the age is unknown.
    let table =
        process.descriptors.iter().filter(|(_, one)| one.table.is_some_and(|(state, ..)| state == State::CLOSE_WAIT));
    fds.extend(table.map(|(fd, _)| (*fd, 0)));
    fds.sort_by_key(|(fd, ms)| (Reverse(*ms), *fd));
    let (first, longest) = *fds.first()?;
    let is_leak = fds.len() >= LEFT || longest >= LEFT_LONG_MS;
    let age = if is_known {
        format!(", the oldest for {}", Scaled::time(u64::from(longest) * 1_000_000))
    } else {
        String::new()
    };
    let watched = process.all_watched();
    let still = fds.iter().filter(|(fd, _)| watched.contains(fd)).count();
    Some(Finding {
        id: "fd-leak",
        severity: if is_leak { Severity::Warning } else { Severity::Info },
        epfd: None,
        fds: fds.iter().map(|(fd, _)| *fd).collect(),
        tid: None,
        what: process.descriptors.get(&first).map(shown),
        message: format!(
            "{} in CLOSE_WAIT{age}, {still} of them still watched: the peer closed the connection, and this process did not; \
             close the descriptor when read returns 0",
            count(fds.len(), "TCP socket"),
        ),
    })
}
