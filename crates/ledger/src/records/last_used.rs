//! The instance that a thread used last.

use super::instance::{Instance, NONE};
use crate::sync::{AtomicUsize, Ordering};

/// The instance that a thread used last, by ADD, DEL or a wait. A thread that continues with the
/// same instance finds it by two loads. The table of descriptors needs four, each of which depends
/// on the one before (docs/performance.md, "Where code and data lie").
///
/// It is stored as the distance from `NONE`, so that zero is valid: a fork may wipe the thread's
/// block in the middle of a hook, and the hook continues in the child.
#[repr(transparent)]
pub struct LastUsed(AtomicUsize);

impl LastUsed {
    pub const fn new() -> Self {
        LastUsed(AtomicUsize::new(0))
    }

    /// The thread uses this instance from now on.
    pub fn meet(&self, instance: &'static Instance, epfd: i32) {
        if instance.is_at(epfd) {
            self.set(instance);
        }
    }

    /// The instance of a descriptor, if it is the one that was used last.
    #[inline(always)]
    pub fn instance_of(&self, epfd: i32) -> Option<&'static Instance> {
        let none = &raw const NONE;
        let instance = none.wrapping_byte_add(self.0.load(Ordering::Relaxed));
        // SAFETY: zero is NONE itself. Otherwise `set` stored the distance of an instance, which is
        // never unmapped. Both hold also for a block that a fork wiped. (No instance lies at
        // address 0, so the compiler need not test for it.)
        let instance = unsafe {
            core::hint::assert_unchecked(!instance.is_null());
            &*instance
        };
        if instance.is_at(epfd) { Some(instance) } else { None }
    }

    pub fn set(&self, instance: &'static Instance) {
        let distance = (&raw const *instance as usize).wrapping_sub(&raw const NONE as usize);
        self.0.store(distance, Ordering::Relaxed);
    }
}
