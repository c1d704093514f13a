//! Descriptors that are closed while something else keeps their file open. The kernel continues to
//! watch the file, and the program has no number left with which to remove the interest.

use crate::sync::Ordering;

use super::Core;
use crate::events::Event;
use crate::recent_closes::RecentClose;
use crate::records::{Description, Instance, Interest};
use crate::{Kernel, Observer};

impl<K: Kernel, O: Observer> Core<K, O> {
    /// A watched descriptor is closed. Remembers where, and where it was added, in case the file
    /// stays open. If a dup is known to stay open, the number's next ADD is examined.
    pub(super) fn remember(&self, description: &Description, fd: i32, at: usize, leaves_a_dup: bool) {
        /// The most that are examined of a file that very many instances watch.
        const MOST: usize = 64;
        let mut index = description.interests();
        let mut is_marked = false;
        for _ in 0..MOST {
            let Some(interest) = self.interest(index) else { break };
            if interest.fd() == fd
                && let Some(instance) = self.instances.get(interest.instance())
            {
                self.recent_closes.note(&RecentClose::of(instance, (index, interest), at, leaves_a_dup));
                if leaves_a_dup {
                    is_marked = true;
                } else if self.is_timely() {
                    self.note_watched_close(instance, interest.instance(), fd, at);
                }
            }
            index = interest.sibling();
        }
        if is_marked {
            self.recent_closes.note_dup_left();
            self.descriptors.mark(fd);
        }
    }

    /// A watched descriptor is closed, and a thread may wait on the instance.
    fn note_watched_close(&self, instance: &Instance, index: u32, fd: i32, at: usize) {
        let waiter = instance.owner.block();
        if O::is_waiting(waiter) {
            self.note_event(Event::WatchedClosed { waiter, instance: index, fd, at });
        }
    }

    /// A descriptor that was closed while a dup of it stayed open, as far as the ledger knows, and
    /// that its instance still watches.
    pub fn ghost(&self, epfd: i32, fd: i32) -> Option<RecentClose> {
        let instance_index = self.descriptors.get(epfd).instance();
        let instance = self.instances.get(instance_index)?;
        let closing = self.recent_closes.last(instance.id.get(), fd)?;
        let interest = self.interest(closing.interest)?;
        let lives = closing.leaves_a_dup
            && interest.has(Interest::LIVE)
            // If it is in doubt, the dup is closed too. What keeps it open, if anything, is not
            // known. It may be a child that is about to exec.
            && !interest.has(Interest::DOUBTFUL)
            && interest.serial.get() == closing.serial
            && interest.instance() == instance_index
            && interest.fd() == fd;
        (lives && instance.inherited.load(Ordering::Relaxed) == 0).then_some(closing)
    }

    /// Where an interest of an instance was added, by its number alone; 0: not known. `now`: only
    /// one in what the number refers to now.
    pub fn added_at(&self, instance: u32, fd: i32, now: bool) -> u64 {
        let description = self.descriptors.get(fd).description();
        let mut index = self.instances.get(instance).map_or(0, |instance| instance.first.get());
        for _ in 0..self.records.end() {
            let Some(interest) = self.interest(index) else { break };
            // An interest that a comparison found has no place.
            let is_one = interest.fd() == fd && (!now || interest.description() == description);
            if is_one && interest.site() != 0 {
                return interest.site();
            }
            index = interest.next.get();
        }
        0
    }
}
