//! The ledger beside the kernel's lists: what both have, what only one has, and what follows. By the holder of the gate.
//!
//! The order matters. First the instances are compared (`grouping.rs`): that may take interests in them along. Then
//! each instance's list is compared, once.
//!
//! A comparison that may not mend only finds out whether there is anything to mend.

use crate::buffer::sort_by_key;

use super::{Core, Registration};
use crate::ledger::records::Interest;

/// An interest of an instance, says the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The number that it was added under.
    pub fd: i32,
}

impl Core {
    /// Compares one instance with the kernel's list of it: the `tfd`s, one a registered interest. Uses `kernel` as its notepad.
    /// `is_under_way` tells of an interest that a thread has noted and not yet heard the kernel's answer to. False: the two
    /// differ, and nothing was mended.
    pub fn compare(
        &self,
        epfd: i32,
        index: u32,
        kernel: &mut [i32],
        mend: bool,
        is_open: impl Fn(i32) -> bool,
        is_under_way: impl Fn(u32) -> bool,
    ) -> bool {
        // First the plain cases: the descriptor still refers to what is watched.
        let mut open = 0;
        for at in 0..kernel.len() {
            let Some(&fd) = kernel.get(at) else { break };
            match self.find_in(index, fd) {
                Some((_, interest)) if !interest.has(Interest::SEEN) => interest.raise(Interest::SEEN),
                _ => {
                    if let Some(place) = kernel.get_mut(open) {
                        *place = fd;
                        open += 1;
                    }
                }
            }
        }
        let Some(unmatched) = kernel.get_mut(..open) else { return true };
        sort_by_key(unmatched, |number| *number);
        let mut agrees = true;
        // Then what the ledger holds beyond them: alive under a number that is gone, or gone. Of two that had the
        // same number, the one that is not in doubt is the one that lives.
        for doubtful in [false, true] {
            let mut at = self.instances.get(index).map_or(0, |instance| instance.first.get());
            for _ in 0..self.records.end() {
                let Some(interest) = self.interest(at) else { break };
                let next = interest.next.get();
                if interest.has(Interest::DOUBTFUL) != doubtful {
                    // The other pass's.
                } else if interest.has(Interest::SEEN) {
                    interest.lower(Interest::SEEN);
                } else if is_under_way(interest.serial.get()) || take(unmatched, interest.fd()) {
                    // The kernel has it, or will have it.
                } else if !mend {
                    agrees = false;
                } else {
                    if !doubtful {
                        self.totals.healed.add(1);
                    }
                    self.vanish(at);
                }
                at = next;
            }
        }
        // What remains is the kernel's alone.
        if !mend {
            return agrees && unmatched.iter().all(|fd| *fd < 0);
        }
        for &fd in unmatched.iter().filter(|fd| **fd >= 0) {
            let registration = Registration { epfd, fd, site: 0 };
            let inserted = if is_open(fd) && self.find_in(index, fd).is_none() {
                self.insert(index, &registration, 0)
            } else {
                // A ghost: its number is closed, something else keeps the description.
                self.instances.get(index).zip(self.new_description(0)).and_then(|(instance, description)| {
                    description.1.set_epoch(description.1.epoch() | 1);
                    self.insert_into((index, instance), description, &registration, 0, Interest::DOUBTFUL)
                })
            };
            if inserted.is_none() {
                self.totals.lost.add(1);
            }
            self.totals.unseen_watches.add(1);
        }
        true
    }
}

/// Takes one entry of a descriptor out of a sorted list; a taken entry becomes -1 - fd, and keeps its place.
fn take(sorted: &mut [i32], fd: i32) -> bool {
    let number = |entry: i32| if entry < 0 { -1 - entry } else { entry };
    let first = sorted.partition_point(|entry| number(*entry) < fd);
    let same = sorted.iter_mut().skip(first).take_while(|entry| number(**entry) == fd);
    for entry in same {
        if *entry >= 0 {
            *entry = -1 - *entry;
            return true;
        }
    }
    false
}
