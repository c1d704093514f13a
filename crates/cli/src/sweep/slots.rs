//! Slots for runs, one per job. A run that only waits releases its slot to another run, so that
//! hangs, which take the longest, do not delay the others.

use std::sync::{Condvar, Mutex};

use super::runner::held;

pub struct Slots {
    free: Mutex<u32>,
    given_back: Condvar,
}

/// One of the slots. It is released when dropped.
pub struct Slot<'a>(&'a Slots);

impl Slots {
    pub fn new(jobs: u32) -> Slots {
        Slots { free: Mutex::new(jobs), given_back: Condvar::new() }
    }

    /// Waits for a free slot.
    pub fn take(&self) -> Slot<'_> {
        let mut free = held(&self.free);
        while *free == 0 {
            free = self.given_back.wait(free).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        *free -= 1;
        Slot(self)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *held(&self.0.free) += 1;
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Slots;

    #[test]
    fn no_more_places_are_taken_than_there_are_and_one_that_is_given_back_is_taken_again() {
        let (slots, now, most) = (Slots::new(2), AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let _slot = slots.take();
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
    }
}
