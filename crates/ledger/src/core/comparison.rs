//! Compares the interests of each instance with the kernel's list, and corrects them. Only the
//! holder of the lock calls it.
//!
//! The order matters. First the instances are compared (`grouping.rs`), which may move interests in
//! them. Then numbers that refer to another file than the ledger believes are corrected. Then each
//! instance's list is compared.
//!
//! The kernel's key of an interest is a number and an open file description. `fdinfo` shows only
//! the number. An open number need not refer to what is watched any more.

use super::{Core, Registration};
use crate::descriptors::FdState;
use crate::list::List;
use crate::records::{Instance, Interest};
use crate::sort::sort_by_key;
use crate::{Kernel, Observer};

/// An interest of an instance, as the kernel lists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// The number that it was added under.
    pub fd: i32,
    /// Which one of several under one number, in the kernel's order.
    pub place: u32,
    pub file: File,
}

/// What the number of an interest refers to now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum File {
    /// What the interest watches.
    Watched,
    /// Another file.
    Other,
    /// Nothing: the number is closed.
    Closed,
    /// The kernel was not asked, or does not say.
    Unknown,
}

impl Line {
    /// The number does not refer to what is watched: something else keeps that open.
    fn is_ghost(&self) -> bool {
        matches!(self.file, File::Other | File::Closed)
    }
}

/// Whether a number refers to none of the files that are watched under it. `lines` are in order of
/// numbers. (One of several may belong to another file, which was closed. That says nothing about
/// what the number refers to.)
fn has_moved(lines: &[Line], fd: i32) -> bool {
    let first = lines.partition_point(|line| line.fd < fd);
    let mut same = lines.iter().skip(first).take_while(|line| line.fd == fd);
    same.all(Line::is_ghost)
}

/// A line that the plain cases did not match.
#[derive(Clone, Copy)]
pub struct Unmatched {
    line: Line,
    is_found: bool,
    /// The call site of the ledger's interest under this number, if the kernel does not list that
    /// interest in the same form; 0: there is none.
    site: u64,
}

impl<K: Kernel, O: Observer> Core<K, O> {
    /// Corrects what the ledger believes of the numbers in an instance's list: those that refer to
    /// another file, and those that refer to what is watched though the ledger does not know it.
    pub fn correct_numbers(&self, index: u32, lines: &[Line]) {
        let Some(instance) = self.instances.get(index) else { return };
        let mut has_ghosts = self.interests_of(instance).any(|interest| !self.is_current(interest));
        for line in lines {
            let ghost = || if has_ghosts { self.find_ghost(instance, line.fd) } else { None };
            match self.find_in(index, line.fd) {
                // (Which numbers are instances was compared before.)
                Some(_)
                    if line.is_ghost()
                        && has_moved(lines, line.fd)
                        && self.descriptors.get(line.fd).instance() == 0
                        && ghost().is_none() =>
                {
                    self.heal_moved(line.fd);
                    has_ghosts = true;
                }
                None if line.file == File::Watched && !self.descriptors.get(line.fd).is_known() => {
                    if let Some(interest) = ghost() {
                        self.attach(line.fd, interest.description());
                    }
                }
                _ => {}
            }
        }
    }

    /// A number refers to another file than the ledger believes. What it referred to may still
    /// exist: the kernel's lists show it.
    pub fn heal_moved(&self, fd: i32) {
        if let Some(description) = self.description(self.descriptors.get(fd).description()) {
            description.set_epoch(description.epoch() | 1);
        }
        self.heal(fd);
    }

    /// A number that the ledger does not know refers to a description that it knows.
    fn attach(&self, fd: i32, index: u32) {
        let Some(description) = self.description(index).filter(|one| one.instance() == 0) else { return };
        self.descriptors.part(fd);
        if self.refer(fd, FdState::known(index, description.instance())) {
            description.set_descriptors(description.descriptors() + 1);
            self.each_in(description, |interest| interest.lower(Interest::DOUBTFUL));
            self.totals.healed.add(1);
        }
    }

