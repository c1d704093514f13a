//! Checks, while the processes of CMD run, which of them have epoll instances, by /proc.
//!
//! The library sees nothing of a process that makes its own system calls, and a process killed by
//! SIGKILL cannot report. So the parent checks 0.1 seconds after the start, and then less and less
//! often. A process that ends before the first check is missed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use epollshim_recording::Set;

use super::family;
use crate::text::count;

/// The delay before each check, counted from the start or from the check before. The last one
/// repeats.
const DELAYS: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];
/// At most this many descriptors of a process are listed.
const NAMED: usize = 8;

/// A process that had epoll instances of its own.
pub struct Had {
    name: String,
    /// The descriptors that referred to one, at the last check that found any.
    epfds: Vec<i32>,
}

pub struct Looks {
    /// Where processes record. None: nothing is recorded, and nothing is checked.
    directory: Option<PathBuf>,
    /// When the first of the processes started, in clock ticks since boot.
    since: u64,
    next: Instant,
    taken: usize,
    had: BTreeMap<i32, Had>,
}

impl Looks {
    pub fn new(directory: Option<&Path>, since: u64) -> Looks {
        let [first, ..] = DELAYS;
        let directory = directory.map(Path::to_path_buf);
        Looks { directory, since, next: Instant::now() + first, taken: 0, had: BTreeMap::new() }
    }

    /// The time until the next check. None: there are no checks.
    pub fn wait(&self) -> Option<Duration> {
        self.directory.as_ref().map(|_| self.next.saturating_duration_since(Instant::now()))
    }

    /// Checks if it is time.
    pub fn look(&mut self) {
        let Some(directory) = self.directory.as_ref().filter(|_| self.next <= Instant::now()) else { return };
        self.taken += 1;
        let [.., last] = DELAYS;
        for process in family::running(directory, self.since) {
            let epfds = family::epolls_of_its_own(process.pid);
            if !epfds.is_empty() {
                self.had.insert(process.pid, Had { name: process.name, epfds });
            }
        }
        self.next = Instant::now() + DELAYS.get(self.taken).copied().unwrap_or(last);
    }

    /// A sentence for each process that had epoll instances, but made no epoll call that the
    /// library saw. Processes for which `runs` returns true are left out.
    pub fn unseen(&self, set: &Set, runs: &dyn Fn(i32) -> bool) -> Vec<String> {
        let made_calls = |pid: i32| {
            let is_it = |of: u64| i64::try_from(of) == Ok(i64::from(pid));
            set.processes.iter().any(|process| is_it(process.header.pid) && process.counters().all_calls() != 0)
        };
        let unseen = self.had.iter().filter(|(pid, _)| !runs(**pid) && !made_calls(**pid));
        unseen.map(|(pid, had)| had.sentence(*pid)).collect()
    }
}

impl Had {
    fn sentence(&self, pid: i32) -> String {
        let Had { name, epfds } = self;
        let mut fds: Vec<String> = epfds.iter().take(NAMED).map(ToString::to_string).collect();
        if epfds.len() > NAMED {
            fds.push("...".into());
        }
        format!(
            "{name} (pid {pid}) had {} (fd {}), but the library saw none of its epoll calls",
            count(epfds.len(), "epoll descriptor"),
            fds.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Had;

    #[test]
    fn as_many_descriptors_are_named_as_can_be_read() {
        let sentence = |epfds: Vec<i32>| Had { name: "app".into(), epfds }.sentence(7);
        assert!(sentence(vec![4]).starts_with("app (pid 7) had 1 epoll descriptor (fd 4), but the library"));
        assert!(sentence((3..40).collect()).contains("had 37 epoll descriptors (fd 3, 4, 5, 6, 7, 8, 9, 10, ...)"));
    }
}
