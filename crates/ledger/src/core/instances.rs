//! Instances: created, or seen for the first time; ended with their last descriptor.

use crate::sync::Ordering;

use super::Core;
use crate::Rows;
use crate::descriptors::{FdState, RING};
use crate::events::Event;
use crate::records::{Instance, Origin};
use crate::{Kernel, Observer};

/// How an instance came to exist.
#[derive(Clone, Copy)]
pub struct Creation {
    pub origin: Origin,
    /// `size` or `flags`.
    pub argument: i32,
    pub site: usize,
}

impl<K: Kernel, O: Observer> Core<K, O> {
    #[unsafe(link_section = ".text.hot.epollshim.more")]
    pub fn created(&self, fd: i32, creation: Creation) {
        if self.descriptors.get(fd) != FdState::UNKNOWN {
            self.forget_former(fd);
        }
        if self.new_instance(fd, creation).is_none() {
            self.totals.lost.add(1);
        }
    }

    /// The number was free in the kernel. If the ledger knows it, its last user was closed where no
    /// hook saw it.
    #[cold]
    #[inline(never)]
    fn forget_former(&self, fd: i32) {
        self.heal(fd);
        self.descriptors.part(fd);
    }

    /// Registers an epoll descriptor that the ledger did not know.
    pub fn adopt(&self, fd: i32) -> Option<u32> {
        let slot = self.descriptors.get(fd);
        if slot.instance() != 0 {
            return Some(slot.instance());
        }
        // It may be known as a watched file (a nested epoll), or as one of several numbers of a
        // description. The next comparison finds numbers that this misses.
        let mut aliases = [fd; RING + 1];
        let mut places = aliases.iter_mut().skip(1);
        self.descriptors.aliases(fd, |alias| {
            if let Some(place) = places.next() {
                *place = alias;
            }
        });
        let (description_index, description) = self.describe(fd, slot)?;
        if description.instance() != 0 {
            // Another number of an instance that is known under a first.
            self.refer(fd, FdState::known(description_index, description.instance()));
            return Some(description.instance());
        }
        let (index, _) =
            self.open_instance(description_index, Creation { origin: Origin::Unseen, argument: 0, site: 0 })?;
        description.set_instance(index);
        for alias in aliases {
            if self.descriptors.get(alias).description() == description_index {
                self.refer(alias, FdState::known(description_index, index));
            }
        }
        self.totals.unseen_instances.add(1);
        self.notify_of_instance(index, fd);
        Some(index)
    }

    fn new_instance(&self, fd: i32, creation: Creation) -> Option<u32> {
        let (description_index, description) = self.new_description(1)?;
        let Some((index, _)) = self.open_instance(description_index, creation) else {
            self.forget(description_index);
            return None;
        };
        description.set_instance(index);
        if !self.refer(fd, FdState::known(description_index, index)) {
            self.end_instance(index, fd);
            self.forget(description_index);
            return None;
        }
        self.notify_of_instance(index, fd);
        Some(index)
    }

    #[inline(always)]
    fn open_instance(&self, description: u32, creation: Creation) -> Option<(u32, &'static Instance)> {
        let (index, instance) = self.instances.allocate(|| self.look_at_memory())?;
        instance.owner.clear();
        instance.waiter.store(0, Ordering::Relaxed);
        instance.alone.clear();
        instance.shared.clear();
        self.totals.next_id.add(1);
        instance.id.set(self.totals.next_id.get());
        instance.site.store(creation.site, Ordering::Relaxed);
        instance.description.set(description);
        instance.index.set(index);
        instance.disappear();
        instance.first.set(0);
        instance.watches.set(0);
        instance.begin_peak();
        instance.argument.set(creation.argument);
        instance.origin.store(creation.origin as u8, Ordering::Relaxed);
        instance.seen.store(0, Ordering::Relaxed);
        instance.is_size_reported.store(0, Ordering::Relaxed);
        instance.inherited.store(u8::from(creation.origin == Origin::Unseen), Ordering::Relaxed);
        instance.maker.set(if creation.origin == Origin::Unseen { 0 } else { K::process_number() });
        instance.waits_marked.set(Instance::UNMARKED);
        instance.forked.store(0, Ordering::Relaxed);
        self.totals.instances.add(1);
        self.churn.reached.set(0);
        self.reservations.opened(instance);
        self.creation_sites.note(creation.site);
        if self.totals.next_id.get().is_power_of_two() {
            self.mark_waits();
        }
        Some((index, instance))
    }