    /// An interest of an instance under a number that refers to something else, according to the
    /// ledger.
    fn find_ghost(&self, instance: &Instance, fd: i32) -> Option<&'static Interest> {
        self.interests_of(instance).find(|interest| interest.fd() == fd && !self.is_current(interest))
    }

    /// Whether the number of an interest refers to what it watches, as far as the ledger knows.
    fn is_current(&self, interest: &Interest) -> bool {
        self.descriptors.get(interest.fd()).description() == interest.description()
    }

    /// Compares one instance with the kernel's list of it, which is in order of numbers.
    /// `unmatched` is scratch memory. `is_under_way` says whether a thread has noted an interest
    /// and does not know the kernel's answer yet. False: the two differ, and nothing was corrected.
    pub fn compare(
        &self,
        epfd: i32,
        lines: &[Line],
        unmatched: &mut impl List<Unmatched>,
        may_correct: bool,
        is_under_way: impl Fn(u32) -> bool,
    ) -> bool {
        let index = self.descriptors.get(epfd).instance();
        // First the plain cases: the descriptor still refers to what is watched.
        unmatched.clear();
        // Interests that are known to be watched come before those that may be.
        for is_known in [true, false] {
            for line in lines.iter().filter(|line| (line.file == File::Watched) == is_known) {
                match self.find_in(index, line.fd).filter(|_| !line.is_ghost()) {
                    Some((_, interest)) if !interest.has(Interest::SEEN) => interest.raise(Interest::SEEN),
                    _ => {
                        if !unmatched.push(Unmatched { line: *line, is_found: false, site: 0 }) {
                            self.forget_seen(index);
                            return false;
                        }
                    }
                }
            }
        }
        let unmatched = unmatched.as_mut_slice();
        sort_by_key(unmatched, |one| one.line.fd);
        let mut agrees = true;
        // Then the other interests of the ledger: each exists under a number that is closed, or
        // does not exist. Of two that had the same number, the one that is not in doubt exists.
        for doubtful in [false, true] {
            let mut at = self.instances.get(index).map_or(0, |instance| instance.first.get());
            for _ in 0..self.records.end() {
                let Some(interest) = self.interest(at) else { break };
                let next = interest.next.get();
                if interest.has(Interest::DOUBTFUL) != doubtful {
                    // The other pass handles it.
                } else if interest.has(Interest::SEEN) {
                    interest.lower(Interest::SEEN);
                } else if is_under_way(interest.serial.get())
                    || take(unmatched, interest.fd(), self.is_current(interest))
                {
                    // The kernel has it, or will have it.
                } else if !may_correct {
                    agrees = false;
                } else {
                    if !doubtful {
                        self.totals.healed.add(1);
                    }
                    if let Some(one) = of_number(unmatched, interest.fd()).find(|one| !one.is_found) {
                        one.site = one.site.max(interest.site());
                    }
                    self.vanish(at);
                }
                at = next;
            }
        }
        // Only the kernel has the interests that remain.
        if !may_correct {
            return agrees && unmatched.iter().all(|one| one.is_found);
        }
        for Unmatched { line, site, .. } in unmatched.iter().filter(|one| !one.is_found) {
            let registration = Registration { epfd, fd: line.fd, site: *site as usize };
            let inserted = if !line.is_ghost() && self.find_in(index, line.fd).is_none() {
                self.insert(index, &registration, 0)
            } else {
                // A ghost: its number is closed, and something else keeps the description open.
                self.instances.get(index).zip(self.new_description(0)).and_then(|(instance, description)| {
                    description.1.set_epoch(description.1.epoch() | 1);
                    self.insert_into((index, instance), description, &registration, 0, Interest::DOUBTFUL)
                })
            };
            if inserted.is_none() {
                self.totals.lost.add(1);
            }
            if *site == 0 {
                self.totals.unseen_watches.add(1);
            }
        }
        true
    }

    fn forget_seen(&self, index: u32) {
        if let Some(instance) = self.instances.get(index) {
            self.interests_of(instance).for_each(|interest| interest.lower(Interest::SEEN));
        }
    }
}

/// The lines of a number, among lines in order of numbers.
fn of_number(lines: &mut [Unmatched], fd: i32) -> impl Iterator<Item = &mut Unmatched> {
    let first = lines.partition_point(|one| one.line.fd < fd);
    lines.iter_mut().skip(first).take_while(move |one| one.line.fd == fd)
}

/// Matches a line with an interest that the plain cases did not match.
///
/// A current interest, according to the ledger, is not a ghost that the kernel lists. A ghost in
/// the ledger is not what the kernel lists as watched under its number.
fn take(lines: &mut [Unmatched], fd: i32, is_current: bool) -> bool {
    let fits = |line: &Line| if is_current { !line.is_ghost() } else { line.file != File::Watched };
    match of_number(lines, fd).find(|one| !one.is_found && fits(&one.line)) {
        Some(one) => {
            one.is_found = true;
            true
        }
        None => false,
    }
}
