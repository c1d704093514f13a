//! ADD, DEL and close in the plain case: no observer follows, the number is low, and this one
//! interest is all that is known of it. In every other case these functions do nothing and return
//! that. The caller then uses the general functions of `registrations.rs` and `descriptions.rs`.
//!
//! The plain case takes no conditional branch. After a long system call a branch that is taken is
//! mispredicted, and one that falls through costs nothing extra (docs/performance.md, "Branches
//! after a system call"). benches/branches lists those that are taken.

use super::{Core, QUEUED, Ticket};
use crate::descriptors::{FdState, Place};
use crate::recent_closes::RecentClose;
use crate::records::{Instance, Interest, LastUsed, Watch};
use crate::{Kernel, Observer};

impl<K: Kernel, O: Observer> Core<K, O> {
    /// `reserve` for the plain case, where no observer follows. None: another case, and nothing was
    /// done.
    #[inline(always)]
    pub fn reserve_at_once(&self, epfd: i32, fd: i32, site: &usize, last_used: &LastUsed) -> Option<u64> {
        let interest = self.reserve_plain(epfd, fd, site, last_used)?;
        let changes = self.churn.changes.get().wrapping_add(1);
        self.churn.changes.set(changes);
        let serial = changes as u32 & !QUEUED;
        interest.record.interest.serial.set(serial);
        Some(Ticket::Noted { interest: interest.index, serial }.to_word())
    }

    /// `reserve_as` for the plain case: a low descriptor of which nothing is known, and records
    /// that were used before. None: another case, and nothing was done. The new interest has no
    /// serial number yet.
    ///
    /// Each value is read where it is needed and not before, `site` too. A value that waits in a
    /// register needs a callee-saved one, which the callers would have to save and restore.
    #[inline(always)]
    fn reserve_plain(&self, epfd: i32, fd: i32, site: &usize, last_used: &LastUsed) -> Option<Plain<'_>> {
        let instance = last_used.instance_of(epfd)?;
        let place = self.descriptors.low_reached(fd)?;
        let index = self.records.next_free();
        if place.get() != FdState::UNKNOWN || index == 0 {
            return None;
        }
        // SAFETY: an index in the list of free records was allocated.
        let record = unsafe { self.records.given(index) };
        self.records.take(record);
        let Watch { interest, description } = record;
        interest.key.set(instance.index.get(), fd as u32);
        place.set(FdState::known(index, 0));
        description.uses.set(1, index);
        description.being.set_both(self.mark.get());
        interest.file.set(index, 0);
        interest.previous.set(0);
        interest.set_site(*site, Interest::LIVE);
        let first = instance.first.get();
        interest.next.set(first);
        // SAFETY: an index in an instance's list was allocated, or is 0 while `index` was
        // allocated.
        unsafe { self.records.given(first) }.interest.previous.set(index);
        instance.first.set(index);
        instance.watches.add(1);
        self.churn.watches.add(1);
        Some(Plain { place, index, record })
    }

    /// A DEL succeeded; the plain case, where no observer follows. False: another case, and nothing
    /// was done.
    #[inline(always)]
    pub fn deleted_at_once(&self, epfd: i32, fd: i32, last_used: &LastUsed) -> bool {
        let done = self.deleted_plain(epfd, fd, last_used).is_some();
        if done {
            self.changes();
        }
        done
    }

    #[inline(always)]
    fn deleted_plain(&self, epfd: i32, fd: i32, last_used: &LastUsed) -> Option<()> {
        let instance = last_used.instance_of(epfd)?;
        let watch = self.plain_watch(fd)?;
        if !watch.record.interest.key.are(instance.index.get(), fd as u32) {
            return None;
        }
        self.remove_plain(&watch, instance)
    }

    /// `closed` for the plain case, where no observer follows and the change did not wait. False:
    /// another case, and nothing was done.
    #[inline(always)]
    pub fn closed_at_once(&self, fd: i32, at: usize) -> bool {
        let done = self.closed_plain(fd, at).is_some();
        if done {
            self.changes();
        }
        done
    }

    #[inline(always)]
    fn closed_plain(&self, fd: i32, at: usize) -> Option<()> {
        let watch = self.plain_watch(fd)?;
        let interest = &watch.record.interest;
        let index = interest.instance();
        let instance = self.instances.get(index)?;
        let waiter = instance.owner.block();
        if interest.fd() != fd || self.may_be_shared(&watch.record.description) || O::is_waiting(waiter) {
            return None;
        }
        let closing = RecentClose::of(instance, (watch.index, interest), at, false);
        self.remove_plain(&watch, instance)?;
        self.recent_closes.note(&closing);
        self.totals.vanished.add(1);
        Some(())
    }

    /// The plain case: a low number, the only one of a description that is no epoll, with this one
    /// interest.
    #[inline(always)]
    fn plain_watch(&self, fd: i32) -> Option<Plain<'_>> {
        let place = self.descriptors.low_reached(fd)?;
        let index = place.get().description_if_file()?;
        if index == 0 {
            return None;
        }
        // SAFETY: the word of a known number has an index that was allocated.
        let record = unsafe { self.records.given(index) };
        let Watch { interest, description } = record;
        let is_plain = description.uses.are(1, index) && interest.file.are(index, 0) && description.instance() == 0;
        if is_plain { Some(Plain { place, index, record }) } else { None }
    }

    /// Removes the interest and its description. None: a peak is behind, and nothing was done.
    #[inline(always)]
    fn remove_plain(&self, watch: &Plain<'_>, instance: &Instance) -> Option<()> {
        let Plain { place, index, record: Watch { interest, description } } = *watch;
        if !instance.has_reached() || self.churn.watches.get() > self.churn.reached.get() {
            return None;
        }
        let (next, previous) = (interest.next.get(), interest.previous.get());
        // SAFETY: an index in an instance's list was allocated, or is 0 while `index` was
        // allocated.
        unsafe { self.records.given(next) }.interest.previous.set(previous);
        // SAFETY: as for `next`. The first interest has none before it: then record 0 is written,
        // which is never read.
        unsafe { self.records.given(previous) }.interest.next.set(next);
        let first = instance.first.get();
        instance.first.set(if previous == 0 { next } else { first });
        instance.watches.take_one();
        description.being.set_both(0);
        interest.set_site(0, 0);
        self.churn.watches.take_one();
        place.set(FdState::UNKNOWN);
        self.records.release(index, watch.record);
        Some(())
    }
}

#[derive(Clone, Copy)]
struct Plain<'core> {
    place: Place<'core>,
    index: u32,
    record: &'static Watch,
}
