//! What /proc says of the processes that CMD has started, while they run: which have epoll instances.
//!
//! A process that makes its system calls itself tells the library nothing, and one that SIGKILL
//! ends tells nothing at its end. So the parent looks: a tenth of a second after the start, and then
//! ever more seldom. What ends before the first look is not known here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use epollshim_recording::Set;

use super::family;
use crate::text::count;

/// How long after the start, or after the look before; the last one repeats.
const DELAYS: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];
/// How many descriptors of a process are named.
const NAMED: usize = 8;

/// A process that had epoll instances of its own.
pub struct Had {
    name: String,
    /// The descriptors that referred to one, at the last look that found any.
    epfds: Vec<i32>,
}

pub struct Looks {
    /// Where processes record; None: nothing is recorded, and nothing looked at.
    directory: Option<PathBuf>,
    /// When the first of them began, in clock ticks since boot.
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

    /// How long until the next look; None: there will be none.
    pub fn wait(&self) -> Option<Duration> {
        self.directory.as_ref().map(|_| self.next.saturating_duration_since(Instant::now()))
    }

    /// Looks, if it is time.
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

    /// A sentence for each process that had epoll instances, and made no epoll call that the library
    /// saw. `runs`: whether a process goes on; such a one is not judged.
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
            "{name} (pid {pid}) had {} (fd {}), and made no epoll call that the library saw",
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
        assert!(sentence(vec![4]).starts_with("app (pid 7) had 1 epoll descriptor (fd 4), and made no"));
        assert!(sentence((3..40).collect()).contains("had 37 epoll descriptors (fd 3, 4, 5, 6, 7, 8, 9, 10, ...)"));
    }
}
