//! Look-ups of interests: by what a descriptor refers to, or by a number.

use super::Core;
use crate::records::{Description, Interest};
use crate::{Kernel, Observer};

impl<K: Kernel, O: Observer> Core<K, O> {
    /// The interest of an instance in what a descriptor refers to now.
    #[inline(always)]
    pub fn find(&self, epfd: i32, fd: i32) -> Option<(u32, &'static Interest)> {
        let instance = self.descriptors.get(epfd).instance();
        if instance == 0 {
            return None;
        }
        self.find_in(instance, fd)
    }

    #[inline(always)]
    pub(super) fn find_in(&self, instance: u32, fd: i32) -> Option<(u32, &'static Interest)> {
        let description = self.description(self.descriptors.get(fd).description())?;
        self.find_among(description, instance, fd)
    }

    /// The interest of an instance in a description, under a number. An eventfd may be in the lists
    /// of thousands of instances. Most descriptors are in one.
    #[inline(always)]
    pub(super) fn find_among(
        &self,
        description: &Description,
        instance: u32,
        fd: i32,
    ) -> Option<(u32, &'static Interest)> {
        let index = description.interests();
        let first = self.interest(index)?;
        if first.instance() == instance && first.fd() == fd {
            return Some((index, first));
        }
        self.find_further(first, instance, fd)
    }

    #[cold]
    #[inline(never)]
    fn find_further(&self, first: &Interest, instance: u32, fd: i32) -> Option<(u32, &'static Interest)> {
        if first.sibling() == 0 {
            return None;
        }
        let description = first.description();
        // Every interest is in its description's own record, or in the index.
        let own = self.interest(description)?;
        if own.is_live() && own.key.are(instance, fd as u32) {
            return Some((description, own));
        }
        self.find_pair(instance, fd, description)
    }

    /// The interest of an instance in a number, whatever the number refers to now.
    #[inline(always)]
    pub(super) fn find_by_number(&self, instance: u32, fd: i32) -> Option<u32> {
        let mut index = self.instances.get(instance)?.first.get();
        for _ in 0..self.records.end() {
            let interest = self.interest(index)?;
            if interest.fd() == fd {
                return Some(index);
            }
            index = interest.next.get();
        }
        None
    }
}
