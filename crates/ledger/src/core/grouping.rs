//! Compares with the kernel which descriptors are one instance, and corrects it. Only the holder of
//! the lock calls it.
//!
//! Threads that race by dup2 and close may note their calls in another order than the kernel made
//! them. Then numbers of one instance belong to several in the ledger, or numbers of several to
//! one.

use super::Core;
use crate::list::List;
use crate::records::{Description, Instance};
use crate::sort::{run_length, sort_by_key};
use crate::sync::Ordering;
use crate::{Kernel, Observer};

/// A descriptor of an epoll instance, as the kernel lists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    pub fd: i32,
    /// The lowest descriptor of the same instance.
    pub leader: i32,
    /// Where its list begins, and how long it is (`Reading::lines_of`).
    pub first: u32,
    pub count: u32,
    /// Equal for descriptors with the same list.
    pub digest: u64,
}

impl Head {
    pub fn of(fd: i32) -> Head {
        Head { fd, leader: fd, first: 0, count: 0, digest: 0 }
    }

    pub fn is_leader(&self) -> bool {
        self.leader == self.fd
    }
}

/// Each instance of the kernel, by its descriptors.
fn groups(heads: &[Head]) -> impl Iterator<Item = (&Head, &[Head])> {
    let mut rest = heads;
    ::core::iter::from_fn(move || {
        let (group, after) = rest.split_at_checked(run_length(rest, |one, other| one.leader == other.leader))?;
        rest = after;
        Some((group.first()?, group))
    })
}

impl<K: Kernel, O: Observer> Core<K, O> {
    /// Nothing has been seen yet.
    pub(super) fn begin_grouping(&self) {
        for (_, instance) in self.live_instances() {
            instance.seen.store(0, Ordering::Relaxed);
        }
    }

    /// True: it was not seen before.
    pub(super) fn see(&self, instance: &Instance) -> bool {
        instance.seen.swap(1, Ordering::Relaxed) == 0
    }

    /// Whether the ledger has the kernel's instances, each with the same descriptors. `heads` is in
    /// order of leaders.
    pub fn is_grouped(&self, heads: &[Head]) -> bool {
        self.begin_grouping();
        for (leader, group) in groups(heads) {
            let index = self.descriptors.get(leader.fd).instance();
            let Some(instance) = self.instances.get(index) else { return false };
            let counted = self.description(instance.description.get()).map_or(0, |one| one.descriptors());
            let is_one = group.iter().all(|head| self.descriptors.get(head.fd).instance() == index);
            if !is_one || counted as usize != group.len() || !self.see(instance) {
                return false;
            }
        }
        // Each of the kernel's is in the ledger. So the ledger has no other if there are as many.
        self.instance_numbers().count() == heads.len()
            && self.live_instances().all(|(_, instance)| instance.seen.load(Ordering::Relaxed) != 0)
    }

    /// The numbers whose description is an instance.
    fn instance_numbers(&self) -> impl Iterator<Item = (i32, &'static Description)> {
        (0..=self.descriptors.highest())
            .filter_map(|fd| Some((fd, self.description(self.descriptors.get(fd).description())?)))
            .filter(|(_, description)| description.instance() != 0)
    }

    /// Groups them as the kernel does. `numbers` and `claims` are scratch memory.
    pub fn regroup(&self, heads: &[Head], numbers: &mut impl List<i32>, claims: &mut impl List<u32>) {
        self.recount();
        self.forget_other_numbers(heads, numbers);
        self.claim(heads, claims);
        for ((leader, group), claimed) in groups(heads).zip(claims.as_slice()) {
            self.gather(leader, group, *claimed);
        }
        self.end_unseen();
    }

    /// Counts the descriptors of each description again. (A description that ended too early would
    /// leave numbers that refer to a reused record.)
    fn recount(&self) {
        let known = || {
            (0..=self.descriptors.highest())
                .filter_map(|fd| self.description(self.descriptors.get(fd).description()))
                .filter(|description| description.epoch() != 0)
        };
        let descriptions =
            || (1..self.records.end()).filter_map(|index| self.description(index)).filter(|one| one.epoch() != 0);
        let before: u64 = descriptions().map(|description| u64::from(description.descriptors())).sum();
        descriptions().for_each(|description| description.set_descriptors(0));
        known().for_each(|description| description.set_descriptors(description.descriptors() + 1));
        let now: u64 = descriptions().map(|description| u64::from(description.descriptors())).sum();
        if now != before {
            self.totals.healed.add(1);
        }
    }

