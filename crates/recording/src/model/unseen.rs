//! What the library did not see: programs that ran without it, and calls that bypassed it.

use epollshim_format::recording::unseen;

use super::Process;
use crate::modules::plain;
use crate::scale::grouped;

/// A sentence about a process that has epoll instances although the library saw no epoll call of
/// it. None: the process is not of this kind.
pub fn makes_calls_unseen(process: &Process) -> Option<String> {
    let unseen = process.totals.unseen_instances;
    if unseen == 0 || process.counters().all_calls() != 0 {
        return None;
    }
    let fds: Vec<String> = process.instances.iter().take(8).map(|instance| instance.epfd.to_string()).collect();
    let fds = if fds.is_empty() { String::new() } else { format!(" (fd {})", fds.join(", ")) };
    let instances =
        if unseen == 1 { "1 epoll instance".into() } else { format!("{} epoll instances", grouped(unseen)) };
    Some(format!(
        "process {} had {instances}{fds}, but the library saw none of its epoll calls; strace -f -e trace=/^epoll \
         shows them",
        process.header.pid
    ))
}

/// A sentence about the programs that these processes started and that have no recording, with the
/// reasons. None: no such program is known.
pub fn what_is_unseen(processes: &[Process]) -> Option<String> {
    let count = processes.iter().fold(0, |sum: u64, process| sum.saturating_add(process.header.unseen));
    let first = processes.iter().find(|process| process.header.unseen > 0)?;
    let path = plain(&first.header.first_unseen);
    let programs = if count == 1 {
        format!("1 started program ({path})")
    } else {
        format!("{} started programs (the first: {path})", grouped(count))
    };
    let why = processes.iter().fold(0, |bits, process| bits | process.header.why_unseen);
    let reasons = [
        (
            unseen::SECURE,
            "the loader ignores LD_PRELOAD where the effective user or group is not the real one (AT_SECURE, ld.so(8))",
        ),
        (unseen::STATIC, "a static program has no loader that reads LD_PRELOAD"),
        (unseen::GO, "Go's runtime makes its system calls itself"),
    ];
    let why = if why == 0 { unseen::SECURE } else { why };
    let reasons: Vec<&str> = reasons.iter().filter(|(bit, _)| why & bit != 0).map(|(_, words)| *words).collect();
    Some(format!("{programs}: {}", reasons.join("; ")))
}