    /// Marks how often each instance has been waited on. An instance whose mark is the same at the
    /// end was not used since. It runs at every creation whose number is a power of two, so that
    /// the cost of a creation does not grow with their number.
    #[cold]
    #[inline(never)]
    fn mark_waits(&self) {
        /// The most that are looked at, since the lock is held.
        const MANY: u64 = 1 << 16;
        if self.totals.instances.get() > MANY {
            return;
        }
        self.totals.marked.set(K::now());
        for (index, instance) in self.live_instances() {
            instance.waits_marked.set(instance.waits());
            O::instance_marked(index, instance);
        }
    }

    /// The last descriptor of an instance is closed: the kernel frees the instance with all its
    /// interests.
    #[unsafe(link_section = ".text.hot.epollshim.more")]
    pub(super) fn end_instance(&self, index: u32, epfd: i32) {
        let Some(instance) = self.instances.get(index) else { return };
        instance.reach();
        self.note_end(instance, epfd);
        if instance.first.get() != 0 {
            self.vanish_all_of(instance);
        }
        if let Some(description) = self.description(instance.description.get()) {
            description.set_instance(0);
        }
        instance.id.set(0);
        self.reach();
        self.totals.instances.subtract(1);
        self.reservations.ended(instance);
        if self.lock.is_followed() {
            O::instance_gone(index);
        }
        self.instances.release(index, instance);
    }

    /// Notes the events of an end. (An end without events costs two tests.)
    #[inline(always)]
    fn note_end(&self, instance: &Instance, epfd: i32) {
        if instance.has_outgrown_its_size() && instance.is_size_reported.swap(1, Ordering::Relaxed) == 0 {
            self.note_event(Event::Outgrown {
                epfd,
                site: instance.site.load(Ordering::Relaxed),
                peak: instance.peak(),
                size: instance.size(),
            });
        }
        if K::has_shared_by_fork() {
            let maker = instance.maker.get();
            self.note_event(Event::Ended { id: instance.id.get(), maker, waits: instance.waits() });
        }
        if instance.forked.load(Ordering::Relaxed) == Instance::FROM_BEFORE {
            self.note_event(Event::EndedUnused);
        }
    }

    #[cold]
    #[inline(never)]
    fn vanish_all_of(&self, instance: &Instance) {
        for _ in 0..self.records.end() {
            let first = instance.first.get();
            if first == 0 {
                break;
            }
            self.vanish(first);
        }
    }

    /// Notifies the observer of an instance.
    #[inline(always)]
    fn notify_of_instance(&self, index: u32, fd: i32) {
        if self.lock.is_followed() {
            self.record_instance(index, fd);
        }
    }

    #[cold]
    #[inline(never)]
    fn record_instance(&self, index: u32, fd: i32) {
        if let Some(instance) = self.instances.get(index) {
            O::instance_noted(index, instance, fd);
        }
    }

    /// Writes entries of one table into the recording.
    pub fn mirror_rows(&self, rows: Rows) {
        for index in rows.indices() {
            if rows.of_instances {
                if let Some(instance) = self.instances.get(index).filter(|instance| instance.id.get() != 0) {
                    O::instance_noted(index, instance, self.descriptor_of(index));
                }
            } else if let Some(interest) = self.interest(index).filter(|interest| interest.is_live()) {
                let watches = self.instances.get(interest.instance()).map_or(0, |instance| instance.watches.get());
                O::interest_noted(index, interest, watches);
            }
        }
    }

    /// Writes everything into the recording, each instance with its lowest descriptor, in one walk
    /// of the table.
    #[cold]
    #[inline(never)]
    pub fn mirror(&self) {
        self.begin_grouping();
        for fd in 0..=self.descriptors.highest() {
            if let Some(instance) = self.instance_of(fd).filter(|instance| self.see(instance)) {
                O::instance_noted(instance.index.get(), instance, fd);
            }
        }
        for (index, instance) in self.live_instances() {
            if self.see(instance) {
                O::instance_noted(index, instance, -1);
            }
            let mut at = instance.first.get();
            for _ in 0..self.records.end() {
                let Some(interest) = self.interest(at) else { break };
                O::interest_noted(at, interest, instance.watches.get());
                at = interest.next.get();
            }
        }
    }
}