    /// The number that a watched file was added under, if another number is believed to refer to
    /// the same file.
    pub fn watched_alias(&self, fd: i32) -> Option<i32> {
        let slot = self.descriptors.get(fd);
        let description = self.description(slot.description()).filter(|_| slot.instance() == 0)?;
        if description.descriptors() < 2 {
            return None;
        }
        let watched = self.interest(description.interests())?.fd();
        let is_alias = watched != fd && self.descriptors.get(watched).description() == slot.description();
        is_alias.then_some(watched)
    }

    /// Forgets numbers that are no instances any more: they were closed where no hook saw it.
    fn forget_other_numbers(&self, heads: &[Head], numbers: &mut impl List<i32>) {
        numbers.clear();
        if !heads.iter().all(|head| numbers.push(head.fd)) {
            return self.totals.lost.add(1);
        }
        sort_by_key(numbers.as_mut_slice(), |fd| *fd);
        for (fd, _) in self.instance_numbers() {
            if numbers.as_slice().binary_search(&fd).is_err() {
                self.heal(fd);
            }
        }
    }

    /// Finds for each group the record of the ledger that continues as its instance; 0: a new one
    /// is created. Claimed records are marked as seen.
    fn claim(&self, heads: &[Head], claims: &mut impl List<u32>) {
        self.begin_grouping();
        claims.clear();
        let candidate = |group: &[Head], fits: &dyn Fn(&Instance) -> bool| {
            group
                .iter()
                .map(|head| self.descriptors.get(head.fd).instance())
                .find(|index| self.instances.get(*index).is_some_and(|instance| fits(instance) && self.see(instance)))
        };
        // First the instances that watch as much as the kernel says. For the remaining groups, the
        // first one that fits.
        for (leader, group) in groups(heads) {
            let found = candidate(group, &|instance| instance.watches.get() == u64::from(leader.count));
            if !claims.push(found.unwrap_or(0)) {
                return self.totals.lost.add(1);
            }
        }
        for ((_, group), claim) in groups(heads).zip(claims.as_mut_slice()).filter(|(_, claim)| **claim == 0) {
            *claim = candidate(group, &|_| true).unwrap_or(0);
        }
    }

    /// Makes the descriptors of a group refer to one instance. A claimed instance always has at
    /// least one of them, since the group that claims it keeps its own.
    fn gather(&self, leader: &Head, group: &[Head], claimed: u32) {
        let of = |fd| self.descriptors.get(fd).instance();
        let anchor = group.iter().map(|head| head.fd).find(|fd| claimed != 0 && of(*fd) == claimed);
        let anchor = anchor.unwrap_or_else(|| {
            // Several groups were one instance in the ledger, and another has claimed it. Or the
            // ledger believes it to be a watched file, which numbers that are no epolls share.
            let index = self.descriptors.get(leader.fd).description();
            let ours = group.iter().filter(|head| self.descriptors.get(head.fd).description() == index).count();
            if self.description(index).is_some_and(|one| one.instance() != 0 || one.descriptors() as usize != ours) {
                self.heal(leader.fd);
            }
            leader.fd
        });
        let instance = self.adopt(anchor).and_then(|index| Some((index, self.instances.get(index)?)));
        let Some((index, instance)) = instance else { return self.totals.lost.add(1) };
        self.see(instance);
        for fd in group.iter().map(|head| head.fd).filter(|fd| of(*fd) != index) {
            if self.descriptors.get(fd).description() == instance.description.get() {
                // Known as a number of the same file, but not known to be an epoll.
                self.adopt(fd);
            } else {
                self.heal(fd);
                self.duplicated(anchor, fd, 0);
            }
        }
    }

    /// Ends instances that no descriptor refers to: a count of descriptors was wrong.
    fn end_unseen(&self) {
        for (index, instance) in self.live_instances() {
            if instance.seen.load(Ordering::Relaxed) == 0 {
                let description_index = instance.description.get();
                self.end_instance(index, -1);
                self.totals.healed.add(1);
                if let Some(description) = self.description(description_index)
                    && description.interests() == 0
                {
                    self.forget(description_index);
                }
            }
        }
    }
}
