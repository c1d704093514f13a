//! Open file descriptions, of instances and of what they watch, and the numbers that refer to them:
//! dup and close.

use super::Core;
use crate::answers::Ring;
use crate::descriptors::{FdState, RING};
use crate::events::Event;
use crate::records::{Description, Interest, Watch};
use crate::{Kernel, Observer};

impl<K: Kernel, O: Observer> Core<K, O> {
    #[inline(always)]
    pub(super) fn new_description(&self, descriptors: u32) -> Option<(u32, &'static Description)> {
        let (index, record) = self.records.allocate(|| self.look_at_memory())?;
        let description = &record.description;
        if self.mark.get() == 0 {
            self.next_epoch();
        }
        description.uses.set(descriptors, 0);
        description.being.set_both(self.mark.get());
        Some((index, description))
    }

    /// Called in the child of a fork: the descriptions that exist are shared with other processes
    /// from now on.
    #[cold]
    pub(super) fn next_epoch(&self) {
        self.mark.add(1 << 33);
    }

    /// The description is not needed any more.
    pub(super) fn forget(&self, index: u32) {
        if let Some(record) = self.records.get(index) {
            record.description.being.set_both(0);
            self.release_if_free(index, record);
        }
    }

    /// Releases a record of which a half was released.
    #[inline(always)]
    pub(super) fn release_if_free(&self, index: u32, record: &Watch) {
        if record.is_free() {
            self.records.release(index, record);
        }
    }

    /// Whether something besides the counted descriptors may keep a description open: it existed
    /// before this process was forked (the parent has it), or it was duplicated before it was
    /// known.
    #[inline(always)]
    pub(super) fn may_be_shared(&self, description: &Description) -> bool {
        description.epoch() != (self.mark.get() >> 32) as u32
    }

    /// The description of a descriptor. It is created if it was not known.
    #[inline(always)]
    pub(super) fn describe(&self, fd: i32, slot: FdState) -> Option<(u32, &'static Description)> {
        if slot.is_known() {
            return Some((slot.description(), self.description(slot.description())?));
        }
        let (index, description) = self.new_description(1)?;
        if slot.next_alias().is_some() {
            self.recognise_aliases(fd, index, description);
        }
        if !self.descriptors.set(fd, FdState::known(index, 0)) {
            self.forget(index);
            return None;
        }
        Some((index, description))
    }

    /// A member of a ring of aliases becomes known. So do those of its aliases that the kernel
    /// confirms.
    #[cold]
    #[inline(never)]
    fn recognise_aliases(&self, fd: i32, index: u32, description: &Description) {
        let mut aliases = [-1; RING];
        let mut places = aliases.iter_mut();
        let mut sure = self.descriptors.aliases(fd, |alias| {
            if let Some(place) = places.next() {
                *place = alias;
            }
        });
        let others = || aliases.into_iter().filter(|alias| *alias >= 0 && *alias != fd);
        let mut ring = Ring::of(fd);
        others().for_each(|alias| ring.push(alias, None));
        // The kernel was asked before the lock was taken. Its answer says nothing about a change
        // that waited in the queue.
        let asked = if self.is_timely() { self.answers.find(&ring) } else { None };
        self.descriptors.part(fd);
        for (place, alias) in (0..).zip(others()) {
            if self.descriptors.get(alias).is_known() {
                // Seen before: threads that dup at the same moment can make a ring into a loop that
                // leaves `fd` out.
                continue;
            }
            match asked.and_then(|ring| ring.answer(place)) {
                Some(true) => {
                    self.descriptors.part(alias);
                    self.descriptors.set(alias, FdState::known(index, 0));
                    description.set_descriptors(description.descriptors() + 1);
                }
                Some(false) => {}
                None => sure = false,
            }
        }
        if !sure {
            description.set_epoch(description.epoch() | 1);
        }
    }

    /// A descriptor number is closed: by close, by dup2 onto it, by closing a range. `at`: where;
    /// 0: not known; None: the time is not known.
    #[unsafe(link_section = ".text.hot.epollshim.more")]
    pub fn closed(&self, fd: i32, at: Option<usize>) {
        let slot = self.descriptors.get(fd);
        if !slot.is_known() {
            return;
        }
        self.refer(fd, FdState::UNKNOWN);
        let Some(description) = self.description(slot.description()) else { return };
        let left = description.descriptors().saturating_sub(1);
        description.set_descriptors(left);
        if let Some(at) = at {
            if description.interests() != 0 {
                self.remember(description, fd, at, left > 0);
            }
            if description.instance() != 0 {
                self.instance_closes.note(fd, at as u64);
                if self.is_timely() && O::is_waited_on(fd) {
                    self.note_event(Event::InstanceClosed { epfd: fd, at });
                }
            }
        }
        if left > 0 {
            return;
        }
        if description.instance() != 0 {
            self.end_instance(description.instance(), fd);
        }
        if description.interests() == 0 {
            self.forget(slot.description());
        } else if self.may_be_shared(description) {
            self.each_in(description, |interest| interest.raise(Interest::DOUBTFUL));
        } else {
            self.vanish_all(description);
        }
    }

    pub fn closed_range(&self, first: i32, last: i32, at: usize) {
        for fd in first.max(0)..=last.min(self.descriptors.highest()) {
            self.closed(fd, Some(at));
        }
    }

    fn vanish_all(&self, description: &Description) {
        for _ in 0..self.records.end() {
            // The last removal releases the description.
            let first = description.interests();
            let Some(interest) = self.interest(first) else { break };
            let last = interest.sibling() == 0;
            self.vanish(first);
            if last {
                break;
            }
        }
    }

    pub(super) fn each_in(&self, description: &Description, change: impl Fn(&Interest)) {
        let mut index = description.interests();
        for _ in 0..self.records.end() {
            let Some(interest) = self.interest(index) else { break };
            change(interest);
            index = interest.sibling();
        }
    }

    /// `new` refers to the description of `old` from now on.
    pub fn duplicated(&self, old: i32, new: i32, at: usize) {
        if old == new {
            return;
        }
        // What `new` referred to before is closed. This comes first: it may remove the last
        // interest in `old`.
        if self.descriptors.get(new).is_known() {
            self.closed(new, Some(at));
        }
        let slot = self.descriptors.get(old);
        match self.description(slot.description()) {
            Some(description) if slot.is_known() => {
                self.descriptors.part(new);
                if self.refer(new, FdState::known(slot.description(), slot.instance())) {
                    description.set_descriptors(description.descriptors() + 1);
                } else {
                    description.set_epoch(description.epoch() | 1);
                    self.totals.lost.add(1);
                }
            }
            _ => self.descriptors.join_held(old, new),
        }
    }

    /// What the ledger believes of a descriptor is no longer true.
    pub fn heal(&self, fd: i32) {
        if self.descriptors.get(fd).is_known() {
            self.closed(fd, None);
            self.totals.healed.add(1);
        }
    }

    /// Forgets a description that nobody watches, that is no epoll, and that has one descriptor: a
    /// close of it costs nothing then.
    #[inline(always)]
    pub(super) fn forget_if_idle(&self, fd: i32, index: u32, description: &Description) {
        if description.interests() != 0 || description.instance() != 0 {
            return;
        }
        match description.descriptors() {
            0 => self.forget(index),
            1 if self.descriptors.get(fd).description() == index => {
                self.descriptors.set(fd, FdState::UNKNOWN);
                self.forget(index);
            }
            _ => {}
        }
    }
}
