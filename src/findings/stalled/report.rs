//! What a report finds: it looks again at each thread's findings, and twice at what threads wait
//! on.

use epollshim_format::findings::{Id, stalled, thresholds};

use super::item::{Item, list, processor_time};
use super::{Stalls, asleep};
use crate::buffer::Buffer;
use crate::findings::{is_known, numbers, put, waiters, withdraw_evaluated};
use crate::process::End;
use crate::thread::Block;
use crate::{clock, process, seccomp, sys, thread};

/// The most instances with waiting threads that are examined.
const WAITS: usize = 64;
/// The most interests that are looked at twice: each look reads the list of its instance.
const ITEMS: usize = 64;

/// Looks again at the findings. Looks twice at data that waits in the instances that threads wait
/// on, or that waited when the calling thread last slept.
pub fn evaluate(end: End) {
    withdraw_evaluated(Id::Stalled);
    if end == End::Exec || seccomp::hinders() || !process::is_own() {
        return;
    }
    Buffer::lend(|items| {
        thread::all().for_each(|block| block.part::<Stalls>().settle(block, items));
        let mut seen = [-1; WAITS];
        // The caller of a snapshot is between two waits, and has not handled all events yet.
        let is_amid_events = |epfd| {
            end == End::Running
                && thread::block_at_hand()
                    .is_some_and(|own| own.waits_on().is_none() && own.last_used.instance_of(epfd).is_some())
        };
        for block in thread::all() {
            match block.waits_on() {
                // A signal handler ends the process inside its thread's wait. The wait would have
                // returned the ready events.
                Some(epfd) if is_amid_events(epfd) || thread::is_own(block) && has_events(epfd) => {}
                Some(epfd) => {
                    let free = seen.iter_mut().take_while(|one| **one != epfd).find(|one| **one == -1);
                    if let Some(free) = free {
                        *free = epfd;
                        list(epfd, block.waits_at(), items);
                    }
                }
                None if thread::is_own(block) => block.part::<Stalls>().list(block, items),
                None => {}
            }
        }
        let (mut any, used) = (false, processor_time());
        for item in items.as_mut_slice() {
            if item.waiting == 0 && item.variant().is_some() {
                item.look();
                (item.at, item.used) = (clock::monotonic(), used);
            }
            any |= item.waiting > 0;
        }
        if any {
            sys::sleep(thresholds::STALLED_DISTANCE as i64);
            items.as_slice().iter().filter(|item| item.waiting > 0).take(ITEMS).for_each(look_again);
        }
    });
}

fn has_events(epfd: i32) -> bool {
    let mut of = [libc::pollfd { fd: epfd, events: libc::POLLIN, revents: 0 }];
    sys::poll_now(&mut of).is_ok_and(|ready| ready > 0)
}

#[inline(never)]
fn look_again(first: &Item) {
    let mut item = *first;
    item.look();
    let waits =
        |block: &&Block| block.waits_on() == Some(item.waited) && (thread::is_own(block) || waiters::is_waiting(block));
    let is_armed = || {
        Buffer::lend(|items| {
            list(item.epfd, item.site, items);
            !items
                .as_slice()
                .iter()
                .any(|other| other.descriptors() == item.descriptors() && other.variant() == item.variant())
        })
    };
    if item.variant().is_some_and(|variant| stalled::is_untouched(variant, first.seen(), item.seen()))
        && (item.waited == -1 || thread::all().any(|block| waits(&block)))
        && !is_armed()
        && let Some(found) = item.note()
        && !is_known(&found)
    {
        put(&found, 1);
    }
}

impl Stalls {
    /// Looks again at the findings of this thread.
    fn settle(&self, block: &Block, items: &mut Buffer<Item>) {
        for suspect in self.suspects.iter().filter(|suspect| suspect.is_noted.get() != 0) {
            let descriptors = suspect.descriptors.get();
            let (epfd, _) = numbers(descriptors);
            list(epfd, block.waits_at(), items);
            let found = items.as_mut_slice().iter_mut().find(|item| item.descriptors() == descriptors);
            if let Some(item) = found {
                suspect.follow(item, asleep(&block.counters), false);
            }
            items.clear();
        }
    }

    /// Lists the suspects of the block's thread, which is the caller, from when it last slept.
    fn list(&self, block: &Block, into: &mut Buffer<Item>) {
        let slept = asleep(&block.counters);
        for suspect in &self.suspects {
            let (descriptors, asleep) = (suspect.descriptors.get(), slept.wrapping_sub(suspect.asleep.get()));
            if descriptors != 0 && suspect.is_noted.get() == 0 && asleep >= thresholds::STALLED_ASLEEP {
                let (epfd, fd) = numbers(descriptors);
                into.push(Item {
                    epfd,
                    fd,
                    events: suspect.events.get() as u32,
                    waiting: suspect.waiting.get(),
                    read: suspect.read.get(),
                    site: block.waits_at(),
                    asleep,
                    at: suspect.at.get(),
                    used: suspect.used.get(),
                    ..Item::NOTHING
                });
            }
        }
    }
}
