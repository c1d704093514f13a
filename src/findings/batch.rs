//! Stale events within one batch: the handler of one event closes the descriptor of another event
//! of the same batch. If the loop then handles that event, it uses a closed number, or takes the
//! event for one of the file that has the number now.
//!
//! Reading is not hooked, so no hook sees whether the loop handles the event. But a descriptor that
//! was delivered as readable, and is removed or closed with all of its data unread, was not handled
//! yet. Some handlers leave data unread on purpose, and some loops skip the events of descriptors
//! that they have closed. So the finding is `Info`.
//!
//! The batches are those that watch.rs examines, one of a thousand, if they have two events or
//! more. While the program handles one, [`Pending`] is open, so that the hooks of `epoll_ctl` call
//! this module after each success. The next wait is examined too, which ends the batch.

use epollshim_format::findings::{Id, Severity, stale_data};
use libc::{c_int, epoll_event};

use super::errors::Pending;
use super::waiters::{self, Closed};
use super::watch::{self, Watch, events};
use super::{Note, note};
use crate::frame::Frame;
use crate::ledger::records::Long;
use crate::sys;
use crate::thread::Block;

/// The batch that a thread handles, in its block. All zero: none is examined.
#[repr(C)]
pub struct Batch {
    /// How many of its events are kept; 0: no batch is examined.
    count: Long,
    numbers: [Long; MOST],
    epfd: Long,
    /// The call site of the wait that returned it, and how many waits the thread had begun by then.
    site: Long,
    waits: Long,
    /// One more than the number that was removed with data unread; 0: none. The inode of its file,
    /// and the call site of the removal.
    gone: Long,
    inode: Long,
    gone_at: Long,
    /// When watch.rs examines the next wait.
    due: Long,
}

const MOST: usize = 8;

/// Examines a wait that returned `count` events, when a look is due.
///
/// The common part is inlined, because a thread that may spin is examined often.
#[inline(always)]
pub fn look(block: &Block, frame: &Frame, count: usize) {
    if block.part::<Closed>().is_any() | block.part::<Batch>().is_kept() && !goes_on(block, frame, count) {
        return;
    }
    if count > 1 {
        return look_at_several(block, frame, count);
    }
    watch::look(block, frame, count);
}

/// Ends the batch before this wait. False: watch.rs does not examine this wait.
#[cold]
#[inline(never)]
fn goes_on(block: &Block, frame: &Frame, count: usize) -> bool {
    if block.part::<Closed>().is_any() {
        waiters::event_came(block, frame.int(0), frame.caller, events(frame, count.min(MOST)));
    }
    let batch: &Batch = block.part();
    if !batch.is_kept() {
        return true;
    }
    batch.end(block);
    !block.part::<Watch>().look_later(batch.due.get(), block)
}

#[cold]
#[inline(never)]
fn look_at_several(block: &Block, frame: &Frame, count: usize) {
    watch::look(block, frame, count);
    let (watch, batch): (&Watch, &Batch) = (block.part(), block.part());
    if watch.has_no_suspicion() {
        batch.keep(block, frame.int(0), frame.caller, events(frame, count.min(MOST)));
        batch.due.set(watch.look_soon());
    }
}

impl Batch {
    #[inline(always)]
    fn is_kept(&self) -> bool {
        self.count.get() != 0
    }

    /// Begins a batch of several events.
    fn keep(&self, block: &Block, epfd: i32, site: usize, events: &[epoll_event]) {
        for (place, event) in self.numbers.iter().zip(events) {
            // A handler closes a descriptor that has hung up without reading it.
            let is_data = event.events == libc::EPOLLIN as u32;
            place.set(if is_data { event.u64 } else { u64::MAX });
        }
        self.epfd.set(epfd as u64);
        self.site.set(site as u64);
        self.waits.set(block.counters.waits());
        self.gone.set(0);
        self.count.set(events.len().min(MOST) as u64);
        block.part::<Pending>().open_for_batch();
    }

    /// The program has handled the batch.
    fn end(&self, block: &Block) {
        self.count.set(0);
        block.part::<Pending>().close_for_batch();
        if let Some(fd) = self.gone.get().checked_sub(1)
            && self.is_another(fd as i32)
        {
            self.report(fd as i32, false);
        }
        self.gone.set(0);
    }

    fn is_current(&self, block: &Block) -> bool {
        self.is_kept() && self.waits.get() == block.counters.waits()
    }

    /// Whether a number is closed, or refers to another file than the one that was removed.
    fn is_another(&self, fd: i32) -> bool {
        match sys::status(fd) {
            Err(error) => error == libc::EBADF,
            Ok(status) => status.st_ino != self.inode.get(),
        }
    }

    /// A descriptor is removed from the interest list, or about to be closed.
    fn take_out(&self, fd: i32, site: usize) {
        // The first event is handled before all others, so it cannot be stale.
        let mut later = self.numbers.iter().take(self.count.get() as usize).skip(1);
        if self.gone.get() == 0
            && later.any(|number| number.get() == fd as u64)
            && sys::bytes_waiting(fd, libc::FIONREAD).is_ok_and(|bytes| bytes > 0)
            && let Ok(status) = sys::status(fd)
        {
            self.inode.set(status.st_ino);
            self.gone_at.set(site as u64);
            self.gone.set(fd as u64 + 1);
        }
    }

    #[inline(never)]
    fn report(&self, fd: i32, is_reused: bool) {
        self.gone.set(0);
        note(&Note {
            variant: stale_data::IN_A_BATCH,
            epfd: self.epfd.get() as i32,
            fd,
            site: self.gone_at.get() as usize,
            other: self.site.get() as usize,
            detail: [u64::from(is_reused), 0, 0, 0],
            ..Note::of(Id::StaleData, Severity::Info)
        });
    }
}

/// An `epoll_ctl` has succeeded while a batch is examined. False: the batch has ended.
#[cold]
#[inline(never)]
pub fn ctl_succeeded(block: &Block, epfd: c_int, operation: c_int, fd: c_int, site: usize) -> bool {
    let batch: &Batch = block.part();
    if !batch.is_current(block) {
        return false;
    }
    if epfd as u64 == batch.epfd.get() && fd >= 0 {
        match operation {
            libc::EPOLL_CTL_DEL => batch.take_out(fd, site),
            libc::EPOLL_CTL_ADD if batch.gone.get() == fd as u64 + 1 => {
                // Else it is the same file, which was removed for a while.
                if batch.is_another(fd) {
                    batch.report(fd, true);
                }
                batch.gone.set(0);
            }
            _ => {}
        }
    }
    true
}

/// A watched descriptor is about to be closed, and the thread's `Pending` is open.
#[cold]
#[inline(never)]
pub fn closing(block: &Block, fd: c_int, site: usize) {
    let batch: &Batch = block.part();
    if fd >= 0 && batch.is_current(block) {
        batch.take_out(fd, site);
    }
}
