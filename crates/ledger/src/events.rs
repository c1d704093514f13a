//! The events that a change causes. The holder of the lock notes them here, and delivers them when
//! the lock is free again: an observer may open files, and take time.

use crate::core::Registration;
use crate::records::{Long, Word};

/// Something that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A descriptor of an instance was closed just now, at this return address.
    InstanceClosed { epfd: i32, at: usize },
    /// A descriptor that an instance watches was closed just now. `waiter` is the block of the
    /// thread that waited on the instance first.
    WatchedClosed { waiter: usize, instance: u32, fd: i32, at: usize },
    /// A number is about to be added under which a file is still watched whose descriptor was
    /// closed.
    AddingOverGhost(Registration),
    /// An instance ended that had held more interests at a time than the size given to
    /// `epoll_create`.
    Outgrown { epfd: i32, site: usize, peak: u64, size: u64 },
    /// An instance ended: its number (32 bits of `Instance::id`), the process that created it, and
    /// how often this process waited on it.
    Ended { id: u64, maker: u32, waits: u64 },
    /// An instance ended that existed before the fork, and that this process had not used.
    EndedUnused,
    /// An instance that existed before the fork was used here for the first time, by an ADD through
    /// this descriptor at this return address. `waits`: how often the parent had waited on it.
    FirstUse { id: u64, maker: u32, epfd: i32, made_at: usize, waits: u64, at: usize },
}

type Words = [u64; 5];

impl Event {
    fn to_words(self) -> Words {
        // The kind of event, and a descriptor in the upper half.
        let first = |what: u64, fd: i32| what | u64::from(fd as u32) << 32;
        let number = |fd: i32| u64::from(fd as u32);
        let shared = |id: u64, maker: u32| u64::from(id as u32) | u64::from(maker) << 32;
        match self {
            Event::InstanceClosed { epfd, at } => [first(1, epfd), at as u64, 0, 0, 0],
            Event::WatchedClosed { waiter, instance, fd, at } => {
                [first(2, fd), waiter as u64, u64::from(instance), at as u64, 0]
            }
            Event::AddingOverGhost(Registration { epfd, fd, site }) => [first(3, epfd), number(fd), site as u64, 0, 0],
            Event::Outgrown { epfd, site, peak, size } => [first(4, epfd), site as u64, peak, size, 0],
            Event::Ended { id, maker, waits } => [first(5, 0), shared(id, maker), waits, 0, 0],
            Event::EndedUnused => [first(6, 0), 0, 0, 0, 0],
            Event::FirstUse { id, maker, epfd, made_at, waits, at } => {
                [first(7, epfd), shared(id, maker), made_at as u64, waits, at as u64]
            }
        }
    }

    #[inline(never)]
    fn from_words(&[what, one, two, three, four]: &Words) -> Option<Event> {
        let (what, fd) = (what as u32, (what >> 32) as i32);
        let (id, maker) = (u64::from(one as u32), (one >> 32) as u32);
        Some(match what {
            1 => Event::InstanceClosed { epfd: fd, at: one as usize },
            2 => Event::WatchedClosed { waiter: one as usize, instance: two as u32, fd, at: three as usize },
            3 => Event::AddingOverGhost(Registration { epfd: fd, fd: one as u32 as i32, site: two as usize }),
            4 => Event::Outgrown { epfd: fd, site: one as usize, peak: two, size: three },
            5 => Event::Ended { id, maker, waits: two },
            6 => Event::EndedUnused,
            7 => Event::FirstUse { id, maker, epfd: fd, made_at: two as usize, waits: three, at: four as usize },
            _ => return None,
        })
    }
}

/// The most events of one holder. More are counted and dropped.
const MOST: usize = 8;

/// Events that are delivered together.
#[derive(Clone, Copy)]
pub struct Events {
    words: [Words; MOST],
    count: usize,
    /// How many events were dropped.
    pub missed: u32,
}

impl Events {
    pub const NONE: Events = Events { words: [[0; 5]; MOST], count: 0, missed: 0 };

    pub fn iter(&self) -> impl Iterator<Item = Event> {
        self.words.iter().take(self.count).filter_map(Event::from_words)
    }
}

/// Where the holder of the lock keeps events until it unlocks. They are atomics, since a holder
/// that was wrongly judged gone may write while another one reads. A mix of two events is an event
/// that did not happen. In that case the records are rebuilt as well.
pub struct Pending {
    count: Word,
    missed: Word,
    words: [[Long; 5]; MOST],
}

impl Pending {
    pub const fn new() -> Pending {
        Pending { count: Word::new(), missed: Word::new(), words: [const { [const { Long::new() }; 5] }; MOST] }
    }

    /// Only the holder of the lock calls this function and those below.
    pub fn note(&self, event: Event) {
        let count = self.count.get();
        match self.words.get(count as usize) {
            Some(place) => {
                place.iter().zip(event.to_words()).for_each(|(place, word)| place.set(word));
                self.count.set(count + 1);
            }
            None => self.missed.set(self.missed.get().saturating_add(1)),
        }
    }

    pub fn forget(&self) {
        self.count.set(0);
        self.missed.set(0);
    }

    /// Takes all of them, to be delivered when the lock is free.
    #[inline(never)]
    pub fn take(&self) -> Events {
        let mut taken = Events { count: self.count.get() as usize, missed: self.missed.get(), ..Events::NONE };
        for index in 0..taken.count {
            if let (Some(into), Some(from)) = (taken.words.get_mut(index), self.words.get(index)) {
                *into = [0, 1, 2, 3, 4].map(|word: usize| from.get(word).map_or(0, Long::get));
            }
        }
        self.forget();
        taken
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Event, MOST, Pending};
    use crate::core::Registration;
    use std::vec::Vec;

    #[test]
    fn events_are_taken_once_and_as_they_were_noted() {
        let pending = Pending::new();
        let events = [
            Event::InstanceClosed { epfd: 3, at: 0x1234 },
            Event::WatchedClosed { waiter: 0x7f00_0000_0040, instance: 7, fd: -1, at: 5 },
            Event::AddingOverGhost(Registration { epfd: 70_000, fd: 9, site: 0x5555_0000_1111 }),
            Event::Outgrown { epfd: -1, site: 1, peak: u64::MAX, size: 2 },
            Event::Ended { id: u64::from(u32::MAX), maker: 3, waits: 1 << 40 },
            Event::EndedUnused,
            Event::FirstUse { id: 1, maker: u32::MAX, epfd: 5, made_at: 6, waits: 7, at: 8 },
        ];
        for event in events {
            pending.note(event);
        }
        let taken = pending.take();
        assert_eq!((taken.iter().collect::<Vec<_>>(), taken.missed), (Vec::from(events), 0));
        assert!(pending.take().iter().next().is_none());
    }

    #[test]
    fn events_without_a_place_are_counted() {
        let pending = Pending::new();
        for _ in 0..MOST + 3 {
            pending.note(Event::EndedUnused);
        }
        let taken = pending.take();
        assert_eq!((taken.iter().count(), taken.missed), (MOST, 3));
        assert_eq!(pending.take().missed, 0);
    }
}
